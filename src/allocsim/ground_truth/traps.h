/* Stands between an allocator and the kernel: reports how it gets and returns memory, and tells it
 * how many CPUs there are.
 *
 * A seccomp filter turns each such system call into SIGSYS unless it comes from raw_syscall. The
 * handler makes the call in the allocator's place, with the same arguments, and writes both down;
 * the allocator sees the same results, hence the same addresses, as without a filter. The number
 * of CPUs, on which the number of arenas depends, is answered without asking the kernel.
 */
#ifndef ALLOCSIM_TRAPS_H
#define ALLOCSIM_TRAPS_H

#include <linux/audit.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <signal.h>
#include <sys/prctl.h>
#include <ucontext.h>

#include "affinity.h"
#include "files.h"

static struct {
    int on;
    int file;
    int n;          /* entries waiting in far.log */
    int64_t op;     /* what the program is doing now */
    int32_t thread; /* and on which thread */
} syscall_log = {.op = -1, .thread = -1};

static void flush_syscall_log(void) {
    write_all(syscall_log.file, far.log, sizeof(struct log_entry) * (uint64_t)syscall_log.n);
    syscall_log.n = 0;
}

/* Width in bits of the call's argument in C, 0 for one that it does not take. */
static int width(long number, int argument, uint64_t flags_of_mremap) {
    static const unsigned char brk[6] = {64}, mmap[6] = {64, 64, 32, 32, 32, 64},
                               two[6] = {64, 64}, three[6] = {64, 64, 32};
    uint64_t to_address = MREMAP_FIXED | MREMAP_DONTUNMAP;
    switch (number) {
    case SYS_brk: return brk[argument];
    case SYS_mmap: return mmap[argument];
    case SYS_munmap: return two[argument];
    case SYS_mremap:
        if (argument == 3) return 32;
        return argument < 3 || (argument == 4 && (flags_of_mremap & to_address)) ? 64 : 0;
    default: return three[argument];
    }
}

static uint64_t argument_as_declared(long number, int argument, const long *values) {
    int bits = width(number, argument, (uint64_t)values[3]);
    if (bits == 0) return 0;
    return bits == 32 ? (uint32_t)values[argument] : (uint64_t)values[argument];
}

static void log_syscall(long number, const long *values, long result) {
    struct log_entry *entry = &far.log[syscall_log.n++];
    entry->op = syscall_log.op;
    entry->thread = syscall_log.thread;
    entry->number = (int32_t)number;
    for (int i = 0; i < 6; i++) entry->arguments[i] = argument_as_declared(number, i, values);
    entry->result = result;
    if (syscall_log.n == LOG_ENTRIES) flush_syscall_log();
}

static void (*end_of_thread)(void);

static long make_trapped(long number, const long *a) {
    if (number == SYS_sched_getaffinity) return pretend_affinity(a[1], (uint64_t *)a[2]);
    if (number == SYS_openat && same_text((const char *)a[1], ONLINE_CPUS)) return pretend_online();
    if (number == SYS_rt_sigprocmask) end_of_thread();
    long result = raw_syscall(number, a[0], a[1], a[2], a[3], a[4], a[5]);
    if (syscall_log.on && number != SYS_openat) log_syscall(number, a, result);
    return result;
}

static void on_trapped_syscall(int signal, siginfo_t *info, void *context) {
    (void)signal;
    greg_t *r = ((ucontext_t *)context)->uc_mcontext.gregs;
    long a[6] = {r[REG_RDI], r[REG_RSI], r[REG_RDX], r[REG_R10], r[REG_R8], r[REG_R9]};
    r[REG_RAX] = make_trapped(info->si_syscall, a);
}

/* Signals of the calling thread are handled on a stack of its own in far memory. */
static void use_signal_stack(uint64_t thread) {
    stack_t stack = {.ss_sp = far.signal_stacks + SIGNAL_STACK_BYTES * thread,
                     .ss_size = SIGNAL_STACK_BYTES};
    sigaltstack(&stack, NULL);
}

static void handle_signal(int signal, void (*handler)(int, siginfo_t *, void *)) {
    struct sigaction action = {.sa_sigaction = handler, .sa_flags = SA_SIGINFO | SA_ONSTACK};
    sigaction(signal, &action, NULL);
}

#define LOAD(field) BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, field))
#define LOAD_HIGH(field) BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, field) + 4)
#define SKIP_IF(value, if_equal, if_not) BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, value, if_equal, if_not)

static long install_filter(void) {
    uint64_t own = (uint64_t)raw_syscall_return;
    struct sock_filter filter[] = {
        LOAD(arch),
        SKIP_IF(AUDIT_ARCH_X86_64, 0, 13),
        LOAD(nr),
        SKIP_IF(SYS_brk, 7, 0),
        SKIP_IF(SYS_mmap, 6, 0),
        SKIP_IF(SYS_munmap, 5, 0),
        SKIP_IF(SYS_mremap, 4, 0),
        SKIP_IF(SYS_mprotect, 3, 0),
        SKIP_IF(SYS_madvise, 2, 0),
        SKIP_IF(SYS_sched_getaffinity, 1, 0),
        SKIP_IF(SYS_openat, 0, 4),
        LOAD(instruction_pointer),
        SKIP_IF((uint32_t)own, 0, 3),
        LOAD_HIGH(instruction_pointer),
        SKIP_IF((uint32_t)(own >> 32), 0, 1),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_TRAP),
    };
    struct sock_fprog program = {.len = sizeof filter / sizeof *filter, .filter = filter};
    long refused = RAW(SYS_prctl, PR_SET_NO_NEW_PRIVS, 1);
    return refused ? refused : RAW(SYS_seccomp, SECCOMP_SET_MODE_FILTER, 0, &program);
}

/* Have the calling thread, and no other, call `action` before it changes its mask of signals. */
static long trap_end_of_thread(void (*action)(void)) {
    struct sock_filter filter[] = {
        LOAD(nr),
        SKIP_IF(SYS_rt_sigprocmask, 0, 1),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_TRAP),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
    };
    struct sock_fprog program = {.len = sizeof filter / sizeof *filter, .filter = filter};
    end_of_thread = action;
    return RAW(SYS_seccomp, SECCOMP_SET_MODE_FILTER, 0, &program);
}

static void set_traps(void) {
    write_online_cpus();
    handle_signal(SIGSYS, on_trapped_syscall);
    long refused = install_filter();
    if (refused) fail(STATUS_NOT_PERMITTED, "a seccomp filter is not permitted here", refused);
}

static void start_syscall_log(void) {
    syscall_log.file = create_file("syscalls");
    syscall_log.on = 1;
}

#endif
