/* Work on bytes of resident pages: clearing, copying, writing. And a lock that nobody holds. */
#ifndef ALLOCSIM_CALIBRATION_BYTES_H
#define ALLOCSIM_CALIBRATION_BYTES_H

#include "system_calls.h"

enum { PASSES = 16, LOCKS = 10000 };

static void clear_pages(void) {
    char *area = map_written(pages);
    begin();
    for (uint64_t i = 0; i < pages; i++) clear_page(area + i * PAGE_BYTES);
    end(pages);
    unmap(area, pages);
}

static void clear_at_random(void) {
    char *area = map_written(pages);
    begin();
    for (uint64_t i = 0; i < pages; i++) clear_page(area + (uint64_t)random_order[i] * PAGE_BYTES);
    end(pages);
    unmap(area, pages);
}

/* One repetition is one page in these. */
static void set_bytes(void) {
    char *area = map_written(pages);
    begin();
    for (int i = 0; i < PASSES; i++) memset(area, i & 1, pages * PAGE_BYTES);
    end(PASSES * pages);
    unmap(area, pages);
}

static void copy_bytes(void) {
    char *from = map_written(pages), *to = map_written(pages);
    begin();
    for (int i = 0; i < PASSES; i++) memcpy(to, from, pages * PAGE_BYTES);
    end(PASSES * pages);
    unmap(from, pages);
    unmap(to, pages);
}

static void store_words(void) {
    char *area = map_written(pages);
    begin();
    for (int i = 0; i < PASSES; i++)
        for (volatile uint64_t *word = (void *)area; word < (uint64_t *)(area + pages * PAGE_BYTES);)
            *word++ = (uint64_t)i;
    end(PASSES * pages);
    unmap(area, pages);
}

static void lock_unlock(void) {
    static int lock;
    begin();
    for (int i = 0; i < LOCKS; i++) {
        int nobody = 0;
        __atomic_compare_exchange_n(&lock, &nobody, 1, 0, __ATOMIC_ACQUIRE, __ATOMIC_RELAXED);
        __atomic_exchange_n(&lock, 0, __ATOMIC_RELEASE);
    }
    end(LOCKS);
}

#endif
