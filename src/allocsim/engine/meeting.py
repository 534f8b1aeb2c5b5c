"""Simulated threads that meet: they run ahead compiled, and wait for each other in simulated time.

An operation takes effect whole when it starts, in the order of (start time, thread number). Then
its crossings are played: the thread waits for the locks and CPUs that it needs, which delays the
end of the operation and so the start of the thread's next one.
"""

from collections import Counter
from collections.abc import Generator
from typing import Any

import numpy as np
import simpy

from allocsim.component import Bound
from allocsim.engine.clock import NEVER_PS, Turn
from allocsim.engine.locks import Cpus, MmapLock, PolicyLock, Waiter
from allocsim.engine.queues import Queues
from allocsim.engine.run import Run, explained
from allocsim.kernel import Event
from allocsim.kernel.crossings import FAULT, LOCKED, UNLOCKED, WIDTH, WRITER
from allocsim.metrics import THREAD_COLUMNS
from allocsim.run_ahead import (
    BLOCKED,
    CLOCK_PS,
    CROSSED,
    EMPTY,
    N_CROSSINGS,
    N_OPS,
    SLOT,
    TAIL_PS,
    TOO_EARLY,
    WANTED,
)
from allocsim.trace import Op

SLICE_PS = 3_000_000_000
"""A thread keeps its CPU so long when others wait for one: Linux's base slice, about 3 ms."""

Steps = Generator[simpy.Event, None, None]


class Meeting:
    """Everything that the threads of one run share."""

    def __init__(self, run: Run, cpus: int) -> None:
        driver, n_threads = run.driver, run.source.n_threads
        kernel: Any = driver.policy.kernel
        self.run, self.driver, self.kernel = run, driver, kernel
        self.environment = simpy.Environment()
        self.cpus, self.scarce = Cpus(cpus), cpus < n_threads
        self.mmap_lock = MmapLock()
        self.wake_delay = int(kernel.costs.price_ps(Event.WAKE_DELAY, 1))
        self.locks: dict[int, PolicyLock] = {}
        self.waiting: dict[int, list[Turn]] = {}  # threads that wait for an object, by its slot
        self.queues = Queues(driver, run.source)
        self.bound = Bound(driver, "run_ahead", 4, run.compiled)
        self.ops_done = driver.n_ops
        self.crossings = 0
        self.threads = [Thread(self, number) for number in range(n_threads)]

    def play(self) -> None:
        """Run all threads to their ends."""
        self.bound.open()
        try:
            for thread in self.threads:
                self.environment.process(thread.live())
            self.environment.run()
        finally:
            self.bound.close()

    def lock(self, number: int) -> PolicyLock:
        """The policy's lock of that number."""
        if number not in self.locks:
            self.locks[number] = PolicyLock(self.kernel.free_at_ps, number, self.wake_delay)
        return self.locks[number]

    def run_ahead(self, thread: int, clock: int, until: int) -> int:
        """Run operations of a thread from its clock on; why it stopped (see `run_ahead`)."""
        self.kernel.others[0] = self.cpus.running - 1
        most = self.run.schedule.next_stop() - self.ops_done
        first = self.driver.heads[thread]
        try:
            why: int = self.bound.call(thread, clock, until, most)
        except Exception as error:
            self.bound.close()
            row = first + self.driver.n_ops - self.ops_done
            raise explained(error, self.driver, Op(self.driver.queued_ops[row])) from error
        self._note(first, self.driver.report[N_OPS])
        return why

    def _note(self, first: int, n: int) -> None:
        """n operations from a queue's place `first` are done: report them, sample if it is time."""
        self.ops_done += n
        due = self.ops_done == self.run.schedule.next_stop()
        if not due and self.run.on_ops is None and self.run.on_syscalls is None:
            return
        self.bound.close()
        columns = (self.driver.ran_addresses, self.driver.ran_faults)
        self.run.report(*(np.array(column[first : first + n]) for column in columns))
        if due:
            self.driver.enter(self.driver.policy.thread, int(self.environment.now))
            self.run.sample()
            if self.run.compiled != self.bound.compiled:
                self.bound = Bound(self.driver, "run_ahead", 4, self.run.compiled)
        self.bound.open()

    def finish(self, slot: int, clock: int) -> None:
        """An operation on an object ended at `clock`: who waits for it may go on then."""
        for turn in self.waiting.pop(slot, ()):
            turn.at(clock)
        self.driver.wanted[slot] = 0

    def table(self) -> dict[str, np.ndarray]:
        """A row for each thread: its number, and where its time went, in nanoseconds."""
        columns: dict[str, Any] = {"thread": [thread.number for thread in self.threads]}
        for name in THREAD_COLUMNS[1:]:
            account = name.removesuffix("_ns")
            columns[name] = [thread.spent[account] // 1000 for thread in self.threads]
        return {name: np.array(column, np.int64) for name, column in columns.items()}


class Thread:
    """One simulated thread. `clock` may lie ahead of the environment's time, never behind it."""

    def __init__(self, meeting: Meeting, number: int) -> None:
        self.meeting, self.number = meeting, number
        self.environment = meeting.environment
        self.turn = Turn(meeting.environment, number)
        self.clock = 0
        self.slice_end = SLICE_PS
        self.spent: Counter[str] = Counter()

    # ---- the life of a thread
    def live(self) -> Steps:
        """The process: run ahead, play crossings, until there is nothing left to do."""
        yield self.turn.armed().at(0)
        yield from self._take_cpu()
        meeting, report, environment = self.meeting, self.meeting.driver.report, self.environment
        while True:
            if environment.peek() <= self.clock and environment.now < self.clock:
                yield self.turn.armed().at(self.clock)
            start = self.clock
            why = meeting.run_ahead(self.number, start, int(min(environment.peek(), NEVER_PS)))
            slot, tail = report[SLOT], report[TAIL_PS]
            if why == CROSSED:
                yield from self._cross(report[N_CROSSINGS])
                yield from self._work(tail)
                self._end_operation(slot)
                continue
            yield from self._work(report[CLOCK_PS] - start)
            if why == WANTED:
                meeting.finish(slot, self.clock)
            elif why == BLOCKED:
                yield from self._wait_for_object(slot)
            elif why == TOO_EARLY:
                self._wait_until("wait_objects", meeting.driver.done_ps[slot])
            elif why == EMPTY and not meeting.queues.fill() and self._is_through():
                break
        yield from self._catch_up()
        meeting.cpus.give_back()
        meeting.driver.thread_ps[self.number] = self.clock

    def _is_through(self) -> bool:
        driver = self.meeting.driver
        return driver.heads[self.number] == driver.tails[self.number]

    def _end_operation(self, slot: int) -> None:
        if slot >= 0:
            driver = self.meeting.driver
            driver.done[slot] += 1
            driver.done_ps[slot] = self.clock
            if driver.wanted[slot]:
                self.meeting.finish(slot, self.clock)

    def _wait_for_object(self, slot: int) -> Steps:
        """Operations of other threads on the object come first: sleep until one has ended."""
        if self.environment.now < self.clock:
            yield from self._catch_up()
            return  # by now the object may be there
        self.meeting.waiting.setdefault(slot, []).append(self.turn.armed())
        self.meeting.driver.wanted[slot] = 1
        self.meeting.cpus.give_back()
        yield self.turn
        self._wait_until("wait_objects", int(self.environment.now))
        yield from self._take_cpu()

    # ---- time that passes
    def _work(self, duration: int) -> Steps:
        """Run in user mode; where CPUs are scarce, others get theirs after a time slice."""
        self.spent["work"] += duration
        if not self.meeting.scarce:
            self.clock += duration
            return
        while self.clock + duration >= self.slice_end:
            duration -= max(0, self.slice_end - self.clock)
            self.clock = max(self.clock, self.slice_end)
            yield from self._catch_up()
            if self.meeting.cpus.queue:
                self.meeting.cpus.give_back()
                yield from self._take_cpu()
            self.slice_end = self.clock + SLICE_PS
        self.clock += duration

    def _take_cpu(self) -> Steps:
        """Wait for a CPU if none is free."""
        if not self.meeting.cpus.take():
            yield self.meeting.cpus.wait(self.turn.armed())
            self._wait_until("wait_cpu", int(self.environment.now))
        self.slice_end = self.clock + SLICE_PS

    def _wait_until(self, account: str, now: int) -> None:
        """What passed of the thread's time until `now` was waiting."""
        if now > self.clock:
            self.spent[account] += now - self.clock
            self.clock = now

    def _catch_up(self) -> Steps:
        """Let the environment's time reach the thread's clock."""
        if self.environment.now < self.clock:
            yield self.turn.armed().at(self.clock)

    # ---- crossings
    def _cross(self, n: int) -> Steps:
        """Play the n crossings of an operation."""
        rows = self.meeting.kernel.crossings[: n * WIDTH].tolist()
        self.meeting.crossings += n
        for at in range(0, n * WIDTH, WIDTH):
            kind, before, hold, count, shared, lo, hi, _ = rows[at : at + WIDTH]
            if before:
                yield from self._work(before)
            if kind == LOCKED:
                yield from self._lock(self.meeting.lock(count))
            elif kind == UNLOCKED:
                self.meeting.lock(count).give_back(self.clock)
            elif kind == FAULT:
                yield from self._fault(hold, count, lo, hi)
            elif count == 1:
                yield from self._hold_mmap_lock(kind == WRITER, hold, shared, lo, hi)
            else:
                yield from self._fault_as_reader(hold, count)

    def _fault(self, hold: int, count: int, lo: int, hi: int) -> Steps:
        """`count` faults under the lock of the area [lo, hi), unless a writer changes that area."""
        lock, environment = self.meeting.mmap_lock, self.environment
        self.meeting.crossings += count - 1
        each, rest = divmod(hold, count)
        while count:
            if environment.peek() <= self.clock and environment.now < self.clock:
                yield self.turn.armed().at(self.clock)
            if lock.locks_area(lo, hi, self.clock):
                count -= 1
                yield from self._hold_mmap_lock(False, each, 0, 0, 0)
                continue
            quiet = environment.peek()  # until then no writer comes
            n = count if quiet >= self.clock + count * each else -((self.clock - quiet) // each)
            n = max(1, int(n))
            self._spend_in_kernel(n * each)
            count -= n
        self._spend_in_kernel(rest)

    def _fault_as_reader(self, hold: int, count: int) -> Steps:
        """`count` faults, each under mmap_lock."""
        self.meeting.crossings += count - 1
        each, rest = divmod(hold, count)
        for _ in range(count):
            yield from self._hold_mmap_lock(False, each, 0, 0, 0)
        self._spend_in_kernel(rest)

    def _spend_in_kernel(self, duration: int) -> None:
        self.clock += duration
        self.spent["kernel"] += duration

    def _hold_mmap_lock(self, writes: bool, hold: int, shared: int, lo: int, hi: int) -> Steps:
        """Be in the kernel for `hold`, with mmap_lock."""
        lock, environment = self.meeting.mmap_lock, self.environment
        if environment.peek() <= self.clock and environment.now < self.clock:
            yield self.turn.armed().at(self.clock)
        if lock.is_open(writes, self.clock):
            self._spend_in_kernel(hold)
            lock.hold(writes, self.clock, shared, lo, hi)
            return
        spins = writes and lock.is_worth_spinning(self.clock)
        if not spins:
            yield from self._catch_up()
            self.meeting.cpus.give_back()
        waiter = Waiter(self.turn.armed(), writes)
        yield lock.wait(waiter)
        lock.called(waiter)
        self._wait_until("wait_mmap_lock", int(environment.now))
        if not spins:
            yield from self._wake_up()
            self._wait_until("wait_mmap_lock", self.clock + self.meeting.wake_delay)
        self._spend_in_kernel(hold)
        lock.arrive(waiter, self.clock, shared, lo, hi)

    def _lock(self, lock: PolicyLock) -> Steps:
        """Take a lock of the policy's."""
        environment = self.environment
        if environment.peek() <= self.clock and environment.now < self.clock:
            yield self.turn.armed().at(self.clock)
        if not lock.is_open(self.clock):
            yield from self._catch_up()
            self.meeting.cpus.give_back()
            yield lock.wait(self.turn.armed())
            while not lock.look(int(environment.now)):
                yield self.turn.armed()
            self._wait_until("wait_locks", int(environment.now))
            lock.take()
            yield from self._wake_up()
        lock.take()

    def _wake_up(self) -> Steps:
        """Back from sleep: that costs both sides CPU time, and needs a CPU."""
        counts = self.meeting.kernel.counts
        counts[Event.SLEEP] += 1
        counts[Event.WAKE_DELAY] += 1
        yield from self._take_cpu()
