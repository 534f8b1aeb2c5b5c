"""Loads an experiment file: whatever it names is looked up, whatever is wrong is told at once."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from allocsim import resources
from allocsim.errors import InputError
from allocsim.experiment.axis import expand_axis
from allocsim.experiment.policy_entries import check_grid, policy_label, resolve_policy
from allocsim.experiment.spec import Experiment, ExperimentFile, PolicyEntry, as_tables
from allocsim.experiment.workload_entries import resolve_workload, workload_name
from allocsim.kernel.costs import CostTable
from allocsim.strict_toml import Problem, check_model, read_toml, unknown


def load_experiment(name: str | Path) -> Experiment:
    """The experiment in a file, or the shipped one of that name.

    InputError with one line for everything that is wrong, before anything runs. What is named is
    looked up even where the file's structure is wrong, so that one look tells all.
    """
    file = read_toml(find_experiment(str(name)))
    base = file.path.parent
    parsed, problems = check_model(ExperimentFile, file.data)
    grid = _sound_axes(file.data.get("grid"))
    tables = as_tables(file.data.get("workloads"))
    entries = list(_sound_policies(file.data))
    workloads = [
        resolve_workload(index, table, base)
        for index, table in enumerate(tables)
        if isinstance(table, dict)
    ]
    policies = [resolve_policy(index, entry, grid, base) for index, entry in entries]
    found_workloads = [workload for workload, _ in workloads if workload]
    found_policies = [policy for policy, _ in policies if policy]
    problems += [problem for _, part in [*workloads, *policies] for problem in part]
    if len(found_policies) == len(policies):
        problems += check_grid(grid, [policy.policy for policy in found_policies])
    names = {i: workload_name(i, t) for i, t in enumerate(tables) if isinstance(t, dict)}
    problems += _taken("workloads", "name", names)
    problems += _taken("policies", "label", {i: policy_label(entry) for i, entry in entries})
    costs = _costs(file.data.get("costs"), base, problems)
    file.refuse(problems)
    assert parsed is not None
    return Experiment(
        name=parsed.name or file.path.stem,
        path=file.path,
        file=parsed,
        workloads=tuple(found_workloads),
        policies=tuple(found_policies),
        costs=costs,
    )


def find_experiment(name: str) -> Path:
    """The file of an experiment: a path, or the name of a shipped one."""
    if Path(name).is_file():
        return Path(name)
    if found := resources.find("experiments", name, ".toml"):
        return found
    if name.endswith(".toml") or "/" in name:
        raise InputError(f"{name}: there is no such file")
    raise InputError(unknown("experiment", name, resources.names("experiments", ".toml")))


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
            text = f"'{name}' is what {array}[{first[name]}] is called already; give one a {key}"
            yield Problem((array, index, key), text)


def _costs(name: Any, base: Path, problems: list[Problem]) -> Path | None:
    """The path of the cost table, which must load; None for the shipped one."""
    if not isinstance(name, str):
        return None
    try:
        CostTable.load(base / name)
    except InputError as error:
        problems.append(Problem(("costs",), str(error)))
    return base / name
