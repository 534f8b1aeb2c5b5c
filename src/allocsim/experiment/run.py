"""Makes the runs of an experiment and writes its results: for the command line and for Python."""

from contextlib import AbstractContextManager
from functools import cached_property
from pathlib import Path
from typing import Any

from allocsim.experiment.execution.executors import Workers, threads
from allocsim.experiment.execution.limits import Limits
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
    workers: AbstractContextManager[Workers] | None = None,
    force: bool = False,
) -> None:
    """Makes the runs that are missing, and writes all results into the report's folder.

    jobs: how many runs this machine makes at once, one per CPU if None. workers: make the runs
    instead of this machine's. force: compute again what is there.
    The report says what came out even where the results cannot be written, which is a StoreError.
    """
    workers = workers or threads(jobs or usable_cpus())
    store = RunStore(report.root)
    with store.writing(), workers as there:
        report.outcome = make_runs(
            runs,
            store,
            reporter,
            there,
            limits=Limits.of(report.experiment.file.limits, there.memory_bytes, there.jobs),
            force=force,
        )
        store.flush()
        report.write()
