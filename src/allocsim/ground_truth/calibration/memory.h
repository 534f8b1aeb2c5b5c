/* Mappings and accesses that the benchmarks are made of. Sizes are in pages of 4 KiB. */
#ifndef ALLOCSIM_CALIBRATION_MEMORY_H
#define ALLOCSIM_CALIBRATION_MEMORY_H

#define _GNU_SOURCE
#include <stdint.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "stopwatch.h"

enum { PAGE_BYTES = 4096, HUGE_PAGE_BYTES = 2 << 20, MAX_PAGES = 1 << 14 };

/* Stays near the program's data, not in a mapping, so that no benchmark's area merges with it. */
static uint32_t random_order[MAX_PAGES];

static char *map(uint64_t pages) {
    char *start = mmap(NULL, pages * PAGE_BYTES, PROT_READ | PROT_WRITE,
                       MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (start == MAP_FAILED) fail("mmap");
    return start;
}

static void unmap(char *start, uint64_t pages) {
    if (munmap(start, pages * PAGE_BYTES)) fail("munmap");
}

static void advise(char *start, uint64_t pages, int advice) {
    if (madvise(start, pages * PAGE_BYTES, advice)) fail("madvise");
}

static void write_words(char *start, uint64_t pages) {
    for (uint64_t i = 0; i < pages; i++) *(volatile char *)(start + i * PAGE_BYTES) = 1;
}

static void write_words_at_random(char *start, uint64_t pages) {
    for (uint64_t i = 0; i < pages; i++)
        *(volatile char *)(start + (uint64_t)random_order[i] * PAGE_BYTES) = 1;
}

static void read_words(char *start, uint64_t pages) {
    for (uint64_t i = 0; i < pages; i++) (void)*(volatile char *)(start + i * PAGE_BYTES);
}

static char *map_written(uint64_t pages) {
    char *start = map(pages);
    write_words(start, pages);
    return start;
}

/* Fill `random_order` with the numbers below `pages`, shuffled. */
static void shuffle(uint64_t pages) {
    uint64_t state = 88172645463325252u;
    for (uint64_t i = 0; i < pages; i++) {
        state ^= state << 13, state ^= state >> 7, state ^= state << 17;
        uint64_t j = state % (i + 1);
        random_order[i] = random_order[j];
        random_order[j] = (uint32_t)i;
    }
}

/* Clear one page as the kernel does. */
static void clear_page(char *page) {
#ifdef __x86_64__
    uint64_t n = PAGE_BYTES;
    __asm__ volatile("rep stosb" : "+D"(page), "+c"(n) : "a"(0) : "memory");
#else
    memset(page, 0, PAGE_BYTES);
#endif
}

#endif
