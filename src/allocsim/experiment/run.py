"""Makes the runs of an experiment and writes its results: for the command line and for Python."""

from collections.abc import Iterator
from concurrent.futures import Executor, ThreadPoolExecutor
from contextlib import contextmanager
from functools import cached_property
from pathlib import Path
from typing import Any

from allocsim.experiment.execution.limits import Limits
from allocsim.experiment.execution.processes import processes
from allocsim.experiment.progress import Reporter
from allocsim.experiment.results_writer import rows_of, write_manifest, write_tables
from allocsim.experiment.runner import Outcome, make_runs
from allocsim.experiment.spec import Experiment
from allocsim.experiment.store import RunStore
from allocsim.experiment.summary import settings_of, turns_of
from allocsim.experiment.sweep import Run
from allocsim.platform_support import usable_cpus


class Report:
    """An experiment and what became of its runs, so far."""

    def __init__(self, experiment: Experiment, root: Path) -> None:
        self.experiment = experiment
        self.root = root
        self.outcome = Outcome([])

    @cached_property
    def rows(self) -> list[dict[str, Any]]:
        """A row for each finished run; to be asked for when all have ended."""
        return rows_of(self.outcome)

    @cached_property
    def turns(self) -> list[dict[str, Any]]:
        """The shape of each curve over a swept parameter."""
        return turns_of(settings_of(self.rows), self.experiment.file.tolerance)

    def write(self) -> None:
        """Writes it all; the tables first, which need no analysis."""
        runs_sha256 = write_tables(self.rows, self.root)
        write_manifest(self.experiment, self.outcome, self.root, self.turns, runs_sha256)


def run_experiment(
    report: Report,
    runs: list[Run],
    reporter: Reporter,
    *,
    jobs: int | None = None,
    force: bool = False,
) -> None:
    """Makes the runs that are missing, and writes all results into the report's folder.

    jobs: how many runs are made at once, one per CPU if None. force: compute again what is there.
    The report says what came out even where the results cannot be written, which is a StoreError.
    """
    jobs = jobs or usable_cpus()
    store = RunStore(report.root)
    with store.writing(), _threads(jobs) as executor:
        report.outcome = make_runs(
            runs,
            store,
            reporter,
            executor,
            jobs=jobs,
            limits=Limits.of(report.experiment.file.limits, jobs),
            force=force,
        )
        store.flush()
        report.write()


@contextmanager
def _threads(jobs: int) -> Iterator[Executor]:
    """An executor for `jobs` runs at once; what an interrupted one still does is not awaited."""
    executor = ThreadPoolExecutor(jobs)
    try:
        yield executor
    finally:
        executor.shutdown(wait=False, cancel_futures=True)
        processes.close()
