"""What simulated threads wait for besides mmap_lock: the policy's locks, and CPUs.

No `simpy.Resource`: a lock knows when its holders leave, since what an operation does is decided
before it waits, so a thread that finds it open needs no event, and one that waits needs one.
"""

from collections import deque
from typing import Any

from allocsim.engine.clock import NEVER_PS, Turn

FUTEX_PS = 600_000
"""What it takes to ask the kernel for sleep and be told that the lock has come free meanwhile, and
the holder to find nobody asleep: two calls of futex, 0.3 us each on the machine of costs.toml."""

AWAKE_PS = 4_000_000
"""A thread that waits for an operation of another one's looks for its end so long before it sleeps,
as those of the replays do that predictions are compared with."""


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
    time slice if another one waits. A thread comes back to the CPU that it had last, if that is
    free.
    """

    def __init__(self, n: int) -> None:
        self.n, self.free = n, set(range(n))
        self.running = 0
        self.waking = 0  # of those that run: threads that have a CPU, but are not awake yet
        self.queue: deque[Turn] = deque()

    def take(self, turn: Turn) -> bool:
        """Take a CPU for a thread if one is free."""
        if not self.free:
            return False
        if turn.cpu not in self.free:
            turn.cpu = min(self.free)
        self.free.remove(turn.cpu)
        self.running += 1
        return True

    def wait(self, turn: Turn) -> Turn:
        """Join the queue; with the turn comes a CPU."""
        self.queue.append(turn)
        return turn

    def give_back(self, turn: Turn) -> None:
        """A thread leaves its CPU to the first who waits, at once."""
        if self.queue:
            following = self.queue.popleft()
            following.cpu = turn.cpu
            following.at(0)
        else:
            self.free.add(turn.cpu)
            self.running -= 1
