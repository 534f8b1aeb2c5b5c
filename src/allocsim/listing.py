"""`allocsim list`: what there is to choose from, with defaults, ranges and units."""

import inspect
import textwrap
from collections.abc import Callable
from typing import Any

from allocsim import resources
from allocsim.claims.spec import claim_names, claim_path, load_claim
from allocsim.component import Param
from allocsim.errors import InputError
from allocsim.experiment.load import find_experiment
from allocsim.json_output import JsonOutput
from allocsim.policy import load_policy, policy_names
from allocsim.strict_toml import read_toml, unknown
from allocsim.terminal import say
from allocsim.workload import find_workload, load_workload, read_workload, workload_names

_WIDTH = 80

Entry = dict[str, Any]


def list_command(kind: str, output: JsonOutput) -> int:
    """Print everything of a kind, or of all kinds; returns the exit code.

    kind: policies, workloads, parameters, experiments, claims, or "" for all. InputError for
    another one.
    """
    if kind and kind not in KINDS:
        raise InputError(unknown("list", kind, KINDS))
    found = {name: entries() for name, entries in KINDS.items() if kind in ("", name)}
    output.write("list", found)
    if not output.replaces_text:
        for name, entries in found.items():
            say("\n".join([name, *(line for entry in entries for line in _lines(entry)), ""]))
    return 0


def policies() -> list[Entry]:
    """All policies that are known by name."""
    return [{"name": name, "about": _about(load_policy(name))} for name in policy_names()]


def parameters() -> list[Entry]:
    """The parameters of all policies; those that several share once."""
    found: dict[tuple[str, Param], Entry] = {}
    for policy in policy_names():
        for name, param in load_policy(policy).parameters().items():
            entry: Entry = {
                "name": name,
                "policies": [],
                "default": param.default,
                "unit": param.unit,
                "domain": param.domain(),
                "about": param.doc,
            }
            found.setdefault((name, param), entry)["policies"].append(policy)
    return list(found.values())


def workloads() -> list[Entry]:
    """All shipped workloads, recorded and synthetic."""
    return [_workload(name) for name in workload_names()]


def experiments() -> list[Entry]:
    """All shipped experiments."""
    names = [name for name in resources.names("experiments", ".toml") if "/" not in name]
    questions = [read_toml(find_experiment(name)).data.get("question", "") for name in names]
    return [{"name": n, "about": q} for n, q in zip(names, questions, strict=True)]


def claims() -> list[Entry]:
    """All shipped claims."""
    loaded = [(name, load_claim(claim_path(name))) for name in claim_names()]
    return [{"name": name, "about": claim.title} for name, claim in loaded]


KINDS: dict[str, Callable[[], list[Entry]]] = {
    "policies": policies,
    "parameters": parameters,
    "workloads": workloads,
    "experiments": experiments,
    "claims": claims,
}


def _workload(name: str) -> Entry:
    path = find_workload(name)
    source = load_workload(name)
    about = read_workload(path)[0].data.get("description") or source.provenance.notes
    kind = "synthetic" if path.suffix == ".toml" else "recorded"
    return {
        "name": name, "kind": kind, "ops": source.n_ops, "threads": source.n_threads, "about": about
    }  # fmt: skip


def _about(cls: type) -> str:
    """The first paragraph of a class's docstring, if it is short, or its first line."""
    paragraph = (inspect.getdoc(cls) or "").partition("\n\n")[0]
    return " ".join(paragraph.split()) if len(paragraph) < 160 else paragraph.split("\n")[0]


def _lines(entry: Entry) -> list[str]:
    """An entry: its name, and below it what there is to know, within 80 columns."""
    facts = []
    if "kind" in entry:
        threads = f", {entry['threads']} threads" if entry["threads"] > 1 else ""
        facts.append(f"{entry['kind']}, {entry['ops']:,} ops{threads}")
    if "default" in entry:
        facts.append(f"default {entry['default']}, {entry['domain']}")
        facts.append(f"of {', '.join(entry['policies'])}")
    text = "; ".join(filter(None, [*facts, entry["about"]]))
    indent = " " * 4
    return [
        f"  {entry['name']}",
        *textwrap.wrap(text, _WIDTH, initial_indent=indent, subsequent_indent=indent),
    ]
