"""Executes runs, in whatever process or thread it is called.

A policy in a file is its user's code, and only a process can be ended from outside: its runs are
made in worker processes, whatever the executor. So are those of shipped policies that run
interpreted, or are short, since threads would share one interpreter. Other runs are made in the
calling thread.
"""

import time
import traceback
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

from allocsim import driver_pool
from allocsim.errors import AllocsimError
from allocsim.experiment.execution.limits import Limits
from allocsim.experiment.execution.plan import length_of, located, needs_process, spec_of
from allocsim.experiment.execution.processes import processes
from allocsim.experiment.execution.transfer import Failure, decode, encode
from allocsim.experiment.records import Record
from allocsim.experiment.sweep import Run
from allocsim.limited_process import (
    CallEnded,
    MemoryLimitExceeded,
    TimeLimitExceeded,
    report_status,
)
from allocsim.simulation import Observers, Result, run_spec

_AS_NAMED: Mapping[str, str] = {}


def execute_runs(
    runs: list[Run], limits: Limits, sweep: str, files: Mapping[str, str] = _AS_NAMED
) -> list[Record | Failure]:
    """What each run gave: the record to store, or why it failed.

    files: where this machine has the files that the runs name, if elsewhere. Stopped is raised soon
    after `processes.stop(sweep)`. Everything is plain data, for executors whose workers are other
    processes or machines.
    """
    return [execute_run(run, limits, sweep, files) for run in runs]


def execute_run(
    run: Run, limits: Limits, sweep: str, files: Mapping[str, str] = _AS_NAMED
) -> Record | Failure:
    """Makes one run within its limits: in a worker process where it needs one, else here."""
    try:
        here = located(run, files)
        n_ops, _ = length_of(here)
        time_s = limits.time_for(n_ops, run.referee)
        if needs_process(here, limits.threads_from_ops):
            limit = {"time_s": time_s, "memory_bytes": limits.memory_bytes}
            return decode(processes.call(sweep, answer, run, files, **limit))
        return simulate_run(run, files, _checkpoint(sweep, time_s))
    except CallEnded as error:
        return _failure_of(error)
    except AllocsimError as error:
        return Failure(str(error))


def answer(run: Run, files: Mapping[str, str]) -> bytes:
    """What a worker process answers: the run's outcome as bytes."""
    return encode(simulate_run(run, files))


def simulate_run(
    run: Run, files: Mapping[str, str], progress: Callable[[int, int], None] | None = None
) -> Record | Failure:
    """Simulates a run right here, without limits."""
    started = time.perf_counter()
    try:
        result = _simulated(located(run, files), progress)
        result.close()
        return Record.of(run, result, time.perf_counter() - started)
    except CallEnded:
        raise
    except AllocsimError as error:
        return Failure(str(error))
    except Exception as error:
        return Failure(f"{type(error).__name__}: {error}", traceback.format_exc())


def _simulated(run: Run, progress: Callable[[int, int], None] | None) -> Result:
    spec = replace(spec_of(run), make_driver=_watched(run.referee))
    return run_spec(spec, Observers(progress=progress))


def _watched(referee: bool) -> Callable[..., Any]:
    """What makes drivers, of which the parent of this process hears how far they are."""

    def make(*arguments: Any, **parameters: Any) -> Any:
        driver = _maker(referee)(*arguments, **parameters)
        report_status(lambda: f"op {max(driver.n_ops, int(driver._record['n_ops'][0]))}")
        return driver

    return make


def _maker(referee: bool) -> Callable[..., Any]:
    if not referee:
        return driver_pool.take
    from allocsim.referee import refereed

    return refereed


def _checkpoint(sweep: str, time_s: float | None) -> Callable[[int, int], None]:
    """At each sample of a run in this thread: ends it if the sweep was stopped or time is up."""
    deadline = None if time_s is None else time.monotonic() + time_s

    def check(done: int, _total: int) -> None:
        processes.check(sweep)
        if deadline is not None and time.monotonic() > deadline:
            raise TimeLimitExceeded(f"it took longer than {time_s:.3g} s", f"op {done}")

    return check


def _failure_of(error: CallEnded) -> Failure:
    """The failure of a run whose process did not answer, with the op that was reached."""
    key = {TimeLimitExceeded: "time_s", MemoryLimitExceeded: "memory_bytes"}.get(type(error))
    limit = f" (limits.{key} of the experiment)" if key else ""
    reached = f"{error.status}: " if error.status else ""
    return Failure(f"{reached}{error}{limit}", getattr(error, "details", ""))
