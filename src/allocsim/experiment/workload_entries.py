"""Turns the workload tables of an experiment into workloads, and says what is wrong with them."""

from pathlib import Path
from typing import Any

from allocsim.errors import InputError
from allocsim.experiment.spec import NamedWorkload, RecordedEntry, SyntheticEntry
from allocsim.strict_toml import KeyPath, Problem, TomlFile, check_model
from allocsim.workload import find_workload, read_workload, resolve_trace, workload_model
from allocsim.workload.spec import Recorded, Synthetic

_Resolved = tuple[NamedWorkload | None, list[Problem]]


def workload_name(index: int, entry: dict[str, Any]) -> str:
    """What tables call the workload of the entry number `index`: by default after its file."""
    if name := entry.get("name"):
        return str(name)
    source = entry.get("use") or entry.get("trace")
    return Path(str(source)).stem if source else f"workload {index + 1}"


def resolve_workload(index: int, entry: dict[str, Any], base: Path) -> _Resolved:
    """The workload of the entry number `index`; `base` is the folder that paths start from."""
    here: KeyPath = ("workloads", index)
    try:
        used = _used(entry, base)
    except InputError as error:
        return None, [Problem((*here, "use"), str(error))]
    own = dict(entry)
    problems = [Problem((*here, *p.path), p.text) for p in resolve_trace(own, base)]
    if used is not None:
        problems += [Problem((*here, "use"), text) for text in used[1]]
    merged = _merged(used[0].data if used else {}, own)
    recorded = workload_model(merged) is Recorded
    spec, found = check_model(RecordedEntry if recorded else SyntheticEntry, merged)
    problems += [_placed(p, here, own, used[0] if used else None) for p in found]
    if problems or spec is None:
        return None, problems
    plain = spec.model_dump(exclude={"use", "name"})
    workload = (Recorded if recorded else Synthetic).model_validate(plain)
    return NamedWorkload(workload_name(index, entry), workload), []


def _used(entry: dict[str, Any], base: Path) -> tuple[TomlFile, list[str]] | None:
    """The file of the workload that an entry alters, with what is wrong in it already."""
    if not isinstance(entry.get("use"), str):
        return None
    file, problems = read_workload(find_workload(entry["use"], base))
    return file, file.messages(problems)


def _merged(used: dict[str, Any], own: dict[str, Any]) -> dict[str, Any]:
    """The used workload with the entry's keys: tables key by key, but another distribution anew."""
    merged = {**used, **own}
    for key in used.keys() & own.keys():
        if isinstance(used[key], dict) and isinstance(own[key], dict):
            merged[key] = own[key] if "distribution" in own[key] else {**used[key], **own[key]}
    return merged


def _placed(problem: Problem, here: KeyPath, own: dict[str, Any], used: TomlFile | None) -> Problem:
    """The problem at the entry's own key, or else as a message about the used workload's file."""
    if used is None or _holds(own, problem.path) or not _holds(used.data, problem.path):
        return Problem((*here, *problem.path), problem.text)
    return Problem((*here, "use"), used.messages([problem])[0])


def _holds(data: Any, path: KeyPath) -> bool:
    for step in path:
        try:
            data = data[step]
        except (KeyError, IndexError, TypeError):
            return False
    return True
