"""Simulated threads that meet: they run ahead compiled, and wait for each other in simulated time.

An operation takes effect whole when it starts, in the order of (start time, thread number). Then
its crossings are played: the thread waits for the locks and CPUs that it needs, which delays the
end of the operation and so the start of the thread's next one.
"""

from typing import Any

import numpy as np

from allocsim.component import Bound
from allocsim.engine.clock import NEVER_PS, Timeline, Turn
from allocsim.engine.locks import AWAKE_PS, Cpus, PolicyLock
from allocsim.engine.mmap_lock import MmapLock
from allocsim.engine.queues import Queues
from allocsim.engine.run import Run
from allocsim.engine.simulated_thread import Thread
from allocsim.errors import SimulationError
from allocsim.kernel import Event
from allocsim.metrics import THREAD_COLUMNS
from allocsim.run_ahead import N_OPS
from allocsim.trace import Op


class Meeting:
    """Everything that the threads of one run share."""

    def __init__(self, run: Run, cpus: int) -> None:
        driver, n_threads = run.driver, run.source.n_threads
        kernel: Any = driver.policy.kernel
        self.run, self.driver, self.kernel = run, driver, kernel
        self.report, self.reports = driver.report, run.reports
        self.crossed = kernel.crossings
        self.timeline = Timeline()
        self.cpus, self.scarce = Cpus(cpus), cpus < n_threads
        self.wake_delay = int(kernel.costs.price_ps(Event.WAKE_DELAY, 1))
        self.mmap_lock = MmapLock(self.wake_delay, self.cpus)
        self.shootdown = int(kernel.costs.price_ps(Event.SHOOTDOWN, 1))
        self.interruption = int(kernel.costs.price_ps(Event.INTERRUPTION, 1))
        self.waking = int(kernel.costs.price_ps(Event.WAKING, 1))
        self.handover = int(kernel.costs.price_ps(Event.HANDOVER, 1))
        self.trap = int(kernel.costs.price_ps(Event.TRAP, 1))
        self.interrupted_at = 0  # when the latest shootdown's interrupt arrives
        self.shootdowns = 0  # so far: each interrupts all running threads but one
        self.locks: dict[int, PolicyLock] = {}
        self.waiting: dict[int, list[Turn]] = {}  # threads that wait for an object, by its slot
        self.queues = Queues(driver, run.source, run.compiled)
        self.bound = Bound(driver, "run_ahead", 4, run.compiled)
        self.ops_done, self.next_stop = driver.n_ops, run.schedule.next_stop()
        self.crossings = 0
        self.threads = [Thread(self, number) for number in range(n_threads)]

    def play(self) -> None:
        """Run all threads to their ends."""
        self.bound.open()
        try:
            if self.run.khugepaged is not None:
                background = self.run.khugepaged.live(self.timeline, 1_000_000_000, self._collapse)
                self.timeline.process(background)
            lives = [self.timeline.process(thread.live()) for thread in self.threads]
            self.timeline.play()
            waiting = [str(t.number) for t in self.threads if lives[t.number].is_alive]
            if waiting:
                raise SimulationError(f"threads wait for ever, for locks: {', '.join(waiting)}")
        finally:
            self.bound.close()

    def lock(self, number: int) -> PolicyLock:
        """The policy's lock of that number."""
        if number not in self.locks:
            self.locks[number] = PolicyLock(self.kernel.free_at_ps, number, self.wake_delay)
        return self.locks[number]

    def run_ahead(self, thread: int, clock: int, until: int) -> int:
        """Run operations of a thread from its clock on; why it stopped (see `run_ahead`)."""
        due = self.next_stop - self.ops_done
        try:
            why: int = self.bound.call(thread, clock, until, due if due > 0 else 1)
        except Exception as error:
            self.bound.close()
            row = self.driver.heads[thread] + self.driver.n_ops - self.ops_done
            raise self.run.explained(error, Op(self.driver.queued_ops[row])) from error
        n = self.report[N_OPS]
        self.ops_done += n
        if n == due or self.reports:
            self._note(self.driver.heads[thread] - n, n, n == due)
        return why

    def _note(self, first: int, n: int, sample: bool) -> None:
        """n operations from a queue's place `first` are done: report them, sample if it is time."""
        self.bound.close()
        columns = (self.driver.ran_addresses, self.driver.ran_faults)
        self.run.report(*(np.array(column[first : first + n]) for column in columns))
        if sample:
            self.driver.enter(self.driver.policy.thread, self.timeline.now)
            self.run.sample()
            self.next_stop = self.run.schedule.next_stop()
            if self.run.compiled != self.bound.compiled:
                self.bound = Bound(self.driver, "run_ahead", 4, self.run.compiled)
        self.bound.open()

    def _collapse(self, n_pages: int) -> int | None:
        """khugepaged's turn; None when no thread is left that will ever do anything."""
        if self.timeline.appointments[0][0] >= NEVER_PS:
            return None
        self.bound.close()
        made = self.run.collapse(n_pages)
        self.bound.open()
        return made

    def finish(self, slot: int, clock: int) -> int:
        """An operation on an object ended at `clock`: who waits for it may go on then.

        Returns how many of those sleep, each on a CPU that is idle.
        """
        turns = self.waiting.pop(slot, [])
        for turn in turns:
            turn.at(clock)
        self.driver.wanted[slot] = 0
        asleep = sum(clock - turn.came >= AWAKE_PS for turn in turns)
        return min(asleep, len(self.cpus.free))

    def table(self) -> dict[str, np.ndarray]:
        """A row for each thread: its number, and where its time went, in nanoseconds."""
        columns: dict[str, Any] = {"thread": [thread.number for thread in self.threads]}
        for name in THREAD_COLUMNS[1:]:
            account = name.removesuffix("_ns")
            columns[name] = [getattr(thread, account) // 1000 for thread in self.threads]
        return {name: np.array(column, np.int64) for name, column in columns.items()}
