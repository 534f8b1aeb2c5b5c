"""The worker processes of this process: each makes one run at a time, and is used again."""

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from allocsim.limited_process import LimitedProcess, ProcessDied


class Stopped(BaseException):
    """The sweep was interrupted while this run was under way."""


class WorkerProcesses:
    """As many as there are calls at once. Any thread may call; `stop` ends a sweep's calls."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._idle: list[LimitedProcess] = []
        self._busy: dict[LimitedProcess, str] = {}
        self._stopped: set[str] = set()

    def call(
        self, sweep: str, function: Callable[..., bytes], *arguments: Any, **limits: Any
    ) -> bytes:
        """The answer of a process; see `LimitedProcess.call`. Stopped if the sweep was."""
        with self._borrowed(sweep) as process:
            self.check(sweep)
            try:
                process.call(_import, function)  # not within the limits of what follows
                return process.call(function, *arguments, **limits)
            except ProcessDied:
                self.check(sweep)
                raise

    def stop(self, sweep: str) -> None:
        """Kills the processes that work for a sweep, which gets no others."""
        self._stopped.add(sweep)
        with self._lock:
            busy = [process for process, its_sweep in self._busy.items() if its_sweep == sweep]
        for process in busy:
            process.kill()

    def check(self, sweep: str) -> None:
        """Raises Stopped if the sweep was stopped."""
        if sweep in self._stopped:
            raise Stopped

    def close(self) -> None:
        """Ends the idle processes."""
        with self._lock:
            idle, self._idle = self._idle, []
        for process in idle:
            process.kill()

    @contextmanager
    def _borrowed(self, sweep: str) -> Iterator[LimitedProcess]:
        with self._lock:
            process = self._idle.pop() if self._idle else LimitedProcess()
            self._busy[process] = sweep
        try:
            yield process
        finally:
            with self._lock:
                del self._busy[process]
                if process.is_alive:
                    self._idle.append(process)


def _import(_function: Callable[..., bytes]) -> bytes:
    """Has a new process import what the function needs."""
    return b""


processes = WorkerProcesses()
