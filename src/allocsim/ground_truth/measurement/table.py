"""Measured and predicted columns side by side."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from allocsim.display_units import show_bytes, show_ns
from allocsim.ground_truth.measurement.timing import Band
from allocsim.ground_truth.replay import Writes

WRITES: tuple[Writes, ...] = ("fill", "written", "none")
CPU_LABELS: dict[Writes, str] = {
    "fill": "CPU time, every byte written",
    "written": "  a byte of every page written",
    "none": "  nothing written: allocator and kernel",
}
BELOW_NOISE = "below noise"
"""Where the replayer's own time, which is subtracted, hides what was to be measured."""
WALL_LABEL = "wall time, every byte written"


@dataclass(frozen=True)
class Column:
    """One allocator or policy on one trace: its name, and all its figures.

    samples: resident memory, as columns op and resident_bytes.
    """

    name: str
    cpu_ns: Mapping[Writes, Band]
    wall_ns: Mapping[Writes, Band]
    totals: Mapping[str, float | int]
    samples: Mapping[str, np.ndarray] = field(default_factory=dict)
    simulated: bool = False


COUNT_ROWS: tuple[tuple[str, str, Callable[[float], str]], ...] = (
    ("system calls", "syscalls", "{:,}".format),
    ("  brk", "brk_calls", "{:,}".format),
    ("  mmap", "mmap_calls", "{:,}".format),
    ("  munmap", "munmap_calls", "{:,}".format),
    ("  mremap", "mremap_calls", "{:,}".format),
    ("  mprotect", "mprotect_calls", "{:,}".format),
    ("  madvise", "madvise_calls", "{:,}".format),
    ("minor page faults", "minor_faults", "{:,}".format),
    ("peak resident", "resident_peak_bytes", show_bytes),
    ("mean resident", "resident_mean_bytes", show_bytes),
    ("resident at the end", "resident_end_bytes", show_bytes),
)


def table_of(title: str, columns: Sequence[Column]) -> list[str]:
    """Aligned lines: a head, CPU times with their bands, counts and memory."""
    rows = [(title, [column.name for column in columns])]
    for kind in WRITES:
        if kind in columns[0].cpu_ns:
            rows.append((CPU_LABELS[kind], [show_band(c.cpu_ns[kind]) for c in columns]))
    if any(column.wall_ns for column in columns):
        walls = [show_band(c.wall_ns["fill"]) if c.wall_ns else "-" for c in columns]
        rows.append((WALL_LABEL, walls))
    rows += [(label, [show(c.totals[key]) for c in columns]) for label, key, show in COUNT_ROWS]
    return aligned(rows)


def show_band(band: Band) -> str:
    """The value, and half the band's width as a share of it."""
    if band.value <= 0:
        return BELOW_NOISE
    return f"{show_ns(band.value)} ±{band.spread / 2:.0%}"


def aligned(rows: Sequence[tuple[str, Sequence[str]]]) -> list[str]:
    """Labels to the left, cells to the right in columns as wide as they need to be."""
    width = max(len(label) for label, _ in rows)
    widths = [max(map(len, cells)) + 2 for cells in zip(*(row[1] for row in rows), strict=True)]
    return [
        label.ljust(width) + "".join(c.rjust(w) for c, w in zip(cells, widths, strict=True))
        for label, cells in rows
    ]
