"""`allocsim calibrate`: measure this machine, write its cost file, say how good the figures are."""

from pathlib import Path

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn
from rich.table import Table

from allocsim.ground_truth.calibration.calibrator import calibrate
from allocsim.ground_truth.calibration.figures import Calibration
from allocsim.ground_truth.calibration.machine import machine
from allocsim.ground_truth.calibration.measure import QUICK, THOROUGH, Effort, build_program
from allocsim.ground_truth.calibration.noise import NOISE_LIMIT
from allocsim.ground_truth.calibration.table import cost_file
from allocsim.kernel.costs import CostTable
from allocsim.outputs import AtomicFile
from allocsim.platform_support import require_glibc


def calibrate_command(output: Path, quick: bool, seed: int) -> None:
    """Measure, write `output`, print the unit costs; noise and doubts go to standard error."""
    require_glibc("calibrate")
    file = AtomicFile(output)
    build_program()  # what is missing for it is said before there is a progress bar
    errors = Console(stderr=True, highlight=False)
    about = machine()
    found = _with_bar(errors, QUICK if quick else THOROUGH, seed)
    Console(highlight=False).print(_table(found))
    for line in remarks(found):
        errors.print(line, markup=False, soft_wrap=True)
    file.write_text(cost_file(found, about, CostTable.load()))
    errors.print(f"wrote {output}", markup=False, soft_wrap=True)


def _with_bar(console: Console, effort: Effort, seed: int) -> Calibration:
    columns = (TextColumn("measuring"), BarColumn(), TimeElapsedColumn(), TextColumn("left"))
    with Progress(*columns, TimeRemainingColumn(), console=console, transient=True) as bar:
        task = bar.add_task("", total=None)
        return calibrate(
            effort, seed, lambda done, total: bar.update(task, completed=done, total=total)
        )


def remarks(found: Calibration) -> list[str]:
    """How good the figures are, and everything that speaks against them."""
    noise = found.noise
    spread = (
        f"the typical benchmark spreads by {noise.typical:.0%} between rounds (limit "
        f"{NOISE_LIMIT:.0%}), the worst, {noise.worst_name}, by {noise.worst:.0%}"
    )
    verdict = "noisy machine: take the figures as provisional: " if noise.noisy else "noise: "
    fit = f"fit: unit costs miss the typical benchmark by {found.misfit():.0%}"
    rounds = f"{found.rounds} rounds in {found.seconds:.0f} s"
    return [rounds, verdict + spread, fit, *(f"warning: {text}" for text in found.mismatches)]


def _table(found: Calibration) -> Table:
    table = Table("event", "ns", "95 % interval", box=None)
    for column in table.columns[1:]:
        column.justify = "right"
    for name, cost in found.costs.items():
        table.add_row(name, f"{cost.ns:.4g}", f"{cost.low_ns:.4g} - {cost.high_ns:.4g}")
    return table
