"""Compares the glibc model with the real glibc, op by op: equal, or the first difference.

    verdict = verify(open_trace("trace.parquet"), {"mmap_threshold": 65536})
    print(verdict)

Compared are every address, every system call with arguments and result, every op's minor faults,
and, at the end, the heap's resident pages, the break and mallinfo2.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import cache, partial
from pathlib import Path
from typing import Unpack

import numpy as np

from allocsim.driver import Driver, driver_for
from allocsim.errors import InputError, SimulationError
from allocsim.glibc import Glibc
from allocsim.glibc.environment import parameters_from_environment
from allocsim.glibc.tunables import NOT_SET
from allocsim.ground_truth.heaps import both_heaps, chunks_at, first_ops
from allocsim.ground_truth.libc_packages import libc_for
from allocsim.ground_truth.marked_calls import drive
from allocsim.ground_truth.opstream import Marks
from allocsim.ground_truth.replay import replay
from allocsim.ground_truth.results import PAGE_BYTES, SYSCALL_NAMES, GroundTruth, Syscalls
from allocsim.ground_truth.start import Surroundings
from allocsim.kernel import Layout
from allocsim.kernel.kernel import LOG_COLUMNS
from allocsim.policy import Policy
from allocsim.trace import Op, Trace, TraceSource

NO_TUNABLES = ("cpus", "version")
"""Parameters of the policy that are no tunables of the library."""
CONTEXT_OPS, OPS_AFTER = 5, 2  # shown before and after the one that differs


@dataclass(frozen=True)
class Verdict:
    """Whether model and reality are equal; if not, where they first differ.

    what: "" if equal, else address, minor_faults, syscalls, heap_resident_pages, end_brk or
    mallinfo2. op: the first op that differs, or -1. real, model: both values in words. context: the
    ops around that one, a line each. heaps: both heaps after that op, side by side, if asked for.
    """

    ops: int
    syscalls: int
    what: str = ""
    op: int = -1
    real: str = ""
    model: str = ""
    context: tuple[str, ...] = field(default_factory=tuple)
    heaps: tuple[str, ...] = field(default_factory=tuple)

    @property
    def equal(self) -> bool:
        return not self.what

    @property
    def ops_to_show(self) -> int:
        """After how many ops the difference is there; none for system calls before the first."""
        if self.op < 0 and self.what != "syscalls":
            return self.ops
        return self.op + 1

    def __str__(self) -> str:
        if self.equal:
            return f"equal: {self.ops} ops, {self.syscalls} system calls"
        where = f" at op {self.op}" if self.op >= 0 else ""
        lines = [f"{self.what} differs{where}", f"  real:  {self.real}", f"  model: {self.model}"]
        return "\n".join([*lines, *(f"    {line}" for line in self.context), *self.heaps])


@dataclass(frozen=True, eq=False)
class Modelled:
    """What the model did, in the same terms as `GroundTruth`."""

    address: np.ndarray
    minor_faults: np.ndarray
    syscalls: list[tuple]
    driver: Driver

    @property
    def end_brk(self) -> int:
        return self.driver.policy.kernel.break_

    def heap_resident_pages(self) -> int:
        """Resident pages between the heap's start and the break."""
        kernel = self.driver.policy.kernel
        start = kernel.start_brk & -PAGE_BYTES
        end = (kernel.break_ + PAGE_BYTES - 1) & -PAGE_BYTES
        return kernel.resident_in(start, end - start)


def verify(
    source: TraceSource,
    parameters: Mapping[str, int | float] | None = None,
    *,
    policy: type[Policy] = Glibc,
    compiled: bool = True,
    heaps: bool = False,
    **surroundings: Unpack[Surroundings],
) -> Verdict:
    """Run `source` on the real glibc and on the model with the same tunables, and compare.

    `parameters` are the policy's; their `version` says which library is run: the machine's own, a
    fetched package, or that in the folder `libc`. Variables in `environment` are read by the model
    as glibc reads them, and the parameters win. With `hugetlb`, huge pages are switched off for the
    real program: glibc's calls are the same, and the model's pages are all small. `heaps`: where
    they differ, run both once more up to there and look at their heaps. Raises ReplayError or
    InputError where the real library cannot be run.
    """
    given = dict(parameters or {})
    tunables = {
        name: int(value)
        for name, value in given.items()
        if name not in NO_TUNABLES and value != NOT_SET
    }
    version = version_of(policy, given)
    environment = surroundings.get("environment") or {}
    chosen = parameters_from_environment(environment, float(version)) | given
    libc = surroundings["libc"] = surroundings.get("libc") or libc_for(version)
    if "cpus" in chosen:
        surroundings.setdefault("cpus", int(chosen["cpus"]))
    if chosen.get("hugetlb"):
        surroundings.setdefault("huge_pages", "never")
    trace = Trace.concatenate(source.batches())
    truth = replay(trace, tunables, **surroundings)
    if truth.libc != version:
        raise InputError(f"the model's version is {version}, but {libc} holds glibc {truth.libc}")
    chosen["cpus"] = truth.cpus
    run = partial(
        modelled,
        parameters=chosen,
        policy=policy,
        compiled=compiled,
        start=start_of_replays(libc, tuple(environment.items())),
        marks=surroundings.get("marks"),
    )
    verdict = compared(trace, truth, run(trace))
    if verdict.equal or not heaps:
        return verdict
    shown = first_ops(trace, verdict.ops_to_show)
    model = run(shown)
    focus = chunks_at(trace, verdict.op, truth.address, model.address)
    lines = both_heaps(shown, model.driver.policy, focus, tunables, **surroundings)
    return replace(verdict, heaps=lines)


def version_of(policy: type[Policy], parameters: Mapping[str, int | float]) -> str:
    """The version of glibc that a policy with these parameters is a model of."""
    return str(parameters.get("version", policy.parameters()["version"].default))


def modelled(
    trace: Trace,
    parameters: Mapping[str, int | float],
    *,
    policy: type[Policy] = Glibc,
    compiled: bool = False,
    start: tuple[str, int] | None = None,
    marks: Marks | None = None,
) -> Modelled:
    """Run the model in the address space that the replayer starts with, or in that of `start`.

    All costs are 0: threads run in lock-step, so no lock is ever waited for.
    """
    if start is None:
        start = start_of_replays(libc_for(version_of(policy, parameters)))
    driver = driver_for(policy, **parameters)
    kernel = driver.policy.kernel
    kernel.lay_out(Layout.from_maps(*start))
    for event in range(len(kernel.costs.unit_ps)):
        kernel.costs.unit_ps[event] = 0
    kernel.op, kernel.logging = -1, 1
    if trace.n_threads > 1:
        driver.policy.start_threads(trace.n_threads)
    address, faults = np.zeros((2, len(trace)), np.int64)
    try:
        drive(driver, trace, marks or {}, address, faults, compiled)
    except SimulationError as error:
        error.add_note(f"in op {driver.n_ops} of the trace")
        raise
    return Modelled(address, faults, _allocators_calls(kernel), driver)


@cache
def start_of_replays(
    libc: Path | None = None, environment: tuple[tuple[str, str], ...] = ()
) -> tuple[str, int]:
    """The replayer's mappings and break before it creates threads, with a C library.

    environment: name and value of its variables, of which LD_PRELOAD moves mappings.
    """
    nothing = replay(
        Trace.of(op=[Op.MARK], object=[-1], size=[0]),
        syscalls=False,
        libc=libc,
        environment=dict(environment),
    )
    return nothing.start_maps, nothing.start_brk


def compared(trace: Trace, truth: GroundTruth, model: Modelled) -> Verdict:
    """The first difference in the order of ops: addresses, then faults, then system calls."""
    real_calls = _as_tuples(truth.syscalls)
    checks = (
        ("address", truth.address, model.address),
        ("minor_faults", truth.minor_faults, model.minor_faults),
    )
    equal = Verdict(len(trace), len(real_calls))
    for what, real, simulated in checks:
        differs = real.astype(np.int64) != simulated
        if differs.any():
            op = int(np.argmax(differs))
            return replace(
                equal,
                what=what,
                op=op,
                real=_value_text(what, real[op]),
                model=_value_text(what, simulated[op]),
                context=_context(trace, truth, op),
            )
    if real_calls != model.syscalls:
        return _differing_calls(trace, truth, model.syscalls, equal)
    return _differing_end(truth, model, equal)


def _value_text(what: str, value: np.integer) -> str:
    return f"{int(value):#x}" if what == "address" else str(int(value))


def _differing_calls(trace: Trace, truth: GroundTruth, simulated: list, equal: Verdict) -> Verdict:
    pairs = zip([*_as_tuples(truth.syscalls), None], [*simulated, None], strict=False)
    real, model = next((r, s) for r, s in pairs if r != s)
    op = min(call[0] for call in (real, model) if call is not None)
    return replace(
        equal,
        what="syscalls",
        op=op,
        real=_call_text(real),
        model=_call_text(model),
        context=_context(trace, truth, op) if op >= 0 else (),
    )


def _differing_end(truth: GroundTruth, model: Modelled, equal: Verdict) -> Verdict:
    """Compare what is left at the end."""
    pairs = {
        "heap_resident_pages": (truth.heap_resident_pages, model.heap_resident_pages()),
        "end_brk": (truth.end_brk, model.end_brk),
        "mallinfo2": (truth.mallinfo2, model.driver.policy.mallinfo2()),
    }
    for what, (real, simulated) in pairs.items():
        if real != simulated:
            return replace(equal, what=what, real=str(real), model=str(simulated))
    return equal


def _allocators_calls(kernel: object) -> list[tuple]:
    """The model's system calls as (op, name, six arguments, result)."""
    log, n = kernel.log, kernel.n_logged  # type: ignore[attr-defined]
    rows = np.array(log[: n * LOG_COLUMNS], np.int64).reshape(-1, LOG_COLUMNS)
    return [(row[0], SYSCALL_NAMES[row[1]], *row[2:]) for row in rows.tolist()]


def _as_tuples(calls: Syscalls | None) -> list[tuple]:
    if calls is None:
        return []
    arguments = calls.arguments.astype(np.int64).tolist()
    rows = zip(
        calls.op.tolist(), calls.name.tolist(), arguments, calls.result.tolist(), strict=True
    )
    return [(op, name, *six, result) for op, name, six, result in rows]


def _call_text(call: tuple | None) -> str:
    if call is None:
        return "no further system call"
    op, name, *arguments, result = call
    return f"op {op}: {name}({', '.join(map(hex, arguments))}) = {result:#x}"


def _context(trace: Trace, truth: GroundTruth, op: int) -> tuple[str, ...]:
    """The ops around `op`, with what really happened."""
    around = range(max(0, op - CONTEXT_OPS), min(len(trace), op + OPS_AFTER + 1))
    return tuple(_op_text(trace, truth, i) for i in around)


def _op_text(trace: Trace, truth: GroundTruth, i: int) -> str:
    name = Op(int(trace.op[i])).label
    alignment = f" alignment {trace.alignment[i]}" if trace.alignment[i] else ""
    return (
        f"op {i}: thread {trace.thread[i]} {name} object {trace.object[i]} size {trace.size[i]}"
        f"{alignment} -> {int(truth.address[i]):#x}, {truth.minor_faults[i]} faults"
    )
