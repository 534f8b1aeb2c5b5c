"""What a policy under test is doing right now, for a process that waits for it."""

import mmap
from collections.abc import Callable
from typing import Any

from allocsim.driver import Driver

CALLS = ("malloc", "free", "calloc", "realloc", "aligned_alloc", "start_threads", "walk")
_BEATS, _OP, _CALL, _ARGUMENT, N_WORDS = range(5)
_NO_CALL = -1


class Progress:
    """The call that is under way, in memory that is shared with forked children."""

    def __init__(self) -> None:
        self._words = memoryview(mmap.mmap(-1, mmap.PAGESIZE)).cast("q")
        self.start()

    def start(self) -> None:
        """A run begins."""
        self._words[_BEATS] += 1
        self._words[_OP], self._words[_CALL] = -1, _NO_CALL

    @property
    def beats(self) -> int:
        """A number that grows with every call that begins or ends."""
        return self._words[_BEATS]

    def __str__(self) -> str:
        op, call = self._words[_OP], self._words[_CALL]
        if call == _NO_CALL:
            return f"after op {op}" if op >= 0 else "before the first op"
        if CALLS[call] in ("walk", "start_threads"):
            return f"{CALLS[call]}() " + (f"after op {op}" if op >= 0 else "before the first op")
        argument = self._words[_ARGUMENT]
        return f"op {op}, {CALLS[call]}({hex(argument) if CALLS[call] == 'free' else argument})"

    def watch(self, driver: Driver) -> Driver:
        """The driver, whose policy's calls are noted; it can only run interpreted."""
        driver.interpreted_only = True  # type: ignore[misc]
        driver.policy = _Watched(driver.policy, self)
        return driver

    def noting(self, policy: Any, name: str) -> Callable[..., Any]:
        """The policy's method `name`, which notes when it begins and ends."""
        method, number, words = getattr(policy, name), CALLS.index(name), self._words

        def call(*arguments: int) -> Any:
            words[_BEATS] += 1
            words[_OP], words[_CALL] = policy.kernel.op, number
            words[_ARGUMENT] = arguments[-1] if arguments else 0
            result = method(*arguments)
            words[_CALL] = _NO_CALL
            return result

        return call


class _Watched:
    """A policy to the driver."""

    def __init__(self, policy: Any, progress: Progress) -> None:
        own = vars(self)
        own["watched"] = policy
        own |= {name: progress.noting(policy, name) for name in CALLS}

    def __getattr__(self, name: str) -> Any:
        return getattr(self.watched, name)

    def __setattr__(self, name: str, value: Any) -> None:
        setattr(self.watched, name, value)
