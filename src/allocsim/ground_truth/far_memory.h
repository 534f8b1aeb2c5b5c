/* All memory that the replayer uses, in one mapping far from heap and mmap area.
 *
 * One mapping, because the number of mappings is limited (vm.max_map_count) and an allocator can
 * reach the limit; populated at once, so that the replayer's own accesses never fault; at a fixed
 * address between the program (0x5555…) and address 0, so that no gap of the mmap area is used.
 */
#ifndef ALLOCSIM_FAR_MEMORY_H
#define ALLOCSIM_FAR_MEMORY_H

#include <linux/mman.h>
#include <stddef.h>
#include <stdint.h>

#include "raw_syscall.h"

enum {
    PAGE_BYTES = 4096,
    BATCH_OPS = 32768,
    LOG_ENTRIES = 4096,
    SIGNAL_STACK_BYTES = 65536,
    TEXT_BYTES = 65536,
};
#define FAR_ADDRESS 0x100000000000ul

/* One op as Python writes it (opstream.py). */
struct op {
    int64_t size;
    int64_t extent; /* bytes written after an allocation; offset of touch, read, munmap, madvise */
    int64_t detail; /* alignment of aligned_alloc; arg of mmap, mremap, madvise */
    int32_t object;
    uint32_t kind_and_thread; /* kind in the low 8 bits */
};

/* One system call of the allocator as Python reads it (results.py). */
struct log_entry {
    int64_t op; /* -1: before the first op */
    int32_t thread; /* -1: the main thread where it runs no op */
    int32_t number;
    uint64_t arguments[6];
    int64_t result;
};

/* What is left of one of the program's own mappings, in bytes from its original first byte. */
struct mapping {
    uint64_t start, end;
    uint64_t left; /* less than end - start where a hole was unmapped */
};

/* What one thread sleeps on, alone on its cache line. */
struct gate {
    int32_t open;
    uint32_t awaited; /* the object that it waits for while running freely, plus 1; 0: none */
    char padding[56];
};

static struct {
    struct op *batch;
    uint64_t *addresses;
    uint32_t *faults;
    struct log_entry *log;
    char *text;
    char *signal_stacks;
    struct gate *gates;
    uintptr_t *slots; /* address of each object's first byte; 0: empty */
    struct mapping *mappings;
    uint64_t length;
} far;

static uint64_t whole_pages(uint64_t bytes) { return (bytes + PAGE_BYTES - 1) & -PAGE_BYTES; }

static void *place(uint64_t bytes) {
    void *start = (char *)FAR_ADDRESS + far.length;
    far.length += whole_pages(bytes);
    return start;
}

/* Lay out and map everything; 0, or -errno. */
static long map_far_memory(uint64_t n_slots, uint64_t n_threads) {
    far.batch = place(sizeof(struct op) * BATCH_OPS);
    far.addresses = place(sizeof(uint64_t) * BATCH_OPS);
    far.faults = place(sizeof(uint32_t) * BATCH_OPS);
    far.log = place(sizeof(struct log_entry) * LOG_ENTRIES);
    far.text = place(TEXT_BYTES);
    far.signal_stacks = place(SIGNAL_STACK_BYTES * (n_threads + 1));
    far.gates = place(sizeof(struct gate) * (n_threads + 1));
    far.slots = place(sizeof(uintptr_t) * n_slots);
    far.mappings = place(sizeof(struct mapping) * n_slots);
    long flags = MAP_PRIVATE | MAP_ANONYMOUS | MAP_POPULATE | MAP_FIXED_NOREPLACE;
    long start = RAW(SYS_mmap, FAR_ADDRESS, far.length, PROT_READ | PROT_WRITE, flags, -1, 0);
    return start == (long)FAR_ADDRESS ? 0 : start;
}

#endif
