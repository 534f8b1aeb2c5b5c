"""Linux's lock of the address space, and what it does with the locks of single areas."""

from collections import deque

import simpy

from allocsim.engine.clock import NEVER_PS, Turn
from allocsim.engine.locks import Cpus

SPIN_PS = 10_500_000
"""A writer spins so long for readers to leave before it goes to sleep: Linux's limit for one."""
TOO_LATE_PS = SPIN_PS // 2
"""A spinner that an interrupt stops finds its time up when it runs again, if readers have been
there for longer than this: it looks at the clock before they leave, and how long interrupts take
varies by a factor of two."""
HANDOFF_PS = 4_000_000_000
"""Nobody takes the lock before a sleeper that has waited for so long: Linux's limit."""


class MmapLock:
    """Linux's mmap_lock: one writer or many readers; who waits spins, or sleeps in a queue.

    A sleeping reader is given the lock while it wakes up. A sleeping writer is only woken: until it
    runs, whoever comes takes the lock, unless it has waited for HANDOFF_PS.

    writer_until, readers_until: when those who hold it leave, in picoseconds. lo, hi: the area that
    the writer changes, whose own lock it holds, too. `called_readers` have been given the lock but
    do not run yet, and a `called_writer` waits for a CPU, or (`drains`) for faults in flight:
    nobody knows when these will leave.
    """

    def __init__(self, wake_delay: int, cpus: Cpus) -> None:
        self._cpus = cpus
        self._wake_delay = max(wake_delay, 1)  # no sleeper is as fast as who spins
        self._cpu = -1  # where the latest writer ran
        self.writer_until = self.readers_until = 0
        self.lo = self.hi = 0
        self.spinners: deque[Turn] = deque()
        self.sleepers: deque[Turn] = deque()
        self.called_readers = 0
        self.called_writer = self.drains = False
        self._reserved = False  # for the first sleeper
        self._readers_stay = False  # too long to spin for: nobody tries before the next writer
        self._interrupts_at = NEVER_PS  # when the latest reader stops the others' CPUs
        self._limit: Turn | None = None  # when the first spinner has spun for long enough
        self._writer: Turn | None = None  # the latest
        self._last_reader: Turn | None = None  # who leaves at readers_until
        self._faults: dict[Turn, tuple[int, int, int]] = {}
        self._faults_until = 0

    def is_open(self, writes: bool, now: int) -> bool:
        """Whether a thread that comes now need not wait."""
        if now < self.writer_until or self.called_writer or self._reserved:
            return False
        if not writes and not self.sleepers:
            return True
        if self.spinners or (self.sleepers and not self.sleepers[0].writes):
            return False
        return self._is_free(now)

    def _is_free(self, now: int) -> bool:
        """Whether nobody holds it."""
        if self.called_writer or self.called_readers:
            return False
        return now >= self.writer_until and now >= self.readers_until

    # ---- areas' own locks
    def locks_area(self, lo: int, hi: int, now: int) -> bool:
        """Whether a writer keeps faults on pages [lo, hi) out."""
        return (now < self.writer_until or self.drains) and lo < self.hi and self.lo < hi

    def fault(self, turn: Turn, until: int, lo: int, hi: int) -> None:
        """A fault of a thread under an area's own lock, on one of the pages [lo, hi), ends then."""
        self._faults[turn] = (until, lo, hi)
        if until > self._faults_until:
            self._faults_until = until

    def faults_in(self, lo: int, hi: int, now: int) -> bool:
        """Whether faults are in flight in the area [lo, hi)."""
        return now < self._faults_until and self._last_fault(lo, hi)[0] > now

    def _last_fault(self, lo: int, hi: int) -> tuple[int, Turn | None]:
        """When the last fault in the area [lo, hi) ends, and whose it is."""
        last: tuple[int, Turn | None] = (0, None)
        for turn, (until, first, end) in self._faults.items():
            if first < hi and lo < end and until > last[0]:
                last = until, turn
        return last

    def drain(self, turn: Turn, lo: int, hi: int) -> Turn:
        """The writer locks the area [lo, hi) and sleeps until no fault is in flight there."""
        self.called_writer = self.drains = True
        self.lo, self.hi = lo, hi
        self._stop_spinning()
        turn.appointed = False
        until, waker = self._last_fault(lo, hi)
        self._wake(turn, waker, until)
        return turn

    # ---- holding it
    def hold(
        self, turn: Turn, writes: bool, until: int, shared: int = 0, lo: int = 0, hi: int = 0,
        interrupts_at: int = NEVER_PS,
    ) -> None:  # fmt: skip
        """A thread has it and leaves at `until`; a writer is a reader for the last `shared`.

        interrupts_at: when it stops the CPUs of others, which run again when it leaves.
        """
        self._interrupts_at = interrupts_at if shared or not writes else NEVER_PS
        if writes:
            self.called_writer = self.drains = self._readers_stay = False
            self.writer_until, self.lo, self.hi = until - shared, lo, hi
            self._writer = turn
        elif turn.called:
            self.called_readers -= 1
        turn.called = False
        if (shared or not writes) and until > self.readers_until:
            self.readers_until, self._last_reader = until, turn
        if self.spinners or self.sleepers:
            self._appoint()

    def moves_to(self, cpu: int) -> bool:
        """A writer runs on that CPU now: whether the latest one ran on another."""
        latest, self._cpu = self._cpu, cpu
        return latest not in (cpu, -1)

    # ---- waiting for it
    def is_worth_spinning(self) -> bool:
        """Whether a writer that must wait spins on its CPU first: not for a writer that sleeps."""
        return not (self.called_writer or self._readers_stay or self._reserved)

    def wait(self, turn: Turn, writes: bool, sleeps: bool, now: int) -> Turn:
        """Spin or sleep; the turn comes when it is worth looking."""
        turn.writes, turn.sleeps, turn.appointed, turn.came = writes, sleeps, False, now
        (self.sleepers if sleeps else self.spinners).append(turn)
        self._appoint()
        return turn

    def look(self, turn: Turn, now: int) -> bool:
        """The turn has come: whether the lock is the thread's, until when `hold` will tell."""
        turn.appointed = False
        if not self._may_take(turn, now):
            if turn.sleeps and now >= turn.came + HANDOFF_PS:
                self._reserved = True
                self._stop_spinning()
            self._appoint()
            return False
        (self.sleepers if turn.sleeps else self.spinners).popleft()
        self._reserved = self._reserved and not turn.sleeps
        if turn.writes:
            self.called_writer = True
            self._limit = None
        else:
            self.called_readers += 1
            turn.called = True
            self._appoint()
        return True

    def _may_take(self, turn: Turn, now: int) -> bool:
        """Whether one who waits finds the lock open; who spins is faster than who wakes up."""
        if turn.writes:
            return self._is_free(now) and not (turn.sleeps and self.spinners)
        return now >= self.writer_until and not self.called_writer

    def _appoint(self) -> None:
        """Call those whose turn it is as soon as it is known when."""
        if self.called_writer:
            return
        shared = self.readers_until > self.writer_until
        if self.sleepers and not self.sleepers[0].writes:
            first = self.sleepers[0]
            late = self.writer_until >= first.came + HANDOFF_PS
            if shared or late or not self.spinners:
                self._wake(first, self._writer, self.writer_until)
                return
        if self.spinners:
            self._appoint_spinner(self.spinners[0])
        if self.sleepers and self.sleepers[0].writes and not self.called_readers:
            last = self._writer if self.writer_until >= self.readers_until else self._last_reader
            free = max(self.writer_until, self.readers_until, self.sleepers[0].came)
            self._wake(self.sleepers[0], last, free + self._wake_delay)

    def _appoint_spinner(self, first: Turn) -> None:
        """Call it when the lock comes free, or have it fall asleep where readers stay too long."""
        start = max(first.came, self.writer_until)
        limit = start + SPIN_PS
        stays = self.called_readers > 0 or self.readers_until > limit
        if start < self._interrupts_at < limit and not self.called_readers:
            limit = self.readers_until
            stays = limit - start > TOO_LATE_PS
        if not stays:
            self._limit = None
            if not first.appointed:
                first.appointed = True
                first.at(max(self.writer_until, self.readers_until))
        elif self._limit is None and not first.appointed:
            self._limit = first.twin()
            self._limit.callbacks = [self._spun_for_long]
            self._limit.at(limit)

    def _wake(self, turn: Turn, waker: Turn | None, at: int) -> None:
        """Let the sleeper's turn come at that time; `waker` spends time on it if a CPU is idle."""
        if not turn.appointed:
            turn.appointed = True
            turn.at(at)
            if waker is not None and self._cpus.free:
                waker.wakings += 1

    def _spun_for_long(self, limit: simpy.Event) -> None:
        if limit is self._limit:
            self._limit = None
            self._readers_stay = True
            self._stop_spinning()
            self._appoint()

    def _stop_spinning(self) -> None:
        """All who spin go to sleep, but one that is sure to have the lock."""
        kept = [turn for turn in self.spinners if turn.appointed]
        for turn in self.spinners:
            if not turn.appointed:
                turn.sleeps = True
                self.sleepers.append(turn)
                turn.fall_asleep()
        self.spinners = deque(kept)
