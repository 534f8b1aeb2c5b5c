/* Resident memory before the first op, and so many times at equal distances up to the last. */
#ifndef ALLOCSIM_SAMPLES_H
#define ALLOCSIM_SAMPLES_H

#include "files.h"
#include "prefault.h"

static struct {
    uint64_t wanted, n_ops; /* no more samples than ops; 0: none */
    uint64_t taken, next;   /* next: after how many ops */
    int file;
} samples;

/* All the program's resident memory in KiB by its page table; the kernel's counters lag behind. */
static uint64_t resident_kib(void) {
    int file = (int)checked(RAW(SYS_openat, AT_FDCWD, "/proc/self/smaps_rollup", O_RDONLY), "smaps_rollup");
    far.text[read_all(file, far.text, TEXT_BYTES - 1)] = 0;
    RAW(SYS_close, file);
    for (const char *at = far.text; *at; at++)
        if (at[0] == 'R' && at[1] == 's' && at[2] == 's' && at[3] == ':') return parse_number(field(at, 1));
    return 0;
}

static void sample_if_due(uint64_t ops_done) {
    if (!samples.wanted || ops_done != samples.next) return;
    uint64_t sample[2] = {ops_done, resident_kib()};
    write_all(samples.file, sample, sizeof sample);
    samples.next = ++samples.taken * samples.n_ops / samples.wanted;
}

#endif
