"""One simulation, from its inputs to its result."""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from allocsim import metrics
from allocsim.driver import MAX_SLOTS, MAX_THREADS, Driver, driver_for
from allocsim.engine.compiling import runs_compiled
from allocsim.engine.khugepaged import Khugepaged
from allocsim.engine.machine import cpus_of, driver_on_machine
from allocsim.engine.run import Run, Schedule
from allocsim.engine.threads import execute, meets
from allocsim.errors import InputError
from allocsim.kernel import CostTable, Event, Layout
from allocsim.kernel.backing import PAGE_BYTES
from allocsim.policy import Policy
from allocsim.trace import TraceSource


@dataclass(frozen=True)
class Result:
    """What a run gave: see `metrics.totals`, `metrics.SAMPLE_COLUMNS`, `metrics.WALK_COLUMNS`,
    and `metrics.THREAD_COLUMNS`, with a row for each simulated thread.

    counts: how often each `Event` happened; cost = counts x unit costs. provenance: what ran, how,
    which cost table, and the 95 % intervals of the CPU times that follow from the table's.
    """

    totals: dict[str, float | int]
    samples: dict[str, np.ndarray]
    walks: dict[str, np.ndarray]
    threads: dict[str, np.ndarray] = field(default_factory=dict)
    counts: np.ndarray = field(default_factory=lambda: np.zeros(len(Event), np.int64))
    provenance: dict[str, Any] = field(default_factory=dict)
    driver: Driver | None = field(default=None, repr=False, compare=False)

    def close(self) -> None:
        """Give up the simulated memory, which the next run in this process then starts with.

        The figures stay; `driver` cannot be used any more.
        """
        if self.driver is not None:
            self.driver.close()


def simulate(
    source: TraceSource,
    policy: type[Policy],
    *,
    parameters: dict[str, int | float] | None = None,
    costs: CostTable | None = None,
    layout: Layout | None = None,
    kernel_options: dict[str, int] | None = None,
    samples: int = 256,
    walks: int = 16,
    make_driver: Callable[..., Driver] = driver_for,
    writing: bool = True,
    mode: str = "auto",
    progress: Callable[[int, int], None] | None = None,
    on_ops: Callable[[np.ndarray, np.ndarray], None] | None = None,
    on_syscalls: Callable[[np.ndarray], None] | None = None,
) -> Result:
    """Run `source` through `policy`; a pure function of its inputs.

    kernel_options: limits of the machine by name (KERNEL_OPTIONS); with memory_pages, the least
    recently used pages beyond so many go out to swap. cpus and vma_locks are for the threads of
    synthetic workloads, which meet in simulated time; huge_pages (0 never, 1 madvise, 2 always),
    max_ptes_none, scan_sleep_ms and pages_to_scan are those of transparent huge pages.
    make_driver: what drives the policy; `allocsim.check.refereed` checks every block.
    samples, walks: at how many points, equally spaced in operations, memory is sampled and the heap
    walked. writing: whether the program writes to its memory. progress receives operations done and
    in all; on_ops each batch's addresses and minor faults per operation; on_syscalls an array of
    rows (op, number, six arguments, result). InputError for impossible inputs, SimulationError when
    the simulated program or policy would have died.
    """
    options = kernel_options or {}
    meeting = meets(source)
    driver = driver_on_machine(
        policy, parameters or {}, costs, layout, options, make_driver, meeting
    )
    driver.writing = int(writing)
    driver.policy.kernel.logging = int(on_syscalls is not None)
    _check_source(source)
    _start_threads(driver, source, layout)
    run = Run(
        driver=driver,
        source=source,
        compiled=(compiled := runs_compiled(driver, source, mode, meeting)) and mode != "mixed",
        compiled_later=compiled,
        progress=progress,
        on_ops=on_ops,
        on_syscalls=on_syscalls,
        schedule=Schedule(source.n_ops, samples, walks),
        khugepaged=Khugepaged.of(driver.policy.kernel, options),
    )
    try:
        execute(run, cpus_of(driver, options, source.n_threads))
    finally:
        driver.settle()
    return _result(run, policy, costs or CostTable.load())


def _start_threads(driver: Driver, source: TraceSource, layout: Layout | None) -> None:
    """Where a workload has several threads, all are created first; what that costs has op -1.

    An address space with a heap in it is that of a program which has created them already: their
    stacks are there, and the calls were made before the run.
    """
    if source.n_threads > 1:
        kernel = driver.policy.kernel
        created = layout is not None and layout.heap_mapped
        logging = kernel.logging
        kernel.op, kernel.logging = -1, 0 if created else logging
        driver.policy.start_threads(source.n_threads, int(not created))
        kernel.logging = logging


def _check_source(source: TraceSource) -> None:
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


def _table(rows: list[tuple], names: tuple[str, ...]) -> dict[str, np.ndarray]:
    columns = np.array(rows, np.int64).reshape(-1, len(names))
    return {name: columns[:, i].copy() for i, name in enumerate(names)}


def _result(run: Run, policy: type[Policy], costs: CostTable) -> Result:
    samples = _table(run.samples, metrics.SAMPLE_COLUMNS)
    walks = _table(run.walks, metrics.WALK_COLUMNS)
    ledger = _ledger(run.driver)
    threads = run.threads or metrics.lone_thread(ledger, run.source.n_threads)
    return Result(
        totals=metrics.totals(ledger, samples, walks, threads),
        counts=ledger["counts"],
        samples=samples,
        walks=walks,
        threads=threads,
        provenance={
            "policy": policy.__name__,
            "compiled": run.compiled,
            "crossings": run.crossings,
            "costs": costs.identity(),
            "cpu_interval_ns": metrics.cpu_interval_ns(ledger["counts"], costs),
        },
        driver=run.driver,
    )
