"""What the paper says in words and does not compute: comparisons that its results must bear out."""

from collections.abc import Iterator, Mapping

STATEMENTS = {
    "no pinned threshold is as cheap as the one that moves": (
        "large_buffers.glibc.cpu_ns", "large_buffers.glibc, pinned.least_cpu.cpu_ns",
    ),
    "the threshold that moves takes more memory than the one pinned at 128 KiB": (
        "large_buffers.glibc, pinned@128 KiB.resident_mean_bytes",
        "large_buffers.glibc.resident_mean_bytes",
    ),
    "sqlite3 needs less CPU time under brk_only": (
        "sqlite3.brk_only.cpu_ns", "sqlite3.glibc.cpu_ns",
    ),
    "git-log needs more CPU time under brk_only": (
        "git-log.glibc.cpu_ns", "git-log.brk_only.cpu_ns",
    ),
    "git-log faults more often under brk_only": (
        "git-log.glibc.minor_faults", "git-log.brk_only.minor_faults",
    ),
    "the calls weigh less for large mapped blocks": (
        "large_buffers.mmap_only.syscall_ns", "large_buffers.mmap_only.fault_ns",
    ),
    "the calls weigh more for small mapped blocks": (
        "churn.mmap_only.fault_ns", "churn.mmap_only.syscall_ns",
    ),
}  # fmt: skip
"""Each statement with two numbers, of which the first must be the smaller one."""


def contradicted(numbers: Mapping[str, float]) -> Iterator[str]:
    """The statements that the results do not bear out, each with its numbers."""
    for statement, (smaller, larger) in STATEMENTS.items():
        if not numbers[smaller] < numbers[larger]:
            yield f"{statement}: {smaller} is {numbers[smaller]:g}, {larger} {numbers[larger]:g}"
