"""`allocsim simulate`: one workload through one or a few policies, side by side."""

import sys
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from types import TracebackType
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from rich.console import Console
from rich.progress import Progress

from allocsim.compile_ahead import Code
from allocsim.compile_later import note_use
from allocsim.engine import meets
from allocsim.errors import InputError, printable
from allocsim.experiment.setting_warnings import warnings_of_command
from allocsim.experiment.settings import NO_SETTINGS, Settings, parse_settings
from allocsim.json_output import JsonOutput
from allocsim.kernel import Layout
from allocsim.kernel.syscall_names import SYSCALL_NAMES
from allocsim.machine import Machine
from allocsim.outputs import AtomicFile
from allocsim.policy import load_policy
from allocsim.result_table import ResultTable
from allocsim.runspec import RunSpec, short_policy_name
from allocsim.simulation import Observers, Result, run_spec
from allocsim.terminal import say

OPS_SCHEMA = pa.schema([("op", pa.int64()), ("address", pa.uint64()), ("minor_faults", pa.int64())])
SYSCALLS_SCHEMA = pa.schema(
    [("op", pa.int64()), ("name", pa.string())]
    + [(f"arg{i}", pa.uint64()) for i in range(6)]
    + [("result", pa.int64())]
)


@dataclass(frozen=True)
class SimulateRequest:
    """What `allocsim simulate` was asked for."""

    workload: str
    policies: tuple[str, ...] = ("glibc",)
    settings: Settings = NO_SETTINGS
    machine: Machine = field(default_factory=Machine)
    ops: Path | None = None
    syscalls: Path | None = None
    start_maps: Path | None = None
    start_brk: str | None = None
    mode: str = "auto"
    writing: bool = True
    referee: bool = False
    seed: int = 0


@dataclass(frozen=True)
class PolicyChoice:
    """A policy on a command line: `NAME`, `PATH.py`, `PATH.py:Class`, each with `:key=value,…`."""

    use: str
    pairs: tuple[str, ...]

    @classmethod
    def parse(cls, text: str) -> "PolicyChoice":
        """Take the text apart; what it names need not exist."""
        use, _, last = text.rpartition(":")
        if use and "=" in last:
            return cls(use, tuple(last.split(",")))
        return cls(text, ())

    @property
    def policy_name(self) -> str:
        """The policy without folder and suffix: what all tables call it."""
        return short_policy_name(self.use)

    @property
    def name(self) -> str:
        """The name of its column."""
        return " ".join((self.policy_name, *self.pairs))


class _Table:
    """A Parquet file written batch by batch under a temporary name, or nothing at all."""

    def __init__(self, path: Path | None, schema: pa.Schema) -> None:
        self.schema, self.rows = schema, 0
        self.file = AtomicFile(path) if path is not None else None
        if self.file is not None:
            with self.file.writing():
                self.writer = pq.ParquetWriter(self.file.temporary, schema, compression="zstd")

    def append(self, columns: list[Any]) -> None:
        assert self.file is not None
        self.rows += len(columns[0])
        with self.file.writing():
            self.writer.write_table(pa.Table.from_arrays(columns, schema=self.schema))

    def __enter__(self) -> "_Table":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, _: BaseException | None, __: TracebackType | None
    ) -> None:
        if self.file is None:
            return
        try:
            if kind is None:
                with self.file.writing():
                    self.writer.close()
                self.file.commit()
        finally:
            with suppress(OSError):  # a full disk fails once more here
                self.writer.close()
            self.file.discard()


def run_request(
    request: SimulateRequest,
    spec: RunSpec,
    progress: Callable[[int, int], None] | None = None,
) -> Result:
    """Simulate one of the runs, writing out what was asked for."""
    with (
        _Table(request.ops, OPS_SCHEMA) as ops,
        _Table(request.syscalls, SYSCALLS_SCHEMA) as syscalls,
    ):
        on_ops = _ops_into(ops) if request.ops else None
        on_syscalls = _syscalls_into(syscalls) if request.syscalls else None
        return run_spec(spec, Observers(progress, on_ops, on_syscalls))


def simulate_command(request: SimulateRequest, output: JsonOutput) -> None:
    """Simulate and print: a table with a column for each run, or all numbers as JSON."""
    if len(request.policies) > 1 and (request.ops or request.syscalls):
        raise InputError("--ops and --syscalls are for one policy at a time")
    specs = specs_of(request)
    warnings = _warnings(request, list(specs.values()))
    results, summaries = [], []
    console = Console(stderr=True)
    with Progress(console=console, transient=True, disable=not console.is_terminal) as bar:
        for name, spec in specs.items():
            result = run_request(request, spec, partial(_advance, bar, bar.add_task(name)))
            summaries.append({"name": name, **summary(result)})
            result.close()
            results.append(result)
    output.write(
        "simulate", {"workload": request.workload, "runs": summaries, "warnings": warnings}
    )
    if not output.replaces_text:
        title = f"{request.workload}, {results[0].totals['ops']:,} ops"
        say("\n".join(ResultTable(title, list(specs), results).lines()))
        say(next(iter(specs.values())).machine.cost_table.origin())
    for spec, result in zip(specs.values(), results, strict=True):
        _compile_later(spec, result)


def _compile_later(spec: RunSpec, result: Result) -> None:
    """Has a policy compiled for later runs that was interpreted often enough."""
    if spec.mode != "auto" or spec.referee or result.provenance["compiled"]:
        return
    code = Code.of(str(spec.policy), spec.machine, meets(spec.source()))
    if note_use(code, int(result.totals["ops"])):
        say(f"compiling {code} in the background, so that later runs are faster", sys.stderr)


def _warnings(request: SimulateRequest, specs: list[RunSpec]) -> list[str]:
    """What the user should know of the settings; said on standard error, too."""
    chosen = [(spec.policy_class, spec.parameters) for spec in specs]
    warnings = warnings_of_command(request.settings, chosen, specs[0].source())
    for warning in warnings:
        say(f"warning: {warning}", sys.stderr)
    return warnings


def specs_of(request: SimulateRequest) -> dict[str, RunSpec]:
    """The runs that were asked for, by the names of their columns."""
    machine = machine_of(request)
    choices = [PolicyChoice.parse(text) for text in request.policies]
    classes = [load_policy(choice.use) for choice in choices]
    specs: dict[str, RunSpec] = {}
    for choice, policy in zip(choices, classes, strict=True):
        common = request.settings.parameters(policy, classes)
        own = parse_settings(choice.pairs, policy, f"--policy {choice.use}:")
        name = choice.name if choice.name not in specs else f"{choice.name} ({len(specs) + 1})"
        specs[name] = RunSpec(
            workload=request.workload,
            policy=choice.use,
            parameters=common | own,
            machine=machine,
            mode=request.mode,
            writing=request.writing,
            referee=request.referee,
            seed=request.seed,
            policy_name=choice.policy_name,
        )
    return specs


def _advance(bar: Progress, task: Any, done: int, total: int) -> None:
    bar.update(task, completed=done, total=total)


def mode_of(interpreted: bool, compiled: bool) -> str:
    """The engine's mode for the two switches."""
    if interpreted and compiled:
        raise InputError("--interpreted and --compiled exclude each other")
    return "interpreted" if interpreted else "compiled" if compiled else "auto"


def machine_of(request: SimulateRequest) -> Machine:
    """The machine, with the address space of `start_maps` if that is given."""
    if request.start_maps is None:
        if request.start_brk is not None:
            raise InputError("--start-brk goes with --start-maps")
        return request.machine
    try:
        start_brk = int(request.start_brk, 0) if request.start_brk else None
    except ValueError:
        raise InputError(
            f"--start-brk {printable(request.start_brk)}: not an address such as 0x555555559000"
        ) from None
    layout = Layout.from_maps_file(request.start_maps, start_brk)
    return request.machine.model_copy(update={"layout": layout})


def _ops_into(table: _Table) -> Callable[[np.ndarray, np.ndarray], None]:
    def append(addresses: np.ndarray, faults: np.ndarray) -> None:
        numbers = np.arange(table.rows, table.rows + len(addresses))
        table.append([pa.array(numbers), pa.array(addresses.view(np.uint64)), pa.array(faults)])

    return append


def _syscalls_into(table: _Table) -> Callable[[np.ndarray], None]:
    def append(rows: np.ndarray) -> None:
        names = pa.array([SYSCALL_NAMES[number] for number in rows[:, 1].tolist()])
        arguments = [pa.array(rows[:, i].astype(np.uint64)) for i in range(2, 8)]
        table.append([pa.array(rows[:, 0].copy()), names, *arguments, pa.array(rows[:, 8].copy())])

    return append


def summary(result: Result) -> dict[str, Any]:
    """Totals, provenance, pages of the heap that are resident, and mallinfo2 where there is one."""
    assert result.driver is not None
    policy = result.driver.policy
    kernel = policy.kernel
    heap_bytes = ((kernel.break_ + 4095) & -4096) - kernel.start_brk
    out: dict[str, Any] = {
        "totals": result.totals,
        "provenance": result.provenance,
        "heap_resident_pages": kernel.resident_in(kernel.start_brk, heap_bytes),
    }
    if hasattr(policy, "mallinfo2"):
        out["mallinfo2"] = policy.mallinfo2()
    return out
