"""Performs one run, in whatever process or thread it is called."""

import json
import time
import traceback
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from threading import Event

from allocsim.compile_ahead import Code, codes_that_pay
from allocsim.engine import meets
from allocsim.errors import AllocsimError
from allocsim.experiment.records import Record
from allocsim.experiment.sweep import Run
from allocsim.machine import Machine
from allocsim.runspec import RunSpec
from allocsim.simulation import Observers, Result, run_spec
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
    return run_spec(spec_of(run), Observers(progress=_stops_at(stop) if stop else None))


def spec_of(run: Run) -> RunSpec:
    """What the engine needs to know of a run."""
    return RunSpec(
        workload=workload_model(run.workload_spec).model_validate(run.workload_spec),
        policy=run.policy,
        parameters=run.parameters,
        machine=_machine(json.dumps(run.kernel), run.costs),
        samples=run.samples,
        walks=run.walks,
        writing=run.writing,
        seed=run.seed,
        referee=run.referee,
        policy_name=run.label,
    )


@cache
def _machine(kernel: str, costs: str | None) -> Machine:
    """One machine for all runs that share it: a cost table is read once."""
    return Machine(**json.loads(kernel), costs=Path(costs) if costs else None)


def codes_needed(runs: Iterable[Run]) -> list[Code]:
    """The code that it pays to compile for these runs, and that the cache lacks."""
    return codes_that_pay((spec := spec_of(run), *_length(spec)) for run in runs)


def _length(spec: RunSpec) -> tuple[int, bool]:
    """How many ops a run has, and whether its threads meet."""
    return _length_of(spec.workload.model_dump_json())


@cache
def _length_of(workload: str) -> tuple[int, bool]:
    given = json.loads(workload)
    source = open_workload(workload_model(given).model_validate(given), seed=0)
    return source.n_ops or 0, meets(source)


def _stops_at(stop: Event) -> Callable[[int, int], None]:
    def check(_done: int, _total: int) -> None:
        if stop.is_set():
            raise Stopped

    return check
