/* What threads of one process do to each other in the kernel.
 *
 * All threads wait for each other at a start line, each on a CPU of its own; the result is the mean
 * over those that are timed. `pages` is the size of each thread's area.
 */
#ifndef ALLOCSIM_CALIBRATION_CONTENTION_H
#define ALLOCSIM_CALIBRATION_CONTENTION_H

#include <linux/futex.h>
#include <pthread.h>
#include <sched.h>
#include <sys/syscall.h>

#include "faults.h"

enum { MAX_THREADS = 64, PAIRS = 2000, ROUNDS = 256, SHOOTDOWN_ROUNDS = 20, SHOOTDOWN_PAGES = 64, TURNS = 64,
       INTERRUPTIONS = 256, SETTLE_NS = 20000, PASSED_BLOCKS = 64, HAND_OVERS = 256 };

struct contender {
    pthread_t thread;
    int cpu;
    void (*body)(struct stopwatch *);
    struct stopwatch watch;
};

static struct contender contenders[MAX_THREADS];
static pthread_barrier_t start_line;
static int over; /* set when the timed threads are done */
static pthread_mutex_t sleeping = PTHREAD_MUTEX_INITIALIZER; /* held until then */

static void stay_on(int cpu) {
    cpu_set_t set;
    CPU_ZERO(&set);
    CPU_SET(cpu, &set);
    if (sched_setaffinity(0, sizeof set, &set)) fail("sched_setaffinity");
}

/* The n-th CPU of those allowed at the program's start, or -1. */
static int nth_cpu(const cpu_set_t *allowed, int n) {
    for (int cpu = 0; cpu < CPU_SETSIZE; cpu++)
        if (CPU_ISSET(cpu, allowed) && n-- == 0) return cpu;
    return -1;
}

/* ---- what a thread does ---- */

static void pairs_of_maps(struct stopwatch *watch) {
    start(watch);
    for (int i = 0; i < PAIRS; i++) unmap(map(pages), pages);
    stop(watch, PAIRS);
}

static void faults_alone(struct stopwatch *watch) {
    char *area = map(pages);
    pthread_barrier_wait(&start_line);
    start(watch);
    write_words(area, pages);
    stop(watch, pages);
    unmap(area, pages);
}

static void maps_and_faults(struct stopwatch *watch) {
    start(watch);
    for (int i = 0; i < ROUNDS; i++) unmap(map_written(pages), pages);
    stop(watch, ROUNDS);
}

static void shootdowns(struct stopwatch *watch) {
    char *area = map(SHOOTDOWN_PAGES);
    for (int round = 0; round < SHOOTDOWN_ROUNDS; round++) {
        write_words(area, SHOOTDOWN_PAGES);
        start(watch);
        for (int i = 0; i < SHOOTDOWN_PAGES; i++) advise(area + i * PAGE_BYTES, 1, MADV_DONTNEED);
        stop(watch, SHOOTDOWN_PAGES);
    }
    unmap(area, SHOOTDOWN_PAGES);
}

/* Two threads wake each other in turn: a repetition is a sleep and a wake-up of both. */
static void take_turns(struct stopwatch *watch) {
    static int whose;
    int me = watch == &contenders[1].watch, seen;
    start(watch);
    for (int i = 0; i < TURNS; i++) {
        while ((seen = __atomic_load_n(&whose, __ATOMIC_ACQUIRE)) != me)
            syscall(SYS_futex, &whose, FUTEX_WAIT_PRIVATE, seen, NULL, NULL, 0);
        __atomic_store_n(&whose, !me, __ATOMIC_RELEASE);
        syscall(SYS_futex, &whose, FUTEX_WAKE_PRIVATE, 1, NULL, NULL, 0);
    }
    stop(watch, TURNS);
}

/* The same on one CPU, which one of the two always has. */
static void take_turns_here(struct stopwatch *watch) {
    stay_on(contenders[0].cpu);
    take_turns(watch);
}

static int drops;  /* pages that another thread has given back */
static int sleeps; /* how often the sleeper was about to sleep, and was woken */
static int wakes;

/* What a thread that makes no call loses by another one's shootdowns, the repetitions: the time
 * between two readings of the clock that is more than ten times the shortest. */
static void interruptions(struct stopwatch *watch) {
    int first = __atomic_load_n(&drops, __ATOMIC_RELAXED), now = first;
    uint64_t before = clock_ns(CLOCK_MONOTONIC), shortest = UINT64_MAX, lost = 0;
    while ((now = __atomic_load_n(&drops, __ATOMIC_RELAXED)) - first < INTERRUPTIONS) {
        uint64_t after = clock_ns(CLOCK_MONOTONIC), step = after - before;
        if (step < shortest) shortest = step;
        if (step > 10 * shortest) lost += step;
        before = after;
    }
    *watch = (struct stopwatch){
        .repetitions = (uint64_t)(now - first), .sections = 1, .cpu_ns = lost, .wall_ns = lost};
}

/* What it takes to wake a thread that sleeps. */
static void wake_sleeper(struct stopwatch *watch) {
    int first = __atomic_load_n(&wakes, __ATOMIC_RELAXED);
    for (int turn = first + 1; turn <= first + TURNS; turn++) {
        while (__atomic_load_n(&sleeps, __ATOMIC_ACQUIRE) != turn) {
        }
        uint64_t asleep = clock_ns(CLOCK_MONOTONIC) + SETTLE_NS, begun;
        while ((begun = clock_ns(CLOCK_MONOTONIC)) < asleep) {
        }
        __atomic_store_n(&wakes, turn, __ATOMIC_RELEASE);
        syscall(SYS_futex, &wakes, FUTEX_WAKE_PRIVATE, 1, NULL, NULL, 0);
        uint64_t took = clock_ns(CLOCK_MONOTONIC) - begun;
        watch->cpu_ns += took;
        watch->wall_ns += took;
    }
    watch->repetitions = TURNS;
    watch->sections = 1;
}

/* Blocks of 1 to 2 KB that one thread allocates and the other frees in another order, in turn; or
 * one thread does both. passed_blocks.py knows the same sizes and order. */
static void *passed[PASSED_BLOCKS];
static int passes; /* so far; an odd one frees */

static void pass_once(int pass) {
    for (unsigned i = 0; i < PASSED_BLOCKS; i++)
        if (pass % 2)
            free(passed[(i * 61 + 7) % PASSED_BLOCKS]);
        else
            passed[i] = malloc(1048 + 16 * (i * 29 % 61));
}

static void pass_blocks(struct stopwatch *watch) {
    int me = watch == &contenders[1].watch;
    for (int pass = 0; pass < HAND_OVERS; pass++) {
        if (contenders[1].body && pass % 2 != me) continue;
        while (__atomic_load_n(&passes, __ATOMIC_ACQUIRE) != pass) {
        }
        start(watch);
        pass_once(pass);
        stop(watch, PASSED_BLOCKS);
        __atomic_store_n(&passes, pass + 1, __ATOMIC_RELEASE);
    }
}

/* ---- what untimed threads do ---- */

static void drop_until_over(struct stopwatch *watch) {
    (void)watch;
    char *page = map(1);
    while (!__atomic_load_n(&over, __ATOMIC_RELAXED)) {
        write_words(page, 1);
        advise(page, 1, MADV_DONTNEED);
        __atomic_fetch_add(&drops, 1, __ATOMIC_RELAXED);
    }
    unmap(page, 1);
}

static void be_woken(struct stopwatch *watch) {
    (void)watch;
    int first = __atomic_load_n(&wakes, __ATOMIC_RELAXED), seen;
    for (int turn = first + 1; turn <= first + TURNS; turn++) {
        __atomic_store_n(&sleeps, turn, __ATOMIC_RELEASE);
        while ((seen = __atomic_load_n(&wakes, __ATOMIC_ACQUIRE)) != turn)
            syscall(SYS_futex, &wakes, FUTEX_WAIT_PRIVATE, seen, NULL, NULL, 0);
    }
}

static void map_until_over(struct stopwatch *watch) {
    (void)watch;
    pthread_barrier_wait(&start_line);
    while (!__atomic_load_n(&over, __ATOMIC_RELAXED)) unmap(map(1), 1);
}

static void spin_until_over(struct stopwatch *watch) {
    (void)watch;
    while (!__atomic_load_n(&over, __ATOMIC_RELAXED)) {
    }
}

static void sleep_until_over(struct stopwatch *watch) {
    (void)watch;
    pthread_mutex_lock(&sleeping);
    pthread_mutex_unlock(&sleeping);
}

/* ---- all together ---- */

static void *contend(void *argument) {
    struct contender *self = argument;
    stay_on(self->cpu);
    pthread_barrier_wait(&start_line);
    self->body(&self->watch);
    return NULL;
}

static void add_mean(int timed) {
    for (int i = 0; i < timed; i++) {
        const struct stopwatch *watch = &contenders[i].watch;
        stopwatch.repetitions += watch->repetitions;
        stopwatch.sections += watch->sections;
        stopwatch.cpu_ns += watch->cpu_ns;
        stopwatch.wall_ns += watch->wall_ns;
        stopwatch.faults += watch->faults;
    }
}

/* The first `timed` of n threads run `body`, the others `beside`, until the timed ones are done. */
static void race(int n, int timed, void (*body)(struct stopwatch *),
                 void (*beside)(struct stopwatch *), const cpu_set_t *allowed) {
    pthread_barrier_init(&start_line, NULL, (unsigned)n);
    over = passes = 0;
    memset(contenders, 0, sizeof contenders);
    pthread_mutex_lock(&sleeping);
    for (int i = 0; i < n; i++) {
        contenders[i] = (struct contender){.cpu = nth_cpu(allowed, i), .body = i < timed ? body : beside};
        if (contenders[i].cpu < 0) fail("fewer CPUs than threads");
        if (pthread_create(&contenders[i].thread, NULL, contend, &contenders[i])) fail("pthread_create");
    }
    for (int i = 0; i < n; i++) {
        pthread_join(contenders[i].thread, NULL);
        if (i + 1 == timed) {
            __atomic_store_n(&over, 1, __ATOMIC_RELAXED);
            pthread_mutex_unlock(&sleeping);
        }
    }
    add_mean(timed);
    pthread_barrier_destroy(&start_line);
}

#endif
