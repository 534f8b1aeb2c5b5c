/* System calls by which allocators get, change and give back memory. */
#ifndef ALLOCSIM_CALIBRATION_SYSTEM_CALLS_H
#define ALLOCSIM_CALIBRATION_SYSTEM_CALLS_H

#include "memory.h"

enum { CALLS = 32, WARM_PAGES = 256, COLD_PAGES = 8192 };

static uint64_t pages; /* the size that the benchmark was asked for */

static void read_clock(void) {
    begin();
    end(1);
}

static void null_syscall(void) {
    begin();
    for (int i = 0; i < 1000; i++) syscall(SYS_getppid);
    end(1000);
}

/* ---- brk: the raw call, so that only the kernel is measured ---- */

static void set_break(uint64_t address) {
    if ((uint64_t)syscall(SYS_brk, address) != address) fail("brk");
}

static uint64_t grow_heap(uint64_t from) {
    for (uint64_t i = 1; i <= CALLS; i++) set_break(from + i * pages * PAGE_BYTES);
    return from + CALLS * pages * PAGE_BYTES;
}

static void shrink_heap(uint64_t to) {
    for (uint64_t i = CALLS; i-- > 0;) set_break(to + i * pages * PAGE_BYTES);
}

static uint64_t heap_start(void) {
    return ((uint64_t)syscall(SYS_brk, 0) + PAGE_BYTES - 1) & -(uint64_t)PAGE_BYTES;
}

static void brk_grow(void) {
    uint64_t from = heap_start();
    begin();
    grow_heap(from);
    end(CALLS);
    set_break(from);
}

static void brk_shrink(void) {
    uint64_t from = heap_start();
    grow_heap(from);
    begin();
    shrink_heap(from);
    end(CALLS);
}

static void brk_shrink_written(void) {
    uint64_t from = heap_start();
    grow_heap(from);
    write_words((char *)from, CALLS * pages);
    begin();
    shrink_heap(from);
    end(CALLS);
}

static void brk_write_shrink(void) {
    uint64_t from = heap_start();
    begin();
    for (int i = 0; i < CALLS; i++) {
        set_break(from + pages * PAGE_BYTES);
        write_words((char *)from, pages);
        set_break(from);
    }
    end(CALLS);
}

/* ---- mmap and munmap ---- */

static void map_many(void) {
    char *areas[CALLS];
    begin();
    for (int i = 0; i < CALLS; i++) areas[i] = map(pages);
    end(CALLS);
    for (int i = 0; i < CALLS; i++) unmap(areas[i], pages);
}

static void unmap_many(void) {
    char *areas[CALLS];
    for (int i = 0; i < CALLS; i++) areas[i] = map(pages);
    begin();
    for (int i = 0; i < CALLS; i++) unmap(areas[i], pages);
    end(CALLS);
}

static void map_unmap(void) {
    begin();
    for (int i = 0; i < CALLS; i++) unmap(map(pages), pages);
    end(CALLS);
}

static void map_write_unmap(void) {
    begin();
    for (int i = 0; i < CALLS; i++) unmap(map_written(pages), pages);
    end(CALLS);
}

/* Many areas, of which one after the other is replaced in random order: each leaves a hole, which
 * the next fills. The more memory they are in all, the less of it do the caches hold. */
static void replace_in_turn(uint64_t pages_in_all) {
    static char *areas[COLD_PAGES / 2];
    static uint64_t n, next;
    if (n == 0) {
        n = pages_in_all / pages < COLD_PAGES / 2 ? pages_in_all / pages : COLD_PAGES / 2;
        for (uint64_t i = 0; i < n; i++) areas[i] = map_written(pages);
        shuffle(n);
    }
    begin();
    for (int i = 0; i < CALLS; i++) {
        char **area = &areas[random_order[next++ % n]];
        unmap(*area, pages);
        *area = map_written(pages);
    }
    end(CALLS);
}

static void replace_areas(void) { replace_in_turn(WARM_PAGES); }
static void replace_cold_areas(void) { replace_in_turn(COLD_PAGES); }

/* Every other page of an area is taken out and comes back. */
static char *map_for_holes(void) { return map_written(2 * CALLS + 1); }

static void cut_holes(char *area) {
    for (uint64_t i = 0; i < CALLS; i++) unmap(area + (2 * i + 1) * PAGE_BYTES, 1);
}

static void cut_areas(void) {
    char *area = map_for_holes();
    begin();
    cut_holes(area);
    end(CALLS);
    unmap(area, 2 * CALLS + 1);
}

static void join_areas(void) {
    char *area = map_for_holes();
    int flags = MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED;
    cut_holes(area);
    begin();
    for (uint64_t i = 0; i < CALLS; i++) {
        char *hole = area + (2 * i + 1) * PAGE_BYTES;
        if (mmap(hole, PAGE_BYTES, PROT_READ | PROT_WRITE, flags, -1, 0) != hole) fail("mmap");
    }
    end(CALLS);
    unmap(area, 2 * CALLS + 1);
}

static void unmap_written(void) {
    char *area = map_written(pages);
    begin();
    unmap(area, pages);
    end(1);
}

/* ---- mremap ---- */

static char *resize(char *area, uint64_t from, uint64_t to, int flags) {
    char *moved = mremap(area, from * PAGE_BYTES, to * PAGE_BYTES, flags);
    if (moved == MAP_FAILED) fail("mremap");
    return moved;
}

/* One repetition is a pair: grow by a page, shrink by a page. */
static void mremap_in_place(void) {
    char *area = map_written(2 * pages);
    unmap(area + pages * PAGE_BYTES, pages);
    begin();
    for (int i = 0; i < CALLS; i++) {
        resize(area, pages, pages + 1, 0);
        resize(area, pages + 1, pages, 0);
    }
    end(CALLS);
    unmap(area, pages);
}

/* A guard above the area makes it move when it grows. */
static void mremap_moving(void) {
    char *area = map_written(pages + 1);
    if (mprotect(area + pages * PAGE_BYTES, PAGE_BYTES, PROT_NONE)) fail("mprotect");
    begin();
    char *moved = resize(area, pages, pages + 1, MREMAP_MAYMOVE);
    end(1);
    if (moved == area) fail("mremap did not move");
    unmap(moved, pages + 1);
    unmap(area + pages * PAGE_BYTES, 1);
}

/* ---- mprotect and madvise ---- */

/* A reserved area becomes usable step by step, as glibc's secondary heaps do. */
static void mprotect_grow(void) {
    uint64_t bytes = CALLS * pages * PAGE_BYTES, step = pages * PAGE_BYTES;
    char *area = mmap(NULL, 2 * bytes, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (area == MAP_FAILED) fail("mmap");
    begin();
    for (uint64_t i = 0; i < CALLS; i++)
        if (mprotect(area + i * step, step, PROT_READ | PROT_WRITE)) fail("mprotect");
    end(CALLS);
    munmap(area, 2 * bytes);
}

static void dontneed_absent(void) {
    char *area = map(pages);
    begin();
    for (int i = 0; i < CALLS; i++) advise(area, pages, MADV_DONTNEED);
    end(CALLS);
    unmap(area, pages);
}

static void dontneed_written(void) {
    char *area = map_written(pages);
    begin();
    advise(area, pages, MADV_DONTNEED);
    end(1);
    unmap(area, pages);
}

static void free_written(void) {
    char *area = map_written(pages);
    begin();
    advise(area, pages, MADV_FREE);
    end(1);
    unmap(area, pages);
}

#endif
