"""Runs a workload through a policy on the modelled kernel; the only importer of SimPy.

Every simulated thread is a SimPy process. What an operation does is decided when it starts, in the
order of (start time, thread number); how long it took delays the thread. A recorded trace keeps its
order of effects, so one process drives it, however many threads it has, and it meets nobody between
two samples.
"""

import traceback
import warnings
from collections import deque
from collections.abc import Callable, Generator, Iterator
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import simpy
from simpy.core import EventPriority

from allocsim import metrics
from allocsim.driver import MAX_SLOTS, MAX_THREADS, Driver, driver_for
from allocsim.errors import AllocsimError, InputError, SimulationError
from allocsim.kernel import CostTable, Event, Layout
from allocsim.kernel.kernel import LOG_COLUMNS
from allocsim.kernel.memory import PAGE_BYTES
from allocsim.policy import Policy, with_kernel
from allocsim.trace import BATCH_OPS, Op, Trace, TraceSource, validated

COMPILE_FROM_OPS = 3_000_000
"""Compiling takes as long as interpreting about so many operations."""

MODES = ("auto", "interpreted", "compiled")
KERNEL_OPTIONS = (
    "limit_as_bytes", "limit_data_bytes", "limit_map_count", "overcommit_bytes", "memory_pages",
    "poison",
)  # fmt: skip


@dataclass(frozen=True)
class Result:
    """What a run gave: see `metrics.totals`, `metrics.SAMPLE_COLUMNS`, `metrics.WALK_COLUMNS`."""

    totals: dict[str, float | int]
    samples: dict[str, np.ndarray]
    walks: dict[str, np.ndarray]
    provenance: dict[str, Any] = field(default_factory=dict)
    driver: Driver | None = field(default=None, repr=False, compare=False)


def simulate(
    source: TraceSource,
    policy: type[Policy],
    *,
    parameters: dict[str, int | float] | None = None,
    costs: CostTable | None = None,
    layout: Layout | None = None,
    kernel_options: dict[str, int] | None = None,
    samples: int = 256,
    walks: int = 16,
    make_driver: Callable[..., Driver] = driver_for,
    writing: bool = True,
    mode: str = "auto",
    progress: Callable[[int, int], None] | None = None,
    on_ops: Callable[[np.ndarray, np.ndarray], None] | None = None,
    on_syscalls: Callable[[np.ndarray], None] | None = None,
) -> Result:
    """Run `source` through `policy`; a pure function of its inputs.

    kernel_options: limits of the machine by name (KERNEL_OPTIONS); with memory_pages, the least
    recently used pages beyond so many go out to swap.
    make_driver: what drives the policy; `allocsim.check.refereed` checks every block.
    samples, walks: at how many points, equally spaced in operations, memory is sampled and the heap
    walked. writing: whether the program writes to its memory. progress receives operations done and
    in all; on_ops each batch's addresses and minor faults per operation; on_syscalls an array of
    rows (op, number, six arguments, result). InputError for impossible inputs, SimulationError when
    the simulated program or policy would have died.
    """
    driver = _prepared(policy, parameters or {}, costs, layout, kernel_options or {}, make_driver)
    driver.writing = int(writing)
    driver.policy.kernel.logging = int(on_syscalls is not None)
    _check_source(source)
    run = _Run(
        driver=driver,
        source=source,
        compiled=_compiled(driver, source, mode),
        progress=progress,
        on_ops=on_ops,
        on_syscalls=on_syscalls,
        schedule=_Schedule(source.n_ops, samples, walks),
    )
    _execute(run)
    return _result(run, policy)


# ---------------------------------------------------------------------------------- preparing
def _prepared(
    policy: type[Policy],
    parameters: dict[str, int | float],
    costs: CostTable | None,
    layout: Layout | None,
    options: dict[str, int],
    make_driver: Callable[..., Driver],
) -> Driver:
    if "memory_pages" in options:
        policy = _swapping(policy)  # type: ignore[arg-type]
    driver = make_driver(policy, **parameters)
    kernel = driver.policy.kernel
    if costs is not None:
        kernel.costs.use(costs)
    if layout is not None:
        kernel.lay_out(layout)
    for name, value in options.items():
        if name not in KERNEL_OPTIONS:
            raise InputError(f"unknown kernel option {name!r}; known: {', '.join(KERNEL_OPTIONS)}")
        if (declared := kernel.parameters().get(name)) is not None:
            value = declared.checked(name, value)
        setattr(kernel, name, value)
    return driver


@cache
def _swapping(policy: type[Policy]) -> type[Policy]:
    """The policy on a machine with limited memory; one class, since compiled code belongs to it."""
    from allocsim.kernel.swap import SwappingKernel

    return with_kernel(policy, SwappingKernel)


def _check_source(source: TraceSource) -> None:
    for what, n, most in (
        ("object slots", source.n_slots, MAX_SLOTS),
        ("threads", source.n_threads, MAX_THREADS),
    ):
        if n > most:
            raise InputError(f"the workload has {n} {what}; at most {most} can be simulated")


def _compiled(driver: Driver, source: TraceSource, mode: str) -> bool:
    """Whether to run compiled: as asked, or where it pays."""
    if mode not in MODES:
        raise InputError(f"mode is one of {', '.join(MODES)}, not {mode!r}")
    if mode == "interpreted" or driver.interpreted_only:
        return False
    from allocsim.component.compiler import NotCompilable, entry, is_cached

    if mode == "auto" and not is_cached(type(driver), "drive"):
        n_ops = source.n_ops
        if n_ops is not None and n_ops < COMPILE_FROM_OPS:
            return False
    try:
        entry(type(driver), "drive", drive_signature())
    except NotCompilable as error:
        if mode == "compiled":
            raise
        _warn_once(f"{error}; running it interpreted")
        return False
    return True


@cache
def _warn_once(message: str) -> None:
    warnings.warn(message, RuntimeWarning, stacklevel=4)


class _Schedule:
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


# ---------------------------------------------------------------------------------- running
@dataclass
class _Run:
    """One run in progress."""

    driver: Driver
    source: TraceSource
    compiled: bool
    schedule: _Schedule
    progress: Callable[[int, int], None] | None
    on_ops: Callable[[np.ndarray, np.ndarray], None] | None
    on_syscalls: Callable[[np.ndarray], None] | None
    samples: list[tuple] = field(default_factory=list)
    walks: list[tuple] = field(default_factory=list)

    def drive(self, batch: "_Batch", start: int, stop: int) -> None:
        """Run rows start..stop of a batch."""
        first_op = self.driver.n_ops
        addresses, faults = batch.reports(self.on_ops is not None)
        arguments = (*batch.columns, addresses, faults, start, stop)
        try:
            self.driver.run("drive", *arguments, compiled=self.compiled)
        except Exception as error:
            row = min(start + self.driver.n_ops - first_op, stop - 1)
            raise _explained(error, self.driver, Op(int(batch.trace.op[row]))) from error
        if self.on_ops is not None:
            self.on_ops(addresses[start:stop], faults[start:stop])
        self._flush_syscalls()

    def _flush_syscalls(self) -> None:
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
        if self.schedule.walks_now():
            self.walks.append((*now, *self._walk().values()))
        if self.progress is not None:
            self.progress(driver.n_ops, self.source.n_ops or driver.n_ops)

    def _walk(self) -> dict[str, int]:
        n = self.driver.run("walk", compiled=self.compiled)
        ranges = self.driver.policy.ranges
        return metrics.heap_state(
            np.frombuffer(ranges.address, np.int64, n),
            np.frombuffer(ranges.size_bytes, np.int64, n),
            np.frombuffer(ranges.kind, np.uint8, n),
        )


class _Batch:
    """A batch of operations, as the driver takes it."""

    def __init__(self, trace: Trace) -> None:
        self.trace = trace
        thinks = trace.think_ns if trace.think_ns.any() else trace.think_ns[:0]
        self.columns = (
            trace.op, trace.thread, trace.object, trace.size, trace.alignment, trace.written,
            trace.offset, trace.arg, thinks,
        )  # fmt: skip

    def reports(self, wanted: bool) -> tuple[np.ndarray, np.ndarray]:
        """Room for each operation's address and minor faults, or none."""
        n = len(self.trace) if wanted else 0
        return np.zeros(n, np.int64), np.zeros(n, np.int64)

    def __len__(self) -> int:
        return len(self.trace)


def drive_columns(trace: Trace) -> tuple:
    """`trace` as the columns that `Driver.drive` takes, without room for reports."""
    batch = _Batch(trace)
    return (*batch.columns, *batch.reports(False))


def drive_signature() -> tuple:
    """Arguments of `Driver.drive` of the types that every batch has, to compile for."""
    return (*drive_columns(Trace.concatenate([])), 0, 0)


def _execute(run: _Run) -> None:
    environment = simpy.Environment()
    if _is_synthetic(run.source) and run.source.n_threads > 1:
        queues = _Queues(run.source)
        for thread in range(run.source.n_threads):
            environment.process(_thread(environment, run, queues, thread))
    else:
        environment.process(_recorded(environment, run))
    environment.run()
    if not run.samples or run.samples[-1][0] != run.driver.n_ops:
        run.sample()


def _is_synthetic(source: TraceSource) -> bool:
    """Whether allocsim made the ops itself: sound, and with no recorded order between threads."""
    return getattr(source, "synthetic", False)


def _sound_batches(source: TraceSource) -> Iterator[Trace]:
    return source.batches(BATCH_OPS) if _is_synthetic(source) else validated(source)


def _recorded(environment: simpy.Environment, run: _Run) -> Generator[simpy.Event, None, None]:
    """All operations in the trace's own order, from sample to sample."""
    for batch in map(_Batch, _sound_batches(run.source)):
        start = 0
        while start < len(batch):
            due = run.schedule.next_stop() - run.driver.n_ops
            stop = min(len(batch), start + max(1, due))
            run.drive(batch, start, stop)
            if stop - start == due:
                run.sample()
            start = stop
            yield environment.timeout(max(0, run.driver.policy.kernel.now_ns() - environment.now))


class _Turn(simpy.Event):
    """The start of a thread's next operation; at equal times the lower thread number goes first."""

    def __init__(self, environment: simpy.Environment, thread: int, delay_ns: int) -> None:
        super().__init__(environment)
        self._ok, self._value = True, None
        environment.schedule(self, EventPriority(2 + thread), delay_ns)


class _Queues:
    """A synthetic workload's operations, by thread, pulled from the source as they are needed.

    An operation waits until the one before it on the same object is done, whichever thread that is:
    `turn[object]` counts the operations done, and each queued operation knows its own number.
    """

    def __init__(self, source: TraceSource) -> None:
        self.batches = source.batches(BATCH_OPS)
        self.queues: list[deque] = [deque() for _ in range(source.n_threads)]
        self.queued = np.zeros(source.n_slots, np.int64)
        self.done = np.zeros(source.n_slots, np.int64)
        self.waiting: dict[int, list[simpy.Event]] = {}

    def next(self, thread: int) -> tuple[_Batch, int, int] | None:
        """The thread's next operation as (batch, row, its number on its object), or None."""
        while not self.queues[thread]:
            batch = next(self.batches, None)
            if batch is None:
                return None
            self._enqueue(_Batch(batch))
        return self.queues[thread].popleft()

    def _enqueue(self, batch: _Batch) -> None:
        for row, (thread, slot) in enumerate(
            zip(batch.trace.thread.tolist(), batch.trace.object.tolist(), strict=True)
        ):
            number = 0
            if slot >= 0:
                number = int(self.queued[slot])
                self.queued[slot] += 1
            self.queues[thread].append((batch, row, number))

    def blocked(self, slot: int, number: int, event: simpy.Event) -> bool:
        """Whether the operation must wait for others on its object; if so `event` will tell."""
        if slot < 0 or self.done[slot] == number:
            return False
        self.waiting.setdefault(slot, []).append(event)
        return True

    def finish(self, slot: int) -> None:
        if slot >= 0:
            self.done[slot] += 1
            for event in self.waiting.pop(slot, ()):
                event.succeed()


def _thread(
    environment: simpy.Environment, run: _Run, queues: _Queues, thread: int
) -> Generator[simpy.Event, None, None]:
    """One simulated thread of a synthetic workload, operation by operation."""
    kernel = run.driver.policy.kernel
    clock_ps = 0
    while (operation := queues.next(thread)) is not None:
        batch, row, number = operation
        slot = int(batch.trace.object[row])
        while queues.blocked(slot, number, freed := environment.event()):
            yield freed
        clock_ps = max(clock_ps, int(environment.now) * 1000)
        run.driver.enter(thread, clock_ps)
        run.drive(batch, row, row + 1)
        clock_ps = run.driver.thread_ps[thread] = kernel.now_ps()
        if run.driver.n_ops == run.schedule.next_stop():
            run.sample()
        queues.finish(slot)
        yield _Turn(environment, thread, clock_ps // 1000 - int(environment.now))


# ---------------------------------------------------------------------------------- results
def _ledger(driver: Driver) -> dict[str, Any]:
    kernel = driver.policy.kernel
    counts = np.array(kernel.counts, np.int64)
    counts[Event.FAR_ACCESS] = kernel.far_accesses
    counts[Event.NEAR_ACCESS] = kernel.accesses - kernel.far_accesses
    return {
        "counts": counts,
        "unit_ps": tuple(kernel.costs.unit_ps),
        "ops": driver.n_ops,
        "time_ns": max(kernel.now_ps(), *driver.thread_ps[:MAX_THREADS]) // 1000,
        "failed": driver.failed,
        "peak_live_bytes": driver.peak_live_bytes,
        "peak_mapped_bytes": kernel.peak_mapped_bytes,
        "peak_resident_bytes": kernel.peak_resident_pages * PAGE_BYTES,
        "live_at_peak_resident_bytes": driver.live_at_peak_resident_bytes,
    }


def _table(rows: list[tuple], names: tuple[str, ...]) -> dict[str, np.ndarray]:
    columns = np.array(rows, np.int64).reshape(-1, len(names))
    return {name: columns[:, i].copy() for i, name in enumerate(names)}


def _result(run: _Run, policy: type[Policy]) -> Result:
    samples = _table(run.samples, metrics.SAMPLE_COLUMNS)
    walks = _table(run.walks, metrics.WALK_COLUMNS)
    return Result(
        totals=metrics.totals(_ledger(run.driver), samples, walks),
        samples=samples,
        walks=walks,
        provenance={"policy": _policy_name(policy), "compiled": run.compiled},
        driver=run.driver,
    )


def _policy_name(policy: type[Policy]) -> str:
    return policy.__name__


def _explained(error: Exception, driver: Driver, op: Op) -> Exception:
    """The error with the operation, policy and method in which it happened."""
    name = _policy_name(type(driver)._fields["policy"].cls)
    place = f"op {driver.n_ops} ({op.name.lower()}), policy {name}"
    if getattr(error, "is_complete", False):  # the referee's say where they come from
        return type(error)(f"op {driver.n_ops} ({op.name.lower()}): {error}")
    frames = traceback.extract_tb(error.__traceback__)
    own = [f for f in frames if f.name not in _PLUMBING]
    where = f", in {own[-1].name} ({Path(own[-1].filename).name}:{own[-1].lineno})" if own else ""
    if isinstance(error, SimulationError):
        return SimulationError(f"{place}{where}: {error}")
    return AllocsimError(f"{place}{where}: {type(error).__name__}: {error}")


_PLUMBING = frozenset(
    "drive run outside area_of read_fault write_fault misaligned offset load store write_pages "  # noqa: SIM905
    "write_many write_absent touch placed other access".split()
)
