"""One run as plain data: what is simulated, on which machine, and what its result depends on."""

import hashlib
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

from allocsim import driver_pool
from allocsim.arguments import plain, shown, whole_number
from allocsim.code_hash import policy_hash
from allocsim.driver import Driver
from allocsim.engine import entry_points
from allocsim.errors import InputError
from allocsim.machine import Machine
from allocsim.policy import Policy, load_policy, shown_name
from allocsim.strict_toml import check_model, parse_size, show_path
from allocsim.trace import TraceSource
from allocsim.workload import (
    Recorded,
    Synthetic,
    load_workload,
    open_workload,
    source_identity,
    workload_model,
)

Workload = str | Path | TraceSource | Synthetic | Recorded | Mapping[str, Any]
"""A shipped name; the path of a trace or workload file; ops; a specification, or its table."""


@dataclass(frozen=True)
class RunSpec:
    """One run.

    workload: a shipped name, the path of a trace or of a workload file, ops (a `Trace`, or what
    `open_trace` gives), or a dictionary with the keys of a workload file. policy: a name,
    "PATH.py", "PATH.py:Class", or a class. parameters: of the policy, by name. samples, walks: at
    how many points, equally spaced in ops, memory is sampled and the heap walked. writing: whether
    the program writes to its memory. seed: of a synthetic workload. referee: check every block.
    mode: "auto" (compiled where that pays), "interpreted", "compiled" or "mixed"; results are
    equal. policy_name: what tables and messages call the policy. make_driver: makes the driver of
    a policy in place of `allocsim.driver.driver_for`.
    """

    workload: Workload
    policy: str | Path | type[Policy] = "glibc"
    parameters: Mapping[str, Any] = field(default_factory=dict)
    machine: Machine = field(default_factory=Machine)
    samples: int = 256
    walks: int = 16
    writing: bool = True
    seed: int = 0
    referee: bool = False
    mode: str = "auto"
    policy_name: str = ""
    make_driver: Callable[..., Driver] | None = None

    def __post_init__(self) -> None:
        _require("policy", self.policy, str | Path | type, "a name, a path or a class")
        _require("machine", self.machine, Machine, "a Machine, such as Machine(cpus=2)")
        policy = str(self.policy) if isinstance(self.policy, Path) else self.policy
        name = short_policy_name(policy) if isinstance(policy, str) else shown_name(policy)
        values = {
            "policy": policy,
            "policy_name": self.policy_name or name,
            "parameters": {name: number_of(name, value) for name, value in self.parameters.items()},
            "samples": whole_number("samples", self.samples, 1),
            "walks": whole_number("walks", self.walks, 0),
            "seed": whole_number("seed", self.seed, 0),
        }
        for field_name, value in values.items():
            object.__setattr__(self, field_name, value)

    @cached_property
    def policy_class(self) -> type[Policy]:
        """The policy; a file is imported, and so runs as code."""
        return self.policy if isinstance(self.policy, type) else load_policy(str(self.policy))

    def source(self) -> TraceSource:
        """The ops."""
        return source_of(self.workload, self.seed)

    def driver(self, threaded: bool) -> Driver:
        """A driver at the first op. threaded: threads meet in simulated time."""
        return self.machine.driver(
            self.policy_class,
            self.parameters,
            threaded=threaded,
            make_driver=self.make_driver or self._standard_driver,
        )

    def entry_points(self, threaded: bool) -> list[tuple[type[Driver], str, tuple[Any, ...]]]:
        """What is compiled for the run: driver class, method, arguments of the method's types."""
        cls = self.machine.driver_class(self.policy_class, threaded)
        points = entry_points(threaded, self.machine.has_huge_pages)
        return [(cls, method, arguments) for method, arguments in points.items()]

    @cached_property
    def key(self) -> str:
        """SHA-256, in hexadecimal, of all that can change the result: see `identity`."""
        return hashlib.sha256(json.dumps(self.identity(), sort_keys=True).encode()).hexdigest()

    def identity(self) -> dict[str, Any]:
        """What the result depends on, as JSON: values, and hashes of what files hold."""
        return {
            "workload": source_identity(self.source()),
            "policy": policy_hash(self.policy_class),
            "parameters": dict(self.parameters),
            "machine": self.machine.identity(),
            "samples": self.samples,
            "walks": self.walks,
            "writing": self.writing,
            "referee": self.referee,
        }

    @property
    def _standard_driver(self) -> Any:
        if not self.referee:
            return driver_pool.take
        from allocsim.referee import refereed

        return refereed


def source_of(workload: Workload, seed: int) -> TraceSource:
    """The ops of a workload; InputError for what is none."""
    match workload:
        case str() | Path():
            return load_workload(str(workload), seed)
        case Synthetic() | Recorded():
            return open_workload(workload, seed)
        case Mapping():
            return open_workload(_specification(plain(workload)), seed)
    if not hasattr(workload, "batches"):
        raise InputError(f"workload: a name, a path, a table or a trace, not {shown(workload)}")
    return workload


def _specification(table: dict[str, Any]) -> Synthetic | Recorded:
    spec, problems = check_model(workload_model(table), table)
    if spec is None:
        raise InputError("\n".join(f"workload: {show_path(p.path)}: {p.text}" for p in problems))
    return spec


def _require(name: str, value: Any, kind: Any, what: str) -> None:
    if not isinstance(value, kind):
        raise InputError(f"{name}: {what}, not {shown(value)}")


def short_policy_name(use: str) -> str:
    """A policy's name in tables: without folder and suffix, or the class if one is named."""
    path, _, class_name = use.partition(":")
    return class_name or Path(path).name.removesuffix(".py")


def number_of(name: str, value: Any) -> int | float:
    """The value of a parameter: a number, or a text such as "64 KiB"; InputError names it."""
    try:
        return parse_size(plain(value))
    except ValueError as error:
        raise InputError(f"parameter {name}: {error}") from None
