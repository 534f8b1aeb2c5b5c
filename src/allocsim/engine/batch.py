"""Batches of operations as the driver takes them."""

import numpy as np

from allocsim.trace import Trace


class Batch:
    """A batch of operations, as the driver takes it."""

    def __init__(self, trace: Trace) -> None:
        self.trace = trace
        thinks = trace.think_ns if trace.think_ns.any() else trace.think_ns[:0]
        self.columns = (
            trace.op, trace.thread, trace.object, trace.size, trace.alignment, trace.written,
            trace.offset, trace.arg, thinks,
        )  # fmt: skip

    def reports(self, wanted: bool) -> tuple[np.ndarray, np.ndarray]:
        """Room for each operation's address and minor faults, or none."""
        n = len(self.trace) if wanted else 0
        return np.zeros(n, np.int64), np.zeros(n, np.int64)

    def __len__(self) -> int:
        return len(self.trace)


def drive_columns(trace: Trace) -> tuple:
    """`trace` as the columns that `Driver.drive` takes, without room for reports."""
    batch = Batch(trace)
    return (*batch.columns, *batch.reports(False))


def drive_signature() -> tuple:
    """Arguments of `Driver.drive` of the types that every batch has, to compile for."""
    return (*drive_columns(Trace.concatenate([])), 0, 0)


def no_samples() -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The last arguments of `Driver.drive_sampled` for a run without samples."""
    return np.zeros(0, np.int64), np.zeros(0, np.int64), np.zeros(0, np.int64)
