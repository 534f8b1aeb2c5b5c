"""Expands an experiment into runs: plain data, each with a key of all that its result hangs on."""

import hashlib
import itertools
import json
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

from allocsim.code_hash import policy_hash
from allocsim.experiment.spec import ChosenPolicy, Experiment, NamedWorkload
from allocsim.kernel.costs import CostTable
from allocsim.workload import Synthetic, open_workload, source_identity


@dataclass(frozen=True)
class Run:
    """One simulation to be made: everything that a worker in another process needs.

    workload_spec, policy, costs: what to open. identity: hashes of what these contain, and the rest
    that the result hangs on. workload, label: only names for people, no part of the key.
    """

    workload: str
    workload_spec: dict[str, Any]
    label: str
    policy: str
    parameters: dict[str, int | float]
    seed: int
    costs: str | None
    kernel: dict[str, Any]
    samples: int
    walks: int
    referee: bool
    writing: bool
    identity: dict[str, str] = field(repr=False)

    @cached_property
    def key(self) -> str:
        """SHA-256, in hexadecimal, over all that can change the result."""
        told = [self.parameters, self.kernel, self.samples, self.walks]
        told += [self.referee, self.writing, self.identity]
        return hashlib.sha256(json.dumps(told, sort_keys=True).encode()).hexdigest()

    @property
    def title(self) -> str:
        """The run in a line of text: workload, policy, parameters that are swept or fixed, seed."""
        settings = "".join(f" {name}={value}" for name, value in self.parameters.items())
        return f"{self.workload}, {self.label}{settings}, seed {self.seed}"


def expand(experiment: Experiment) -> list[Run]:
    """All runs of an experiment, workload by workload and policy by policy."""
    costs = CostTable.load(experiment.costs)
    shared = {"costs": costs.content_hash()}
    return [
        _run(experiment, workload, policy, parameters, seed, shared)
        for workload in experiment.workloads
        for policy in experiment.policies
        for parameters in settings(policy.grid)
        for seed in _seeds(experiment, workload)
    ]


def _seeds(experiment: Experiment, workload: NamedWorkload) -> range:
    """Recorded traces have nothing random: with more seeds they would give the same run again."""
    repeats = experiment.file.repeats if isinstance(workload.spec, Synthetic) else 1
    return range(experiment.file.seed, experiment.file.seed + repeats)


def _run(
    experiment: Experiment,
    workload: NamedWorkload,
    policy: ChosenPolicy,
    parameters: dict[str, int | float],
    seed: int,
    shared: dict[str, str],
) -> Run:
    file = experiment.file
    return Run(
        workload=workload.name,
        workload_spec=workload.spec.model_dump(mode="json"),
        label=policy.label,
        policy=policy.use,
        parameters={**policy.parameters, **parameters},
        seed=seed,
        costs=str(experiment.costs) if experiment.costs else None,
        kernel=file.kernel.model_dump(),
        samples=file.samples,
        walks=file.walks,
        referee=file.referee,
        writing=file.writing,
        identity={
            "workload": source_identity(open_workload(workload.spec, seed)),
            "policy": policy_hash(policy.policy),  # type: ignore[arg-type]
            **shared,
        },
    )


def settings(grid: dict[str, list[int | float]]) -> list[dict[str, int | float]]:
    """Every combination of a grid's values; one empty setting for an empty grid."""
    return [dict(zip(grid, values, strict=True)) for values in itertools.product(*grid.values())]
