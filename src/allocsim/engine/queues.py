"""The operations of a synthetic workload, dealt out to the queues of its threads."""

from collections.abc import Iterator

import numpy as np

from allocsim.driver import Driver
from allocsim.errors import SimulationError
from allocsim.run_ahead import MAX_THREADS, QUEUE_OPS
from allocsim.trace import BATCH_OPS, Trace, TraceSource

_COLUMNS = {
    "op": "queued_ops",
    "thread": "queued_threads",
    "object": "queued_objects",
    "size": "queued_sizes",
    "alignment": "queued_alignments",
    "written": "queued_written",
    "offset": "queued_offsets",
    "arg": "queued_args",
    "think_ns": "queued_thinks",
}


class Queues:
    """Fills the queues of a driver's threads from a source, a batch at a time."""

    def __init__(self, driver: Driver, source: TraceSource) -> None:
        self._batches: Iterator[Trace] = source.batches(BATCH_OPS)
        self._n_threads = source.n_threads
        self._seen = np.zeros(source.n_slots, np.int64)  # operations of each object so far
        self._heads, self._tails = _words(driver.heads), _words(driver.tails)
        self._heads[:] = self._tails[:] = np.arange(MAX_THREADS) * QUEUE_OPS
        self._columns = {name: _words(getattr(driver, at)) for name, at in _COLUMNS.items()}
        self._numbers = _words(driver.numbers)

    def fill(self) -> bool:
        """Deal out one more batch; whether there was one."""
        batch = next(self._batches, None)
        if batch is None:
            return False
        columns = {name: getattr(batch, name) for name in _COLUMNS}
        numbers = self._numbers_of(batch.object)
        for thread in range(self._n_threads):
            rows = np.flatnonzero(batch.thread == thread)
            start, stop = self._make_room(thread, len(rows))
            for name, column in columns.items():
                self._columns[name][start:stop] = column[rows]
            self._numbers[start:stop] = numbers[rows]
        return True

    def _numbers_of(self, objects: np.ndarray) -> np.ndarray:
        """How many operations on the same object come before each."""
        order = np.argsort(objects, kind="stable")
        ordered = objects[order]
        starts = np.searchsorted(ordered, ordered)
        numbers = np.empty(len(objects), np.int64)
        numbers[order] = (
            np.arange(len(objects)) - starts + np.where(ordered >= 0, self._seen[ordered], 0)
        )
        real = objects[objects >= 0]
        self._seen += np.bincount(real, minlength=len(self._seen))
        return numbers

    def _make_room(self, thread: int, n: int) -> tuple[int, int]:
        """Move what is left of a queue to its start; where n more operations go."""
        base, head, tail = QUEUE_OPS * thread, self._heads[thread], self._tails[thread]
        start = base + tail - head
        if start + n > base + QUEUE_OPS:
            raise SimulationError(
                f"thread {thread} is more than {QUEUE_OPS} operations behind the others"
            )
        for column in (*self._columns.values(), self._numbers):
            column[base:start] = column[head:tail].copy()
        self._heads[thread], self._tails[thread] = base, start + n
        return start, start + n


def _words(view: memoryview) -> np.ndarray:
    return np.frombuffer(view, np.int64)
