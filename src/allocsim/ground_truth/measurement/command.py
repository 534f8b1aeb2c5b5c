"""`allocsim measure`: real allocators, and policies beside them, in one table."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.progress import Progress

from allocsim.errors import InputError
from allocsim.experiment.settings import NO_SETTINGS, Settings
from allocsim.glibc import Glibc
from allocsim.ground_truth.calibration.machine import machine
from allocsim.ground_truth.measurement.allocators import Allocator, find_allocator
from allocsim.ground_truth.measurement.measure import ROUNDS, Measured, measure
from allocsim.ground_truth.measurement.prediction import Prediction, predict
from allocsim.ground_truth.measurement.table import WRITES, Column, table_of
from allocsim.ground_truth.measurement.timing import Band
from allocsim.ground_truth.verify import NO_TUNABLES
from allocsim.json_output import JsonOutput
from allocsim.kernel import CostTable
from allocsim.machine import Machine
from allocsim.platform_support import require_glibc
from allocsim.policy import load_policy
from allocsim.runspec import short_policy_name
from allocsim.terminal import say
from allocsim.trace import TraceSource
from allocsim.workload import load_workload


@dataclass(frozen=True)
class MeasureRequest:
    """What `allocsim measure` was asked for.

    settings: of glibc, real or simulated, and of other policies that have them.
    """

    workload: str
    allocators: tuple[str, ...] = ("glibc",)
    policies: tuple[str, ...] = ()
    settings: Settings = NO_SETTINGS
    costs: Path | None = None
    rounds: int = ROUNDS
    seed: int = 0
    machine: Machine | None = None

    @property
    def cost_table(self) -> CostTable | None:
        """The table that an option or the machine's file names."""
        if self.costs is not None:
            return CostTable.load(self.costs)
        return self.machine.costs if self.machine else None


def measure_command(request: MeasureRequest, output: JsonOutput) -> list[Column]:
    """Measure and print: a table, or all figures as JSON; returns the table's columns."""
    require_glibc("measure")
    allocators = [find_allocator(name) for name in request.allocators]
    policies = [load_policy(name) for name in request.policies]
    costs = request.cost_table or CostTable.load()
    parameters = [request.settings.parameters(policy, (*policies, Glibc)) for policy in policies]
    source = load_workload(request.workload, request.seed)
    measured = measured_with_bar(source, allocators, request)
    predicted = [
        predict(source, policy, chosen, costs, WRITES, request.machine)
        for policy, chosen in zip(policies, parameters, strict=True)
    ]
    columns = [found.column() for found in measured]
    columns += [
        predicted_column(short_policy_name(name), found)
        for name, found in zip(request.policies, predicted, strict=True)
    ]
    output.write("measure", _as_json(request, measured, predicted, costs))
    if not output.replaces_text:
        say("\n".join(_lines(request, columns, costs)))
    return columns


def measured_with_bar(
    source: TraceSource, allocators: Sequence[Allocator], request: MeasureRequest
) -> list[Measured]:
    """`measure`, with a bar on standard error where that is a terminal."""
    settings = request.settings
    console = Console(stderr=True)
    with Progress(console=console, transient=True, disable=not console.is_terminal) as bar:
        task = bar.add_task("measuring", total=None)
        return measure(
            source,
            allocators,
            rounds=request.rounds,
            tunables=tunables_of(settings),
            environment=settings.environment(),
            cpus=settings.cpus,
            progress=lambda done, total: bar.update(task, completed=done, total=total),
        )


def tunables_of(settings: Settings) -> dict[str, int]:
    """The pairs of name and value as glibc's tunables; InputError for what is none."""
    pairs = Settings(settings.pairs).parameters(Glibc)
    if misplaced := [name for name in NO_TUNABLES if name in pairs]:
        raise InputError(
            f"--set {misplaced[0]}: no tunable of the real library; "
            "write --cpus N for processors, --allocator glibc-VERSION for a version"
        )
    return {name: int(value) for name, value in pairs.items()}


def _lines(request: MeasureRequest, columns: Sequence[Column], costs: CostTable) -> list[str]:
    title = f"{request.workload}, {columns[0].totals['ops']:,} ops"
    notes = [f"times: lower quartile of {request.rounds} rounds, ± half of what lies between"]
    notes.append("the 10th and the 90th percentile; memory: what came on top of the program before")
    notes.append("the first op")
    if any(column.simulated for column in columns):
        notes.append("simulated times: ± half of the 95 % interval of the unit costs")
        notes.append(costs.origin())
    return [*table_of(title, columns), *notes]


def predicted_column(name: str, found: Prediction) -> Column:
    """A simulated policy's figures for a table."""
    wall = {kind: Band(value, value, value) for kind, value in found.wall_ns.items()}
    return Column(
        f"{name} (simulated)", found.cpu_ns, wall, found.totals, found.samples, simulated=True
    )


def _as_json(
    request: MeasureRequest,
    measured: Sequence[Measured],
    predicted: Sequence[Prediction],
    costs: CostTable,
) -> dict[str, Any]:
    return {
        "workload": request.workload,
        "rounds": request.rounds,
        "settings": asdict(request.settings),
        "machine": machine(),
        "measured": [found.as_json() for found in measured],
        "simulated": [
            {
                "policy": short_policy_name(name),
                "totals": found.totals,
                "cpu_ns": {kind: asdict(band) for kind, band in found.cpu_ns.items()},
                "wall_ns": found.wall_ns,
                "samples": {name: values.tolist() for name, values in found.samples.items()},
            }
            for name, found in zip(request.policies, predicted, strict=True)
        ],
        "costs": costs.identity() if predicted else None,
    }
