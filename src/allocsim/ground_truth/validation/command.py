"""`allocsim validate`: how far the simulation is from the real allocator, in figures."""

import sys
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.progress import Progress

from allocsim.errors import InputError
from allocsim.experiment.settings import NO_SETTINGS, Settings
from allocsim.glibc import Glibc
from allocsim.ground_truth.calibration import cost_file, remarks
from allocsim.ground_truth.calibration.machine import machine
from allocsim.ground_truth.measurement.allocators import Allocator, find_allocator
from allocsim.ground_truth.measurement.command import tunables_of
from allocsim.ground_truth.measurement.measure import ROUNDS
from allocsim.ground_truth.validation.summary import errors_of, gaps_of, ranking_of
from allocsim.ground_truth.validation.table import TIMES, table_of
from allocsim.ground_truth.validation.validate import Setting, Validation, validate
from allocsim.json_output import JsonOutput
from allocsim.kernel import CostTable
from allocsim.machine import Machine
from allocsim.outputs import AtomicFile
from allocsim.platform_support import glibc_version, require_glibc
from allocsim.policy import Policy, load_policy, policy_names
from allocsim.terminal import say
from allocsim.workload import load_workload


@dataclass(frozen=True)
class ValidateRequest:
    """What `allocsim validate` was asked for.

    settings: one more setting beside the defaults, unless it says nothing; against: further ones,
    each as pairs joined by commas. policy: "" for the model of the allocator. costs: None for those
    of this machine, measured in between.
    """

    workloads: tuple[str, ...]
    allocator: str = "glibc"
    policy: str = ""
    settings: Settings = NO_SETTINGS
    against: tuple[str, ...] = ()
    costs: Path | None = None
    rounds: int = ROUNDS
    seed: int = 0
    machine: Machine | None = None

    @property
    def cost_table(self) -> CostTable | None:
        """The table that an option or the machine's file names; None: measured here."""
        if self.costs is not None:
            return CostTable.load(self.costs)
        return self.machine.costs if self.machine else None


def validate_command(request: ValidateRequest, output: JsonOutput) -> Validation:
    """Validate and print: tables, or all figures as JSON."""
    require_glibc("validate")
    found = _with_bar(request)
    if found.calibration is not None:
        for line in remarks(found.calibration):
            say(f"unit costs: {line}", sys.stderr)
    output.write("validate", as_plain(found))
    if not output.replaces_text:
        say("\n".join(table_of(found)))
    return found


def _with_bar(request: ValidateRequest) -> Validation:
    allocator = find_allocator(request.allocator)
    policy = _policy_for(allocator, request.policy)
    settings = _settings(request, allocator, policy)
    console = Console(stderr=True)
    with Progress(console=console, transient=True, disable=not console.is_terminal) as bar:
        task = bar.add_task("", total=None)
        return validate(
            {name: load_workload(name, request.seed) for name in request.workloads},
            settings,
            allocator,
            policy,
            request.cost_table,
            rounds=request.rounds,
            seed=request.seed,
            environment=request.settings.environment(),
            cpus=request.settings.cpus,
            simulated_machine=request.machine,
            progress=lambda what, done, total: bar.update(
                task, description=what, completed=done, total=total
            ),
        )


def _policy_for(allocator: Allocator, name: str) -> type[Policy]:
    if name:
        return load_policy(name)
    if allocator.is_glibc:
        return Glibc
    if allocator.name in policy_names():
        return load_policy(allocator.name)
    raise InputError(f"there is no model of {allocator.name}; name a policy with --policy")


def _settings(
    request: ValidateRequest, allocator: Allocator, policy: type[Policy]
) -> list[Setting]:
    """The defaults, then what was asked for: what holds for all cases is in each of them."""
    around = Settings(
        tunables=request.settings.tunables,
        variables=request.settings.variables,
        cpus=request.settings.cpus,
    )
    base = _version(allocator, policy) | around.parameters(policy)
    asked = [request.settings.pairs, *(tuple(text.split(",")) for text in request.against)]
    settings = [Setting("", {}, base)]
    for pairs in filter(None, asked):
        own = Settings(pairs)
        tunables = tunables_of(own) if allocator.is_glibc else {}
        settings.append(Setting(" ".join(pairs), tunables, base | own.parameters(policy)))
    return settings


def _version(allocator: Allocator, policy: type[Policy]) -> dict[str, int | float]:
    """The version of glibc that the model is to be, where it is one."""
    if not allocator.is_glibc or "version" not in policy.parameters():
        return {}
    version = allocator.name.partition("-")[2] or glibc_version()
    try:
        return {"version": policy.parameters()["version"].checked("version", float(version))}
    except (InputError, ValueError):
        known = policy.parameters()["version"].domain()
        raise InputError(
            f"glibc {version or 'of this machine'} has no model; modelled are {known}: "
            "try --allocator glibc-VERSION"
        ) from None


def write_costs(found: Validation, folder: Path) -> list[Path]:
    """Write the unit costs that were measured in between as costs.toml; none if they were given."""
    if found.calibration is None:
        return []
    path = folder / "costs.toml"
    AtomicFile(path).write_text(cost_file(found.calibration, machine(), CostTable.load()))
    return [path]


def as_plain(found: Validation) -> dict[str, Any]:
    """A validation as JSON values."""
    cases = found.comparisons
    return {
        "allocator": found.allocator,
        "policy": found.policy,
        "rounds": found.rounds,
        "machine": machine(),
        "costs": found.costs.identity(),
        "cases": [_without_nan(case.as_json()) for case in cases],
        "summary": {
            figure: {
                "errors": {
                    group: asdict(errors)
                    for group in ("held-out", "fitting")
                    if (errors := errors_of([c for c in cases if c.group == group], figure))
                },
                "against_default": [
                    {**asdict(gap), "error": gap.error} for gap in gaps_of(cases, figure)
                ],
                "ranking": asdict(ranking_of(cases, figure)),
            }
            for figure in TIMES
            if all(figure in case.pairs() for case in cases)
        },
    }


def _without_nan(value: Any) -> Any:
    """The value with undefined numbers as null, which JSON knows."""
    if isinstance(value, dict):
        return {key: _without_nan(inner) for key, inner in value.items()}
    return None if isinstance(value, float) and value != value else value
