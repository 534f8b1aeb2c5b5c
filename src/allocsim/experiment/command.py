"""`allocsim run`: from an experiment's file to results, a table and an exit code."""

from collections.abc import Iterator
from concurrent.futures import Executor, ThreadPoolExecutor
from contextlib import contextmanager
from functools import cached_property
from pathlib import Path
from typing import Any

from rich.console import Console

from allocsim.experiment.execution.limits import Limits
from allocsim.experiment.execution.processes import processes
from allocsim.experiment.load import load_experiment
from allocsim.experiment.manifest import failed_before
from allocsim.experiment.progress import reporter_for
from allocsim.experiment.results_writer import (
    parameter_units,
    rows_of,
    write_manifest,
    write_tables,
)
from allocsim.experiment.runner import Outcome, make_runs
from allocsim.experiment.setting_warnings import warnings_of_experiment
from allocsim.experiment.spec import Experiment
from allocsim.experiment.store import RunStore
from allocsim.experiment.summary import settings_of, turns_of
from allocsim.experiment.sweep import MAX_RUNS, Run, expand
from allocsim.experiment.table import console_for_output, summary_view
from allocsim.kernel import CostTable
from allocsim.platform_support import usable_cpus


def run_command(
    name: str,
    folder: Path | None,
    jobs: int | None,
    force: bool,
    console: Console | None = None,
    *,
    max_runs: int = MAX_RUNS,
    no_code: bool = False,
) -> int:
    """Runs the experiment in file `name`; returns the exit code.

    folder: where results go, `results/NAME` if None. jobs: workers, one per CPU if None. force:
    compute again what is there. max_runs: more than these are refused. no_code: policies in files
    are refused.
    """
    console = console or console_for_output()
    experiment = load_experiment(name, no_code=no_code)
    root = folder or Path("results") / experiment.name
    runs = expand(experiment, max_runs)
    jobs = jobs or usable_cpus()
    store = RunStore(root)
    report = None
    try:
        with store.writing(), _threads(jobs) as executor:
            _say_what_failed_before(runs, root, force, console)
            limits = Limits.of(experiment.file.limits, jobs)
            outcome = make_runs(
                runs,
                store,
                reporter_for(console),
                executor,
                jobs=jobs,
                limits=limits,
                force=force,
            )
            report = _Report(experiment, outcome, root)
            store.flush()
            report.write()
    finally:
        if report:  # though it could not be written: a full disk must not hide what came out
            report.show_table(console)
    report.show_closing(console)
    return outcome.exit_code


@contextmanager
def _threads(jobs: int) -> Iterator[Executor]:
    """An executor for `jobs` runs at once; what an interrupted one still does is not awaited."""
    executor = ThreadPoolExecutor(jobs)
    try:
        yield executor
    finally:
        executor.shutdown(wait=False, cancel_futures=True)
        processes.close()


def _say_what_failed_before(runs: list[Run], root: Path, force: bool, console: Console) -> None:
    """Failures may come from limits or a busy machine, so these runs are tried again."""
    n_failed = len(failed_before(root) & {run.key for run in runs})
    if n_failed and not force:
        line = f"{_runs(n_failed)} failed before; tried again now"
        console.print(line, markup=False, soft_wrap=True)


class _Report:
    """What there is after a sweep, however it ended."""

    def __init__(self, experiment: Experiment, outcome: Outcome, root: Path):
        self._experiment = experiment
        self._outcome = outcome
        self._root = root
        self._rows = rows_of(outcome)

    @cached_property
    def _turns(self) -> list[dict[str, Any]]:
        return turns_of(settings_of(self._rows), self._experiment.file.tolerance)

    def write(self) -> None:
        """Writes it all; the tables first, which need no analysis."""
        runs_sha256 = write_tables(self._rows, self._root)
        write_manifest(self._experiment, self._outcome, self._root, self._turns, runs_sha256)

    def show_table(self, console: Console) -> None:
        """Prints the table of all settings."""
        if self._rows:
            units, tolerance = parameter_units(self._experiment), self._experiment.file.tolerance
            console.print(summary_view(self._rows, self._turns, units, tolerance))

    def show_closing(self, console: Console) -> None:
        """Prints what to know of the table, and what to do next."""
        lines = [*_warnings(self._experiment, self._rows), *_closing(self._outcome, self._root)]
        for line in lines:
            console.print(line, markup=False, soft_wrap=True)


def _warnings(experiment: Experiment, rows: list[dict[str, Any]]) -> list[str]:
    """What a reader of the table must know."""
    lines = []
    if rows:
        lines.append(CostTable.load(experiment.costs).origin())
        lines += [f"warning: {line}" for line in warnings_of_experiment(experiment)]
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
