"""Appointments of simulated threads: an event at a time, in the order of (time, thread)."""

from typing import Any

import simpy
from simpy.core import EventPriority

NEVER_PS = 1 << 62
_FIRST_THREAD = 2  # SimPy keeps 0 for urgent events and 1 for its own


class Turn(simpy.Event):
    """A thread's next move; at equal times the lower thread number goes first.

    Each thread has one and uses it again and again, since it waits for one thing at a time. Times
    are in picoseconds here: sums of unit costs, with no rounding on the way.
    """

    def __init__(self, environment: simpy.Environment, thread: int) -> None:
        super().__init__(environment)
        self._ok, self._value = True, None
        self._priority = EventPriority(_FIRST_THREAD + thread)
        self._environment: Any = environment

    def armed(self) -> "Turn":
        """The event, to be waited for once more; `at` says until when, now or later."""
        self.callbacks = []
        return self

    def at(self, at_ps: int) -> "Turn":
        """Let it come at that time; at once if it has passed."""
        environment = self._environment
        environment.schedule(self, self._priority, max(0, at_ps - environment.now))
        return self
