"""Simulated threads as SimPy processes; the only module that imports SimPy."""

from collections import deque
from collections.abc import Generator, Iterator

import numpy as np
import simpy
from simpy.core import EventPriority

from allocsim.engine.batch import Batch
from allocsim.engine.run import Run
from allocsim.trace import BATCH_OPS, Trace, TraceSource, validated


def execute(run: Run) -> None:
    """Run all operations to the end of simulated time, with a last sample there."""
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


def _recorded(environment: simpy.Environment, run: Run) -> Generator[simpy.Event, None, None]:
    """All operations in the trace's own order, from sample to sample."""
    for batch in map(Batch, _sound_batches(run.source)):
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

    def next(self, thread: int) -> tuple[Batch, int, int] | None:
        """The thread's next operation as (batch, row, its number on its object), or None."""
        while not self.queues[thread]:
            batch = next(self.batches, None)
            if batch is None:
                return None
            self._enqueue(Batch(batch))
        return self.queues[thread].popleft()

    def _enqueue(self, batch: Batch) -> None:
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
    environment: simpy.Environment, run: Run, queues: _Queues, thread: int
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
