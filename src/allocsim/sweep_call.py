"""The arguments of `sweep` as the tables of an experiment file, which are then checked as such."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from allocsim.arguments import plain, shown
from allocsim.errors import InputError, printable
from allocsim.experiment.load import experiment_in
from allocsim.experiment.spec import Experiment
from allocsim.kernel import CostTable
from allocsim.machine import Machine, MachineOptions
from allocsim.outputs import check_folder
from allocsim.policy import Policy, name_of_class, shown_name
from allocsim.runspec import short_policy_name
from allocsim.strict_toml import Problem, TomlFile, show_path
from allocsim.trace import Trace, TraceFile, write_trace
from allocsim.workload import Recorded, Synthetic, TraceHead

WorkloadLike = str | Path | Trace | TraceFile | Synthetic | Recorded | Mapping[str, Any]
"""A shipped name, a path, ops, a specification, or a table as in an experiment file."""

PolicyClass = str | Path | type[Policy]
PolicyLike = PolicyClass | tuple[PolicyClass, Mapping[str, Any]] | Mapping[str, Any]
"""A name, a path, a class; one of these with its parameters; or a table as in a file."""


def experiment_of_call(
    workloads: Sequence[WorkloadLike],
    policies: Sequence[PolicyLike],
    machine: Machine | None,
    root: Path,
    **others: Any,
) -> Experiment:
    """The experiment that a call describes; InputError names everything that is wrong.

    root: the folder of results, into which traces in memory are written. others: further keys of
    an experiment file.
    """
    data = {
        "name": "sweep",
        "workloads": [_workload_table(each, root) for each in _listed("workloads", workloads)],
        "policies": [_policy_table(each) for each in _listed("policies", policies)],
        **_machine_tables(Machine() if machine is None else machine),
        **others,
    }
    return experiment_in(_Call(Path(), plain(data), ""))


class _Call(TomlFile):
    """The arguments of a call, checked as a file's tables are; mistakes have no lines."""

    def messages(self, problems: Iterable[Problem]) -> list[str]:
        return sorted({f"{show_path(p.path)}: {printable(p.text)}" for p in problems})


def _listed(name: str, values: Any) -> list[Any]:
    """The values of an argument that is a list; one value by itself is refused."""
    if isinstance(values, Sequence | Iterator) and not isinstance(values, str | Trace):
        return list(values)
    raise InputError(f"{name}: must be a list, such as [{shown(values)}]")


def _workload_table(workload: WorkloadLike, root: Path) -> dict[str, Any]:
    """A workload as a table of an experiment file."""
    match workload:
        case str() | Path():
            return {"use": workload}
        case Synthetic() | Recorded():
            return workload.model_dump(mode="json", exclude_none=True)
        case Trace():
            return {"name": _name_of(workload), "trace": _stored(workload, root)}
        case TraceFile():
            return {"trace": workload.path.resolve()}
        case TraceHead():
            return {"trace": workload.file.path.resolve(), "ops": workload.n_ops}
        case Mapping():
            table = dict(workload)
            if isinstance(trace := table.get("trace"), Trace | TraceFile):
                table = {**_workload_table(trace, root), **table}
                table["trace"] = _workload_table(trace, root)["trace"]
            return table
    raise InputError(
        f"workloads: each is a name, a path, a table or a trace, not {shown(workload)}"
    )


def _name_of(trace: Trace) -> str:
    return trace.provenance.program or f"trace-{_digest_of(trace)}"


def _digest_of(trace: Trace) -> str:
    return trace.content_hash().rpartition(":")[2][:8]


def _stored(trace: Trace, root: Path) -> Path:
    """The file of a trace in memory, in the folder of results."""
    path = (root / "traces" / f"trace-{_digest_of(trace)}.parquet").resolve()
    if not path.exists():
        check_folder(path.parent)
        path.parent.mkdir(parents=True, exist_ok=True)
        write_trace(path, trace)
    return path


def _policy_table(policy: PolicyLike) -> dict[str, Any]:
    """A policy as a table of an experiment file."""
    match policy:
        case str() | Path():
            return {"use": str(policy), "label": short_policy_name(str(policy))}
        case type():
            return {"use": name_of_class(policy), "label": shown_name(policy)}
        case (chosen, Mapping() as parameters):
            table = _policy_table(chosen)
            words = [f"{name}={value}" for name, value in parameters.items()]
            return {
                **table,
                "label": " ".join([table["label"], *words]),
                "parameters": dict(parameters),
            }
        case Mapping():
            return dict(policy)
    raise InputError(
        "policies: each is a name, a path, a class, a table, or one of these with parameters, as "
        f'("glibc", {{"tcache_count": 0}}), not {shown(policy)}'
    )


def _machine_tables(machine: Machine) -> dict[str, Any]:
    """A machine as keys of an experiment file."""
    if not isinstance(machine, Machine):
        raise InputError(f"machine: a Machine, such as Machine(cpus=2), not {shown(machine)}")
    if machine.layout is not None or machine.poison:
        raise InputError("machine: a sweep's machine has a standard layout, and no poison")
    kernel = machine.model_dump(include=set(MachineOptions.model_fields), exclude_none=True)
    costs = machine.costs
    if costs is None or costs.content_hash() == CostTable.load().content_hash():
        return {"kernel": kernel}
    return {"kernel": kernel, "costs": _file_of(costs)}


def _file_of(costs: CostTable) -> Path:
    """The file that a cost table was read from, from which the runs of a sweep read it again."""
    path = Path(costs.name).resolve()
    if not path.is_file() or CostTable.load(path).content_hash() != costs.content_hash():
        raise InputError(
            f"machine: a sweep reads unit costs from a file, which {printable(costs.name)!r} is "
            "not, or not any more"
        )
    return path
