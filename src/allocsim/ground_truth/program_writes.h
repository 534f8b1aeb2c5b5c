/* What a program does to a block that it got, alike in replays and calibration.
 *
 * Whoever includes this has PAGE_BYTES.
 */
#ifndef ALLOCSIM_PROGRAM_WRITES_H
#define ALLOCSIM_PROGRAM_WRITES_H

#include <stdint.h>
#include <string.h>

#define INLINE static inline __attribute__((always_inline))

INLINE void write_each_page(uintptr_t start, int64_t bytes) {
    if (bytes <= 0) return;
    uintptr_t end = start + (uint64_t)bytes;
    *(volatile char *)start = 1;
    for (uintptr_t at = (start | (PAGE_BYTES - 1)) + 1; at < end; at += PAGE_BYTES)
        *(volatile char *)at = 1;
}

/* Write every byte, and first the first of each page: a page fault in the midst of memset's
 * repeated store takes processors 600 ns more than at a store of its own, as most programs' are. */
INLINE void write_every_byte(uintptr_t start, int64_t bytes) {
    uintptr_t end = start + (bytes > 0 ? (uint64_t)bytes : 0);
    while (start < end) {
        uintptr_t next = (start | (PAGE_BYTES - 1)) + 1;
        *(volatile char *)start = 1;
        memset((void *)start, 1, (next < end ? next : end) - start);
        start = next;
    }
}

#endif
