"""One simulation, from its inputs to its result."""

import warnings
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cache
from typing import Any

import numpy as np

from allocsim import metrics
from allocsim.driver import MAX_SLOTS, MAX_THREADS, Driver, driver_for
from allocsim.engine.batch import drive_signature
from allocsim.engine.run import Run, Schedule
from allocsim.engine.threads import execute
from allocsim.errors import InputError
from allocsim.kernel import CostTable, Event, Layout
from allocsim.kernel.memory import PAGE_BYTES
from allocsim.policy import Policy, with_kernel
from allocsim.trace import TraceSource

COMPILE_FROM_OPS = 3_000_000
"""Compiling takes as long as interpreting about so many operations."""

MODES = ("auto", "interpreted", "compiled", "mixed")
"""auto: compiled where code is cached or the run long; mixed: compiled from the first sample on."""

KERNEL_OPTIONS = (
    "limit_as_bytes", "limit_data_bytes", "limit_map_count", "overcommit_bytes", "memory_pages",
    "poison",
)  # fmt: skip


@dataclass(frozen=True)
class Result:
    """What a run gave: see `metrics.totals`, `metrics.SAMPLE_COLUMNS`, `metrics.WALK_COLUMNS`."""

    totals: dict[str, float | int]
    samples: dict[str, np.ndarray]
    walks: dict[str, np.ndarray]
    provenance: dict[str, Any] = field(default_factory=dict)
    driver: Driver | None = field(default=None, repr=False, compare=False)


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
    recently used pages beyond so many go out to swap.
    make_driver: what drives the policy; `allocsim.check.refereed` checks every block.
    samples, walks: at how many points, equally spaced in operations, memory is sampled and the heap
    walked. writing: whether the program writes to its memory. progress receives operations done and
    in all; on_ops each batch's addresses and minor faults per operation; on_syscalls an array of
    rows (op, number, six arguments, result). InputError for impossible inputs, SimulationError when
    the simulated program or policy would have died.
    """
    driver = _prepared(policy, parameters or {}, costs, layout, kernel_options or {}, make_driver)
    driver.writing = int(writing)
    driver.policy.kernel.logging = int(on_syscalls is not None)
    _check_source(source)
    _start_threads(driver, source, layout)
    run = Run(
        driver=driver,
        source=source,
        compiled=(compiled := _compiled(driver, source, mode)) and mode != "mixed",
        compiled_later=compiled,
        progress=progress,
        on_ops=on_ops,
        on_syscalls=on_syscalls,
        schedule=Schedule(source.n_ops, samples, walks),
    )
    execute(run)
    return _result(run, policy)


def _prepared(
    policy: type[Policy],
    parameters: dict[str, int | float],
    costs: CostTable | None,
    layout: Layout | None,
    options: dict[str, int],
    make_driver: Callable[..., Driver],
) -> Driver:
    if "memory_pages" in options:
        policy = _swapping(policy)  # type: ignore[arg-type]
    driver = make_driver(policy, **parameters)
    kernel = driver.policy.kernel
    if costs is not None:
        kernel.costs.use(costs)
    if layout is not None:
        kernel.lay_out(layout)
    for name, value in options.items():
        if name not in KERNEL_OPTIONS:
            raise InputError(f"unknown kernel option {name!r}; known: {', '.join(KERNEL_OPTIONS)}")
        if (declared := kernel.parameters().get(name)) is not None:
            value = declared.checked(name, value)
        setattr(kernel, name, value)
    return driver


@cache
def _swapping(policy: type[Policy]) -> type[Policy]:
    """The policy on a machine with limited memory; one class, since compiled code belongs to it."""
    from allocsim.kernel.swap import SwappingKernel

    return with_kernel(policy, SwappingKernel)


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


def _compiled(driver: Driver, source: TraceSource, mode: str) -> bool:
    """Whether to run compiled: as asked, or where it pays."""
    if mode not in MODES:
        raise InputError(f"mode is one of {', '.join(MODES)}, not {mode!r}")
    if mode == "interpreted" or driver.interpreted_only:
        return False
    from allocsim.component.compiler import NotCompilable, entry

    if mode == "auto" and not is_warm(driver):
        n_ops = source.n_ops
        if n_ops is not None and n_ops < COMPILE_FROM_OPS:
            return False
    try:
        entry(type(driver), "drive", drive_signature())
    except NotCompilable as error:
        if mode != "auto":
            raise
        _warn_once(f"{error}; running it interpreted")
        return False
    return True


def is_warm(driver: Driver) -> bool:
    """Whether the driver's compiled code is cached: of both entry points, or a long compilation
    would wait at the first walk."""
    from allocsim.component.compiler import is_cached

    return all(is_cached(type(driver), method) for method in ("drive", "walk"))


@cache
def _warn_once(message: str) -> None:
    warnings.warn(message, RuntimeWarning, stacklevel=4)


def _ledger(driver: Driver) -> dict[str, Any]:
    kernel = driver.policy.kernel
    counts = np.array(kernel.counts, np.int64)
    counts[Event.FAR_ACCESS] = kernel.far_accesses
    counts[Event.NEAR_ACCESS] = kernel.accesses - kernel.far_accesses
    return {
        "counts": counts,
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


def _result(run: Run, policy: type[Policy]) -> Result:
    samples = _table(run.samples, metrics.SAMPLE_COLUMNS)
    walks = _table(run.walks, metrics.WALK_COLUMNS)
    return Result(
        totals=metrics.totals(_ledger(run.driver), samples, walks),
        samples=samples,
        walks=walks,
        provenance={"policy": policy.__name__, "compiled": run.compiled},
        driver=run.driver,
    )
