"""The operations of a synthetic workload, dealt out to the queues of its threads."""

from collections.abc import Iterator

import numpy as np

from allocsim.driver import Driver
from allocsim.errors import SimulationError
from allocsim.run_ahead import MAX_THREADS, QUEUE_OPS
from allocsim.trace import BATCH_OPS, Trace, TraceSource
from allocsim.trace.compiled import Loop

_COLUMNS = {
    "thread": "queued_threads",
    "object": "queued_objects",
    "op": "queued_ops",
    "size": "queued_sizes",
    "alignment": "queued_alignments",
    "written": "queued_written",
    "offset": "queued_offsets",
    "arg": "queued_args",
    "think_ns": "queued_thinks",
}


class Queues:
    """Fills the queues of a driver's threads from a source, a batch at a time."""

    def __init__(self, driver: Driver, source: TraceSource, compiled: bool) -> None:
        self._batches: Iterator[Trace] = source.batches(BATCH_OPS)
        self._n_threads = source.n_threads
        self._seen = np.zeros(source.n_slots, np.int64)  # operations of each object so far
        self._heads, self._tails = _words(driver.heads), _words(driver.tails)
        self._heads[:] = self._tails[:] = np.arange(MAX_THREADS) * QUEUE_OPS
        self._columns = [_words(getattr(driver, name)) for name in _COLUMNS.values()]
        self._numbers = _words(driver.numbers)
        self._deal = Loop(deal, at_once=compiled)

    def fill(self) -> bool:
        """Deal out one more batch; whether there was one."""
        batch = next(self._batches, None)
        if batch is None:
            return False
        for thread, n in enumerate(np.bincount(batch.thread, minlength=self._n_threads).tolist()):
            self._make_room(thread, n)
        columns = [getattr(batch, name) for name in _COLUMNS]
        self._deal(*columns, *self._columns, self._numbers, self._seen, self._tails)
        return True

    def _make_room(self, thread: int, n: int) -> None:
        """Move what is left of a queue to its start, so that n more operations fit."""
        base, head, tail = QUEUE_OPS * thread, self._heads[thread], self._tails[thread]
        left = tail - head
        if left + n > QUEUE_OPS:
            raise SimulationError(
                f"thread {thread} is more than {QUEUE_OPS} operations behind the others"
            )
        for column in (*self._columns, self._numbers):
            column[base : base + left] = column[head:tail].copy()
        self._heads[thread], self._tails[thread] = base, base + left


def deal(
    threads, objects, ops, sizes, alignments, written, offsets, args, thinks, to_threads,
    to_objects, to_ops, to_sizes, to_alignments, to_written, to_offsets, to_args, to_thinks,
    numbers, seen, tails,
):  # fmt: skip
    """Append each operation to its thread's queue, with the number it has on its object."""
    for i in range(len(threads)):
        thread = threads[i]
        slot = objects[i]
        at = tails[thread]
        tails[thread] += 1
        to_threads[at] = thread
        to_objects[at] = slot
        to_ops[at] = ops[i]
        to_sizes[at] = sizes[i]
        to_alignments[at] = alignments[i]
        to_written[at] = written[i]
        to_offsets[at] = offsets[i]
        to_args[at] = args[i]
        to_thinks[at] = thinks[i]
        if slot >= 0:
            numbers[at] = seen[slot]
            seen[slot] += 1
    return len(threads)


def _words(view: memoryview) -> np.ndarray:
    return np.frombuffer(view, np.int64)
