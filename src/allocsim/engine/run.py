"""One run in progress: driving batches, sampling memory, walking the heap, explaining errors."""

import traceback
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from allocsim import metrics
from allocsim.driver import N_SAMPLED, N_WALKED, Driver
from allocsim.engine.batch import Batch
from allocsim.engine.khugepaged import Khugepaged
from allocsim.engine.returned import wrong_return
from allocsim.errors import AllocsimError, SimulationError
from allocsim.kernel.backing import PAGE_BYTES
from allocsim.kernel.kernel import LOG_COLUMNS
from allocsim.trace import BATCH_OPS, Op, Trace, TraceSource

INTERPRETED_OPS = 8192
"""Ops between two reports of progress in interpreted runs, which take about 40 ms."""

NEVER = 1 << 62


class Schedule:
    """After which ops to sample and to walk: equally spaced, or every BATCH_OPS of an unknown end.

    taken: how many of the samples were taken.
    """

    def __init__(self, n_ops: int | None, samples: int, walks: int) -> None:
        self.walk_every = max(1, samples // walks) if walks else samples + 1
        self._at: np.ndarray | None = None
        if n_ops is not None:
            number = np.arange(1, samples + 1)
            at = np.maximum(1, number * n_ops // samples)
            is_last = np.append(at[1:] != at[:-1], True)  # of several that fall on one op
            n_walks = number[is_last] // self.walk_every
            self._at, self._walks = at[is_last], np.diff(n_walks, prepend=0) > 0
        self.taken = 0

    def next_stop(self) -> int:
        """The op count at which the next sample is due; beyond the end where none is left."""
        if self._at is None:
            return (self.taken + 1) * BATCH_OPS
        return int(self._at[self.taken]) if self.taken < len(self._at) else NEVER

    def walks_now(self) -> bool:
        """Whether the sample taken last comes with a walk."""
        if self._at is None:
            return self.taken % self.walk_every == 0
        return bool(self._walks[min(self.taken, len(self._at)) - 1])

    def due(self, until: int) -> np.ndarray:
        """The samples to take up to op count `until`: n, or ~n where the heap is walked, too."""
        if self._at is None:
            number = np.arange(self.taken + 1, until // BATCH_OPS + 1)
            at, walks = number * BATCH_OPS, number % self.walk_every == 0
        else:
            end = int(np.searchsorted(self._at, until, side="right"))
            at, walks = self._at[self.taken : end], self._walks[self.taken : end]
        return np.where(walks, ~at, at)


@dataclass
class Run:
    """One run in progress."""

    driver: Driver
    source: TraceSource
    policy_name: str
    compiled: bool
    compiled_later: bool  # from the first sample on
    schedule: Schedule
    progress: Callable[[int, int], None] | None
    on_ops: Callable[[np.ndarray, np.ndarray], None] | None
    on_syscalls: Callable[[np.ndarray], None] | None
    samples: list[tuple] = field(default_factory=list)
    walks: list[tuple] = field(default_factory=list)
    threads: dict[str, np.ndarray] = field(default_factory=dict)
    crossings: int = 0  # that threads played in simulated time
    khugepaged: Khugepaged | None = None
    becomes_compiled: Callable[[], bool] | None = None  # whether it can go on compiled
    is_interruptible: bool = False  # by other threads or khugepaged, between two samples

    def drive(self, batch: Batch) -> None:
        """Run a batch, sampling memory on the way."""
        start = 0
        while start < len(batch):
            self._go_on_compiled()
            stop = len(batch) if self.compiled else min(len(batch), start + INTERPRETED_OPS)
            if self.compiled != self.compiled_later:  # up to the first sample
                stop = min(stop, start + self.schedule.next_stop() - self.driver.n_ops)
            due = self.schedule.due(self.driver.n_ops + stop - start)
            start = self._drive_sampled(batch, start, stop, due)

    def _go_on_compiled(self) -> None:
        """From now on, if the code has come into the cache since the run started."""
        if not self.compiled_later and self.becomes_compiled and self.becomes_compiled():
            self.compiled = self.compiled_later = True

    def sample_at_end(self) -> None:
        """Sample memory at the end, and walk the heap where that would be due."""
        self.schedule.taken += 1
        n_ops = self.driver.n_ops
        due = np.array([~n_ops if self.schedule.walks_now() else n_ops])
        self.schedule.taken -= 1
        self._drive_sampled(Batch(Trace.concatenate([])), 0, 0, due)

    def _drive_sampled(self, batch: Batch, start: int, stop: int, due: np.ndarray) -> int:
        """Run rows start..stop of a batch with those samples; the next row."""
        samples = np.zeros(len(due) * N_SAMPLED, np.int64)
        walks = np.zeros(int((due < 0).sum()) * N_WALKED, np.int64)
        reached = self._call("drive_sampled", batch, start, stop, due, samples, walks)
        n_sampled, n_walked = self.driver.n_sampled, self.driver.n_walked
        self.samples.extend(map(tuple, samples.reshape(-1, N_SAMPLED)[:n_sampled].tolist()))
        if n_walked:
            self.walks.extend(self._evaluated(walks.reshape(-1, N_WALKED)[:n_walked]))
        self.schedule.taken += n_sampled
        if n_sampled:
            self.compiled = self.compiled_later
        if self.progress is not None:
            self.progress(self.driver.n_ops, self.source.n_ops or self.driver.n_ops)
        return reached

    def drive_until(self, batch: Batch, start: int, stop: int, until_ps: int) -> int:
        """Run those of the rows start..stop that start before until_ps; the next row."""
        return self._call("drive_until", batch, start, stop, until_ps)

    def _call(self, method: str, batch: Batch, start: int, stop: int, *more: Any) -> int:
        first_op = self.driver.n_ops
        addresses, faults = batch.reports(self.on_ops is not None)
        arguments: tuple = (*batch.columns, addresses, faults, start, stop, *more)
        try:
            reached: int = self.driver.run(method, *arguments, compiled=self.compiled, settle=False)
        except Exception as error:
            row = min(start + self.driver.n_ops - first_op, stop - 1)
            raise self.explained(error, Op(int(batch.trace.op[row]))) from error
        self.report(addresses[start:reached], faults[start:reached])
        return reached

    def _evaluated(self, walks: np.ndarray) -> list[tuple]:
        """Rows of WALK_COLUMNS for rows that `Driver.drive_sampled` wrote."""
        ranges = self.driver.policy.ranges
        first, n = int(walks[0, 5]), int(walks[-1, 6])
        address, size_bytes = (
            np.frombuffer(column, np.int64, n)[first:]
            for column in (ranges.address, ranges.size_bytes)
        )
        kind = np.frombuffer(ranges.kind, np.uint8, n)[first:]
        number = np.repeat(np.arange(len(walks)), walks[:, 6] - walks[:, 5])
        states = metrics.heap_states(number, address, size_bytes, kind, len(walks))
        states["used_bytes"] += walks[:, 3]
        states["metadata_bytes"] += walks[:, 4]
        return list(zip(*walks.T[:3].tolist(), *(s.tolist() for s in states.values()), strict=True))

    def explained(self, error: Exception, op: Op) -> Exception:
        """The error with the op, policy and method in which it happened."""
        call = op.name.lower()
        place = f"op {self.driver.n_ops} ({call})"
        if returned := wrong_return(error.__traceback__, call):
            return SimulationError(f"{place}, policy {self.policy_name}: {returned}")
        return _explained(error, place, self.policy_name)

    def collapse(self, n_pages: int) -> int:
        """Let khugepaged look at n_pages pages; how many huge pages it made."""
        made: int = self.driver.run("collapse", n_pages, compiled=self.compiled, settle=False)
        return made

    @property
    def reports(self) -> bool:
        """Whether somebody wants to know about every operation or system call."""
        return self.on_ops is not None or self.on_syscalls is not None

    def report(self, addresses: np.ndarray, faults: np.ndarray) -> None:
        """Tell whoever wants to know what operations returned, and which system calls were made."""
        if self.on_ops is not None:
            self.on_ops(addresses, faults)
        kernel = self.driver.policy.kernel
        if self.on_syscalls is not None and kernel.n_logged:
            flat = np.frombuffer(kernel.log, np.int64, kernel.n_logged * LOG_COLUMNS)
            self.on_syscalls(flat.reshape(-1, LOG_COLUMNS).copy())
            kernel.n_logged = 0

    def sample(self) -> None:
        """Sample memory now, and walk the heap where that is due: between calls of threads."""
        driver, kernel = self.driver, self.driver.policy.kernel
        now = (driver.n_ops, kernel.now_ns(), driver.live_bytes)
        resident = kernel.resident_pages * PAGE_BYTES
        self.samples.append((*now, kernel.mapped_bytes, resident))
        self.schedule.taken += 1
        self._go_on_compiled()
        self.compiled = self.compiled_later
        if self.schedule.walks_now():
            ranges = driver.policy.ranges
            ranges.summing = 1
            n = driver.run("walk", compiled=self.compiled, settle=False)
            ranges.summing = 0
            row = (*now, ranges.used_bytes, ranges.metadata_bytes, 0, n)
            self.walks.extend(self._evaluated(np.array([row], np.int64)))
        if self.progress is not None:
            self.progress(driver.n_ops, self.source.n_ops or driver.n_ops)


def _explained(error: Exception, op: str, policy: str) -> Exception:
    """The error with the op, policy and method in which it happened."""
    place = f"{op}, policy {policy}"
    if getattr(error, "is_complete", False):  # the referee's say where they come from
        return type(error)(f"{op}: {error}")
    frames = traceback.extract_tb(error.__traceback__)
    own = [
        f for f in frames if f.name not in _PLUMBING and Path(f.filename).parent.name != "component"
    ]
    where = f", in {own[-1].name} ({Path(own[-1].filename).name}:{own[-1].lineno})" if own else ""
    if isinstance(error, SimulationError):
        return SimulationError(f"{place}{where}: {error}")
    said = " ".join(str(error).split())
    return AllocsimError(f"{place}{where}: {type(error).__name__}{': ' if said else ''}{said}")


_PLUMBING = frozenset(
    "drive run outside area_of read_fault write_fault misaligned offset load store write_pages "  # noqa: SIM905
    "write_many write_absent note_far prepare_load prepare_store load_called store_called touch "
    "placed other access run_ahead run_queued call __call__ hold drive_until reallocate access_own "
    "map_own".split()
)
