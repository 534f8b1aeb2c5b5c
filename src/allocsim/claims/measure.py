"""What a run of a claim's workload gives, as numbers by name.

For every phase, over the phase: `PHASE.brk_calls`, `.mmap_calls`, `.munmap_calls`, `.mremap_calls`,
`.mprotect_calls`, `.madvise_calls`, `.syscalls`, `.minor_faults` (those of the program's writes and
reads too), `.time_ns` (simulated, the program's writing included). At its end: `.live_bytes`,
`.mapped_bytes`, `.resident_bytes`, and by how much they grew in it, `.live_growth_bytes` …;
`.offset(N)`, the address of object N less the start of the heap, where the phase placed it. Of the
whole run: `total.NAME` for every total of `allocsim.metrics`.
"""

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from itertools import pairwise

import numpy as np

from allocsim.claims.ops import trace_of
from allocsim.claims.spec import RunSpec, Workload
from allocsim.kernel import Event
from allocsim.kernel.costs import CostTable
from allocsim.kernel.syscall_names import SYSCALL_NAMES
from allocsim.simulation import Result, simulate
from allocsim.trace import ALLOCATIONS, Trace

_GROWING = ("live_bytes", "mapped_bytes", "resident_bytes")

Numbers = dict[str, float]


@dataclass(frozen=True)
class Phases:
    """A workload as one trace, and where in it each phase begins and ends."""

    trace: Trace
    bounds: dict[str, tuple[int, int]]

    @classmethod
    def of(cls, workload: Workload) -> "Phases":
        traces = [trace_of(lines) for lines in workload.values()]
        edges = np.cumsum([0, *map(len, traces)]).tolist()
        return cls(
            Trace.concatenate(traces), dict(zip(workload, pairwise(edges), strict=True))
        )  # fmt: skip


@dataclass
class Observed:
    """What each op of a run did, be it simulated or real.

    addresses, faults: per op. calls: op and name of each system call. curves: memory and time after
    each op, by name; empty where that was not observed.
    """

    addresses: np.ndarray
    faults: np.ndarray
    call_ops: np.ndarray
    call_names: np.ndarray
    heap_start: int
    curves: Mapping[str, np.ndarray] = field(default_factory=dict)


def measured(run: RunSpec, workload: Workload, referee: bool) -> Numbers:
    """Simulates a run, with or without the referee; its numbers by name.

    Totals that need walks over the heap are not among them.
    """
    phases = Phases.of(workload)
    result, observed = _simulated(run, phases.trace, referee)
    totals = {f"total.{k}": v for k, v in result.totals.items() if math.isfinite(v)}
    return phase_numbers(phases, observed) | totals


def phase_numbers(phases: Phases, observed: Observed) -> Numbers:
    """The numbers of every phase."""
    return {
        f"{phase}.{name}": value
        for phase, (start, end) in phases.bounds.items()
        for name, value in _numbers(phases.trace, observed, start, end)
    }


def unit_costs() -> Numbers:
    """The unit costs of the shipped table, such as `mmap_ns`."""
    unit_ns = CostTable.load().unit_ns
    return {f"{event.name.lower()}_ns": unit_ns[event] for event in Event}


def _simulated(run: RunSpec, trace: Trace, referee: bool) -> tuple[Result, Observed]:
    """One sample an op, so that memory is known wherever a phase ends."""
    addresses, faults, calls = [], [], [np.empty((0, 2), np.int64)]

    def on_ops(addresses_now: np.ndarray, faults_now: np.ndarray) -> None:
        addresses.append(addresses_now.copy())
        faults.append(faults_now.copy())

    result = simulate(
        trace,
        run.policy,
        parameters=run.parameters,
        samples=len(trace),
        walks=0,
        referee=referee,
        mode="interpreted",
        on_ops=on_ops,
        on_syscalls=lambda rows: calls.append(rows[:, :2]),
    )
    assert result.driver is not None
    called = np.concatenate(calls)
    observed = Observed(
        addresses=np.concatenate(addresses),
        faults=np.concatenate(faults),
        call_ops=called[:, 0],
        call_names=np.array([SYSCALL_NAMES[number] for number in called[:, 1].tolist()], object),
        heap_start=result.driver.policy.kernel.start_brk,
        curves=result.samples,
    )
    return result, observed


def _numbers(trace: Trace, seen: Observed, start: int, end: int) -> Iterator[tuple[str, float]]:
    """The numbers of ops start..end."""
    called = seen.call_names[(start <= seen.call_ops) & (seen.call_ops < end)]
    for name in SYSCALL_NAMES.values():
        yield f"{name}_calls", int((called == name).sum())
    yield "syscalls", len(called)
    yield "minor_faults", int(seen.faults[start:end].sum())
    for name, curve in seen.curves.items():
        growth = int(curve[end - 1]) - (int(curve[start - 1]) if start else 0)
        if name == "time_ns":
            yield name, growth
        elif name in _GROWING:
            yield name, int(curve[end - 1])
            yield name.replace("_bytes", "_growth_bytes"), growth
    for i in np.flatnonzero(np.isin(trace.op[start:end], ALLOCATIONS)) + start:
        yield f"offset({trace.object[i]})", int(seen.addresses[i]) - seen.heap_start
