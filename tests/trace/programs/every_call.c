/* Each call that the recorder takes, once, with sizes that tell them apart. */
#define _GNU_SOURCE
#include <malloc.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

int main(void)
{
    char *a = malloc(101);
    char *b = calloc(3, 67);
    a = realloc(a, 303);
    b = reallocarray(b, 4, 101);
    void *blocks[6];
    posix_memalign(&blocks[0], 64, 505);
    blocks[1] = aligned_alloc(128, 640);
    blocks[2] = memalign(256, 707);
    blocks[3] = valloc(808);
    blocks[4] = pvalloc(909);
    blocks[5] = realloc(NULL, 111);
    for (int i = 0; i < 6; i++)
        free(blocks[i]);
    free(NULL);
    free(a);
    void *none = realloc(b, 0);
    char *m = mmap(NULL, 1 << 20, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    memset(m, 1, 1 << 16);
    madvise(m, 1 << 15, MADV_DONTNEED);
    munmap(m + (1 << 19), 1 << 19);
    m = mremap(m, 1 << 19, 1 << 21, MREMAP_MAYMOVE);
    munmap(m, 1 << 21);
    return none != NULL;
}
