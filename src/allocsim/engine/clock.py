"""Appointments of simulated threads: an event at a time, in the order of (time, thread)."""

from collections.abc import Callable
from heapq import heappush
from typing import Any

import simpy

NEVER_PS = 1 << 62
_FIRST_THREAD = 2  # SimPy keeps 0 for urgent events and 1 for its own


class Timeline(simpy.Environment):
    """Simulated time in picoseconds: sums of unit costs, with no rounding on the way.

    `appointments` is SimPy's own queue, a heap of (time, priority, number, event): looking at its
    head and adding to it are most of what threads do. While `play` runs it is never empty.
    """

    def __init__(self) -> None:
        super().__init__(0)
        self.appointments: Any = self._queue
        self._numbers = self._eid

    @property
    def now(self) -> int:
        """The time of the latest appointment."""
        return self._now  # type: ignore[return-value]

    def appoint(self, turn: "Turn", at_ps: int) -> None:
        """Let the turn come at that time; at once if it has passed."""
        at = max(at_ps, self.now)
        heappush(self.appointments, (at, turn.priority, next(self._numbers), turn))

    def play(self) -> None:
        """Let everything happen until nothing is left to do."""
        self.run(until=NEVER_PS)


class Turn(simpy.Event):
    """A thread's next move; at equal times the lower thread number goes first.

    Each thread has one and uses it again and again, since it waits for one thing at a time.
    The rest is for locks. writes, sleeps, came: what the thread is going to do, how it waits, since
    when. appointed: whether it is known until when; called: whether it has the lock, but does not
    run yet. fall_asleep: what it does when it is to stop spinning. wakings: how many sleepers it
    has woken without having spent the time yet. cpu: where it runs, or ran last.
    """

    fall_asleep: Callable[[], None]

    def __init__(self, timeline: Timeline, thread: int) -> None:
        super().__init__(timeline)
        self._ok, self._value = True, None
        self.timeline, self.priority = timeline, _FIRST_THREAD + thread
        self.writes = self.sleeps = self.appointed = self.called = False
        self.came = self.wakings = 0
        self.cpu = -1

    def armed(self) -> "Turn":
        """The event, to be waited for once more; `at` says until when, now or later."""
        self.callbacks = []
        return self

    def twin(self) -> "Turn":
        """Another event of the same thread."""
        return Turn(self.timeline, self.priority - _FIRST_THREAD)

    def at(self, at_ps: int) -> "Turn":
        """Let it come at that time."""
        self.timeline.appoint(self, at_ps)
        return self
