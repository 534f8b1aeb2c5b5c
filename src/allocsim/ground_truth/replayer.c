/* Replays an op stream on the C library that it is linked with, and reports what that did.
 *
 * usage: replayer MODE WRITES HUGE_PAGES CPUS N_SLOTS N_THREADS SAMPLES N_OPS FOLDER < ops
 *   MODE        ops (report each op), ops+syscalls, time, null (time the loop without allocator),
 *               time-free, null-free (the same with threads that do not wait for each other),
 *               ops-held (as ops, then stop by SIGSTOP, so that the heap can be read)
 *   WRITES      none, written (a byte in each page of `written`), fill (every byte of it)
 *   HUGE_PAGES  system, never
 *   CPUS        number of CPUs that the allocator is told of (timed: may use); 0: as it is
 *   SAMPLES     how often to note resident memory among N_OPS ops (reports only)
 *   FOLDER      takes the results; docs/ground_truth.md lists the files
 *
 * Nothing here may disturb what is observed: all memory is in one far mapping, all system calls
 * are raw, libraries and stacks are touched before the first op, addresses are not randomised.
 * Unless told to run freely (free_run.h), several threads run in lock-step: one op at a time, each
 * on its own thread, in stream order.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <pthread.h>

#include "counters.h"
#include "far_memory.h"
#include "files.h"
#include "free_run.h"
#include "gates.h"
#include "options.h"
#include "prefault.h"
#include "process.h"
#include "run_ops.h"
#include "samples.h"
#include "summary.h"
#include "traps.h"

static struct {
    uint64_t next, filled; /* place in the batch and its length */
    uint64_t done_before;  /* ops of earlier batches */
    int address_file, fault_file;
} stream;

/* ---- batches: read ops, write reports ---- */

static void write_reports(void) {
    if (options.mode != REPORT) return;
    write_all(stream.address_file, far.addresses, stream.next * sizeof *far.addresses);
    write_all(stream.fault_file, far.faults, stream.next * sizeof *far.faults);
}

/* Get the next batch, with the counters stopped; 0 at the end, where they stay so. */
static int refill(void) {
    if (stream.filled) stop_counting();
    write_reports();
    stream.done_before += stream.next;
    stream.next = 0;
    stream.filled = read_all(0, far.batch, sizeof(struct op) * BATCH_OPS) / sizeof(struct op);
    if (stream.filled) start_counting();
    return stream.filled != 0;
}

/* ---- loops: each runs ops of one thread until the batch ends or another thread is due ---- */

static int is_due(int32_t thread) {
    return stream.next < stream.filled && thread_of(&far.batch[stream.next]) == thread;
}

static int exit_is_due(int32_t thread) {
    return is_due(thread) && kind_of(&far.batch[stream.next]) == THREAD_EXIT;
}

/* Other libraries may lack it. */
extern int allocsim_malloc_trim(size_t pad) __asm__("malloc_trim") __attribute__((weak));

static uintptr_t run_op_or_mark(const struct op *op) {
    if (kind_of(op) == MALLOC_TRIM)
        return allocsim_malloc_trim ? (uintptr_t)allocsim_malloc_trim((size_t)op->size) : 0;
    return run_op(op, options.writes);
}

/* An op's faults: those of its call and those of the program's writes after it. */
static void run_reported(int32_t thread) {
    uint64_t before = minor_faults_of_thread();
    syscall_log.thread = thread;
    for (; is_due(thread); stream.next++) {
        uint64_t i = stream.next;
        syscall_log.op = (int64_t)(stream.done_before + i);
        if (exit_is_due(thread)) break;
        far.addresses[i] = run_op_or_mark(&far.batch[i]);
        uint64_t after = minor_faults_of_thread();
        far.faults[i] = (uint32_t)(after - before);
        before = after;
        sample_if_due(stream.done_before + i + 1);
    }
}

#define TIMED_LOOP(name, action)                                                               \
    static void name(int32_t thread) {                                                         \
        const struct op *op = &far.batch[stream.next], *end = &far.batch[stream.filled];        \
        for (; op < end && thread_of(op) == thread; op++) action;                              \
        stream.next = (uint64_t)(op - far.batch);                                              \
    }

TIMED_LOOP(run_writing_nothing, run_op(op, WRITE_NOTHING))
TIMED_LOOP(run_writing_pages, run_op(op, WRITE_PAGES))
TIMED_LOOP(run_writing_all, run_op(op, WRITE_ALL))
TIMED_LOOP(run_null, run_nothing(op))

static void run_due(int32_t thread) {
    if (options.mode == REPORT) run_reported(thread);
    else if (options.mode == NULL_LOOP) run_null(thread);
    else if (options.writes == WRITE_NOTHING) run_writing_nothing(thread);
    else if (options.writes == WRITE_PAGES) run_writing_pages(thread);
    else run_writing_all(thread);
}

/* ---- threads in lock-step ---- */

/* The main thread's gate comes after those of the trace's threads. */
static uint64_t main_gate(void) { return options.n_threads; }

/* Let the thread of the next op go on, the main thread after the last op. */
static void hand_over(void) {
    open_gate(stream.filled ? (uint64_t)thread_of(&far.batch[stream.next]) : main_gate());
}

/* Run the thread's ops whenever they are due; returns where it shall exit. */
static void run_in_lock_step(uint64_t thread) {
    for (;;) {
        pass_gate(thread);
        do run_due((int32_t)thread);
        while (!exit_is_due((int32_t)thread) && stream.next == stream.filled && refill());
        if (exit_is_due((int32_t)thread)) return;
        hand_over();
    }
}

/* ---- the end of a thread: what the C library does up to its last touch of the heap ---- */

static uint64_t faults_before_exit;

/* The thread is about to block all signals, which it does when the heap is done with. The rest (to
 * advise on its stack, and to vanish) could not be observed any more, and is left out. */
static void on_end_of_thread(void) {
    far.addresses[stream.next] = 0;
    far.faults[stream.next] = (uint32_t)(minor_faults_of_thread() - faults_before_exit);
    stream.next++;
    if (stream.next == stream.filled) refill();
    hand_over();
    for (;;) RAW(SYS_pause);
}

static void prepare_exit(void) {
    if (trap_end_of_thread(on_end_of_thread)) fail(STATUS_NOT_PERMITTED, "a seccomp filter", EPERM);
    faults_before_exit = minor_faults_of_thread();
}

static void *run_thread(void *number) {
    uint64_t thread = (uint64_t)number;
    use_signal_stack(thread);
    prefault_stack();
    open_gate(main_gate());
    if (options.free_running) {
        run_freely(thread, main_gate(), options.mode == TIME ? free_loops[options.writes] : run_free_null);
        for (;;) RAW(SYS_pause);
    }
    run_in_lock_step(thread);
    prepare_exit();
    return NULL;
}

/* One after the other, each up to its gate, so that creation is the same in every run. */
static void create_threads(void) {
    for (uint64_t thread = 0; thread < options.n_threads; thread++) {
        pthread_t unused;
        int error = pthread_create(&unused, NULL, run_thread, (void *)thread);
        if (error) fail(STATUS_FAILED, "pthread_create", error);
        pass_gate(main_gate());
    }
}

static void run_stream(void) {
    if (options.free_running) {
        stream.done_before = run_all_freely(options.n_threads);
        return;
    }
    if (!refill()) return;
    if (options.n_threads > 1) {
        open_gate((uint64_t)thread_of(&far.batch[0]));
        pass_gate(main_gate());
    } else {
        do run_due(0); while (refill());
    }
}

/* ---- start ---- */

/* Tell which op broke the heap; glibc itself has told what it saw. */
static void on_crash(int signal, siginfo_t *info, void *context) {
    (void)info, (void)context;
    char text[96], *end = append_text(text, "replay died at op ");
    end = append_number(end, stream.done_before + stream.next);
    end = append_text(end, " of signal ");
    end = append_number(end, (uint64_t)signal);
    *append_text(end, "\n") = 0;
    say(text);
    leave(STATUS_CRASHED);
}

/* Everything up to the first op. */
static void prepare(void) {
    if (options.without_huge_pages) RAW(SYS_prctl, PR_SET_THP_DISABLE, 1);
    choose_cpus();
    uint64_t slots = slots_with_gaps(options.n_slots, options.n_threads);
    checked(map_far_memory(slots, options.n_threads), "mapping of the replayer's memory");
    use_signal_stack(options.n_threads);
    handle_signal(SIGSEGV, on_crash);
    handle_signal(SIGBUS, on_crash);
    handle_signal(SIGABRT, on_crash);
    stream.address_file = create_file("addresses");
    stream.fault_file = create_file("faults");
    if (samples.wanted) samples.file = create_file("samples");
    if (options.log_syscalls) start_syscall_log();
    if (options.log_syscalls || (options.mode == REPORT && options.n_threads > 1)) set_traps();
    prefault_program();
    if (options.free_running) load_free_run(options.n_slots, options.n_threads);
    if (options.n_threads > 1) create_threads();
    save_copy("/proc/self/smaps", "start.smaps");
}

int main(int n, char **arguments) {
    parse_arguments(n, arguments);
    fix_addresses(arguments);
    prepare();
    uint64_t start_brk = (uint64_t)RAW(SYS_brk, 0);
    sample_if_due(0);
    run_stream();
    if (options.held) RAW(SYS_kill, RAW(SYS_getpid), SIGSTOP);
    syscall_log.on = 0;
    if (options.log_syscalls) flush_syscall_log();
    save_copy("/proc/self/smaps", "end.smaps");
    write_summary(stream.done_before, start_brk);
    leave(0);
}
