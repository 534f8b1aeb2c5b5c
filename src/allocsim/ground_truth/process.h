/* The process as it should be: its stack limit, fixed addresses, processors. */
#ifndef ALLOCSIM_PROCESS_H
#define ALLOCSIM_PROCESS_H

#include <sys/personality.h>
#include <sys/resource.h>
#include <unistd.h>

#include "affinity.h"
#include "options.h"

enum { USUAL_STACK_BYTES = 8 << 20 };

/* Set the usual limit on stacks, on which the mmap area's place and threads' stacks depend; 0 if
 * it was set already. */
static int set_stack_limit(void) {
    struct rlimit limit;
    RAW(SYS_getrlimit, RLIMIT_STACK, &limit);
    rlim_t wanted = limit.rlim_max < USUAL_STACK_BYTES ? limit.rlim_max : USUAL_STACK_BYTES;
    if (limit.rlim_cur == wanted) return 0;
    limit.rlim_cur = wanted;
    checked(RAW(SYS_setrlimit, RLIMIT_STACK, &limit), "stack limit");
    return 1;
}

/* Switch address randomisation off; 0 if it is off already. */
static int stop_randomisation(void) {
    long persona = RAW(SYS_personality, 0xffffffff);
    if (persona & ADDR_NO_RANDOMIZE) return 0;
    long refused = RAW(SYS_personality, persona | ADDR_NO_RANDOMIZE);
    if (!is_error(refused)) return 1;
    if (options.mode == REPORT)
        fail(STATUS_NOT_PERMITTED, "address randomisation cannot be switched off here", refused);
    return 0;
}

/* Start again, with all else the same, unless addresses are fixed as they should be. */
static void fix_addresses(char **arguments) {
    int changed = set_stack_limit() | stop_randomisation();
    if (changed) fail(STATUS_FAILED, "exec", RAW(SYS_execve, "/proc/self/exe", arguments, environ));
}

/* A timed run really gets as many CPUs as were asked for; but threads that take turns need one
 * only, however many the allocator is told of. */
static void choose_cpus(void) {
    pretended_cpus = options.cpus ? options.cpus : count_cpus();
    if (options.mode != REPORT) restrict_cpus(pretended_cpus);
    if (options.n_threads > 1 && !options.free_running) stay_here();
}

#endif
