/* Timing of threads that run freely: each makes its own ops in order, as fast as it can.
 *
 * An op waits only for the earlier ops on the same object, whichever threads make them: spinning for
 * some microseconds, then asleep. A thread that kept its CPU busy would be interrupted whenever another
 * one unmaps pages, as no thread of a program that waits is. All ops are in memory, sorted by thread;
 * objects are numbered anew so that those first used by different threads share no cache line.
 */
#ifndef ALLOCSIM_FREE_RUN_H
#define ALLOCSIM_FREE_RUN_H

#include <time.h>

#include "counters.h"
#include "files.h"
#include "gates.h"
#include "run_ops.h"

enum {
    SLOTS_IN_TURN = 16,
    SPINS = 200,
    MOST_TICKS = 256 * SPINS, /* if more have passed while spinning, another program ran meanwhile */
};
#define NO_TURN UINT32_MAX
#define FREE_RUN_ADDRESS 0x200000000000ul

struct thread_time {
    uint64_t wall_ns, cpu_ns;
    uint64_t waiting_ns; /* of cpu_ns: waiting for earlier ops on an object */
};

static struct {
    struct op *ops;
    uint32_t *turns;   /* per op: how many ops on its object come before it */
    uint32_t *done;    /* per object, by its new number: how many have been made */
    uint32_t *renamed; /* per object: first its owner plus 1, then its new number */
    uint64_t *latest;  /* per object, by its new number: its latest op among those placed, plus 1 */
    uint64_t *first;   /* per thread: its first op; one more for the end */
    uint64_t *next;    /* per thread: where its next op or object goes */
    struct thread_time *times;
    uint64_t *waiting_ticks; /* per thread, of the time stamp counter: short waits */
    uint64_t running;
} free_run;

/* Slots that `n_slots` objects need once each thread's begin on a cache line of their own. */
static uint64_t slots_with_gaps(uint64_t n_slots, uint64_t n_threads) {
    return n_slots + SLOTS_IN_TURN * n_threads;
}

static void for_each_op(void (*visit)(const struct op *)) {
    RAW(SYS_lseek, 0, 0, SEEK_SET);
    uint64_t n;
    while ((n = read_all(0, far.batch, sizeof(struct op) * BATCH_OPS) / sizeof(struct op)))
        for (uint64_t i = 0; i < n; i++) visit(&far.batch[i]);
}

static void count_op(const struct op *op) {
    free_run.first[thread_of(op) + 1]++;
    uint32_t *owner = &free_run.renamed[op->object];
    if (kind_of(op) != MARK && *owner == 0) {
        *owner = (uint32_t)thread_of(op) + 1;
        free_run.next[thread_of(op)]++;
    }
}

/* Turn the numbers of objects per thread into where the first of each goes. */
static void rename_objects(uint64_t n_slots, uint64_t n_threads) {
    uint64_t start = 0;
    for (uint64_t thread = 0; thread < n_threads; thread++) {
        uint64_t owned = free_run.next[thread];
        free_run.next[thread] = start;
        start += (owned + SLOTS_IN_TURN - 1) / SLOTS_IN_TURN * SLOTS_IN_TURN;
    }
    for (uint64_t slot = 0; slot < n_slots; slot++) {
        uint32_t owner = free_run.renamed[slot];
        if (owner) free_run.renamed[slot] = (uint32_t)free_run.next[owner - 1]++;
    }
}

/* An op's own thread is known by its place; in its stead stands that of the next op on the object
 * where that is another one, plus 1, or 0. */
INLINE int32_t successor_of(const struct op *op) { return thread_of(op) - 1; }

static void set_successor(struct op *op, int32_t thread) {
    op->kind_and_thread = (uint32_t)kind_of(op) | (uint32_t)(thread + 1) << 8;
}

static uint64_t thread_at(uint64_t i) {
    uint64_t thread = 0;
    while (i >= free_run.first[thread + 1]) thread++;
    return thread;
}

/* The op at place i comes after those on its object that have been placed. */
static void queue_op(uint64_t i, int32_t thread) {
    int32_t object = free_run.ops[i].object;
    uint64_t before = free_run.latest[object];
    if (before && thread_at(before - 1) != (uint64_t)thread) set_successor(&free_run.ops[before - 1], thread);
    free_run.latest[object] = i + 1;
    free_run.turns[i] = free_run.done[object]++;
}

static void place_op(const struct op *op) {
    uint64_t i = free_run.next[thread_of(op)]++;
    free_run.ops[i] = *op;
    free_run.ops[i].object = (int32_t)free_run.renamed[op->object];
    set_successor(&free_run.ops[i], -1);
    free_run.turns[i] = NO_TURN;
    if (kind_of(op) != MARK) queue_op(i, thread_of(op));
}

static void *take(char **free, uint64_t bytes) {
    char *start = *free;
    *free += whole_pages(bytes);
    return start;
}

static char *map_populated(uint64_t address, uint64_t bytes) {
    long flags = MAP_PRIVATE | MAP_ANONYMOUS | MAP_POPULATE | MAP_FIXED_NOREPLACE;
    return (char *)checked(RAW(SYS_mmap, address, bytes, PROT_READ | PROT_WRITE, flags, -1, 0),
                           "mapping of all ops");
}

static void map_tables(uint64_t n_slots, uint64_t n_threads) {
    uint64_t slots = slots_with_gaps(n_slots, n_threads);
    char *at = map_populated(FREE_RUN_ADDRESS, 16 * slots + 48 * n_threads + 9 * PAGE_BYTES);
    free_run.latest = take(&at, sizeof(uint64_t) * slots);
    free_run.done = take(&at, sizeof(uint32_t) * slots);
    free_run.renamed = take(&at, sizeof(uint32_t) * n_slots);
    free_run.first = take(&at, sizeof(uint64_t) * (n_threads + 1));
    free_run.next = take(&at, sizeof(uint64_t) * n_threads);
    free_run.times = take(&at, sizeof(struct thread_time) * n_threads);
    free_run.waiting_ticks = take(&at, sizeof(uint64_t) * n_threads);
}

static void map_ops(uint64_t n_ops) {
    uint64_t bytes = whole_pages(sizeof(struct op) * n_ops) + whole_pages(sizeof(uint32_t) * n_ops);
    char *at = map_populated(2 * FREE_RUN_ADDRESS, bytes + PAGE_BYTES);
    free_run.ops = take(&at, sizeof(struct op) * n_ops);
    free_run.turns = take(&at, sizeof(uint32_t) * n_ops);
}

/* Read the stream twice: to count, and to put each op in its place. */
static void load_free_run(uint64_t n_slots, uint64_t n_threads) {
    map_tables(n_slots, n_threads);
    for_each_op(count_op);
    rename_objects(n_slots, n_threads);
    for (uint64_t t = 0; t < n_threads; t++) free_run.first[t + 1] += free_run.first[t];
    for (uint64_t t = 0; t < n_threads; t++) free_run.next[t] = free_run.first[t];
    map_ops(free_run.first[n_threads]);
    for_each_op(place_op);
    for (uint64_t i = 0; i < slots_with_gaps(n_slots, n_threads); i++) free_run.done[i] = 0;
}

/* ---- the run ---- */

INLINE int is_turn(const uint32_t *done, uint32_t turn) {
    return __atomic_load_n(done, __ATOMIC_ACQUIRE) == turn;
}

/* Sleep until it is the turn of the thread's op on `object`; the processor time of that is noted.
 * Who is woken looks again: the gate may have been opened late, for an earlier wait for the object. */
static void sleep_until_turn(const uint32_t *done, uint32_t turn, uint32_t object, uint64_t thread) {
    uint32_t *awaited = &far.gates[thread].awaited;
    uint64_t start = clock_ns(CLOCK_THREAD_CPUTIME_ID);
    while (!is_turn(done, turn)) {
        __atomic_store_n(awaited, object + 1, __ATOMIC_SEQ_CST);
        if (!is_turn(done, turn) || !__atomic_exchange_n(awaited, 0, __ATOMIC_SEQ_CST)) pass_gate(thread);
    }
    free_run.times[thread].waiting_ns += clock_ns(CLOCK_THREAD_CPUTIME_ID) - start;
}

/* An op is done, and another thread's is next on its object: wake that thread if it sleeps so long.
 * What that takes is no part of the op either. */
static __attribute__((noinline)) void wake_successor(const struct op *op, uint64_t thread) {
    uint64_t successor = (uint64_t)successor_of(op);
    uint32_t *awaited = &far.gates[successor].awaited, object = (uint32_t)op->object + 1;
    __atomic_thread_fence(__ATOMIC_SEQ_CST);
    if (!__atomic_compare_exchange_n(awaited, &object, 0, 0, __ATOMIC_SEQ_CST, __ATOMIC_RELAXED)) return;
    uint64_t start = clock_ns(CLOCK_THREAD_CPUTIME_ID);
    open_gate(successor);
    free_run.times[thread].waiting_ns += clock_ns(CLOCK_THREAD_CPUTIME_ID) - start;
}

/* A short wait is timed by the processor's counter: asking the kernel would take longer than it. */
static __attribute__((noinline)) void wait_for_turn(const uint32_t *done, uint32_t turn, uint32_t object,
                                                    uint64_t thread) {
    uint64_t start = __builtin_ia32_rdtsc();
    for (int spins = 0; spins < SPINS && !is_turn(done, turn); spins++) __builtin_ia32_pause();
    uint64_t ticks = __builtin_ia32_rdtsc() - start;
    free_run.waiting_ticks[thread] += ticks < MOST_TICKS ? ticks : MOST_TICKS;
    if (!is_turn(done, turn)) sleep_until_turn(done, turn, object, thread);
}

#define FREE_LOOP(name, action)                                                                \
    static void name(uint64_t thread) {                                                        \
        for (uint64_t i = free_run.first[thread]; i < free_run.first[thread + 1]; i++) {       \
            const struct op *op = &free_run.ops[i];                                            \
            uint32_t *done = &free_run.done[op->object], turn = free_run.turns[i];             \
            if (turn == NO_TURN) continue;                                                     \
            if (!is_turn(done, turn)) wait_for_turn(done, turn, (uint32_t)op->object, thread); \
            action;                                                                            \
            __atomic_store_n(done, turn + 1, __ATOMIC_RELEASE);                                \
            if (successor_of(op) >= 0) wake_successor(op, thread);                             \
        }                                                                                      \
    }

FREE_LOOP(run_free_writing_nothing, run_op(op, WRITE_NOTHING))
FREE_LOOP(run_free_writing_pages, run_op(op, WRITE_PAGES))
FREE_LOOP(run_free_writing_all, run_op(op, WRITE_ALL))
FREE_LOOP(run_free_null, run_nothing(op))

static void (*const free_loops[])(uint64_t) = {run_free_writing_nothing, run_free_writing_pages,
                                               run_free_writing_all};

/* The thread's clocks, added (sign 1) or taken away (sign -1); the counter's value. */
static uint64_t add_clocks(struct thread_time *time, uint64_t sign) {
    time->wall_ns += sign * clock_ns(CLOCK_MONOTONIC);
    time->cpu_ns += sign * clock_ns(CLOCK_THREAD_CPUTIME_ID);
    return __builtin_ia32_rdtsc();
}

/* The ops of one thread, once its gate is opened; the last to end opens the main thread's. */
static void run_freely(uint64_t thread, uint64_t main_gate, void (*loop)(uint64_t)) {
    struct thread_time *time = &free_run.times[thread];
    pass_gate(thread);
    uint64_t start = add_clocks(time, (uint64_t)-1);
    loop(thread);
    uint64_t ticks = add_clocks(time, 1) - start;
    double ns_per_tick = (double)time->wall_ns / (double)(ticks ? ticks : 1);
    time->waiting_ns += (uint64_t)(ns_per_tick * (double)free_run.waiting_ticks[thread]);
    if (__atomic_sub_fetch(&free_run.running, 1, __ATOMIC_ACQ_REL) == 0) open_gate(main_gate);
}

/* Let all threads run, from the main thread; the number of ops. */
static uint64_t run_all_freely(uint64_t n_threads) {
    free_run.running = n_threads;
    start_counting();
    for (uint64_t thread = 0; thread < n_threads; thread++) open_gate(thread);
    pass_gate(n_threads);
    stop_counting();
    write_all(create_file("threads"), free_run.times, sizeof(struct thread_time) * n_threads);
    return free_run.first[n_threads];
}

#endif
