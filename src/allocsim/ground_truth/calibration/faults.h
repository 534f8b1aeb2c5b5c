/* Page faults. One repetition is one page. */
#ifndef ALLOCSIM_CALIBRATION_FAULTS_H
#define ALLOCSIM_CALIBRATION_FAULTS_H

#include "system_calls.h"

static void fault_fresh(void) {
    char *area = map(pages);
    begin();
    write_words(area, pages);
    end(pages);
    unmap(area, pages);
}

static void fault_random(void) {
    char *area = map(pages);
    begin();
    write_words_at_random(area, pages);
    end(pages);
    unmap(area, pages);
}

/* The page tables are there, and the pages were just given back. */
static void fault_again(void) {
    char *area = map_written(pages);
    advise(area, pages, MADV_DONTNEED);
    begin();
    write_words(area, pages);
    end(pages);
    unmap(area, pages);
}

static void read_absent(void) {
    char *area = map(pages);
    begin();
    read_words(area, pages);
    end(pages);
    unmap(area, pages);
}

static void write_after_read(void) {
    char *area = map(pages);
    read_words(area, pages);
    begin();
    write_words(area, pages);
    end(pages);
    unmap(area, pages);
}

/* All bytes of fresh pages, not a word of each. */
static void write_all_fresh(void) {
    char *area = map(pages);
    begin();
    memset(area, 1, pages * PAGE_BYTES);
    end(pages);
    unmap(area, pages);
}

/* The kernel's work without the traps; fails where the kernel is older than 5.14. */
static void populate(void) {
    char *area = map(pages);
    begin();
    advise(area, pages, 23 /* MADV_POPULATE_WRITE */);
    end(pages);
    unmap(area, pages);
}

/* ---- huge pages; `pages` counts pages of 2 MiB here ---- */

static char *map_for_huge_pages(char **whole) {
    *whole = map((pages + 1) * (HUGE_PAGE_BYTES / PAGE_BYTES));
    uint64_t start = ((uint64_t)*whole + HUGE_PAGE_BYTES - 1) & -(uint64_t)HUGE_PAGE_BYTES;
    if (madvise((char *)start, pages * HUGE_PAGE_BYTES, MADV_HUGEPAGE)) fail("MADV_HUGEPAGE");
    return (char *)start;
}

static void write_huge_pages(char *area) {
    for (uint64_t i = 0; i < pages; i++) *(volatile char *)(area + i * HUGE_PAGE_BYTES) = 1;
}

static void huge_fault(void) {
    char *whole, *area = map_for_huge_pages(&whole);
    begin();
    write_huge_pages(area);
    end(pages);
    unmap(whole, (pages + 1) * (HUGE_PAGE_BYTES / PAGE_BYTES));
}

static void huge_unmap(void) {
    char *whole, *area = map_for_huge_pages(&whole);
    write_huge_pages(area);
    begin();
    unmap(area, pages * (HUGE_PAGE_BYTES / PAGE_BYTES));
    end(pages);
    unmap(whole, (pages + 1) * (HUGE_PAGE_BYTES / PAGE_BYTES));
}

static void huge_clear(void) {
    char *whole, *area = map_for_huge_pages(&whole);
    write_huge_pages(area);
    begin();
    for (uint64_t i = 0; i < pages * HUGE_PAGE_BYTES; i += PAGE_BYTES) clear_page(area + i);
    end(pages);
    unmap(whole, (pages + 1) * (HUGE_PAGE_BYTES / PAGE_BYTES));
}

#endif
