"""Who performs the runs: worker processes, threads, or the calling process itself."""

import multiprocessing
import os
import signal
import threading
from collections.abc import Callable
from concurrent.futures import (
    FIRST_COMPLETED,
    Executor,
    Future,
    ProcessPoolExecutor,
    ThreadPoolExecutor,
    wait,
)
from multiprocessing.connection import wait as wait_for
from typing import Any, Literal

Kind = Literal["processes", "threads", "here"]


class Crew:
    """`jobs` workers for calls of any function, with at most `jobs` calls under way.

    processes: for code that holds the GIL; a worker that dies takes none of the others with it.
    threads: for compiled code, which releases the GIL. here: calls are made as they are submitted.
    """

    def __init__(self, kind: Kind, jobs: int):
        self.kind = kind
        self.jobs = 1 if kind == "here" else jobs
        self.stopping = threading.Event()
        self._others = set(multiprocessing.active_children())
        self._executor = self._make()
        self._calls: dict[Future[Any], Any] = {}

    @property
    def has_room(self) -> bool:
        """Whether a worker is idle."""
        return len(self._calls) < self.jobs

    @property
    def busy(self) -> bool:
        """Whether any call is under way."""
        return bool(self._calls)

    def submit(self, token: Any, function: Callable[..., Any], *arguments: Any) -> None:
        """Has a worker call the function; `token` says later which call it was.

        Threads get one more argument: the event that is set when they should stop.
        """
        if self.kind == "threads":
            arguments = (*arguments, self.stopping)
        self._calls[self._executor.submit(function, *arguments)] = token

    def collect(self) -> list[tuple[Any, Future[Any]]]:
        """Waits until a call has ended; the tokens and futures of all that have."""
        done, _ = wait(self._calls, return_when=FIRST_COMPLETED)
        return [(self._calls.pop(future), future) for future in done]

    def replace(self) -> list[Any]:
        """New workers for a pool that a dying worker broke; the tokens of the calls it lost."""
        lost = list(self._calls.values())
        self._calls.clear()
        self._executor.shutdown(wait=True, cancel_futures=True)
        self._executor = self._make()
        return lost

    def stop(self) -> None:
        """Ends all calls at once: processes are killed, threads stop at their next sample."""
        self.stopping.set()
        for call in self._calls:
            call.cancel()
        for child in set(multiprocessing.active_children()) - self._others:
            child.terminate()
        self._executor.shutdown(wait=True, cancel_futures=True)

    def close(self) -> None:
        """Lets idle workers go."""
        self._executor.shutdown(wait=True)

    def _make(self) -> Executor:
        if self.kind == "processes":
            # A fresh interpreter: forking a process with threads (progress bar, Arrow) may hang.
            context = multiprocessing.get_context("spawn")
            return ProcessPoolExecutor(self.jobs, context, initializer=_begin_worker)
        return ThreadPoolExecutor(self.jobs) if self.kind == "threads" else _Here()


class _Here(Executor):
    """Calls functions where they are submitted: for one job, and for debuggers."""

    def submit(self, function: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Future[Any]:
        future: Future[Any] = Future()
        try:
            future.set_result(function(*args, **kwargs))
        except Exception as error:
            future.set_exception(error)
        return future


def _begin_worker() -> None:
    """Leaves Ctrl-C to the parent, and ends with it however it ends."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    threading.Thread(target=_end_with_parent, daemon=True).start()


def _end_with_parent() -> None:
    parent = multiprocessing.parent_process()
    if parent is not None:
        wait_for([parent.sentinel])
        os._exit(1)
