"""Runs a specification once, and collects what a heap map shows."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from allocsim import driver_pool
from allocsim.driver import Driver
from allocsim.heapmap.blocks import Blocks, lifetimes
from allocsim.heapmap.page_states import Moment, accessible_ranges, read_moment
from allocsim.kernel.kernel import LOG_COLUMNS
from allocsim.runspec import RunSpec
from allocsim.simulation import Observers, run_spec
from allocsim.trace import BATCH_OPS, Trace, TraceSource

MOMENTS = 1024
"""At how many moments, equally spaced in ops, page states are read."""

WALKS = 64
"""At how many of them the policy reports its top."""

_COLUMNS = ("op", "thread", "object", "size", "offset")


@dataclass(frozen=True)
class Recording:
    """One run. Times are op numbers: a block is live after op `born` and before op `died`.

    faults: minor faults of each op. calls: rows of the kernel's log. start_brk: where the heap
    starts. totals: the run's, see `metrics.totals`.
    """

    n_ops: int
    blocks: Blocks
    moments: list[Moment]
    faults: np.ndarray
    calls: np.ndarray
    start_brk: int
    totals: dict[str, Any]


def record_run(spec: RunSpec, progress: Callable[[int, int], None] | None = None) -> Recording:
    """Simulate, and collect. progress: receives ops done and in all."""
    recorder = _Recorder(spec, progress)
    observers = Observers(recorder.note_moment, recorder.note_ops, recorder.calls.append)
    result = run_spec(recorder.spec(), observers)
    try:
        return recorder.recording(result.totals)
    finally:
        result.close()


class _Recorder:
    """Is the workload, the maker of the driver and the observers of one run."""

    def __init__(self, spec: RunSpec, progress: Callable[[int, int], None] | None) -> None:
        self._spec, self._progress = spec, progress
        self._ops = _OpsInOrder(spec.source())
        self._moments: list[Moment] = []
        self._pieces: list[tuple[int, np.ndarray, np.ndarray]] = []
        self._driver: Driver | None = None
        self.calls: list[np.ndarray] = []

    def spec(self) -> RunSpec:
        """The specification, observed."""
        return replace(
            self._spec,
            workload=self._ops,
            make_driver=self._make_driver,
            samples=MOMENTS,
            walks=WALKS,
        )

    def _make_driver(self, *arguments: Any, **parameters: Any) -> Driver:
        make = self._spec.make_driver or driver_pool.take
        self._driver = make(*arguments, **parameters)
        self._ops.at_start = self._note_start
        return self._driver

    def _note_start(self) -> None:
        """What is mapped before the first op is the program's own, and on no map."""
        assert self._driver is not None
        kernel = self._driver.policy.kernel
        mapped = accessible_ranges(kernel)
        is_heap = (mapped[:, 1] > kernel.start_brk) & (mapped[:, 0] < kernel.break_)
        self._foreign = mapped[~is_heap]
        self._moments = [read_moment(self._driver, self._foreign)]

    def note_moment(self, done: int, total: int) -> None:
        """Read the page states, at each sample of the run."""
        assert self._driver is not None
        if done > self._moments[-1].n_ops:
            self._moments.append(read_moment(self._driver, self._foreign))
        if self._progress is not None:
            self._progress(done, total)

    def note_ops(self, addresses: np.ndarray, faults: np.ndarray) -> None:
        """Ops have run; of threads that meet, those of one thread."""
        assert self._driver is not None
        if len(addresses):
            self._pieces.append((self._driver.policy.thread, addresses.copy(), faults.copy()))

    def recording(self, totals: dict[str, Any]) -> Recording:
        """What was collected, once the run is over."""
        assert self._driver is not None
        threads = [(thread, len(addresses)) for thread, addresses, _ in self._pieces]
        ops = self._ops.columns(threads if self._ops.meets else None)
        addresses = _joined([piece[1] for piece in self._pieces])
        calls = self.calls or [np.zeros((0, LOG_COLUMNS), np.int64)]
        return Recording(
            n_ops=len(addresses),
            blocks=lifetimes(ops, addresses),
            moments=self._moments,
            faults=_joined([piece[2] for piece in self._pieces]),
            calls=np.concatenate(calls),
            start_brk=self._driver.policy.kernel.start_brk,
            totals=totals,
        )


class _OpsInOrder:
    """A source that keeps the ops it hands out, and ends a batch wherever memory is sampled."""

    def __init__(self, source: TraceSource) -> None:
        self._source = source
        self._kept: list[list[np.ndarray]] = []
        self.at_start: Callable[[], None] = lambda: None
        self.meets = bool(getattr(source, "synthetic", False)) and source.n_threads > 1

    def __getattr__(self, name: str) -> Any:
        return getattr(self._source, name)

    def batches(self, batch_ops: int = BATCH_OPS) -> Iterator[Trace]:
        """The ops in order."""
        self.at_start()
        self._kept, done = [], 0
        for batch in self._source.batches(batch_ops):
            self._kept.append([getattr(batch, name) for name in _COLUMNS])
            yield from self._pieces(batch, done)
            done += len(batch)

    def _pieces(self, batch: Trace, done: int) -> Iterator[Trace]:
        if not (n_ops := self._source.n_ops) or self.meets:
            yield batch
            return
        stops = np.arange(1, MOMENTS + 1) * n_ops // MOMENTS - done
        inside = np.unique(stops[(stops > 0) & (stops < len(batch))]).tolist()
        for start, stop in zip([0, *inside], [*inside, len(batch)], strict=True):
            yield batch[start:stop]

    def columns(self, threads: list[tuple[int, int]] | None) -> dict[str, np.ndarray]:
        """The columns of `_COLUMNS`, in the order in which the ops ran.

        threads: (thread, ops) of each piece that ran, where that was not the order of the source.
        """
        columns = {
            name: _joined([batch[number] for batch in self._kept])
            for number, name in enumerate(_COLUMNS)
        }
        if threads is None:
            return columns
        order = _order_of_pieces(columns["thread"], threads)
        return {name: column[order] for name, column in columns.items()}


def _order_of_pieces(thread: np.ndarray, pieces: list[tuple[int, int]]) -> np.ndarray:
    """The rows in the order in which pieces of each thread's ops ran."""
    rows = {number: np.flatnonzero(thread == number) for number, _ in pieces}
    taken = dict.fromkeys(rows, 0)
    order = []
    for number, n in pieces:
        order.append(rows[number][taken[number] : taken[number] + n])
        taken[number] += n
    return _joined(order)


def _joined(parts: list[np.ndarray]) -> np.ndarray:
    return np.concatenate(parts) if parts else np.zeros(0, np.int64)
