"""Runs the glibc model as the replayer runs the real library, and reports the same."""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import numpy as np

from allocsim.driver import Driver
from allocsim.errors import SimulationError
from allocsim.glibc import Glibc
from allocsim.ground_truth.libc_packages import libc_for
from allocsim.ground_truth.marked_calls import drive
from allocsim.ground_truth.opstream import Marks
from allocsim.ground_truth.replay import replay
from allocsim.ground_truth.results import PAGE_BYTES, SYSCALL_NAMES
from allocsim.kernel import CostTable, Layout
from allocsim.kernel.kernel import LOG_COLUMNS
from allocsim.machine import Machine
from allocsim.policy import Policy
from allocsim.simulation import start_threads
from allocsim.trace import Op, Trace


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
    machine = Machine(layout=Layout.from_maps(*start), costs=CostTable.free_of_charge())
    driver = machine.driver(policy, parameters)
    kernel = driver.policy.kernel
    kernel.op, kernel.logging = -1, 1
    start_threads(driver, trace.n_threads, created=False)
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


def _allocators_calls(kernel: object) -> list[tuple]:
    """The model's system calls as (op, name, six arguments, result)."""
    log, n = kernel.log, kernel.n_logged  # type: ignore[attr-defined]
    rows = np.array(log[: n * LOG_COLUMNS], np.int64).reshape(-1, LOG_COLUMNS)
    return [(row[0], SYSCALL_NAMES[row[1]], *row[2:]) for row in rows.tolist()]
