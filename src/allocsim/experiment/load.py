"""Loads an experiment file: whatever it names is looked up, whatever is wrong is told at once."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from allocsim import resources
from allocsim.errors import InputError, printable
from allocsim.experiment.axis import expand_axis
from allocsim.experiment.policy_entries import policy_label, resolve_policies
from allocsim.experiment.spec import (
    Experiment,
    ExperimentFile,
    NamedWorkload,
    PolicyEntry,
    as_tables,
)
from allocsim.experiment.workload_entries import resolve_workload, workload_name
from allocsim.input_files import is_file
from allocsim.kernel.costs import CostTable
from allocsim.simulation import check_source
from allocsim.strict_toml import Problem, TomlFile, check_model, read_toml, shortened, unknown
from allocsim.workload import open_workload


def load_experiment(name: str | Path, *, no_code: bool = False) -> Experiment:
    """The experiment in a file, or the shipped one of that name.

    InputError with one line for everything that is wrong, before anything runs. What is named is
    looked up even where the file's structure is wrong. Policies in files are code: they are
    imported last, if nothing else is wrong, and refused with `no_code`.
    """
    file = read_toml(find_experiment(str(name)))
    return experiment_in(file, no_code=no_code)


def experiment_in(file: TomlFile, *, no_code: bool = False) -> Experiment:
    """The experiment that a file's tables describe; see `load_experiment`."""
    base = file.path.parent
    parsed, problems = check_model(ExperimentFile, file.data)
    workloads, wrong = _workloads(file.data, base)
    entries = dict(_sound_policies(file.data))
    problems += wrong
    problems += _taken(
        "policies", "label", {i: policy_label(entry) for i, entry in entries.items()}
    )
    costs = _costs(file.data.get("costs"), base, problems)
    policies, wrong = resolve_policies(
        entries,
        _sound_axes(file.data.get("grid")),
        base,
        run_code=not problems,
        no_code=no_code,
    )
    file.refuse(problems + wrong)
    assert parsed is not None
    return Experiment(
        name=parsed.name or file.path.stem,
        path=file.path,
        file=parsed,
        workloads=tuple(workloads),
        policies=tuple(policies),
        costs=costs,
    )


def find_experiment(name: str) -> Path:
    """The file of an experiment: a path, or the name of a shipped one."""
    if is_file(name):
        return Path(name)
    if found := resources.find("experiments", name, ".toml"):
        return found
    if name.endswith(".toml") or "/" in name:
        raise InputError(f"{printable(name)}: there is no such file")
    raise InputError(unknown("experiment", name, resources.names("experiments", ".toml")))


def _workloads(data: dict[str, Any], base: Path) -> tuple[list[NamedWorkload], list[Problem]]:
    """The workloads that are sound, and what is wrong with the others and with the names."""
    tables = {i: t for i, t in enumerate(as_tables(data.get("workloads"))) if isinstance(t, dict)}
    found, problems = [], []
    for index, table in tables.items():
        workload, wrong = resolve_workload(index, table, base)
        found += [workload] if workload is not None else []
        problems += wrong
        problems += _impossible(index, workload) if workload is not None else []
    names = {index: workload_name(index, table) for index, table in tables.items()}
    return found, [*problems, *_taken("workloads", "name", names)]


def _impossible(index: int, workload: NamedWorkload) -> list[Problem]:
    """What every run of a workload would fail with."""
    try:
        check_source(open_workload(workload.spec, seed=0))
    except InputError as error:
        return [Problem(("workloads", index), str(error))]
    return []


def _sound_axes(grid: Any) -> dict[str, list[Any]]:
    """The axes of a grid that are axes at all; the others are reported with the structure."""
    axes = {}
    for name, values in grid.items() if isinstance(grid, dict) else ():
        try:
            axes[name] = expand_axis(values)
        except ValueError:
            continue
    return axes


def _sound_policies(data: dict[str, Any]) -> Iterator[tuple[int, PolicyEntry]]:
    """The policy entries, less what is wrong with their structure, as far as they name a policy."""
    for index, table in enumerate(as_tables(data.get("policies"))):
        if isinstance(table, dict):
            sound = {key: table[key] for key in PolicyEntry.model_fields.keys() & table.keys()}
            if isinstance(table.get("grid"), dict):
                sound["grid"] = _sound_axes(table["grid"])
            entry, _ = check_model(PolicyEntry, sound)
            if entry is not None:
                yield index, entry


def _taken(array: str, key: str, names: dict[int, str]) -> Iterator[Problem]:
    """A problem for each name that an earlier entry has already."""
    first: dict[str, int] = {}
    for index, name in names.items():
        if first.setdefault(name, index) < index:
            taken = f"'{shortened(name)}' is what {array}[{first[name]}] is called already"
            yield Problem((array, index, key), f"{taken}; give one a {key}")


def _costs(name: Any, base: Path, problems: list[Problem]) -> Path | None:
    """The path of the cost table, which must load; None for the shipped one."""
    if not isinstance(name, str):
        return None
    try:
        CostTable.load(base / name)
    except InputError as error:
        problems.append(Problem(("costs",), str(error)))
    return base / name
