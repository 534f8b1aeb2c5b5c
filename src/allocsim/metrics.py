"""Pure functions from ledgers, samples and walks to numbers; docs/metrics.md has the formulas."""

from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np

from allocsim.kernel.costs import MINOR_FAULTS, PARTS, SYSCALLS, CostTable, Event
from allocsim.policy import Kind

SAMPLE_COLUMNS = ("op", "time_ns", "live_bytes", "mapped_bytes", "resident_bytes")
WALK_COLUMNS = (
    "op", "time_ns", "live_bytes", "used_bytes", "free_bytes", "largest_hole_bytes", "holes",
    "top_bytes", "metadata_bytes",
)  # fmt: skip
THREAD_COLUMNS = (
    "thread", "work_ns", "kernel_ns", "wait_mmap_lock_ns", "wait_locks_ns", "wait_cpu_ns",
    "wait_objects_ns",
)  # fmt: skip
_IN_KERNEL = (
    *PARTS["syscall_ns"], *PARTS["fault_ns"], Event.PAGE_ZEROED, Event.COLD_PAGE,
    Event.HUGE_PAGE_ZEROED,
)  # fmt: skip


def syscall_counts(counts: np.ndarray) -> dict[str, int]:
    """System calls by kind, and their sum, from the ledger's counts by event."""
    by_kind = {f"{Event(e).name.lower()}_calls": int(counts[e]) for e in SYSCALLS}
    by_kind["brk_calls"] += by_kind.pop("brk_shrink_calls")
    return by_kind | {"syscalls": sum(by_kind.values())}


def fault_counts(counts: np.ndarray) -> dict[str, int]:
    """Page faults: minor ones in all and those of the page of zeros, major ones."""
    return {
        "minor_faults": sum(int(counts[e]) for e in MINOR_FAULTS),
        "zero_page_faults": int(counts[Event.READ_FAULT]),
        "cow_faults": int(counts[Event.COPY_FAULT]),
        "huge_faults": int(counts[Event.HUGE_FAULT]),
        "major_faults": int(counts[Event.MAJOR_FAULT]),
    }


def cpu_parts_ns(counts: np.ndarray, unit_ps: tuple[int, ...]) -> dict[str, int]:
    """CPU time by part: counts x unit costs, and `cpu_ns`, their sum without the program's own."""
    parts = {
        name: sum(int(counts[e]) * unit_ps[e] for e in events) // 1000
        for name, events in PARTS.items()
    }
    return parts | {"cpu_ns": sum(parts.values()) - parts["program_ns"]}


def cpu_interval_ns(counts: np.ndarray, table: CostTable) -> dict[str, tuple[float, float]]:
    """95 % intervals of `cpu_parts_ns` that follow from those of the unit costs.

    Counts are exact, and the errors of unit costs are taken as independent: upward and downward
    errors, each count x (end of the interval - figure), add up as the root of their squares
    (first-order propagation). A figure without an interval adds nothing. Costs that were fitted
    together err in opposite directions, so sums of parts are known better than this says.
    """
    intervals = {name: _interval(counts, table, events) for name, events in PARTS.items()}
    own = [e for name, events in PARTS.items() if name != "program_ns" for e in events]
    return intervals | {"cpu_ns": _interval(counts, table, own)}


def _interval(counts: np.ndarray, table: CostTable, events: Iterable[int]) -> tuple[float, float]:
    at = list(events)
    n, unit, low, high = (
        np.asarray(column, float)[at]
        for column in (counts, table.unit_ns, table.low_ns, table.high_ns)
    )
    middle = float(n @ unit)
    down, up = np.linalg.norm(n * (unit - low)), np.linalg.norm(n * (high - unit))
    return max(0.0, middle - float(down)), middle + float(up)


def memory_over_time(samples: Mapping[str, np.ndarray]) -> dict[str, float | int]:
    """Mean over the samples and value at the end of live, mapped and resident bytes."""
    out: dict[str, float | int] = {}
    for name in ("live", "mapped", "resident"):
        column = samples[f"{name}_bytes"]
        out[f"{name}_mean_bytes"] = float(column.mean()) if len(column) else 0.0
        out[f"{name}_end_bytes"] = int(column[-1]) if len(column) else 0
    return out


def ratio(part: float, whole: float) -> float:
    """part / whole, or nan where the whole is nothing."""
    return part / whole if whole else float("nan")


def heap_states(
    walk: np.ndarray, address: np.ndarray, size_bytes: np.ndarray, kind: np.ndarray, n_walks: int
) -> dict[str, np.ndarray]:
    """Bytes by kind, and the holes, of n_walks walks over a heap: an array each by name.

    walk, address, size_bytes, kind: of each reported range, the walk's number first; ranges may
    come in any order, and of several for one address the last counts. A hole is a maximal run of
    adjacent free ranges that does not end in a top chunk. Free ranges on both sides of a header are
    one hole, since the header goes when they are merged: policies report a free chunk with its
    header.
    """
    order = np.lexsort((np.arange(len(walk)), address, walk))
    walk, address, size_bytes, kind = (c[order] for c in (walk, address, size_bytes, kind))
    last = np.ones(len(walk), bool)
    last[:-1] = (address[1:] != address[:-1]) | (walk[1:] != walk[:-1])
    walk, address, size_bytes, kind = (c[last] for c in (walk, address, size_bytes, kind))

    def sums(rows: np.ndarray) -> np.ndarray:
        out = np.zeros(n_walks, np.int64)
        np.add.at(out, walk[rows], size_bytes[rows])
        return out

    free, top = kind == Kind.FREE, kind == Kind.TOP
    hole_walk, hole_bytes = _holes(walk, address, size_bytes, free, top)
    n_holes, in_holes, largest = (np.zeros(n_walks, np.int64) for _ in range(3))
    np.add.at(n_holes, hole_walk, 1)
    np.add.at(in_holes, hole_walk, hole_bytes)
    np.maximum.at(largest, hole_walk, hole_bytes)
    return {
        "used_bytes": sums(kind == Kind.USED),
        "free_bytes": in_holes,
        "largest_hole_bytes": largest,
        "holes": n_holes,
        "top_bytes": sums(free | top) - in_holes,
        "metadata_bytes": sums(kind == Kind.METADATA),
    }


def _holes(
    walk: np.ndarray, address: np.ndarray, size_bytes: np.ndarray, free: np.ndarray, top: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """The walk and the bytes of each hole; the ranges are sorted by walk and address."""
    adjoins = np.zeros(len(walk), bool)  # the range before it
    adjoins[1:] = (address[:-1] + size_bytes[:-1] == address[1:]) & (walk[:-1] == walk[1:])
    before = np.append(False, free[:-1]) & adjoins  # the range before it is free and adjoins
    starts = np.flatnonzero(free & ~before)
    run = np.cumsum(free & ~before) - 1
    n_bytes = np.zeros(len(starts), np.int64)
    np.add.at(n_bytes, run[free], size_bytes[free])
    is_hole = np.ones(len(starts), bool)
    is_hole[run[top & before]] = False
    return walk[starts][is_hole], n_bytes[is_hole]


def fragmentation(walks: Mapping[str, np.ndarray]) -> dict[str, float]:
    """Internal (1 - live / used) and external (1 - largest hole / free) fragmentation.

    Means over the walks in which they are defined; nan where none is.
    """
    used, live = walks["used_bytes"], walks["live_bytes"]
    free, largest = walks["free_bytes"], walks["largest_hole_bytes"]
    return {
        "internal_fragmentation": _mean(1 - live[used > 0] / used[used > 0]),
        "external_fragmentation": _mean(1 - largest[free > 0] / free[free > 0]),
    }


def _mean(values: np.ndarray) -> float:
    return float(values.mean()) if len(values) else float("nan")


def johnstone_wilson(
    samples: Mapping[str, np.ndarray], peak_live: int, peak_resident: int, live_then: int
) -> dict[str, float]:
    """The four measures of fragmentation of Johnstone and Wilson (ISMM 1998, section 4).

    Each is (memory used by the allocator / live memory) - 1, where memory used is resident memory:
    jw1 averaged over time, jw2 at the peak of live memory, jw3 at the peak of memory used,
    jw4 peak of memory used over peak of live memory. Time is counted in samples.
    """
    live, resident = samples["live_bytes"], samples["resident_bytes"]
    some = live > 0
    at_peak_live = int(np.argmax(live)) if len(live) else 0
    return {
        "jw1": _mean(resident[some] / live[some]) - 1,
        "jw2": ratio(int(resident[at_peak_live]), int(live[at_peak_live])) - 1
        if len(live)
        else 0.0,
        "jw3": ratio(peak_resident, live_then) - 1,
        "jw4": ratio(peak_resident, peak_live) - 1,
    }


def lone_thread(ledger: Mapping[str, Any], n_threads: int) -> dict[str, np.ndarray]:
    """The table of threads (THREAD_COLUMNS) of a run with one thread, which waits for nobody.

    Without rows where a recorded trace has several: no simulated time says how they met.
    """
    kernel = sum(int(ledger["counts"][e]) * ledger["unit_ps"][e] for e in _IN_KERNEL) // 1000
    row = {"work_ns": ledger["time_ns"] - kernel, "kernel_ns": kernel}
    n_rows = 1 if n_threads == 1 else 0
    return {name: np.full(n_rows, row.get(name, 0), np.int64) for name in THREAD_COLUMNS}


def thread_totals(threads: Mapping[str, np.ndarray]) -> dict[str, int]:
    """Sums over the threads, as `threads_work_ns` and so on."""
    return {f"threads_{name}": int(threads[name].sum()) for name in THREAD_COLUMNS[1:]}


def totals(
    ledger: Mapping[str, Any],
    samples: Mapping[str, np.ndarray],
    walks: Mapping[str, np.ndarray],
    threads: Mapping[str, np.ndarray],
) -> dict[str, float | int]:
    """All numbers of a run, by name.

    `ledger` has counts (by event), unit_ps (by event) and the driver's own figures: ops, time_ns,
    failed, peak_live_bytes, peak_mapped_bytes, peak_resident_bytes, live_at_peak_resident_bytes.
    """
    counts = ledger["counts"]
    peak, live_then = ledger["peak_resident_bytes"], ledger["live_at_peak_resident_bytes"]
    return {
        "ops": ledger["ops"],
        "time_ns": ledger["time_ns"],
        "failed_requests": ledger["failed"],
        **syscall_counts(counts),
        **fault_counts(counts),
        **cpu_parts_ns(counts, ledger["unit_ps"]),
        **thread_totals(threads),
        "metadata_accesses": int(counts[Event.NEAR_ACCESS] + counts[Event.FAR_ACCESS]),
        "live_peak_bytes": ledger["peak_live_bytes"],
        "mapped_peak_bytes": ledger["peak_mapped_bytes"],
        "resident_peak_bytes": peak,
        **memory_over_time(samples),
        "resident_overhead_at_peak": ratio(peak - live_then, live_then),
        **fragmentation(walks),
        **johnstone_wilson(samples, ledger["peak_live_bytes"], peak, live_then),
    }
