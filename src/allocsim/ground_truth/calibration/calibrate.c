/* Measures one small thing on this machine and prints what it took.
 *
 * usage: calibrate BENCHMARK SLICE_NS PAGES THREADS [SCRIPT]
 *   SLICE_NS  repeat until so much wall time has passed, after one repetition that is not counted
 *   PAGES     the size of what the benchmark works on
 *   THREADS   1, or how many threads contend
 *   SCRIPT    the file of a heap script, which runs once
 * prints: repetitions sections cpu_ns wall_ns minor_faults, sums over all that was timed
 *
 * The program is started anew for each slice, so that every measurement begins with a small
 * address space and an untouched heap.
 */
#define _GNU_SOURCE
#include <sched.h>
#include <sys/prctl.h>

#include "bytes.h"
#include "contention.h"
#include "faults.h"
#include "heap_script.h"
#include "system_calls.h"

struct benchmark {
    const char *name;
    void (*run)(void);
};

struct contest {
    const char *name;
    int all_timed; /* else only the first thread */
    void (*body)(struct stopwatch *), (*beside)(struct stopwatch *);
};

/* Make the host give this guest its memory before anything is timed. */
static void warm_up(void) {
    char *area = map(pages);
    begin();
    write_words(area, pages);
    end(pages);
    unmap(area, pages);
}

#define NAMED(name) {#name, name}

static const struct benchmark benchmarks[] = {
    NAMED(read_clock), NAMED(null_syscall), NAMED(brk_grow), NAMED(brk_shrink),
    NAMED(brk_shrink_written), NAMED(map_many), NAMED(unmap_many), NAMED(map_unmap),
    NAMED(brk_write_shrink), NAMED(map_write_unmap), NAMED(unmap_written), NAMED(replace_areas), NAMED(replace_cold_areas),
    NAMED(cut_areas), NAMED(join_areas),
    NAMED(mremap_in_place), NAMED(mremap_moving), NAMED(mprotect_grow), NAMED(dontneed_absent),
    NAMED(dontneed_written), NAMED(free_written), NAMED(fault_fresh), NAMED(fault_random),
    NAMED(fault_again), NAMED(read_absent), NAMED(write_after_read), NAMED(write_all_fresh),
    NAMED(populate), NAMED(huge_fault), NAMED(huge_unmap), NAMED(huge_clear), NAMED(clear_pages),
    NAMED(clear_at_random), NAMED(set_bytes), NAMED(copy_bytes), NAMED(store_words),
    NAMED(lock_unlock),
};

static const struct contest contests[] = {
    {"map_unmap", 1, pairs_of_maps, NULL},
    {"faults", 1, faults_alone, NULL},
    {"map_write_unmap", 1, maps_and_faults, NULL},
    {"faults_beside_maps", 0, faults_alone, map_until_over},
    {"shootdown_running", 0, shootdowns, spin_until_over},
    {"shootdown_sleeping", 0, shootdowns, sleep_until_over},
    {"interruptions", 0, interruptions, drop_until_over},
    {"take_turns", 1, take_turns, NULL},
    {"take_turns_here", 1, take_turns_here, NULL},
    {"wake_sleeper", 0, wake_sleeper, be_woken},
    {"pass_blocks", 1, pass_blocks, NULL},
};

#define COUNT(array) (sizeof(array) / sizeof *(array))

static cpu_set_t allowed_cpus;

static void repeat(void (*run)(void), uint64_t slice_ns) {
    run();
    stopwatch = (struct stopwatch){0};
    uint64_t until = clock_ns(CLOCK_MONOTONIC) + slice_ns;
    do run();
    while (clock_ns(CLOCK_MONOTONIC) < until);
}

static int run_benchmark(const char *name, uint64_t slice_ns) {
    for (size_t i = 0; i < COUNT(benchmarks); i++)
        if (strcmp(benchmarks[i].name, name) == 0) {
            stay_on(sched_getcpu());
            repeat(benchmarks[i].run, slice_ns);
            return 1;
        }
    return 0;
}

static int run_contest(const char *name, int threads, uint64_t slice_ns) {
    uint64_t until = clock_ns(CLOCK_MONOTONIC) + slice_ns;
    for (size_t i = 0; i < COUNT(contests); i++) {
        const struct contest *contest = &contests[i];
        if (strncmp(name, "threads:", 8) != 0 || strcmp(contest->name, name + 8) != 0) continue;
        do race(threads, contest->all_timed ? threads : 1, contest->body, contest->beside, &allowed_cpus);
        while (clock_ns(CLOCK_MONOTONIC) < until);
        return 1;
    }
    return 0;
}

static int run_heap(const char *name, const char *path) {
    int null = strcmp(name, "null_script") == 0;
    if (!null && strcmp(name, "script") != 0) return 0;
    stay_on(sched_getcpu());
    load_script(path);
    (null ? run_null_script : run_script)();
    return 1;
}

static void prepare(const char *name) {
    sched_getaffinity(0, sizeof allowed_cpus, &allowed_cpus);
    if (strncmp(name, "huge_", 5) != 0) prctl(PR_SET_THP_DISABLE, 1, 0, 0, 0);
    shuffle(pages < MAX_PAGES ? pages : MAX_PAGES);
    stopwatch = (struct stopwatch){0}; /* its page is there before the first section */
}

int main(int argc, char **argv) {
    if (argc < 5) return fputs("calibrate: too few arguments\n", stderr), 2;
    const char *name = argv[1];
    uint64_t slice_ns = strtoull(argv[2], NULL, 10);
    pages = strtoull(argv[3], NULL, 10);
    prepare(name);
    if (strcmp(name, "warm_up") == 0)
        warm_up();
    else if (!run_benchmark(name, slice_ns) && !run_contest(name, atoi(argv[4]), slice_ns) &&
             !(argc > 5 && run_heap(name, argv[5])))
        return fprintf(stderr, "calibrate: no benchmark %s\n", name), 2;
    printf("%lu %lu %lu %lu %lu\n", stopwatch.repetitions, stopwatch.sections, stopwatch.cpu_ns,
           stopwatch.wall_ns, stopwatch.faults);
    return 0;
}
