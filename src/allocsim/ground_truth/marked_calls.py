"""Drives the model through a trace whose marks stand for calls that traces do not have."""

from collections.abc import Iterator

import numpy as np

from allocsim.driver import Driver
from allocsim.engine import no_samples
from allocsim.ground_truth.opstream import MarkedCall, Marks
from allocsim.trace import Op, Trace


def drive(
    driver: Driver,
    trace: Trace,
    marks: Marks,
    address: np.ndarray,
    faults: np.ndarray,
    compiled: bool,
) -> None:
    """Run all ops; each op's returned address and minor faults go into `address` and `faults`."""
    columns = list(trace.columns().values())[:8]
    no_times = np.empty(0, np.int64)
    for start, stop, call in _stretches(trace, marks):
        arguments = (*columns, no_times, address, faults, start, stop, *no_samples())
        driver.run("drive_sampled", *arguments, compiled=compiled)
        if call is not None:
            address[stop - 1], faults[stop - 1] = _made(driver, call, int(trace.size[stop - 1]))


def _stretches(trace: Trace, marks: Marks) -> Iterator[tuple[int, int, MarkedCall | None]]:
    """Rows from, to, and what is called after the last of them: a mark."""
    stands_for_call = (trace.op == Op.MARK) & np.isin(trace.arg, list(marks))
    start = 0
    for row in np.flatnonzero(stands_for_call).tolist():
        yield start, row + 1, marks[int(trace.arg[row])]
        start = row + 1
    yield start, len(trace), None


def _made(driver: Driver, call: MarkedCall, size: int) -> tuple[int, int]:
    """Make a call on the thread of the latest op: its result and its minor faults."""
    policy = driver.policy
    before = policy.kernel.minor_faults
    result = 0
    if call == MarkedCall.MALLOC_TRIM:
        result = policy.malloc_trim(size)
    else:
        policy.thread_exit()
    return result, policy.kernel.minor_faults - before
