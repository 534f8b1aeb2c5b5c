"""`allocsim calibrate`: measure this machine, write its cost file, say how good the figures are."""

import os
import platform
from collections.abc import Callable
from pathlib import Path

import numpy as np
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn
from rich.table import Table

from allocsim.errors import AllocsimError, InputError
from allocsim.ground_truth.calibration.benchmarks import all_benchmarks
from allocsim.ground_truth.calibration.contention import contests, thread_counts
from allocsim.ground_truth.calibration.figures import Calibration, figures
from allocsim.ground_truth.calibration.machine import huge_pages_setting, machine
from allocsim.ground_truth.calibration.measure import (
    QUICK,
    THOROUGH,
    Bench,
    Effort,
    Task,
    bench_for,
    measure,
)
from allocsim.ground_truth.calibration.noise import NOISE_LIMIT
from allocsim.ground_truth.calibration.table import cost_file
from allocsim.kernel.costs import CostTable
from allocsim.trace.atomic import AtomicFile

HUGE_PAGES_ALLOWED = ("always", "madvise")


def calibrate(effort: Effort, seed: int, progress: Callable[[int, int], None]) -> Calibration:
    """Measure this machine. Raises InputError without a C compiler or Linux."""
    _require_linux()
    listed = all_benchmarks(huge_pages_setting() in HUGE_PAGES_ALLOWED)
    benchmarks = [b for b in listed if b.pages <= effort.most_pages]
    threads = thread_counts()
    with bench_for(benchmarks) as bench:
        benchmarks = [b for b in benchmarks if b.events or b.script or _works(bench, b, effort)]
        tasks: list[Task] = [*benchmarks, *contests(threads)]
        found = measure(bench, tasks, effort, seed, progress)
    return figures(found, benchmarks, threads, effort.resamples, np.random.default_rng(seed))


def _require_linux() -> None:
    if platform.system() != "Linux":
        raise InputError("calibrate measures Linux; on other systems use the shipped cost table")


def _works(bench: Bench, task: Task, effort: Effort) -> bool:
    """Whether the kernel knows what a benchmark asks for; those outside of the fit can be missed.

    A huge page must come with one fault.
    """
    try:
        took = bench.slice(task, effort.slice_ns)
    except AllocsimError:
        return False
    return not task.name.startswith("huge_fault") or took.faults == took.repetitions


def calibrate_command(output: Path, quick: bool, seed: int) -> None:
    """Measure, write `output`, print the unit costs; noise and doubts go to standard error."""
    _require_linux()
    file = AtomicFile(output)
    if not os.access(output.parent, os.W_OK):
        raise InputError(f"{output}: the folder {output.parent} cannot be written to")
    errors = Console(stderr=True, highlight=False)
    about = machine()
    found = _with_bar(errors, QUICK if quick else THOROUGH, seed)
    with file.writing():
        file.temporary.write_text(cost_file(found, about, CostTable.load()), encoding="utf-8")
    file.commit()
    Console(highlight=False).print(_table(found))
    for line in remarks(found):
        errors.print(line, markup=False, soft_wrap=True)
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
