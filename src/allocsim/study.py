"""Sweeps from Python: `sweep`, `Experiment` and `results`, on the same path as `allocsim run`."""

import tempfile
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.console import Console

from allocsim.column_table import ColumnTable
from allocsim.errors import InputError, printable
from allocsim.experiment.axis import expand_axis
from allocsim.experiment.load import experiment_in, load_experiment
from allocsim.experiment.progress import Reporter, SilentReporter, live_reporter
from allocsim.experiment.results import Results, read_results
from allocsim.experiment.run import Report, run_experiment
from allocsim.experiment.spec import Experiment as LoadedExperiment
from allocsim.experiment.summary import settings_of
from allocsim.experiment.sweep import MAX_RUNS, expand
from allocsim.limited_process import is_worker
from allocsim.machine import Machine, MachineOptions
from allocsim.policy import Policy, name_of_class
from allocsim.runspec import short_policy_name
from allocsim.strict_toml import Problem, TomlFile, show_path
from allocsim.trace import Trace, write_trace
from allocsim.workload import Recorded, Synthetic

if TYPE_CHECKING:
    from matplotlib.axes import Axes

WorkloadLike = str | Path | Trace | Synthetic | Recorded | Mapping[str, Any]
"""A shipped name, a path, ops, a specification, or a table as in an experiment file."""

PolicyLike = str | type[Policy] | tuple[str | type[Policy], Mapping[str, Any]] | Mapping[str, Any]
"""A name, a path, a class; one of these with its parameters; or a table as in a file."""

_FIGURES = (
    "cpu_ns", "resident_peak_bytes", "resident_mean_bytes", "syscalls", "minor_faults",
)  # fmt: skip


def log_range(low: int | str, high: int | str, factor: float = 2) -> list[int | float]:
    """Values from `low` to at most `high`, each `factor` times the one before.

    Sizes may be texts: `log_range("4 KiB", "32 MiB")`. InputError for an impossible range.
    """
    try:
        return expand_axis({"from": low, "to": high, "factor": factor})
    except ValueError as error:
        raise InputError(f"log_range: {error}") from None


def sweep(
    workloads: Sequence[WorkloadLike],
    policies: Sequence[PolicyLike],
    grid: Mapping[str, Sequence[int | float | str]] | None = None,
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

    grid: values of parameters, for the policies that have them. repeats: runs of each synthetic
    workload, with seeds `seed`, `seed` + 1 …. samples, walks, writing, referee: see `RunSpec`.
    folder: where results are kept, so that the same call later computes only what is missing; a
    temporary folder if None. jobs: runs made at once, one per CPU if None. force: compute again
    what is there. progress: show a bar; None: on terminals and in notebooks.

    Policies in files and importable modules run in worker processes within limits of time and
    memory. Classes of `__main__` and of notebooks run in this process, without limits.
    InputError names everything that is wrong, before anything runs.
    """
    temporary = tempfile.TemporaryDirectory(prefix="allocsim-") if folder is None else None
    root = Path(temporary.name if temporary else folder)  # type: ignore[arg-type]
    machine = machine or Machine()
    data = {
        "name": "sweep",
        "workloads": [_workload_table(workload, root) for workload in workloads],
        "policies": [_policy_table(policy) for policy in policies],
        "grid": {name: list(values) for name, values in (grid or {}).items()},
        "repeats": repeats,
        "seed": seed,
        "samples": samples,
        "walks": walks,
        "writing": writing,
        "referee": referee,
        "kernel": _kernel_table(machine),
    }
    if machine.costs is not None:
        data["costs"] = str(Path(machine.costs.name).resolve())
    experiment = experiment_in(_Call(Path(), data, ""))
    made = _run(experiment, root, jobs, force, max_runs, progress)
    made._temporary = temporary
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
        return len(expand(self._loaded))

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
        self._temporary: tempfile.TemporaryDirectory[str] | None = None

    @property
    def runs(self) -> ColumnTable:
        """A row for each finished run: names, seed, parameters, and all totals."""
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

    def plot(self, figure: str = "tradeoff", **options: Any) -> "list[Axes]":
        """Draw a figure and return its axes, to be changed further; `axes[0].figure` is the figure.

        figure: "tradeoff", "cost_by_part", "memory_over_time", "threads", or "over" with the
        option `parameter="NAME"`, one that was swept.
        """
        from allocsim.figures.draw import draw

        if self._results is None:
            raise InputError("no run ended well: there is nothing to draw")
        return list(draw(self._results, figure, **options).axes)

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
    report = Report(experiment, root)
    runs = expand(experiment, max_runs)
    run_experiment(report, runs, _reporter(progress), jobs=jobs, force=force)
    if report.outcome.interrupted:
        raise KeyboardInterrupt(f"finished runs are kept in {root}")
    if not report.rows:
        failed = [{"run": run.title, "message": report.outcome.failed[run.key].message}
                  for run in runs if run.key in report.outcome.failed]  # fmt: skip
        return Sweep(root, None, failed)
    return results(root)


def _reporter(progress: bool | None) -> Reporter:
    console = Console(stderr=True)
    shows = console.is_terminal or console.is_jupyter
    return live_reporter(console) if (shows if progress is None else progress) else SilentReporter()


def _failures(manifest: dict[str, Any]) -> list[dict[str, Any]]:
    return [{"run": f["run"], "message": f["message"]} for f in manifest.get("failed", ())]


class _Call(TomlFile):
    """The arguments of a call, checked as a file's tables are; mistakes have no lines."""

    def messages(self, problems: Iterable[Problem]) -> list[str]:
        return sorted({f"{show_path(p.path)}: {printable(p.text)}" for p in problems})


def _workload_table(workload: WorkloadLike, root: Path) -> dict[str, Any]:
    """A workload as a table of an experiment file; ops are written to a trace file first."""
    match workload:
        case Trace():
            name = f"trace-{workload.content_hash().rpartition(':')[2][:8]}"
            path = root / "traces" / f"{name}.parquet"
            if not path.exists():
                path.parent.mkdir(parents=True, exist_ok=True)
                write_trace(path, workload)
            return {"trace": str(path.resolve()), "name": workload.provenance.program or name}
        case Synthetic() | Recorded():
            return workload.model_dump(mode="json", exclude_none=True)
        case str() | Path():
            return {"use": str(workload)}
    return dict(workload)


def _policy_table(policy: PolicyLike) -> dict[str, Any]:
    """A policy as a table of an experiment file."""
    if isinstance(policy, Mapping):
        return dict(policy)
    if isinstance(policy, tuple):
        chosen, parameters = policy
        table = _policy_table(chosen)
        words = " ".join(f"{name}={value}" for name, value in parameters.items())
        return {**table, "label": f"{table['label']} {words}", "parameters": dict(parameters)}
    if isinstance(policy, str):
        return {"use": policy, "label": short_policy_name(policy)}
    return {"use": name_of_class(policy), "label": policy.__name__}


def _kernel_table(machine: Machine) -> dict[str, Any]:
    """A machine as the table `kernel` of an experiment file."""
    if machine.layout is not None or machine.poison:
        raise InputError("machine: a sweep's machine has a standard layout, and no poison")
    return machine.model_dump(include=set(MachineOptions.model_fields), exclude_none=True)


def _flat(row: dict[str, Any]) -> dict[str, Any]:
    """A row with each parameter as a value of its own."""
    parameters = {f"parameter.{name}": value for name, value in row["parameters"].items()}
    return {name: value for name, value in row.items() if name != "parameters"} | parameters


def _columns(rows: list[dict[str, Any]]) -> dict[str, list[Any]]:
    """The rows as columns; nan where a row has no such value."""
    names = dict.fromkeys(name for row in rows for name in row)
    return {name: [row.get(name, float("nan")) for row in rows] for name in names}
