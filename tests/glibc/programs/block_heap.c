/* Preloaded: leaves the heap 1 MiB, so that brk fails early. Raw calls, so that the C library does
 * not learn where the break is before it asks. */
#define _GNU_SOURCE
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

__attribute__((constructor)) static void block_heap(void) {
    char *end = (char *)syscall(SYS_brk, 0);
    mmap(end + (1 << 20), 4096, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED_NOREPLACE, -1, 0);
}
