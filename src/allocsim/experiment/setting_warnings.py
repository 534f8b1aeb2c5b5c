"""What users should know of their settings and have not been refused for: one sentence each."""

from collections.abc import Iterable, Mapping
from shlex import quote
from typing import Any

from allocsim.experiment.settings import Settings, is_glibc
from allocsim.experiment.spec import Experiment
from allocsim.experiment.sweep import settings as points_of
from allocsim.glibc.environment import (
    TUNABLES_VARIABLE,
    VARIABLES,
    parameters_from_environment,
)
from allocsim.glibc.environment_notes import notes_on_environment
from allocsim.glibc.parameter_notes import notes_on_parameters
from allocsim.glibc.versions import VERSIONS
from allocsim.policy import Policy
from allocsim.workload import Recorded, open_workload

Parameters = Mapping[str, float]


def warnings_of_command(
    settings: Settings, chosen: Iterable[tuple[type[Policy], Parameters]], source: Any
) -> list[str]:
    """Warnings for one workload under policies with these parameters, each once."""
    lines: list[str] = []
    for policy, parameters in chosen:
        if is_glibc(policy):
            version = parameters.get("version", VERSIONS[0])
            lines += notes_on_environment(settings.environment(), version)
            lines += _of_run(policy, parameters, _recorded_environment(source))
    return list(dict.fromkeys(lines))


def warnings_of_experiment(experiment: Experiment) -> list[str]:
    """Warnings for all runs of an experiment, each once."""
    environments = [
        (workload.name, _recorded_environment(open_workload(workload.spec, 0)))
        for workload in experiment.workloads
        if isinstance(workload.spec, Recorded)
    ] or [("", {})]
    lines = [
        f"{name}: {line}" if name and line.startswith(_RECORDED) else line
        for policy in experiment.policies
        if is_glibc(policy.policy)
        for parameters in points_of(policy.grid)
        for name, environment in environments
        for line in _of_run(policy.policy, policy.parameters | parameters, environment)
    ]
    return list(dict.fromkeys(lines))


def _of_run(policy: type[Policy], parameters: Parameters, recorded: Mapping[str, str]) -> list[str]:
    defaults = {name: param.default for name, param in policy.parameters().items()}
    notes = notes_on_parameters(parameters, defaults)
    return notes + _other_than_recorded(defaults | dict(parameters), recorded)


_RECORDED = "the trace was recorded under "


def _other_than_recorded(values: Parameters, recorded: Mapping[str, str]) -> list[str]:
    """A note if the recorded program's malloc had other parameters than this run."""
    then = parameters_from_environment(recorded, values.get("version", VERSIONS[0]))
    if all(values.get(name) == value for name, value in then.items()):
        return []
    variables = [quote(f"{name}={value}") for name, value in recorded.items()]
    options = " ".join(f"--environment {variable}" for variable in variables)
    return [f"{_RECORDED}{' '.join(variables)}, and is simulated otherwise; as recorded: {options}"]


def _recorded_environment(source: Any) -> dict[str, str]:
    """The variables of a recorded program that malloc reads."""
    provenance = getattr(source, "provenance", None)
    recorded = provenance.extras.get("allocator_environment") if provenance else None
    if not isinstance(recorded, dict):
        return {}
    known = (TUNABLES_VARIABLE, *VARIABLES)
    return {k: v for k, v in recorded.items() if k in known and isinstance(v, str) and v}
