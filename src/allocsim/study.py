"""Sweeps from Python: `sweep`, `Experiment` and `results`, on the same path as `allocsim run`."""

import shutil
import tempfile
import weakref
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.console import Console

from allocsim.arguments import plain, whole_number
from allocsim.column_table import ColumnTable
from allocsim.errors import InputError
from allocsim.experiment.axis import expand_axis
from allocsim.experiment.load import load_experiment
from allocsim.experiment.notebook_progress import NotebookReporter
from allocsim.experiment.progress import LiveReporter, Reporter, SilentReporter
from allocsim.experiment.results import Results, read_results
from allocsim.experiment.run import Report, run_experiment
from allocsim.experiment.spec import Experiment as LoadedExperiment
from allocsim.experiment.summary import settings_of
from allocsim.experiment.sweep import MAX_RUNS, count_runs, expand
from allocsim.limited_process import is_worker
from allocsim.machine import Machine
from allocsim.sweep_call import PolicyLike, WorkloadLike, experiment_of_call

if TYPE_CHECKING:
    from allocsim.figures.draw import Panels

_FIGURES = (
    "cpu_ns", "resident_peak_bytes", "resident_mean_bytes", "syscalls", "minor_faults",
)  # fmt: skip


def log_range(low: int | str, high: int | str, factor: float = 2) -> list[int | float]:
    """Values from `low` to at most `high`, each `factor` times the one before.

    Sizes may be texts: `log_range("4 KiB", "32 MiB")`. InputError for an impossible range.
    """
    try:
        return expand_axis(plain({"from": low, "to": high, "factor": factor}))
    except ValueError as error:
        raise InputError(f"log_range: {error}") from None


def sweep(
    workloads: Sequence[WorkloadLike],
    policies: Sequence[PolicyLike],
    grid: Mapping[str, Any] | None = None,
    *,
    repeats: int = 1,
    seed: int = 1,
    samples: int = 128,
    walks: int = 16,
    writing: bool = True,
    referee: bool = False,
    machine: Machine | None = None,
    folder: str | Path | None = None,
    jobs: int | None = None,
    force: bool = False,
    max_runs: int = MAX_RUNS,
    progress: bool | None = None,
) -> "Sweep":
    """Run every workload through every policy, at every combination of the grid's values.

    grid: for each parameter a list of values, for the policies that have it. repeats: runs of each
    synthetic workload, with seeds `seed`, `seed` + 1 …. samples, walks, writing, referee: see
    `RunSpec`. folder: where results are kept, so that the same call later computes only what is
    missing; if None, a temporary one that goes with the sweep. jobs: runs made at once, one per
    CPU if None. force: compute again what is there. max_runs: more are refused. progress: show a
    bar; None: on terminals and in notebooks.

    Policies in files and importable modules run in worker processes within limits of time and
    memory. Classes of `__main__` and of notebooks run in this process, without limits.
    InputError names everything that is wrong, before anything runs.
    """
    root = Path(folder) if folder is not None else Path(tempfile.mkdtemp(prefix="allocsim-"))
    options = {
        "grid": grid or {},
        "repeats": repeats,
        "seed": seed,
        "samples": samples,
        "walks": walks,
        "writing": writing,
        "referee": referee,
    }
    try:
        experiment = experiment_of_call(workloads, policies, machine, root, **options)
        made = _run(experiment, root, jobs, force, max_runs, progress)
    except Exception:  # after Ctrl-C, what is finished stays
        if folder is None:
            shutil.rmtree(root, ignore_errors=True)
        raise
    if folder is None:
        weakref.finalize(made, shutil.rmtree, root, ignore_errors=True)
    return made


class Experiment:
    """An experiment file: everything that it names was found, and every value is possible."""

    def __init__(self, loaded: LoadedExperiment) -> None:
        self._loaded = loaded

    @classmethod
    def load(cls, name: str | Path, *, no_code: bool = False) -> "Experiment":
        """The experiment in a file, or the shipped one of that name.

        A policy that the file names by path is imported, and so runs as code; `no_code` refuses
        it. InputError names everything that is wrong.
        """
        return cls(load_experiment(name, no_code=no_code))

    @property
    def name(self) -> str:
        """Its name, after which the folder of results is called."""
        return self._loaded.name

    @property
    def n_runs(self) -> int:
        """How many runs it has."""
        return count_runs(self._loaded)

    def run(
        self,
        folder: str | Path | None = None,
        *,
        jobs: int | None = None,
        force: bool = False,
        max_runs: int = MAX_RUNS,
        progress: bool | None = None,
    ) -> "Sweep":
        """Make the runs that are missing in `folder`, by default `results/NAME`; see `sweep`."""
        root = Path(folder) if folder is not None else Path("results") / self.name
        return _run(self._loaded, root, jobs, force, max_runs, progress)

    def __repr__(self) -> str:
        return f"<Experiment {self.name}: {self.n_runs} runs>"


class Sweep:
    """The results of a sweep or an experiment.

    folder: where they are. failed: a dictionary for each run that failed, with `run` and `message`.
    """

    def __init__(self, folder: Path, results: Results | None, failed: list[dict[str, Any]]) -> None:
        self.folder = folder
        self.failed = failed
        self._results = results

    @property
    def runs(self) -> ColumnTable:
        """A row for each finished run: names, seed, parameters, and all totals.

        policy: what tables call it. policy_source: its name or file.
        """
        return ColumnTable(_columns([_flat(row) for row in self._rows]))

    def table(self) -> ColumnTable:
        """A row for each workload, policy and setting: means, with ends of 95 % intervals."""
        rows = []
        settings = settings_of(self._rows)
        swept = dict.fromkeys(name for setting in settings for name in setting.parameters)
        for setting in settings:
            row: dict[str, Any] = {"workload": setting.workload, "policy": setting.label}
            row |= {f"parameter.{n}": setting.parameters.get(n, float("nan")) for n in swept}
            row["runs"] = len(setting.rows)
            for figure in _FIGURES:
                interval = setting.interval(figure)
                stem, _, unit = figure.rpartition("_")
                low, high = (
                    (f"{stem}_low_{unit}", f"{stem}_high_{unit}")
                    if unit in ("ns", "bytes")
                    else (f"{figure}_low", f"{figure}_high")
                )
                row |= {figure: interval.mean, low: interval.low, high: interval.high}
            rows.append(row)
        return ColumnTable(_columns(rows))

    def plot(self, figure: str = "tradeoff", **options: Any) -> "Panels":
        """Draw a figure and return the list of its axes, to be changed further.

        In a notebook the list shows the picture; its `figure` is Matplotlib's, which can be saved.

        figure: "tradeoff", "cost_by_part", "memory_over_time", "threads", or "over" with the
        option `parameter="NAME"`, one that was swept.
        """
        from allocsim.figures.draw import Panels, draw

        if self._results is None:
            raise InputError("no run ended well: there is nothing to draw")
        return Panels(draw(self._results, figure, **options))

    @property
    def _rows(self) -> list[dict[str, Any]]:
        return self._results.rows if self._results is not None else []

    def __repr__(self) -> str:
        return f"{self._title()}\n{self.table()!r}"

    def _repr_html_(self) -> str:
        return f"<p>{self._title()}</p>{self.table()._repr_html_()}"

    def _title(self) -> str:
        failed = f", {len(self.failed)} failed" if self.failed else ""
        return f"{len(self._rows)} runs{failed}"


def results(folder: str | Path) -> Sweep:
    """The results of an earlier `allocsim run`, `sweep` or `Experiment.run` in a folder.

    InputError when there are none, or they are damaged.
    """
    found = read_results(folder)
    return Sweep(Path(folder), found, _failures(found.manifest))


def _run(
    experiment: LoadedExperiment,
    root: Path,
    jobs: int | None,
    force: bool,
    max_runs: int,
    progress: bool | None,
) -> Sweep:
    if is_worker():
        raise InputError(
            "a worker process imported a policy's module, which starts a sweep; do that in a "
            'function, or below `if __name__ == "__main__"`'
        )
    n_jobs = None if jobs is None else whole_number("jobs", jobs, 1)
    if (n_runs := count_runs(experiment)) > max_runs:
        raise InputError(
            f"{n_runs:,} runs, more than {max_runs:,}; choose fewer values for the grid, or allow "
            f"that many: max_runs={n_runs}"
        )
    report = Report(experiment, root)
    runs = expand(experiment, max_runs)
    run_experiment(report, runs, _reporter(progress), jobs=n_jobs, force=force)
    if report.outcome.interrupted:
        raise KeyboardInterrupt(f"allocsim.results({str(root)!r}) has what is finished")
    if not report.rows:
        failed = [{"run": run.title, "message": report.outcome.failed[run.key].message}
                  for run in runs if run.key in report.outcome.failed]  # fmt: skip
        return Sweep(root, None, failed)
    return results(root)


def _reporter(progress: bool | None) -> Reporter:
    console = Console(stderr=True)
    if progress is None:
        progress = console.is_terminal or console.is_jupyter
    if not progress:
        return SilentReporter()
    return NotebookReporter() if console.is_jupyter else LiveReporter(console)


def _failures(manifest: dict[str, Any]) -> list[dict[str, Any]]:
    return [{"run": f["run"], "message": f["message"]} for f in manifest.get("failed", ())]


def _flat(row: dict[str, Any]) -> dict[str, Any]:
    """A row under the names of `Sweep.table`, with each parameter as a value of its own."""
    names = {"label": "policy", "policy": "policy_source"}
    plain_row = {names.get(name, name): row[name] for name in row if name != "parameters"}
    return plain_row | {f"parameter.{name}": value for name, value in row["parameters"].items()}


def _columns(rows: list[dict[str, Any]]) -> dict[str, list[Any]]:
    """The rows as columns; nan where a row has no such value."""
    names = dict.fromkeys(name for row in rows for name in row)
    return {name: [row.get(name, float("nan")) for row in rows] for name in names}
