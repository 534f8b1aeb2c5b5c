/* What the replayer was asked for: its arguments, which replayer.c lists. */
#ifndef ALLOCSIM_OPTIONS_H
#define ALLOCSIM_OPTIONS_H

#include <errno.h>

#include "files.h"
#include "run_ops.h"
#include "samples.h"

enum mode { REPORT, TIME, NULL_LOOP };

static struct {
    enum mode mode;
    enum writes writes;
    int log_syscalls;
    int free_running;
    int held;
    int without_huge_pages;
    uint64_t cpus;
    uint64_t n_slots;
    uint64_t n_threads;
} options;

/* The place of `text` in a list that ends with NULL. */
static int choice(const char *text, const char *const *names) {
    for (int i = 0; names[i]; i++)
        if (same_text(text, names[i])) return i;
    fail(STATUS_FAILED, text, EINVAL);
    return -1;
}

static void parse_arguments(int n, char **arguments) {
    static const char *const modes[] = {"ops", "time", "null", "ops+syscalls", "time-free", "null-free", "ops-held", NULL};
    static const char *const writes[] = {"none", "written", "fill", NULL};
    static const char *const huge_pages[] = {"system", "never", NULL};
    if (n != 10) fail(STATUS_FAILED, "replayer: wrong number of arguments", EINVAL);
    int mode = choice(arguments[1], modes);
    options.mode = (enum mode)(mode % 3);
    options.log_syscalls = mode == 3;
    options.writes = (enum writes)choice(arguments[2], writes);
    options.without_huge_pages = choice(arguments[3], huge_pages);
    options.cpus = parse_number(arguments[4]);
    options.n_slots = parse_number(arguments[5]);
    options.n_threads = parse_number(arguments[6]);
    options.free_running = (mode == 4 || mode == 5) && options.n_threads > 1;
    options.held = mode == 6;
    samples.wanted = parse_number(arguments[7]);
    samples.n_ops = parse_number(arguments[8]);
    output_folder = (int)checked(RAW(SYS_openat, AT_FDCWD, arguments[9], O_RDONLY | O_DIRECTORY), arguments[9]);
}

#endif
