"""One workload through one or a few policies, side by side: `allocsim simulate`."""

import json
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from types import TracebackType
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from allocsim.errors import InputError, printable
from allocsim.experiment.settings import NO_SETTINGS, Settings, parse_bytes
from allocsim.experiment.units import show_bytes, show_ns
from allocsim.kernel import CostTable, Layout
from allocsim.kernel import kernel as system
from allocsim.kernel.backing import PAGE_BYTES
from allocsim.kernel.huge_pages import SETTINGS
from allocsim.machine import Machine
from allocsim.outputs import AtomicFile
from allocsim.policy import Policy, load_policy
from allocsim.simulation import Result, simulate
from allocsim.terminal import say
from allocsim.workload import load_workload

SYSCALL_NAMES = {
    system.SYS_BRK: "brk",
    system.SYS_MMAP: "mmap",
    system.SYS_MUNMAP: "munmap",
    system.SYS_MREMAP: "mremap",
    system.SYS_MPROTECT: "mprotect",
    system.SYS_MADVISE: "madvise",
}
OPS_SCHEMA = pa.schema([("op", pa.int64()), ("address", pa.uint64()), ("minor_faults", pa.int64())])
SYSCALLS_SCHEMA = pa.schema(
    [("op", pa.int64()), ("name", pa.string())]
    + [(f"arg{i}", pa.uint64()) for i in range(6)]
    + [("result", pa.int64())]
)


@dataclass(frozen=True)
class Request:
    """What `allocsim simulate` was asked for."""

    workload: str
    policies: tuple[str, ...]
    settings: Settings = NO_SETTINGS
    ops: Path | None = None
    syscalls: Path | None = None
    start_maps: Path | None = None
    start_brk: str | None = None
    costs: Path | None = None
    mode: str = "auto"
    writing: bool = True
    referee: bool = False
    seed: int = 0
    memory: str | None = None
    huge_pages: str = "never"


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
    request: Request,
    policy: type[Policy],
    parameters: dict[str, int | float],
    progress: Callable[[int, int], None] | None = None,
) -> Result:
    """Simulate the workload with one of the policies, writing out what was asked for."""
    with (
        _Table(request.ops, OPS_SCHEMA) as ops,
        _Table(request.syscalls, SYSCALLS_SCHEMA) as syscalls,
    ):
        return simulate(
            load_workload(request.workload, request.seed),
            policy,
            parameters=parameters,
            machine=_machine(request),
            mode=request.mode,
            writing=request.writing,
            referee=request.referee,
            progress=progress,
            on_ops=_ops_into(ops) if request.ops else None,
            on_syscalls=_syscalls_into(syscalls) if request.syscalls else None,
        )


def command(request: Request, as_json: bool) -> None:
    """Simulate and print: a table with a column for each policy, or all numbers as JSON."""
    from rich.console import Console
    from rich.progress import Progress

    if len(request.policies) > 1 and (request.ops or request.syscalls or as_json):
        raise InputError("--ops, --syscalls and --json are for one policy at a time")
    policies = [load_policy(name) for name in request.policies]
    chosen = [request.settings.parameters(policy, policies) for policy in policies]
    results = []
    console = Console(stderr=True)
    with Progress(console=console, transient=True, disable=not console.is_terminal) as bar:
        for policy, parameters in zip(policies, chosen, strict=True):
            task = bar.add_task(policy.__name__, total=None)
            result = run_request(request, policy, parameters, partial(_advance, bar, task))
            if as_json:
                print(json.dumps(_json_ready(summary(result)), indent=2, allow_nan=False))
            result.close()
            results.append(result)
    if not as_json:
        say("\n".join(_table_of(request, results)))


def _advance(bar: Any, task: Any, done: int, total: int) -> None:
    bar.update(task, completed=done, total=total)


Row = tuple[str, str, Callable[[float], str]]  # label, name among the totals, how it is shown

TIME_ROWS: tuple[Row, ...] = (
    ("CPU time of allocator and kernel", "cpu_ns", show_ns),
    ("  the allocator's own work", "allocator_ns", show_ns),
    ("  system calls", "syscall_ns", show_ns),
    ("  page faults", "fault_ns", show_ns),
    ("  zeroing", "zeroing_ns", show_ns),
    ("  copying", "copying_ns", show_ns),
    ("the program's own writes", "program_ns", show_ns),
)
THREAD_ROWS: tuple[Row, ...] = (
    ("simulated time", "time_ns", show_ns),
    ("  of all threads: in user mode", "threads_work_ns", show_ns),
    ("  in the kernel", "threads_kernel_ns", show_ns),
    ("  waiting for mmap_lock", "threads_wait_mmap_lock_ns", show_ns),
    ("  waiting for the allocator's locks", "threads_wait_locks_ns", show_ns),
    ("  waiting for a CPU", "threads_wait_cpu_ns", show_ns),
    ("  waiting for each other's objects", "threads_wait_objects_ns", show_ns),
)
COUNT_ROWS: tuple[Row, ...] = (
    ("system calls", "syscalls", "{:,}".format),
    ("minor page faults", "minor_faults", "{:,}".format),
    ("major page faults", "major_faults", "{:,}".format),
    ("peak live", "live_peak_bytes", show_bytes),
    ("peak resident", "resident_peak_bytes", show_bytes),
    ("mean resident", "resident_mean_bytes", show_bytes),
    ("resident at the end", "resident_end_bytes", show_bytes),
    ("external fragmentation", "external_fragmentation", "{:.3f}".format),
    ("internal fragmentation", "internal_fragmentation", "{:.3f}".format),
    ("requests that failed", "failed_requests", "{:,}".format),
)


def _rows(result: Result) -> tuple[Row, ...]:
    """What a table tells: of threads only where there are several."""
    several = len(result.threads["thread"]) > 1
    return (*TIME_ROWS, *(THREAD_ROWS if several else ()), *COUNT_ROWS)


def _table_of(request: Request, results: list[Result]) -> list[str]:
    """Lines: a head, a row for each figure, and where the unit costs come from."""
    columns = [[result.provenance["policy"] for result in results]]
    rows = _rows(results[0])
    columns += [[show(result.totals[key]) for result in results] for _, key, show in rows]
    labels = [f"{request.workload}, {results[0].totals['ops']:,} ops", *(row[0] for row in rows)]
    costs = CostTable.load(request.costs)
    if costs.has_intervals:
        labels.insert(2, "  with 95 % of certainty")
        columns.insert(2, [_interval_cell(result) for result in results])
    width = max(map(len, labels))
    cells = max(len(cell) for row in columns for cell in row) + 2
    lines = [
        label.ljust(width) + "".join(cell.rjust(cells) for cell in row)
        for label, row in zip(labels, columns, strict=True)
    ]
    return [*lines, costs.origin()]


def _interval_cell(result: Result) -> str:
    """The interval of the CPU time that the unit costs' intervals give."""
    low, high = result.provenance["cpu_interval_ns"]["cpu_ns"]
    return f"{show_ns(low)} - {show_ns(high)}"


def _json_ready(value: Any) -> Any:
    """The value with undefined numbers (nan) as null, which JSON knows."""
    if isinstance(value, dict):
        return {key: _json_ready(inner) for key, inner in value.items()}
    return None if isinstance(value, float) and value != value else value


def mode_of(interpreted: bool, compiled: bool) -> str:
    """The engine's mode for the two switches."""
    if interpreted and compiled:
        raise InputError("--interpreted and --compiled exclude each other")
    return "interpreted" if interpreted else "compiled" if compiled else "auto"


def _layout(request: Request) -> Layout | None:
    if request.start_maps is None:
        if request.start_brk is not None:
            raise InputError("--start-brk goes with --start-maps")
        return None
    try:
        start_brk = int(request.start_brk, 0) if request.start_brk else None
    except ValueError:
        raise InputError(
            f"--start-brk {printable(request.start_brk)}: not an address such as 0x555555559000"
        ) from None
    return Layout.from_maps_file(request.start_maps, start_brk)


def _machine(request: Request) -> Machine:
    if request.huge_pages not in SETTINGS:
        raise InputError(f"--huge-pages {request.huge_pages}: one of {', '.join(SETTINGS)}")
    memory = request.memory
    return Machine(
        costs=request.costs,
        layout=_layout(request),
        huge_pages=request.huge_pages,
        memory_bytes=None if memory is None else _memory_bytes(memory),
    )


def _memory_bytes(text: str) -> int:
    return parse_bytes(f"--memory {text}", text, low=2 * PAGE_BYTES)


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
