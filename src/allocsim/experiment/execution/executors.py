"""Executors of one machine. Any `concurrent.futures.Executor` will do in their place."""

from collections.abc import Callable, Iterator
from concurrent.futures import Executor, Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from allocsim.experiment.execution.processes import processes
from allocsim.platform_support import memory_bytes


@dataclass(frozen=True)
class Workers:
    """An executor, how many runs it makes at once, and the memory that there is for each.

    description: a line for the user.
    """

    executor: Executor
    jobs: int
    memory_bytes: int
    description: str = ""


@contextmanager
def threads(jobs: int) -> Iterator[Workers]:
    """This machine's workers; what an interrupted one still does is not awaited."""
    executor = ThreadPoolExecutor(jobs)
    try:
        yield Workers(executor, jobs, memory_bytes() // jobs)
    finally:
        executor.shutdown(wait=False, cancel_futures=True)
        processes.close()


class InlineExecutor(Executor):
    """Makes calls where they are submitted, before `submit` returns: for debuggers."""

    def submit(self, function: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Future[Any]:
        """A future that is done."""
        future: Future[Any] = Future()
        try:
            future.set_result(function(*args, **kwargs))
        except Exception as error:
            future.set_exception(error)
        return future
