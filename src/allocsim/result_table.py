"""Results side by side: a row for each figure, a column for each run, as text or HTML."""

import html
from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import zip_longest
from typing import Any, Protocol

from allocsim.display_units import show_bytes, show_ns
from allocsim.user_text import shortened

WIDTH = 80
_WORD_WIDTH = 24

Row = tuple[str, str, Callable[[float], str]]  # label, name among the totals, how it is shown

TIME_ROWS: tuple[Row, ...] = (
    ("CPU time of allocator and kernel", "cpu_ns", show_ns),
    ("  the allocator's own work", "allocator_ns", show_ns),
    ("  system calls", "syscall_ns", show_ns),
    ("  page faults", "fault_ns", show_ns),
    ("  zeroing", "zeroing_ns", show_ns),
    ("  copying", "copying_ns", show_ns),
    ("the program's own writes", "program_ns", show_ns),
)
THREAD_ROWS: tuple[Row, ...] = (
    ("simulated time", "time_ns", show_ns),
    ("  of all threads: in user mode", "threads_work_ns", show_ns),
    ("  in the kernel", "threads_kernel_ns", show_ns),
    ("  waiting for mmap_lock", "threads_wait_mmap_lock_ns", show_ns),
    ("  waiting for the allocator's locks", "threads_wait_locks_ns", show_ns),
    ("  waiting for a CPU", "threads_wait_cpu_ns", show_ns),
    ("  waiting for each other's objects", "threads_wait_objects_ns", show_ns),
)
COUNT_ROWS: tuple[Row, ...] = (
    ("system calls", "syscalls", "{:,}".format),
    ("minor page faults", "minor_faults", "{:,}".format),
    ("major page faults", "major_faults", "{:,}".format),
    ("peak live", "live_peak_bytes", show_bytes),
    ("peak resident", "resident_peak_bytes", show_bytes),
    ("mean resident", "resident_mean_bytes", show_bytes),
    ("resident at the end", "resident_end_bytes", show_bytes),
    ("external fragmentation", "external_fragmentation", "{:.3f}".format),
    ("internal fragmentation", "internal_fragmentation", "{:.3f}".format),
    ("requests that failed", "failed_requests", "{:,}".format),
)


class Figures(Protocol):
    """What a table shows of a run: an `allocsim.simulation.Result`."""

    @property
    def totals(self) -> dict[str, float | int]: ...
    @property
    def threads(self) -> Mapping[str, Any]: ...
    @property
    def provenance(self) -> dict[str, Any]: ...
    @property
    def has_cost_intervals(self) -> bool: ...


class ResultTable:
    """Runs of one workload as a table.

    title: what stands over the labels. names: one for each result, over its column, each word on
    a line.
    """

    def __init__(self, title: str, names: Sequence[str], results: Sequence[Figures]) -> None:
        words = [[shortened(word, _WORD_WIDTH) for word in name.split(" ")] for name in names]
        heads = list(zip_longest(*words, fillvalue=""))
        self._rows = [(title, list(heads[0])), *(("", list(head)) for head in heads[1:])]
        self._n_heads = len(heads)
        several = any(len(result.threads["thread"]) > 1 for result in results)
        for label, key, show in (*TIME_ROWS, *(THREAD_ROWS if several else ()), *COUNT_ROWS):
            self._rows.append((label, [show(result.totals[key]) for result in results]))
            if key == "cpu_ns" and any(result.has_cost_intervals for result in results):
                cells = [_interval(result) for result in results]
                self._rows.append(("  with 95 % of certainty", cells))

    def lines(self, width: int = WIDTH) -> Iterator[str]:
        """The table as text; columns that do not fit stand below, under the labels again."""
        labels = max(len(label) for label, _ in self._rows)
        widths = [
            2 + max(map(len, column))
            for column in zip(*(cells for _, cells in self._rows), strict=True)
        ]
        first = 0
        while first < len(widths):
            end = first + 1
            while end < len(widths) and labels + sum(widths[first : end + 1]) <= width:
                end += 1
            if first:
                yield ""
            for label, cells in self._rows:
                row = "".join(cells[i].rjust(widths[i]) for i in range(first, end))
                yield label.ljust(labels) + row
            first = end

    def html(self) -> str:
        """The table as HTML."""
        rows = []
        for number, (label, cells) in enumerate(self._rows):
            tag = "th" if number < self._n_heads else "td"
            inner = "".join(f"<{tag}>{html.escape(cell)}</{tag}>" for cell in (label, *cells))
            rows.append(f"<tr>{inner}</tr>")
        return f"<table>{''.join(rows)}</table>"


def _interval(result: Figures) -> str:
    """The interval of the CPU time that the unit costs' intervals give."""
    low, high = result.provenance["cpu_interval_ns"]["cpu_ns"]
    first, last = show_ns(low), show_ns(high)
    if first.split()[-1] == last.split()[-1]:
        first = first.split()[0]
    return f"{first} - {last}"
