/* Clocks, and the process's counters of time and page faults. */
#ifndef ALLOCSIM_COUNTERS_H
#define ALLOCSIM_COUNTERS_H

#include <sys/resource.h>
#include <time.h>

#include "raw_syscall.h"

static struct {
    uint64_t cpu_ns, wall_ns, minor_faults, major_faults;
} spent;

static uint64_t clock_ns(clockid_t clock) {
    struct timespec now;
    RAW(SYS_clock_gettime, clock, &now);
    return (uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec;
}

static uint64_t minor_faults_of_thread(void) {
    struct rusage usage;
    RAW(SYS_getrusage, RUSAGE_THREAD, &usage);
    return (uint64_t)usage.ru_minflt;
}

/* Add (sign 1) or take away (sign -1) the counters' present values. */
static void add_counters(uint64_t sign) {
    struct rusage usage;
    RAW(SYS_getrusage, RUSAGE_SELF, &usage);
    spent.minor_faults += sign * (uint64_t)usage.ru_minflt;
    spent.major_faults += sign * (uint64_t)usage.ru_majflt;
    spent.wall_ns += sign * clock_ns(CLOCK_MONOTONIC);
    spent.cpu_ns += sign * clock_ns(CLOCK_PROCESS_CPUTIME_ID);
}

static void start_counting(void) { add_counters((uint64_t)-1); }
static void stop_counting(void) { add_counters(1); }

#endif
