"""Performs one run, in whatever process or thread it is called."""

import time
import traceback
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from threading import Event

from allocsim.engine import entry_points, is_warm
from allocsim.errors import AllocsimError
from allocsim.experiment.records import Record
from allocsim.experiment.sweep import Run
from allocsim.machine import Machine
from allocsim.policy import Policy, load_policy
from allocsim.simulation import Result, simulate
from allocsim.workload import open_workload, workload_model


class Stopped(BaseException):
    """The sweep was interrupted while this run was under way."""


@dataclass(frozen=True)
class Failure:
    """Why a run failed: a message for the user, and the traceback if the fault is not theirs."""

    message: str
    details: str = ""


def perform(run: Run, stop: Event | None = None) -> Record | Failure:
    """Simulates a run; the record to store, or a Failure for what went wrong inside.

    Stopped is raised soon after `stop` is set.
    """
    started = time.perf_counter()
    try:
        result = simulated(run, stop)
        result.close()
        return Record.of(run, result, time.perf_counter() - started)
    except AllocsimError as error:
        return Failure(str(error))
    except Exception as error:
        return Failure(f"{type(error).__name__}: {error}", traceback.format_exc())


def simulated(run: Run, stop: Event | None = None) -> Result:
    """The result of a run."""
    spec = workload_model(run.workload_spec).model_validate(run.workload_spec)
    return simulate(
        open_workload(spec, run.seed),
        _policy(run.policy),
        parameters=run.parameters,
        machine=Machine(**run.kernel, costs=Path(run.costs) if run.costs else None),
        samples=run.samples,
        walks=run.walks,
        referee=run.referee,
        writing=run.writing,
        progress=_stops_at(stop) if stop else None,
    )


@cache
def runs_compiled(policy: str) -> bool:
    """Whether a policy has compiled code on disk, so that the engine will use it."""
    return is_warm(Machine().driver(_policy(policy)), entry_points(False, False))


@cache
def _policy(use: str) -> type[Policy]:
    """A policy's class, loaded once in a process: what is compiled for a class is found again."""
    return load_policy(use)


def _stops_at(stop: Event) -> Callable[[int, int], None]:
    def check(_done: int, _total: int) -> None:
        if stop.is_set():
            raise Stopped

    return check
