"""Expands an experiment into runs: plain data, each with a key of all that its result hangs on."""

import hashlib
import inspect
import itertools
import json
from dataclasses import dataclass, field
from functools import cache, cached_property
from pathlib import Path
from typing import Any

import allocsim
from allocsim.experiment.spec import ChosenPolicy, Experiment, NamedWorkload
from allocsim.kernel.costs import CostTable
from allocsim.policy import Policy
from allocsim.workload import Synthetic, workload_identity

_BYSTANDERS = (
    "experiment", "ground_truth", "figures", "figures.py", "report", "report.py", "heap_map",
    "heap_map.py", "claims", "claims.py", "cli", "cbuild.py", "cache.py",
    "outputs.py", "_data",
)  # fmt: skip
"""Parts of allocsim that no result depends on; whatever else there is counts as code."""


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
    shared = {"costs": costs.content_hash(), "code": code_hash()}
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
            "workload": workload_identity(workload.spec, seed),
            "policy": policy_hash(policy.policy),  # type: ignore[arg-type]
            **shared,
        },
    )


def settings(grid: dict[str, list[int | float]]) -> list[dict[str, int | float]]:
    """Every combination of a grid's values; one empty setting for an empty grid."""
    return [dict(zip(grid, values, strict=True)) for values in itertools.product(*grid.values())]


@cache
def policy_hash(policy: type[Policy]) -> str:
    """A hash of a policy's source: of every file, its own and imported, that is not allocsim's."""
    modules = {inspect.getmodule(cls) for cls in policy.__mro__}
    seen: dict[str, Any] = {}
    while modules:
        module = modules.pop()
        path = getattr(module, "__file__", None)
        if module is None or path is None or path in seen or not _is_users(Path(path)):
            continue
        seen[path] = module
        values = vars(module).values()
        modules |= {inspect.getmodule(v) for v in values if _has_source(v)}
    digest = hashlib.sha256(policy.__qualname__.encode())
    for path in sorted(seen):
        digest.update(Path(path).read_bytes())
    return digest.hexdigest()


def _has_source(value: Any) -> bool:
    return inspect.ismodule(value) or inspect.isclass(value) or inspect.isfunction(value)


def _is_users(path: Path) -> bool:
    """Whether a source is neither installed (packages carry versions) nor part of allocsim."""
    installed = "site-packages" in path.parts or "dist-packages" in path.parts
    library = Path(inspect.__file__).parent
    package = Path(allocsim.__file__).parent
    shipped = package / "_data"
    if path.is_relative_to(shipped):
        return True
    return not (installed or path.is_relative_to(library) or path.is_relative_to(package))


@cache
def code_hash() -> str:
    """A hash of the parts of allocsim that a result depends on."""
    package = Path(allocsim.__file__).parent
    digest = hashlib.sha256()
    for source in sorted(package.rglob("*.py")):
        name = source.relative_to(package)
        if name.parts[0] not in _BYSTANDERS:
            digest.update(str(name).encode())
            digest.update(source.read_bytes())
    return digest.hexdigest()
