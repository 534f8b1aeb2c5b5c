/* One op of the stream, made for real.
 *
 * `run_op` is inlined with constant arguments into one loop per kind of run, so that a timed loop
 * holds nothing that it does not need.
 */
#ifndef ALLOCSIM_RUN_OPS_H
#define ALLOCSIM_RUN_OPS_H

#include <malloc.h>
#include <stdlib.h>
#include <string.h>

#include "far_memory.h"
#include "program_writes.h"

/* The numbers of allocsim.trace.Op; then, in reports only, marks that stand for calls which traces
 * do not have (opstream.py). */
enum kind {
    MALLOC, CALLOC, REALLOC, ALIGNED_ALLOC, FREE, TOUCH, READ, MARK, MMAP, MUNMAP, MREMAP, MADVISE,
    MALLOC_TRIM = 128, THREAD_EXIT
};

/* What the program does to a block that it got: nothing, one byte in each page, every byte. */
enum writes { WRITE_NOTHING, WRITE_PAGES, WRITE_ALL };

INLINE enum kind kind_of(const struct op *op) { return (enum kind)(op->kind_and_thread & 255); }
INLINE int32_t thread_of(const struct op *op) { return (int32_t)(op->kind_and_thread >> 8); }

INLINE void read_each_page(uintptr_t start, int64_t bytes) {
    if (bytes <= 0) return;
    uintptr_t end = start + (uint64_t)bytes;
    (void)*(volatile char *)start;
    for (uintptr_t at = (start | (PAGE_BYTES - 1)) + 1; at < end; at += PAGE_BYTES)
        (void)*(volatile char *)at;
}

INLINE void program_writes(uintptr_t start, int64_t bytes, enum writes writes) {
    if (start == 0 || writes == WRITE_NOTHING) return;
    if (writes == WRITE_ALL)
        write_every_byte(start, bytes);
    else
        write_each_page(start, bytes);
}

struct allocator {
    void *(*malloc)(size_t);
    void *(*calloc)(size_t, size_t);
    void *(*realloc)(void *, size_t);
    void *(*memalign)(size_t, size_t);
    void (*free)(void *);
};

static const struct allocator c_library = {malloc, calloc, realloc, memalign, free};

/* One that gives nothing, so that no block is written or read either: what is left is the loop, with
 * calls that the processor has to foresee as it has to foresee those of the C library. */
#define NULL_CALL static __attribute__((noinline))
static void *volatile nothing; /* volatile: the compiler would leave calls out if it knew */
NULL_CALL void *null_malloc(size_t size) { return (void)size, nothing; }
NULL_CALL void *null_calloc(size_t n, size_t size) { return (void)n, (void)size, nothing; }
NULL_CALL void *null_realloc(void *block, size_t size) { return (void)block, (void)size, nothing; }
NULL_CALL void *null_memalign(size_t alignment, size_t size) { return (void)alignment, (void)size, nothing; }
NULL_CALL void null_free(void *block) { (void)block, (void)nothing; }

static const struct allocator null_allocator = {null_malloc, null_calloc, null_realloc, null_memalign,
                                                null_free};

/* A failed realloc leaves the block as it was; one to 0 bytes has freed it. */
INLINE uintptr_t run_realloc(uintptr_t *slot, size_t size, const struct allocator *use) {
    uintptr_t address = (uintptr_t)use->realloc((void *)*slot, size);
    if (address || size == 0) *slot = address;
    return address;
}

INLINE uintptr_t run_allocation(const struct op *op, uintptr_t *slot, const struct allocator *use) {
    size_t size = (size_t)op->size;
    switch (kind_of(op)) {
    case MALLOC: return *slot = (uintptr_t)use->malloc(size);
    case CALLOC: return *slot = (uintptr_t)use->calloc(1, size);
    case REALLOC: return run_realloc(slot, size, use);
    default: return *slot = (uintptr_t)use->memalign((size_t)op->detail, size);
    }
}

/* The program's own mappings, by raw calls, so that they are not reported as the allocator's. */

static uintptr_t run_mmap(const struct op *op, uintptr_t *slot, struct mapping *mapping) {
    uint64_t length = whole_pages((uint64_t)op->size);
    long flags = MAP_PRIVATE | MAP_ANONYMOUS;
    long result = RAW(SYS_mmap, 0, op->size, op->detail, flags, -1, 0);
    *mapping = (struct mapping){0, length, length};
    return *slot = is_error(result) ? 0 : (uintptr_t)result;
}

static uintptr_t run_mremap(const struct op *op, uintptr_t *slot, struct mapping *mapping) {
    uint64_t old = mapping->end - mapping->start, new = whole_pages((uint64_t)op->size);
    long result = RAW(SYS_mremap, *slot + mapping->start, old, op->size, op->detail);
    if (is_error(result)) return 0;
    *slot = (uintptr_t)result - mapping->start;
    *mapping = (struct mapping){mapping->start, mapping->start + new, new};
    return (uintptr_t)result;
}

static void run_munmap(const struct op *op, uintptr_t *slot, struct mapping *mapping) {
    uint64_t first = (uint64_t)op->extent, last = first + whole_pages((uint64_t)op->size);
    if (is_error(RAW(SYS_munmap, *slot + first, op->size))) return;
    mapping->left -= last - first;
    if (first == mapping->start) mapping->start = last;
    else if (last == mapping->end) mapping->end = first;
    if (mapping->left == 0) *slot = 0;
}

static __attribute__((noinline)) uintptr_t run_mapping_op(const struct op *op) {
    uintptr_t *slot = &far.slots[op->object];
    struct mapping *mapping = &far.mappings[op->object];
    if (kind_of(op) == MMAP) return run_mmap(op, slot, mapping);
    if (*slot == 0) return 0; /* its mmap failed */
    if (kind_of(op) == MREMAP) return run_mremap(op, slot, mapping);
    if (kind_of(op) == MUNMAP) run_munmap(op, slot, mapping);
    if (kind_of(op) == MADVISE) RAW(SYS_madvise, *slot + (uint64_t)op->extent, op->size, op->detail);
    return 0;
}

/* Make one op, with the program's writes; the address returned, 0 where none is. */
INLINE uintptr_t run_op_by(const struct allocator *use, const struct op *op, enum writes writes) {
    uintptr_t *slot = &far.slots[op->object];
    enum kind kind = kind_of(op);
    if (kind <= ALIGNED_ALLOC) {
        uintptr_t address = run_allocation(op, slot, use);
        program_writes(address, op->extent, writes);
        return address;
    }
    if (kind == FREE) {
        use->free((void *)*slot);
        *slot = 0;
    } else if (kind == TOUCH) {
        if (*slot) program_writes(*slot + (uint64_t)op->extent, op->size, writes);
    } else if (kind == READ) {
        if (*slot) read_each_page(*slot + (uint64_t)op->extent, op->size);
    } else if (kind != MARK && use == &c_library) {
        return run_mapping_op(op);
    }
    return 0;
}

INLINE uintptr_t run_op(const struct op *op, enum writes writes) {
    return run_op_by(&c_library, op, writes);
}

/* What remains of an op when the allocator does nothing: its decoding, its slot and a call.
 *
 * Which call comes next is hard to foresee where a program calls in a random order, and costs as much
 * as a short call itself. In a program every call has its own place, and history. */
INLINE void run_nothing(const struct op *op) { run_op_by(&null_allocator, op, WRITE_NOTHING); }

#endif
