"""`allocsim run`: from an experiment's file to results, a table and an exit code."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from rich.console import Console

from allocsim.experiment.execution.executors import Workers
from allocsim.experiment.load import load_experiment
from allocsim.experiment.manifest import failed_before
from allocsim.experiment.plain_report import plain_report
from allocsim.experiment.progress import reporter_for
from allocsim.experiment.results_writer import parameter_units
from allocsim.experiment.run import Report, run_experiment
from allocsim.experiment.runner import Outcome
from allocsim.experiment.setting_warnings import warnings_of_experiment
from allocsim.experiment.spec import Experiment
from allocsim.experiment.sweep import MAX_RUNS, Run, expand
from allocsim.experiment.table import console_for_output, summary_view
from allocsim.json_output import JsonOutput
from allocsim.kernel import CostTable
from allocsim.outputs import check_folder
from allocsim.platform_support import usable_cpus

_RESULTS = Path("results")


def run_command(
    name: str,
    folder: Path | None,
    jobs: int | None,
    force: bool,
    console: Console | None = None,
    *,
    max_runs: int = MAX_RUNS,
    no_code: bool = False,
    cluster: str | None = None,
    output: JsonOutput | None = None,
) -> int:
    """Runs the experiment in file `name`; returns the exit code.

    folder: where results go, `results/NAME` if None. jobs: workers, one per CPU if None. force:
    compute again what is there. max_runs: more than these are refused. no_code: policies in files
    are refused. cluster: of Dask, as in `dask_workers`; None: this machine, without Dask. output:
    where results go as JSON, too; if to standard output, all else goes to standard error.
    """
    output = output or JsonOutput()
    console = console or console_for_output(stderr=output.replaces_text)
    check_folder(folder or _RESULTS)  # before a policy's code is run
    experiment = load_experiment(name, no_code=no_code)
    root = folder or _RESULTS / experiment.name
    runs = expand(experiment, max_runs)
    _say_what_failed_before(runs, root, force, console)
    report = Report(experiment, root)
    try:
        workers = _workers_of(cluster, jobs, console) if cluster else None
        run_experiment(report, runs, reporter_for(console), jobs=jobs, workers=workers, force=force)
    finally:  # though it could not be written: a full disk must not hide what came out
        if not output.replaces_text:
            _show_table(report, console)
    output.write("run", plain_report(report))
    _show_closing(report, console)
    return report.outcome.exit_code


@contextmanager
def _workers_of(cluster: str, jobs: int | None, console: Console) -> Iterator[Workers]:
    """The workers of a cluster, which are described."""
    from allocsim.experiment.execution.dask_cluster import dask_workers

    with dask_workers(cluster, jobs or usable_cpus()) as workers:
        console.print(workers.description, markup=False, soft_wrap=True)
        yield workers


def _say_what_failed_before(runs: list[Run], root: Path, force: bool, console: Console) -> None:
    """Failures may come from limits or a busy machine, so these runs are tried again."""
    n_failed = len(failed_before(root) & {run.key for run in runs})
    if n_failed and not force:
        line = f"{_runs(n_failed)} failed before; tried again now"
        console.print(line, markup=False, soft_wrap=True)


def _show_table(report: Report, console: Console) -> None:
    """Prints the table of all settings."""
    if report.rows:
        units = parameter_units(report.experiment)
        tolerance = report.experiment.file.tolerance
        console.print(summary_view(report.rows, report.turns, units, tolerance))


def _show_closing(report: Report, console: Console) -> None:
    """Prints what to know of the table, and what to do next."""
    lines = [*_warnings(report.experiment, report.rows), *_closing(report.outcome, report.root)]
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
