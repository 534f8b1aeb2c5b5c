/* System calls of the replayer itself, all made by one instruction.
 *
 * The filter that reports the allocator's calls (syscall_log.h) lets pass what comes from this
 * instruction and traps the rest, so a call is the replayer's own if and only if it is made here.
 */
#ifndef ALLOCSIM_RAW_SYSCALL_H
#define ALLOCSIM_RAW_SYSCALL_H

#include <stdint.h>
#include <sys/syscall.h>

#if !defined(__linux__) || !defined(__x86_64__) || defined(__ILP32__)
#error "the replayer knows 64-bit x86 Linux only"
#endif

/* Result as the kernel returns it: -errno for an error. */
long raw_syscall(long number, long a, long b, long c, long d, long e, long f);

/* The address after the instruction, which is what a seccomp filter is told. */
extern const char raw_syscall_return[];

__asm__(".text\n"
        ".globl raw_syscall\n.hidden raw_syscall\n.type raw_syscall, @function\n"
        "raw_syscall:\n"
        "\tendbr64\n"
        "\tmov %rdi, %rax\n\tmov %rsi, %rdi\n\tmov %rdx, %rsi\n\tmov %rcx, %rdx\n"
        "\tmov %r8, %r10\n\tmov %r9, %r8\n\tmov 8(%rsp), %r9\n"
        "\tsyscall\n"
        ".globl raw_syscall_return\n.hidden raw_syscall_return\n"
        "raw_syscall_return:\n"
        "\tret\n"
        ".size raw_syscall, . - raw_syscall\n");

#define CALL_7(number, a, b, c, d, e, f, ...)                                                  \
    raw_syscall(number, (long)(a), (long)(b), (long)(c), (long)(d), (long)(e), (long)(f))
/* RAW(SYS_x, arguments…): the arguments left out are 0. */
#define RAW(...) CALL_7(__VA_ARGS__, 0, 0, 0, 0, 0, 0, 0)

static inline int is_error(long result) { return result < 0 && result >= -4095; }

#endif
