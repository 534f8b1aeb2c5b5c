"""What simulated threads wait for: mmap_lock, the policy's locks, and CPUs.

No `simpy.Resource`: a lock knows when its holders leave, since what an operation does is decided
before it waits, so a thread that finds it open needs no event, and one that waits needs one.
"""

from collections import deque
from typing import Any

from allocsim.engine.clock import NEVER_PS, Turn

SPIN_PS = 10_000_000
"""A writer spins so long for readers to leave before it goes to sleep: Linux's limit for one."""
FUTEX_PS = 600_000
"""What it takes to ask the kernel for sleep and be told that the lock has come free meanwhile, and
the holder to find nobody asleep: two calls of futex, 0.3 us each on the machine of costs.toml."""


class MmapLock:
    """Linux's mmap_lock: one writer or many readers, first come, first served.

    writer_until, readers_until: when those who hold it leave, in picoseconds. lo, hi: the area that
    the writer changes, whose own lock it holds, too. A thread that was called but has no CPU yet
    is `called_writer` or one of `called_readers`: nobody knows when it will leave.
    """

    def __init__(self) -> None:
        self.writer_until = self.readers_until = 0
        self.lo = self.hi = 0
        self.queue: deque[Turn] = deque()
        self.sleepers = 0  # in the queue
        self.called_readers = 0
        self.called_writer = False
        self._appointed = False

    def is_open(self, writes: bool, now: int) -> bool:
        """Whether a thread that comes now need not wait."""
        if self.queue or self.called_writer or now < self.writer_until:
            return False
        return not writes or (self.called_readers == 0 and now >= self.readers_until)

    def locks_area(self, lo: int, hi: int, now: int) -> bool:
        """Whether a writer keeps faults on pages [lo, hi) out."""
        return now < self.writer_until and lo < self.hi and self.lo < hi

    def is_worth_spinning(self, now: int) -> bool:
        """Whether a writer that must wait spins on its CPU instead of going to sleep.

        Not behind a sleeper, who may need that very CPU to go on.
        """
        if self.sleepers or self.called_readers or self.called_writer:
            return False
        return self.readers_until <= now + SPIN_PS

    def hold(self, writes: bool, until: int, shared: int = 0, lo: int = 0, hi: int = 0) -> None:
        """A thread has it and leaves at `until`; a writer is a reader for the last `shared`."""
        if writes:
            self.writer_until, self.lo, self.hi = until - shared, lo, hi
        if shared or not writes:
            self.readers_until = max(self.readers_until, until)
        if self.queue:
            self._appoint()

    def wait(self, turn: Turn, writes: bool, sleeps: bool) -> Turn:
        """Join the queue; the turn comes when the lock is the thread's."""
        turn.writes, turn.sleeps = writes, sleeps
        self.sleepers += sleeps
        self.queue.append(turn)
        if not self._appointed:
            self._appoint()
        return turn

    def called(self, turn: Turn) -> None:
        """The turn has come: the thread holds the lock, until when is to be told by `arrive`."""
        self.queue.popleft()
        self.sleepers -= turn.sleeps
        self._appointed = False
        if turn.writes:
            self.called_writer = True
        else:
            self.called_readers += 1
            if self.queue:
                self._appoint()

    def arrive(self, turn: Turn, until: int, shared: int = 0, lo: int = 0, hi: int = 0) -> None:
        """The called thread runs, and leaves at `until`."""
        if turn.writes:
            self.called_writer = False
        else:
            self.called_readers -= 1
        self.hold(turn.writes, until, shared, lo, hi)

    def _appoint(self) -> None:
        """Call the first in the queue as soon as it is known when its turn is."""
        first = self.queue[0]
        if self._appointed or self.called_writer or (first.writes and self.called_readers):
            return
        self._appointed = True
        at = max(self.writer_until, self.readers_until if first.writes else 0)
        first.at(at)


class PolicyLock:
    """A lock of the policy's, such as an arena's: whoever runs takes it before one who wakes up.

    Like the C library's locks it is not handed over: a thread that is woken looks again.
    `free_at[number]` is where the policy's trylock looks.
    """

    def __init__(self, free_at: Any, number: int, wake_delay: int) -> None:
        self._free_at, self._number, self._wake_delay = free_at, number, wake_delay
        self.until = 0
        self.queue: deque[Turn] = deque()
        self._appointed = False

    def is_open(self, now: int) -> bool:
        """Whether a thread that comes now can take it."""
        return now >= self.until

    def opens_soon(self, now: int) -> bool:
        """Whether it comes free before a thread that comes now has fallen asleep."""
        return self.until <= now + FUTEX_PS

    def take(self) -> None:
        """A thread has it, for nobody knows how long."""
        self.until = self._free_at[self._number] = NEVER_PS

    def give_back(self, now: int) -> None:
        """Its holder leaves at `now`, which may lie ahead; the first who waits is woken then."""
        self.until = self._free_at[self._number] = now
        if self.queue:
            self._appoint()

    def wait(self, turn: Turn) -> Turn:
        """Sleep; the turn comes when it is worth looking again."""
        self.queue.append(turn)
        self._appoint()
        return turn

    def look(self, now: int) -> bool:
        """A sleeper woke up: whether the lock is open, so that it leaves the queue."""
        self._appointed = False
        if self.is_open(now):
            self.queue.popleft()
            return True
        self._appoint()
        return False

    def _appoint(self) -> None:
        if not self._appointed and self.until < NEVER_PS:
            self._appointed = True
            self.queue[0].at(self.until + self._wake_delay)


class Cpus:
    """The CPUs: a thread has one or waits, in the order of (time, thread).

    A thread that waits for a lock in its sleep gives its CPU up; one that runs gives it up after a
    time slice if another one waits.
    """

    def __init__(self, n: int) -> None:
        self.free, self.running = n, 0
        self.queue: deque[Turn] = deque()

    def take(self) -> bool:
        """Take a CPU if one is free."""
        if self.free == 0:
            return False
        self.free -= 1
        self.running += 1
        return True

    def wait(self, turn: Turn) -> Turn:
        """Join the queue; with the turn comes a CPU."""
        self.queue.append(turn)
        return turn

    def give_back(self) -> None:
        """Leave a CPU to the first who waits, at once."""
        if self.queue:
            self.queue.popleft().at(0)
        else:
            self.free += 1
            self.running -= 1
