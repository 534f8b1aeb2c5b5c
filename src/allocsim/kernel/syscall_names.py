"""The system calls that policies make, by number: x86-64's, as the log of a kernel has them."""

from allocsim.kernel import kernel

SYSCALL_NAMES = {
    kernel.SYS_BRK: "brk",
    kernel.SYS_MMAP: "mmap",
    kernel.SYS_MUNMAP: "munmap",
    kernel.SYS_MREMAP: "mremap",
    kernel.SYS_MPROTECT: "mprotect",
    kernel.SYS_MADVISE: "madvise",
}
