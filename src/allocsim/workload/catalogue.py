"""Finds workloads by name or path and opens them."""

import hashlib
import json
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np

from allocsim import resources
from allocsim.errors import InputError, printable
from allocsim.input_files import is_file
from allocsim.strict_toml import Problem, TomlFile, check_model, read_toml, unknown
from allocsim.trace import Trace, TraceFile, TraceSource, open_trace
from allocsim.workload.recorded import TraceHead
from allocsim.workload.spec import Recorded, Synthetic, workload_model
from allocsim.workload.synthetic import SyntheticSource

_SHIPPED = (("", ".toml"), ("", ".parquet"), ("traces/", ".parquet"))
"""Where a bare name may lie in the shipped folder of workloads."""


def workload_names() -> list[str]:
    """The names of all workloads that ship with allocsim."""
    synthetic = resources.names("workloads", ".toml")
    recorded = [name.removeprefix("traces/") for name in resources.names("workloads", ".parquet")]
    return sorted({*synthetic, *recorded})


def find_workload(name: str, base: Path = Path()) -> Path:
    """The file of a workload: a path from `base`, or the name of a shipped one.

    InputError, with the nearest name, where there is neither.
    """
    if (path := base / name).suffix in (".toml", ".parquet") and is_file(path):
        return path
    for prefix, suffix in _SHIPPED:
        if found := resources.find("workloads", prefix + name, suffix):
            return found
    if is_file(path):
        raise InputError(
            f"{path}: a workload is a trace (.parquet) or a description (.toml); "
            "`allocsim trace import` makes a trace of a CSV file"
        )
    if "/" in name or Path(name).suffix in (".toml", ".parquet"):
        raise InputError(f"no workload file {printable(base / name)}")
    raise InputError(unknown("workload", name, workload_names()))


def read_workload(path: Path) -> tuple[TomlFile, list[Problem]]:
    """A workload's file, its trace's path made absolute, and what is wrong with that path.

    A trace file stands for the table that only names it.
    """
    if path.suffix == ".parquet":
        return TomlFile(path, {"trace": str(open_trace(path).path.resolve())}, ""), []
    file = read_toml(path)
    return file, resolve_trace(file.data, path.parent)


def resolve_trace(data: dict[str, Any], base: Path) -> list[Problem]:
    """Makes the path of a table's trace absolute; a problem if it names one that is not sound."""
    if not isinstance(data.get("trace"), str):
        return []
    try:
        data["trace"] = str(open_trace(find_workload(data["trace"], base)).path.resolve())
    except InputError as error:
        return [Problem(("trace",), str(error))]
    return []


def load_workload(name: str, seed: int = 0, base: Path = Path()) -> TraceSource:
    """The ops of a workload given by name or path; InputError tells all that is wrong with it."""
    file, problems = read_workload(find_workload(name, base))
    spec, more = check_model(workload_model(file.data), file.data)
    file.refuse(problems + more)
    assert spec is not None
    return open_workload(spec, seed)


def from_spec(data: dict[str, Any], seed: int) -> TraceSource:
    """The ops of a workload given as a table, as in a workload file."""
    return open_workload(workload_model(data).model_validate(data), seed)


def open_workload(spec: Synthetic | Recorded, seed: int) -> TraceSource:
    """The ops that a specification describes; a recorded trace has no use for the seed."""
    if isinstance(spec, Synthetic):
        return SyntheticSource(spec, seed)
    file = open_trace(spec.trace)
    return file if spec.ops is None else TraceHead(file, spec.ops)


def source_identity(source: TraceSource) -> str:
    """A hash that two sources of ops share only if their ops are the same.

    Recorded: of the trace's content. Synthetic: of the specification, the seed, the generator's
    source, and NumPy's version, whose random streams may change. InputError for other sources.
    """
    match source:
        case SyntheticSource():
            given = source.spec.model_dump(mode="json", exclude={"description"})
            parts: list[Any] = [given, source.seed, _generator_hash(), np.__version__]
        case TraceHead():
            parts = [source.file.content_hash(), source.n_ops]
        case TraceFile() | Trace():
            parts = [source.content_hash(), source.n_ops]
        case _:
            raise InputError(
                f"ops of a {type(source).__name__} have no identity; write them to a trace first"
            )
    return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()


@cache
def _generator_hash() -> str:
    sources = sorted(Path(__file__).parent.glob("*.py"))
    return hashlib.sha256(b"".join(source.read_bytes() for source in sources)).hexdigest()
