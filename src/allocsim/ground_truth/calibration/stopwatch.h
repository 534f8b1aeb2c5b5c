/* The stopwatch of all benchmarks: processor time, wall time and page faults of timed sections. */
#ifndef ALLOCSIM_STOPWATCH_H
#define ALLOCSIM_STOPWATCH_H

#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <time.h>

struct stopwatch {
    uint64_t repetitions; /* of what the benchmark repeats, in all sections */
    uint64_t sections;    /* each costs one reading of the clock, which the fit takes off */
    uint64_t cpu_ns, wall_ns, faults;
};

static struct stopwatch stopwatch;

static void fail(const char *what) {
    perror(what);
    exit(1);
}

static uint64_t clock_ns(clockid_t clock) {
    struct timespec now;
    clock_gettime(clock, &now);
    return (uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec;
}

static uint64_t faults_of_thread(void) {
    struct rusage usage;
    getrusage(RUSAGE_THREAD, &usage);
    return (uint64_t)usage.ru_minflt;
}

/* Start a timed section. The processor's clock is read last, and first when it ends. */
static void start(struct stopwatch *watch) {
    watch->faults -= faults_of_thread();
    watch->wall_ns -= clock_ns(CLOCK_MONOTONIC);
    watch->cpu_ns -= clock_ns(CLOCK_THREAD_CPUTIME_ID);
}

static void stop(struct stopwatch *watch, uint64_t repetitions) {
    watch->cpu_ns += clock_ns(CLOCK_THREAD_CPUTIME_ID);
    watch->wall_ns += clock_ns(CLOCK_MONOTONIC);
    watch->faults += faults_of_thread();
    watch->repetitions += repetitions;
    watch->sections++;
}

static void begin(void) { start(&stopwatch); }
static void end(uint64_t repetitions) { stop(&stopwatch, repetitions); }

#endif
