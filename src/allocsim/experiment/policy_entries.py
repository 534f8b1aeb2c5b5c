"""Turns the policy tables of an experiment into policies, and says what is wrong with them."""

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from allocsim.component import Param
from allocsim.errors import InputError
from allocsim.experiment.spec import ChosenPolicy, PolicyEntry
from allocsim.input_files import is_file
from allocsim.policy import Policy, is_shipped, load_policy, refusal_of_file
from allocsim.runspec import short_policy_name
from allocsim.strict_toml import KeyPath, Problem, parse_size, unknown

Entries = dict[int, PolicyEntry]
"""The entries of a file by their place in its list."""

Grid = dict[str, list[Any]]


def resolve_policies(
    entries: Entries, grid: Grid, base: Path, *, run_code: bool, no_code: bool
) -> tuple[list[ChosenPolicy], list[Problem]]:
    """The policies of all entries, and what is wrong with them and with the experiment's grid.

    A policy in a file is imported, and so runs as code, only if `run_code`, and nothing is wrong
    that can be found without. no_code: such a policy is a problem.
    """
    uses = {index: _place(entry.use, base) for index, entry in entries.items()}
    problems = [p for i, entry in entries.items() for p in _problems_in(i, entry)]
    own = {i: entry for i, entry in entries.items() if is_shipped(uses[i])}
    files = {i: entry for i, entry in entries.items() if i not in own}
    refusals = {i: refusal_of_file(uses[i], no_code) for i in files}
    problems += [Problem(("policies", i, "use"), text) for i, text in refusals.items() if text]
    classes: dict[int, type[Policy]] = {}
    for part in (own, files):
        if part is own or (run_code and not problems):
            problems += _import(part, uses, grid, classes)
    if len(classes) == len(entries):
        problems += _unknown_axes(grid, classes.values())
    if problems:
        return [], problems
    return [_chosen(entries[i], uses[i], classes[i], grid) for i in entries if i in classes], []


def _chosen(entry: PolicyEntry, use: str, policy: type[Policy], grid: Grid) -> ChosenPolicy:
    """The policy of an entry, swept over its own grid or what it has of `grid`."""
    fixed = {name: parse_size(value) for name, value in entry.parameters.items()}
    shared = {k: v for k, v in grid.items() if k in policy.parameters() and k not in fixed}
    swept = shared if entry.grid is None else entry.grid
    return ChosenPolicy(policy_label(entry), use, policy, fixed, swept)


def _import(
    entries: Entries, uses: dict[int, str], grid: Grid, classes: dict[int, type[Policy]]
) -> list[Problem]:
    """Adds the classes of the entries to `classes`; what is wrong with parameters and grids."""
    problems: list[Problem] = []
    for index, entry in entries.items():
        try:
            policy = classes[index] = load_policy(uses[index])
        except InputError as error:
            problems.append(Problem(("policies", index, "use"), str(error)))
            continue
        problems += _misfits(("policies", index, "parameters"), policy, _single(entry.parameters))
        problems += _misfits(("policies", index, "grid"), policy, entry.grid or {})
        shared = {name: grid[name] for name in grid.keys() & policy.parameters().keys()}
        problems += _misfits(("grid",), policy, shared)
    return problems


def policy_label(entry: PolicyEntry) -> str:
    """What tables call the policy: its label, by default its name or its file's."""
    return entry.label or short_policy_name(entry.use)


def _place(use: str, base: Path) -> str:
    """A policy file's path from the experiment's folder, where it lies there."""
    path, colon, cls = use.partition(":")
    found = base / path
    return f"{found.resolve()}{colon}{cls}" if path.endswith(".py") and is_file(found) else use


def _problems_in(index: int, entry: PolicyEntry) -> Iterator[Problem]:
    """What is wrong with an entry whatever its policy is."""
    here: KeyPath = ("policies", index)
    for name, value in entry.parameters.items():
        try:
            parse_size(value)
        except ValueError as error:
            yield Problem((*here, "parameters", name), str(error))
    for name in (entry.grid or {}).keys() & entry.parameters.keys():
        yield Problem((*here, "grid", name), "is fixed in parameters already; keep one of the two")


def _unknown_axes(grid: Grid, policies: Iterable[type[Policy]]) -> Iterator[Problem]:
    """Each axis of the experiment's grid must be a parameter of some policy."""
    known: dict[str, Param] = {}
    for policy in policies:
        known |= policy.parameters()
    for name in grid.keys() - known.keys():
        yield Problem(("grid", name), unknown("parameter of the policies", name, known))


def _single(parameters: dict[str, Any]) -> Grid:
    """Parameters as axes of one value."""
    return {name: [value] for name, value in parameters.items()}


def _misfits(here: KeyPath, policy: type[Policy], axes: Grid) -> Iterator[Problem]:
    """A problem for each unknown parameter, and for each impossible value."""
    known = policy.parameters()
    for name, values in axes.items():
        if name not in known:
            yield Problem((*here, name), unknown("parameter", name, known))
            continue
        for value in values:
            try:
                known[name].checked(name, parse_size(value))
            except InputError as error:
                yield Problem((*here, name), str(error))
            except ValueError:
                continue  # no size, which is a problem of its own
