"""One run in progress: driving batches, sampling memory, walking the heap, explaining errors."""

import traceback
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from allocsim import metrics
from allocsim.driver import Driver
from allocsim.engine.batch import Batch
from allocsim.engine.khugepaged import Khugepaged
from allocsim.errors import AllocsimError, InputError, SimulationError
from allocsim.kernel.backing import PAGE_BYTES
from allocsim.kernel.kernel import LOG_COLUMNS
from allocsim.trace import BATCH_OPS, Op, TraceSource


class Schedule:
    """At which operations to sample and to walk; with an unknown end, every 65,536 of them."""

    def __init__(self, n_ops: int | None, samples: int, walks: int) -> None:
        if samples < 1 or walks < 0:
            raise InputError("at least one sample, and no negative number of walks")
        self.n_ops, self.samples = n_ops, samples
        self.walk_every = max(1, samples // walks) if walks else 0
        self.taken = 0

    def next_stop(self) -> int:
        """The operation before which the next sample is due."""
        if self.n_ops is None:
            return (self.taken + 1) * BATCH_OPS
        return max(1, (self.taken + 1) * self.n_ops // self.samples)

    def walks_now(self) -> bool:
        return self.walk_every > 0 and self.taken % self.walk_every == 0


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

    def drive(self, batch: Batch, start: int, stop: int, until_ps: int | None = None) -> int:
        """Run rows start..stop of a batch, or those that start before until_ps; the next row."""
        first_op = self.driver.n_ops
        addresses, faults = batch.reports(self.on_ops is not None)
        arguments: tuple = (*batch.columns, addresses, faults, start, stop)
        method = "drive"
        if until_ps is not None:
            method, arguments = "drive_until", (*arguments, until_ps)
        try:
            reached: int = self.driver.run(method, *arguments, compiled=self.compiled, settle=False)
        except Exception as error:
            row = min(start + self.driver.n_ops - first_op, stop - 1)
            raise self.explained(error, Op(int(batch.trace.op[row]))) from error
        self.report(addresses[start:reached], faults[start:reached])
        return reached

    def explained(self, error: Exception, op: Op) -> Exception:
        """The error with the op, policy and method in which it happened."""
        return _explained(error, f"op {self.driver.n_ops} ({op.name.lower()})", self.policy_name)

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
        """Note memory now, and walk the heap where that is due."""
        driver, kernel = self.driver, self.driver.policy.kernel
        now = (driver.n_ops, kernel.now_ns(), driver.live_bytes)
        resident = kernel.resident_pages * PAGE_BYTES
        self.samples.append((*now, kernel.mapped_bytes, resident))
        self.schedule.taken += 1
        self.compiled = self.compiled_later
        if self.schedule.walks_now():
            self.walks.append((*now, *self._walk().values()))
        if self.progress is not None:
            self.progress(driver.n_ops, self.source.n_ops or driver.n_ops)

    def _walk(self) -> dict[str, int]:
        ranges = self.driver.policy.ranges
        ranges.summing = 1
        n = self.driver.run("walk", compiled=self.compiled, settle=False)
        ranges.summing = 0
        return metrics.heap_state(
            np.frombuffer(ranges.address, np.int64, n),
            np.frombuffer(ranges.size_bytes, np.int64, n),
            np.frombuffer(ranges.kind, np.uint8, n),
            ranges.used_bytes,
            ranges.metadata_bytes,
        )


def _explained(error: Exception, op: str, policy: str) -> Exception:
    """The error with the op, policy and method in which it happened."""
    place = f"{op}, policy {policy}"
    if getattr(error, "is_complete", False):  # the referee's say where they come from
        return type(error)(f"{op}: {error}")
    frames = traceback.extract_tb(error.__traceback__)
    own = [f for f in frames if f.name not in _PLUMBING]
    where = f", in {own[-1].name} ({Path(own[-1].filename).name}:{own[-1].lineno})" if own else ""
    if isinstance(error, SimulationError):
        return SimulationError(f"{place}{where}: {error}")
    return AllocsimError(f"{place}{where}: {type(error).__name__}: {error}")


_PLUMBING = frozenset(
    "drive run outside area_of read_fault write_fault misaligned offset load store write_pages "  # noqa: SIM905
    "write_many write_absent note_far prepare_load prepare_store load_called store_called touch "
    "placed other access run_ahead run_queued call __call__ hold drive_until reallocate access_own "
    "map_own".split()
)
