"""Turns the policy tables of an experiment into policies, and says what is wrong with them."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from allocsim.component import Param
from allocsim.errors import InputError
from allocsim.experiment.spec import ChosenPolicy, PolicyEntry
from allocsim.policy import Policy, load_policy
from allocsim.strict_toml import KeyPath, Problem, parse_size, unknown

_Resolved = tuple[ChosenPolicy | None, list[Problem]]


def resolve_policy(
    index: int, entry: PolicyEntry, grid: dict[str, list[Any]], base: Path
) -> _Resolved:
    """The policy of entry number `index`, swept over its own grid or what it has of `grid`."""
    here: KeyPath = ("policies", index)
    use = _place(entry.use, base)
    try:
        policy = load_policy(use)
    except InputError as error:
        return None, [Problem((*here, "use"), str(error))]
    problems = list(_problems(here, entry, policy))
    if problems:
        return None, problems
    fixed = {name: parse_size(value) for name, value in entry.parameters.items()}
    shared = {k: v for k, v in grid.items() if k in policy.parameters() and k not in fixed}
    swept = shared if entry.grid is None else entry.grid
    return ChosenPolicy(policy_label(entry), use, policy, fixed, swept), []


def policy_label(entry: PolicyEntry) -> str:
    """What tables call the policy: its label, by default its name or its file's."""
    return entry.label or Path(entry.use.partition(":")[0]).stem


def check_grid(grid: dict[str, list[Any]], policies: list[type[Policy]]) -> Iterator[Problem]:
    """What is wrong with the experiment's grid: it must fit the policies with its parameters."""
    known: dict[str, Param] = {}
    for policy in policies:
        known |= policy.parameters()
    for name in grid.keys() - known.keys():
        yield Problem(("grid", name), unknown("parameter of the policies", name, known))
    for policy in policies:
        for name in grid.keys() & policy.parameters().keys():
            yield from _misfits(("grid", name), policy, name, values=grid[name])


def _place(use: str, base: Path) -> str:
    """A policy file's path from the experiment's folder, where it lies there."""
    path, colon, cls = use.partition(":")
    found = base / path
    return f"{found.resolve()}{colon}{cls}" if path.endswith(".py") and found.is_file() else use


def _problems(here: KeyPath, entry: PolicyEntry, policy: type[Policy]) -> Iterator[Problem]:
    for name, value in entry.parameters.items():
        yield from _misfits((*here, "parameters", name), policy, name, values=[value])
    for name, values in (entry.grid or {}).items():
        path = (*here, "grid", name)
        yield from _misfits(path, policy, name, values=values)
        if name in entry.parameters:
            yield Problem(path, "is fixed in parameters already; keep one of the two")


def _misfits(
    path: KeyPath, policy: type[Policy], name: str, *, values: list[Any]
) -> Iterator[Problem]:
    """A problem for an unknown parameter, and for each impossible value."""
    parameter = policy.parameters().get(name)
    if parameter is None:
        yield Problem(path, unknown("parameter", name, policy.parameters()))
        return
    for value in values:
        try:
            parameter.checked(name, parse_size(value))
        except (InputError, ValueError) as error:
            yield Problem(path, str(error))
