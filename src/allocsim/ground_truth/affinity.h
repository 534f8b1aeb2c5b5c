/* Which CPUs the program may run on, and how many it is told that there are. */
#ifndef ALLOCSIM_AFFINITY_H
#define ALLOCSIM_AFFINITY_H

#include <errno.h>

#include "files.h"

enum { CPU_WORDS = 512 };

static uint64_t pretended_cpus;

static uint64_t get_cpus(uint64_t *mask) {
    long bytes = checked(RAW(SYS_sched_getaffinity, 0, sizeof(uint64_t) * CPU_WORDS, mask), "affinity");
    uint64_t n = 0;
    for (long i = 0; i < bytes / 8; i++) n += (uint64_t)__builtin_popcountll(mask[i]);
    return n;
}

static void set_cpus(const uint64_t *mask) {
    checked(RAW(SYS_sched_setaffinity, 0, sizeof(uint64_t) * CPU_WORDS, mask), "affinity");
}

static uint64_t count_cpus(void) {
    uint64_t mask[CPU_WORDS] = {0};
    return get_cpus(mask);
}

/* Keep the first `wanted` CPUs of those allowed. */
static void restrict_cpus(uint64_t wanted) {
    uint64_t mask[CPU_WORDS] = {0}, n = get_cpus(mask);
    if (wanted > n) fail(STATUS_FAILED, "fewer CPUs here than asked for", (long)n);
    for (int i = CPU_WORDS - 1; i >= 0; i--)
        for (int bit = 63; bit >= 0 && n > wanted; bit--)
            if (mask[i] >> bit & 1) mask[i] &= ~(1ul << bit), n--;
    set_cpus(mask);
}

/* Stay on the present CPU: threads that take turns hand over four times faster there. */
static void stay_here(void) {
    uint64_t mask[CPU_WORDS] = {0};
    uint32_t cpu = 0;
    checked(RAW(SYS_getcpu, &cpu, 0, 0), "getcpu");
    mask[cpu / 64] = 1ul << cpu % 64;
    set_cpus(mask);
}

/* ---- what the allocator is told, in answer to either way of asking ---- */

#define ONLINE_CPUS "/sys/devices/system/cpu/online"

/* sched_getaffinity: the length of the mask, or -errno. */
static long pretend_affinity(long bytes, uint64_t *mask) {
    long needed = (long)(pretended_cpus + 63) / 64 * 8;
    if (bytes < needed) return -EINVAL;
    for (long i = 0; i < needed / 8; i++) mask[i] = 0;
    for (uint64_t cpu = 0; cpu < pretended_cpus; cpu++) mask[cpu / 64] |= 1ul << cpu % 64;
    return needed;
}

/* Opening ONLINE_CPUS: a file that lists "0-<last>", prepared because an op must not write it. */
static long pretend_online(void) {
    return RAW(SYS_openat, output_folder, "online", O_RDONLY | O_CLOEXEC);
}

static void write_online_cpus(void) {
    char text[32], *end = append_number(append_text(text, "0-"), pretended_cpus - 1);
    *end++ = '\n';
    int file = create_file("online");
    write_all(file, text, (uint64_t)(end - text));
    RAW(SYS_close, file);
}

#endif
