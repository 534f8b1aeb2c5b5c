"""One simulated thread of a meeting: the process that runs ahead and plays crossings."""

from collections.abc import Generator
from typing import TYPE_CHECKING

import simpy

from allocsim.engine.clock import NEVER_PS, Turn
from allocsim.engine.locks import AWAKE_PS, FUTEX_PS, PolicyLock
from allocsim.kernel import Event
from allocsim.kernel.crossings import (
    FAULT,
    FLUSHES_SHARED,
    LOCKED,
    NO_FLUSH,
    UNLOCKED,
    WIDTH,
    WRITER,
)
from allocsim.run_ahead import (
    BLOCKED,
    CLOCK_PS,
    CROSSED,
    MEETS,
    N_CROSSINGS,
    PAUSED,
    SLOT,
    TAIL_PS,
    TOO_EARLY,
    WANTED,
)

if TYPE_CHECKING:
    from allocsim.engine.meeting import Meeting

SLICE_PS = 3_000_000_000
"""A thread keeps its CPU so long when others wait for one: Linux's base slice, about 3 ms."""

Steps = Generator[simpy.Event, None, None]


class Thread:
    """One simulated thread. `clock` may lie ahead of the simulated time, never behind it.

    Where no other thread has an appointment before `clock`, nobody can tell the difference, and
    the thread goes on without one of its own.
    """

    def __init__(self, meeting: "Meeting", number: int) -> None:
        self.meeting, self.number = meeting, number
        self.timeline = meeting.timeline
        self.turn = Turn(meeting.timeline, number)
        self.turn.fall_asleep = self._fall_asleep
        self.turn.cpu = number % meeting.cpus.n
        self.clock = 0
        self.slice_end = SLICE_PS
        self.shootdowns_seen = 0
        self.lookout: Turn | None = None  # the end of looking out for an object, on its CPU
        self.work = self.kernel = 0
        self.wait_mmap_lock = self.wait_locks = self.wait_cpu = self.wait_objects = 0

    # ---- the life of a thread
    def live(self) -> Steps:
        """The process: run ahead, play crossings, until there is nothing left to do."""
        yield self.turn.armed().at(0)
        yield from self._take_cpu()
        meeting, timeline = self.meeting, self.timeline
        report, appointments = meeting.driver.report, timeline.appointments
        while True:
            start = self.clock
            until = appointments[0][0]
            if timeline.now == start:  # it is this thread's turn
                until = max(until, start + 1)
            why = meeting.run_ahead(self.number, start, until)
            slot = report[SLOT]
            if why == CROSSED:
                tail = report[TAIL_PS]
                yield from self._cross(report[N_CROSSINGS])
                if meeting.scarce:
                    yield from self._work_in_slices(tail)
                else:
                    self.clock += tail
                    self.work += tail
                if slot >= 0:
                    self._end_operation(slot)
                continue
            if meeting.scarce:
                yield from self._work_in_slices(report[CLOCK_PS] - start)
            else:
                self.clock = report[CLOCK_PS]
                self.work += self.clock - start
            if why in (MEETS, PAUSED):
                if appointments[0][0] <= self.clock and timeline.now < self.clock:
                    yield self.turn.armed().at(self.clock)
            elif why == WANTED:
                self._wake_waiters(slot)
            elif why == BLOCKED:
                yield from self._wait_for_object(slot)
            elif why == TOO_EARLY:
                self.wait_objects += self._skip_to(meeting.driver.done_ps[slot])
            elif not meeting.queues.fill() and self._is_through():
                break
        yield from self._leave_cpu()
        meeting.driver.thread_ps[self.number] = self.clock

    def _is_through(self) -> bool:
        driver = self.meeting.driver
        return driver.heads[self.number] == driver.tails[self.number]

    def _end_operation(self, slot: int) -> None:
        driver = self.meeting.driver
        driver.done[slot] += 1
        driver.done_ps[slot] = self.clock
        if driver.wanted[slot]:
            self._wake_waiters(slot)

    def _wake_waiters(self, slot: int) -> None:
        """Who waits for the object may go on; rousing those who sleep takes time, as no part of
        the operation.
        """
        asleep = self.meeting.finish(slot, self.clock)
        self.wait_objects += asleep * self.meeting.waking
        self.clock += asleep * self.meeting.waking

    def _wait_for_object(self, slot: int) -> Steps:
        """Operations of other threads on the object come first: look out for the end of one for
        AWAKE_PS, then sleep until then.
        """
        if self.timeline.now < self.clock:
            yield from self._catch_up()
            return  # by now the object may be there
        self.turn.came = self.clock
        self.meeting.waiting.setdefault(slot, []).append(self.turn.armed())
        self.meeting.driver.wanted[slot] = 1
        self.lookout = self.turn.twin()
        self.lookout.callbacks = [self._stop_looking_out]
        self.lookout.at(self.clock + AWAKE_PS)
        yield self.turn
        self.wait_objects += self._skip_to(self.timeline.now)
        if self.lookout is None:
            self.wait_objects += yield from self._come_round()
        self.lookout = None

    def _stop_looking_out(self, end: simpy.Event) -> None:
        """Fall asleep, if the object is not there yet."""
        if end is self.lookout:
            self.lookout = None
            self.meeting.cpus.give_back(self.turn)

    # ---- time that passes
    def _work_in_slices(self, duration: int) -> Steps:
        """Run in user mode where CPUs are scarce: others get theirs after a time slice."""
        while self.clock + duration >= self.slice_end:
            part = max(0, self.slice_end - self.clock)
            self.clock += part
            self.work += part
            duration -= part
            yield from self._catch_up()
            if self.meeting.cpus.queue:
                self.meeting.cpus.give_back(self.turn)
                yield from self._take_cpu()
            self.slice_end = self.clock + SLICE_PS
        self.clock += duration
        self.work += duration

    def _run_in_kernel(self, duration: int) -> None:
        self.clock += duration
        self.kernel += duration

    def _skip_to(self, now: int) -> int:
        """Let the clock be `now` at least; how much time the thread has waited.

        What interrupted it meanwhile fell into that time.
        """
        waited = max(0, now - self.clock)
        if waited:
            self.shootdowns_seen = self.meeting.shootdowns
        self.clock += waited
        return waited

    def _take_cpu(self) -> Steps:
        """Wait for a CPU if none is free."""
        if not self.meeting.cpus.take(self.turn):
            yield self.meeting.cpus.wait(self.turn.armed())
            self.wait_cpu += self._skip_to(self.timeline.now)
        self.meeting.driver.thread_cpus[self.number] = self.turn.cpu
        self.slice_end = self.clock + SLICE_PS

    def _leave_cpu(self) -> Steps:
        """Give the CPU up, for whoever waits for one."""
        if self.meeting.scarce:
            yield from self._catch_up()
        self.meeting.cpus.give_back(self.turn)

    def _catch_up(self) -> Steps:
        """Let the simulated time reach the thread's clock."""
        if self.timeline.now < self.clock:
            yield self.turn.armed().at(self.clock)

    # ---- crossings
    def _cross(self, n: int) -> Steps:
        """Play the n crossings of an operation."""
        meeting, timeline, appointments = self.meeting, self.timeline, self.timeline.appointments
        rows = meeting.crossed[: n * WIDTH].tolist()
        meeting.crossings += n
        for at in range(0, n * WIDTH, WIDTH):
            kind, before, hold, count, shared, lo, hi, flush = rows[at : at + WIDTH]
            if meeting.scarce:
                yield from self._work_in_slices(before)
            else:
                self.clock += before
                self.work += before
            if kind == UNLOCKED:  # others learn it when they come: no need for an appointment
                meeting.lock(count).give_back(self.clock)
                continue
            if appointments[0][0] <= self.clock and timeline.now < self.clock:
                yield self.turn.armed().at(self.clock)
            if self._is_delayed():
                yield from self._delay()
            if kind == LOCKED:
                lock = meeting.lock(count)
                if not lock.is_open(self.clock):
                    yield from self._wait_for_lock(lock)
                lock.take()
            elif kind == FAULT:
                yield from self._fault(hold, count, lo, hi)
            elif count:
                yield from self._fault_as_reader(hold, count)
            else:
                writes = kind == WRITER
                if not meeting.mmap_lock.is_open(writes, self.clock):
                    yield from self._wait_for_mmap_lock(writes)
                if writes and meeting.mmap_lock.faults_in(lo, hi, self.clock):
                    yield from self._drain(lo, hi)
                self._hold_mmap_lock(writes, hold, shared, lo, hi, flush)

    def _is_delayed(self) -> bool:
        """Whether others have interrupted the thread, or it has woken others."""
        meeting = self.meeting
        interrupted = self.shootdowns_seen < meeting.shootdowns
        return self.turn.wakings > 0 or (interrupted and self.clock >= meeting.interrupted_at)

    def _delay(self) -> Steps:
        """Spend the time that being interrupted and waking others took, until others come."""
        meeting, timeline, counts = self.meeting, self.timeline, self.meeting.kernel.counts
        while self._is_delayed():
            interrupted, woken = meeting.shootdowns - self.shootdowns_seen, self.turn.wakings
            self.shootdowns_seen, self.turn.wakings = meeting.shootdowns, 0
            counts[Event.INTERRUPTION] += interrupted
            counts[Event.WAKING] += woken
            self._run_in_kernel(interrupted * meeting.interruption + woken * meeting.waking)
            if timeline.appointments[0][0] <= self.clock:
                yield from self._catch_up()

    def _hold_mmap_lock(
        self, writes: bool, hold: int, shared: int, lo: int, hi: int, flush: int
    ) -> None:  # fmt: skip
        """Be in the kernel for `hold` and what a shootdown takes; the thread has the lock."""
        meeting, lock = self.meeting, self.meeting.mmap_lock
        if writes and lock.moves_to(self.turn.cpu):
            meeting.kernel.counts[Event.HANDOVER] += 1
            hold += meeting.handover
        took = self._shoot_down() if flush else 0
        if flush == FLUSHES_SHARED:
            shared += took
        self._run_in_kernel(hold + took)
        interrupts_at = NEVER_PS
        if took:
            interrupts_at = meeting.interrupted_at = self.clock - meeting.interruption
        lock.hold(self.turn, writes, self.clock, shared, lo, hi, interrupts_at)

    def _shoot_down(self) -> int:
        """Interrupt the other CPUs that run threads; what it takes until they have answered.

        The interrupt reaches them late in that time, so that all are through with it together.
        """
        meeting = self.meeting
        others = meeting.cpus.running - meeting.cpus.waking - 1
        if others == 0:
            return 0
        meeting.kernel.counts[Event.SHOOTDOWN] += others
        meeting.shootdowns += 1
        self.shootdowns_seen += 1
        return others * meeting.shootdown

    def _drain(self, lo: int, hi: int) -> Steps:
        """Sleep until no fault is in flight in the area [lo, hi), which nobody may fault on now."""
        lock = self.meeting.mmap_lock
        yield from self._leave_cpu()
        yield lock.drain(self.turn.armed(), lo, hi)
        self.wait_mmap_lock += self._skip_to(self.timeline.now)
        yield from self._wake_up_late()

    def _fault(self, hold: int, count: int, lo: int, hi: int) -> Steps:
        """`count` faults under the lock of the area [lo, hi), unless a writer changes that area."""
        lock, timeline, turn = self.meeting.mmap_lock, self.timeline, self.turn
        each, trap, rest = self._enter_faults(hold, count)
        while count:
            until = timeline.appointments[0][0]  # no writer comes before
            if until <= self.clock and timeline.now < self.clock:
                yield turn.armed().at(self.clock)
                if self._is_delayed():
                    yield from self._delay()
                until = timeline.appointments[0][0]
            n = 1
            if lock.locks_area(lo, hi, self.clock):
                yield from self._read_mmap_lock(each - trap)
            else:
                n = count
                if until < self.clock + count * each:
                    n = max(1, -((self.clock - until) // each))
                self._run_in_kernel(n * each - trap)
                lock.fault(turn, self.clock, lo, hi)
            count -= n
            self._run_in_kernel(trap if count else rest)

    def _fault_as_reader(self, hold: int, count: int) -> Steps:
        """`count` faults, each under mmap_lock."""
        each, trap, rest = self._enter_faults(hold, count)
        while count:
            yield from self._read_mmap_lock(each - trap)
            count -= 1
            self._run_in_kernel(trap if count else rest)

    def _enter_faults(self, hold: int, count: int) -> tuple[int, int, int]:
        """Be on the way to the first fault's lock.

        Returns how long each of `count` faults takes, how much of that it is on the way, there and
        (for simplicity before it, too) back, and what remains of `hold`.
        """
        self.meeting.crossings += count - 1
        self.meeting.kernel.counts[Event.TRAP] += count
        each, rest = divmod(hold, count)
        trap = min(self.meeting.trap, each)
        self._run_in_kernel(trap)
        return each, trap, rest

    def _read_mmap_lock(self, hold: int) -> Steps:
        """Be in the kernel for `hold`, with mmap_lock as a reader."""
        if self.timeline.appointments[0][0] <= self.clock:
            yield from self._catch_up()
        if not self.meeting.mmap_lock.is_open(False, self.clock):
            yield from self._wait_for_mmap_lock(False)
        self._hold_mmap_lock(False, hold, 0, 0, 0, NO_FLUSH)

    def _wait_for_mmap_lock(self, writes: bool) -> Steps:
        """Wait for mmap_lock: spinning, asleep, or one after the other."""
        meeting, timeline, lock = self.meeting, self.timeline, self.meeting.mmap_lock
        spins = writes and lock.is_worth_spinning()
        if not spins:
            yield from self._leave_cpu()
        yield lock.wait(self.turn.armed(), writes, not spins, self.clock)
        while not lock.look(self.turn, timeline.now):
            meeting.kernel.counts[self._kind_of_sleep()] += self.turn.sleeps
            yield self.turn.armed()
        waited = self._skip_to(timeline.now)
        self.wait_mmap_lock += waited
        if not self.turn.sleeps:
            meeting.kernel.counts[Event.SPIN_NS] += waited // 1000
        elif writes:
            yield from self._wake_up()
        else:
            yield from self._wake_up_late()

    def _fall_asleep(self) -> None:
        """Stop spinning and leave the CPU."""
        spun = self.timeline.now - self.clock
        self.meeting.kernel.counts[Event.SPIN_NS] += max(0, spun) // 1000
        self.meeting.cpus.give_back(self.turn)

    def _wait_for_lock(self, lock: PolicyLock) -> Steps:
        """Wait for a lock of the policy's, asleep unless it opens before that."""
        while not lock.is_open(self.clock) and lock.opens_soon(self.clock):
            self.clock += FUTEX_PS
            self.wait_locks += FUTEX_PS
            self.meeting.kernel.counts[Event.SPIN_NS] += FUTEX_PS // 1000
            yield self.turn.armed().at(self.clock)
        if lock.is_open(self.clock):
            return
        yield from self._leave_cpu()
        yield lock.wait(self.turn.armed())
        while not lock.look(self.timeline.now):
            yield self.turn.armed()
        self.wait_locks += self._skip_to(self.timeline.now)
        lock.take()
        yield from self._wake_up()

    def _wake_up(self) -> Steps:
        """Back from sleep: that costs both sides CPU time, and needs a CPU."""
        self._count_sleep()
        yield from self._take_cpu()

    def _wake_up_late(self) -> Steps:
        """The same, the delay until the thread runs being part of its wait for mmap_lock."""
        self._count_sleep()
        self.wait_mmap_lock += yield from self._come_round()

    def _count_sleep(self) -> None:
        counts = self.meeting.kernel.counts
        counts[self._kind_of_sleep()] += 1
        counts[Event.WAKE_DELAY] += 1

    def _kind_of_sleep(self) -> Event:
        """What the sleep was of a thread that is woken now: dearer if an idle CPU is roused."""
        return Event.SLEEP if self.meeting.cpus.free else Event.SWITCH

    def _come_round(self) -> Generator[simpy.Event, None, int]:
        """Take a CPU; how long it takes until the thread runs, if an idle CPU had to be roused."""
        cpus = self.meeting.cpus
        if not cpus.free:
            yield from self._take_cpu()
            return 0
        yield from self._take_cpu()
        cpus.waking += 1
        delay = self._skip_to(self.clock + self.meeting.wake_delay)
        yield from self._catch_up()
        self.shootdowns_seen = self.meeting.shootdowns
        cpus.waking -= 1
        return delay
