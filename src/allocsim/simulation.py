"""The one verb: simulates a run, from its specification to its result."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from allocsim import driver_pool, metrics
from allocsim.column_table import ColumnTable
from allocsim.driver import MAX_SLOTS, MAX_THREADS, Driver
from allocsim.engine import (
    Khugepaged,
    Run,
    Schedule,
    entry_points,
    execute,
    is_warm,
    meets,
    runs_compiled,
)
from allocsim.errors import InputError
from allocsim.kernel import CostTable, Event
from allocsim.kernel.backing import PAGE_BYTES
from allocsim.machine import Machine
from allocsim.policy import Policy
from allocsim.runspec import RunSpec, Workload
from allocsim.trace import TraceSource

if TYPE_CHECKING:
    from allocsim.result_table import ResultTable


@dataclass(frozen=True, repr=False)
class Result:
    """What a run gave: see `metrics.totals`, `metrics.SAMPLE_COLUMNS`, `metrics.WALK_COLUMNS`,
    and `metrics.THREAD_COLUMNS`, with a row for each simulated thread.

    counts: how often each `Event` happened; cost = counts x unit costs. provenance: what ran, how,
    which cost table, and the 95 % intervals of the CPU times that follow from the table's.
    """

    totals: dict[str, float | int]
    samples: ColumnTable
    walks: ColumnTable
    threads: ColumnTable = field(default_factory=lambda: ColumnTable({}))
    counts: np.ndarray = field(default_factory=lambda: np.zeros(len(Event), np.int64))
    provenance: dict[str, Any] = field(default_factory=dict)
    driver: Driver | None = field(default=None, repr=False, compare=False)

    @property
    def has_cost_intervals(self) -> bool:
        """Whether the unit costs say how certain they are, so that CPU times have intervals."""
        low, high = self.provenance.get("cpu_interval_ns", {}).get("cpu_ns", (0, 0))
        return low < high

    def __repr__(self) -> str:
        return "\n".join(self._as_table().lines())

    def _repr_html_(self) -> str:
        return self._as_table().html()

    def _as_table(self) -> "ResultTable":
        from allocsim.result_table import ResultTable

        title = f"{self.totals['ops']:,} ops"
        return ResultTable(title, [self.provenance.get("policy", "")], [self])

    def close(self) -> None:
        """Give up the driver and its memory, with which a later run of this process starts.

        The figures stay; `driver` is None from now on.
        """
        if self.driver is not None:
            driver_pool.give_back(self.driver)
            object.__setattr__(self, "driver", None)


@dataclass(frozen=True)
class Observers:
    """What is called while a run is under way.

    progress: receives ops done and in all, at each sample. on_ops: each batch's addresses and
    minor faults, per op. on_syscalls: an array of rows (op, number, six arguments, result).
    """

    progress: Callable[[int, int], None] | None = None
    on_ops: Callable[[np.ndarray, np.ndarray], None] | None = None
    on_syscalls: Callable[[np.ndarray], None] | None = None


def run_spec(spec: RunSpec, observers: Observers | None = None) -> Result:
    """Simulate a run; a pure function of its specification.

    InputError for impossible inputs, SimulationError when the simulated program or policy would
    have died.
    """
    observers = observers or Observers()
    source = spec.source()
    check_source(source)
    threaded = meets(source)
    driver = spec.driver(threaded)
    driver.writing = int(spec.writing)
    driver.policy.kernel.logging = int(observers.on_syscalls is not None)
    start_threads(driver, source.n_threads, spec.machine.heap_is_mapped)
    points = entry_points(threaded, spec.machine.has_huge_pages)
    compiled = runs_compiled(driver, source.n_ops, spec.mode, points)
    run = Run(
        driver=driver,
        source=source,
        policy_name=spec.policy_name,
        compiled=compiled and spec.mode != "mixed",
        compiled_later=compiled,
        progress=observers.progress,
        on_ops=observers.on_ops,
        on_syscalls=observers.on_syscalls,
        schedule=Schedule(source.n_ops, spec.samples, spec.walks),
        khugepaged=_khugepaged(spec),
        becomes_compiled=(
            partial(is_warm, type(driver), points)
            if spec.mode == "auto" and not compiled and not driver.interpreted_only
            else None
        ),
        is_interruptible=threaded or spec.machine.has_huge_pages,
    )
    try:
        execute(run, spec.machine.cpus_for(driver, source.n_threads))
    finally:
        driver.settle()
    return _result(run, spec.policy_name, spec.machine.cost_table)


def simulate(
    workload: Workload,
    policy: str | Path | type[Policy] = "glibc",
    *,
    parameters: Mapping[str, Any] | None = None,
    machine: Machine | None = None,
    samples: int = 256,
    walks: int = 16,
    writing: bool = True,
    seed: int = 0,
    referee: bool = False,
    mode: str = "auto",
    make_driver: Callable[..., Driver] | None = None,
    progress: Callable[[int, int], None] | None = None,
    on_ops: Callable[[np.ndarray, np.ndarray], None] | None = None,
    on_syscalls: Callable[[np.ndarray], None] | None = None,
    **more_parameters: Any,
) -> Result:
    """Run a workload through a policy: `simulate("sqlite3", "glibc", mmap_threshold="64 KiB")`.

    workload, policy, samples, walks, writing, seed, referee, mode, make_driver: see `RunSpec`.
    Parameters of the policy are given by name, or in `parameters` where a name is taken; sizes may
    be texts. machine: the standard one if None. progress, on_ops, on_syscalls: see `Observers`.
    InputError for impossible inputs, SimulationError when the simulated program or policy would
    have died.
    """
    spec = RunSpec(
        workload=workload,
        policy=policy,
        parameters={**(parameters or {}), **more_parameters},
        machine=Machine() if machine is None else machine,
        samples=samples,
        walks=walks,
        writing=writing,
        seed=seed,
        referee=referee,
        mode=mode,
        make_driver=make_driver,
    )
    return run_spec(spec, Observers(progress, on_ops, on_syscalls))


def start_threads(driver: Driver, n_threads: int, created: bool) -> None:
    """Where a workload has several threads, all are created first; what that costs has op -1.

    created: the address space is that of a program which has created them already: their stacks
    are there, and the calls were made before the run.
    """
    if n_threads > 1:
        kernel = driver.policy.kernel
        logging = kernel.logging
        kernel.op, kernel.logging = -1, 0 if created else logging
        driver.policy.start_threads(n_threads, int(not created))
        kernel.logging = logging


def _khugepaged(spec: RunSpec) -> Khugepaged | None:
    machine = spec.machine
    if not machine.has_huge_pages:
        return None
    return Khugepaged(machine.scan_sleep_ms, machine.pages_to_scan)


def check_source(source: TraceSource) -> None:
    for what, n, most in (
        ("object slots", source.n_slots, MAX_SLOTS),
        ("threads", source.n_threads, MAX_THREADS),
    ):
        if n > most:
            raise InputError(f"the workload has {n} {what}; at most {most} can be simulated")


def _ledger(driver: Driver) -> dict[str, Any]:
    kernel = driver.policy.kernel
    return {
        "counts": kernel.ledger(),
        "unit_ps": tuple(kernel.costs.unit_ps),
        "ops": driver.n_ops,
        "time_ns": max(kernel.now_ps(), *driver.thread_ps[:MAX_THREADS]) // 1000,
        "failed": driver.failed,
        "peak_live_bytes": driver.peak_live_bytes,
        "peak_mapped_bytes": kernel.peak_mapped_bytes,
        "peak_resident_bytes": kernel.peak_resident_pages * PAGE_BYTES,
        "live_at_peak_resident_bytes": driver.live_at_peak_resident_bytes,
    }


def _table(rows: list[tuple], names: tuple[str, ...]) -> ColumnTable:
    columns = np.array(rows, np.int64).reshape(-1, len(names))
    return ColumnTable({name: columns[:, i].copy() for i, name in enumerate(names)})


def _result(run: Run, policy_name: str, costs: CostTable) -> Result:
    samples = _table(run.samples, metrics.SAMPLE_COLUMNS)
    walks = _table(run.walks, metrics.WALK_COLUMNS)
    ledger = _ledger(run.driver)
    threads = ColumnTable(run.threads or metrics.lone_thread(ledger, run.source.n_threads))
    return Result(
        totals=metrics.totals(ledger, samples, walks, threads),
        counts=ledger["counts"],
        samples=samples,
        walks=walks,
        threads=threads,
        provenance={
            "policy": policy_name,
            "compiled": run.compiled,
            "crossings": run.crossings,
            "costs": costs.identity(),
            "cpu_interval_ns": metrics.cpu_interval_ns(ledger["counts"], costs),
        },
        driver=run.driver,
    )
