"""Expands an experiment into runs: plain data, each with a key of all that its result hangs on."""

import hashlib
import itertools
import json
import math
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

from allocsim.code_hash import policy_hash
from allocsim.errors import InputError, printable
from allocsim.experiment.spec import Experiment, NamedWorkload
from allocsim.kernel.costs import CostTable
from allocsim.workload import Synthetic, open_workload, source_identity

MAX_RUNS = 10**6
"""More are hardly meant, and take gigabytes before the first one starts."""


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


def expand(experiment: Experiment, max_runs: int = MAX_RUNS) -> list[Run]:
    """All runs of an experiment, workload by workload and policy by policy.

    InputError, before any of them is made, if there are more than `max_runs`.
    """
    if (n_runs := count_runs(experiment)) > max_runs:
        raise InputError(
            f"{printable(experiment.path)}: {n_runs:,} runs, more than {max_runs:,}; choose fewer "
            f"values for the grid, or allow that many: --max-runs {n_runs}"
        )
    costs = CostTable.load(experiment.costs).content_hash()
    return [
        run for workload in experiment.workloads for run in _runs_of(experiment, workload, costs)
    ]


def count_runs(experiment: Experiment) -> int:
    """How many runs `expand` makes."""
    seeds = sum(len(_seeds(experiment, workload)) for workload in experiment.workloads)
    grids = (policy.grid.values() for policy in experiment.policies)
    return seeds * sum(math.prod(map(len, grid)) for grid in grids)


def _runs_of(experiment: Experiment, workload: NamedWorkload, costs_hash: str) -> Iterator[Run]:
    """The runs of one workload; what they have in common is looked up once."""
    file = experiment.file
    seeds = _seeds(experiment, workload)
    sources = {seed: source_identity(open_workload(workload.spec, seed)) for seed in seeds}
    spec, kernel = workload.spec.model_dump(mode="json"), file.kernel.model_dump()
    for policy in experiment.policies:
        code = policy_hash(policy.policy)
        for parameters, seed in itertools.product(settings(policy.grid), seeds):
            yield Run(
                workload=workload.name,
                workload_spec=spec,
                label=policy.label,
                policy=policy.use,
                parameters={**policy.parameters, **parameters},
                seed=seed,
                costs=str(experiment.costs) if experiment.costs else None,
                kernel=kernel,
                samples=file.samples,
                walks=file.walks,
                referee=file.referee,
                writing=file.writing,
                identity={"workload": sources[seed], "policy": code, "costs": costs_hash},
            )


def _seeds(experiment: Experiment, workload: NamedWorkload) -> range:
    """Recorded traces have nothing random: with more seeds they would give the same run again."""
    repeats = experiment.file.repeats if isinstance(workload.spec, Synthetic) else 1
    return range(experiment.file.seed, experiment.file.seed + repeats)


def settings(grid: dict[str, list[int | float]]) -> list[dict[str, int | float]]:
    """Every combination of a grid's values; one empty setting for an empty grid."""
    return [dict(zip(grid, values, strict=True)) for values in itertools.product(*grid.values())]
