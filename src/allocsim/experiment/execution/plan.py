"""What the engine needs to know of runs, and the code that it pays to compile for a sweep."""

import json
from collections.abc import Iterable, Mapping
from dataclasses import replace
from functools import cache
from pathlib import Path

from allocsim.compile_ahead import Code, codes_that_pay
from allocsim.engine import meets
from allocsim.experiment.sweep import Run
from allocsim.machine import Machine
from allocsim.policy import is_of_this_process
from allocsim.runspec import RunSpec
from allocsim.workload import open_workload, workload_model

_warm: set[Code] = set()


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


def files_of(run: Run) -> list[str]:
    """The files that a run names: a policy, a trace, a table of unit costs."""
    policy = run.policy.partition(":")[0] if _is_file(run.policy) else None
    return [file for file in (policy, run.workload_spec.get("trace"), run.costs) if file]


def located(run: Run, files: Mapping[str, str]) -> Run:
    """The run with its files where this machine has them; those that `files` lacks stay."""
    if not files:
        return run
    path, colon, name = run.policy.partition(":")
    workload = dict(run.workload_spec)
    if trace := workload.get("trace"):
        workload["trace"] = files.get(trace, trace)
    costs = run.costs and files.get(run.costs, run.costs)
    policy = files.get(path, path) + colon + name
    return replace(run, policy=policy, workload_spec=workload, costs=costs)


def codes_needed(runs: Iterable[Run]) -> list[Code]:
    """The code that it pays to compile for these runs, and that the cache lacks."""
    known = (run for run in runs if not is_of_this_process(run.policy))
    return codes_that_pay((spec_of(run), *length_of(run)) for run in known)


def needs_process(run: Run, threads_from_ops: int) -> bool:
    """Whether a run is made in a worker process: a user's code, interpreted so far, or of fewer
    ops than `threads_from_ops`.

    A class of this process cannot go to another one.
    """
    if is_of_this_process(run.policy):
        return False
    if length_of(run)[0] < threads_from_ops:
        return True
    return run.referee or _is_file(run.policy) or not _runs_compiled(run)


def length_of(run: Run) -> tuple[int, bool]:
    """How many ops a run has, 0 where that is unknown, and whether its threads meet."""
    return _length_of(json.dumps(run.workload_spec))


def _is_file(policy: str) -> bool:
    return policy.partition(":")[0].endswith(".py")


def _runs_compiled(run: Run) -> bool:
    """Whether the code of a shipped policy is in the cache by now."""
    machine = _machine(json.dumps(run.kernel), run.costs)
    code = Code.of(run.policy, machine, length_of(run)[1])
    if code not in _warm and code.is_cached():
        _warm.add(code)
    return code in _warm


@cache
def _machine(kernel: str, costs: str | None) -> Machine:
    """One machine for all runs that share it: a cost table is read once."""
    return Machine(**json.loads(kernel), costs=Path(costs) if costs else None)


@cache
def _length_of(workload: str) -> tuple[int, bool]:
    given = json.loads(workload)
    source = open_workload(workload_model(given).model_validate(given), seed=0)
    return source.n_ops or 0, meets(source)
