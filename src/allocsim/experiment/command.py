"""`allocsim run`: from an experiment's file to results, a table and an exit code."""

import os
from pathlib import Path
from typing import Any

from rich.console import Console

from allocsim.experiment.crew import Kind
from allocsim.experiment.index import update_index
from allocsim.experiment.load import load_experiment
from allocsim.experiment.perform import runs_compiled
from allocsim.experiment.progress import reporter_for
from allocsim.experiment.records import parameter_units, rows_of, write_results
from allocsim.experiment.runner import Outcome, make_runs
from allocsim.experiment.spec import Experiment
from allocsim.experiment.store import RunStore
from allocsim.experiment.summary import settings_of, turns_of
from allocsim.experiment.sweep import Run, expand
from allocsim.experiment.table import console_for_output, summary_view
from allocsim.kernel import CostTable


def run_command(
    name: str, folder: Path | None, jobs: int | None, force: bool, console: Console | None = None
) -> int:
    """Runs the experiment in file `name`; returns the exit code.

    folder: where results go, `results/NAME` if None. jobs: workers, one per CPU if None. force:
    compute again what is there.
    """
    console = console or console_for_output()
    experiment = load_experiment(name)
    root = folder or Path("results") / experiment.name
    runs = expand(experiment)
    jobs = jobs or len(os.sched_getaffinity(0))
    store = RunStore(root)
    outcome = make_runs(
        runs, store, reporter_for(console), kind=_kind(runs, jobs), jobs=jobs, force=force
    )
    _conclude(experiment, outcome, store, console)
    return outcome.exit_code


def _kind(runs: list[Run], jobs: int) -> Kind:
    """Compiled code releases the GIL, so threads do; interpreted code needs processes."""
    if jobs == 1:
        return "here"
    compiled = all(runs_compiled(run.policy) and not run.referee for run in runs)
    return "threads" if compiled else "processes"


def _conclude(experiment: Experiment, outcome: Outcome, store: RunStore, console: Console) -> None:
    """Shows what there is, however the sweep ended, and writes it."""
    tolerance = experiment.file.tolerance
    rows = rows_of(outcome)
    turns = turns_of(settings_of(rows), tolerance)
    if rows:  # shown before anything is written: a full disk must not hide what came out
        console.print(summary_view(rows, turns, parameter_units(experiment), tolerance))
    write_results(experiment, outcome, store.root, turns)
    update_index(store)
    for line in [*_warnings(experiment, rows), *_closing(outcome, store.root)]:
        console.print(line, markup=False, soft_wrap=True)


def _warnings(experiment: Experiment, rows: list[dict[str, Any]]) -> list[str]:
    """What a reader of the table must know."""
    lines = []
    if rows:
        lines.append(CostTable.load(experiment.costs).origin())
    refused = {
        f"{row['workload']} under {row['label']}" for row in rows if row.get("failed_requests")
    }
    if refused:
        told = ", ".join(sorted(refused))
        lines.append(f"memory was exhausted, so that some requests failed, in {told}")
    return lines


def _closing(outcome: Outcome, root: Path) -> list[str]:
    """What is there, what is not, and what can be done about it."""
    lines = [f"{_runs(len(outcome.stored))} ({outcome.kept} of them kept) in {root}"]
    if outcome.failed:
        lines.append(f"{_runs(len(outcome.failed))} failed; {root}/manifest.json says why")
    if outcome.interrupted:
        left = len({run.key for run in outcome.runs}) - len(outcome.stored) - len(outcome.failed)
        lines.append(f"interrupted, {_runs(left)} left; the same command goes on from here")
    elif outcome.stored:
        lines.append(f"figures: allocsim figures {root}")
    return lines


def _runs(n_runs: int) -> str:
    return f"{n_runs} run" if n_runs == 1 else f"{n_runs} runs"
