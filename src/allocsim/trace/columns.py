"""Traces in memory: ten columns and their provenance; what all sources of ops have in common."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, Protocol

import numpy as np

from allocsim.errors import InputError
from allocsim.trace.content_hash import ContentHash
from allocsim.trace.ops import BATCH_OPS, COLUMNS, default_written
from allocsim.trace.provenance import Provenance


class TraceSource(Protocol):
    """Anything that ops can be streamed from: a `Trace`, a `TraceFile`, a synthetic workload."""

    @property
    def n_ops(self) -> int | None:
        """Number of ops; None where it is not known beforehand."""

    @property
    def n_slots(self) -> int:
        """Every object is below this number."""

    @property
    def n_threads(self) -> int:
        """Every thread is below this number."""

    @property
    def provenance(self) -> Provenance:
        """Where the ops come from."""

    def batches(self, batch_ops: int = BATCH_OPS) -> Iterator["Trace"]:
        """The ops in order, at most `batch_ops` at a time; may be called again."""


@dataclass(frozen=True, eq=False)
class Trace:
    """Ops as columns of equal length; `allocsim.trace.ops` tells their meaning.

    Columns are converted to their types; a value that does not fit raises InputError. The arrays
    are contiguous and read-only, so that all batches have one type for compiled code. Nothing is
    said about the ops making sense together: that is for `validated`.
    """

    op: np.ndarray
    thread: np.ndarray
    object: np.ndarray
    size: np.ndarray
    alignment: np.ndarray
    written: np.ndarray
    offset: np.ndarray
    arg: np.ndarray
    time_ns: np.ndarray
    think_ns: np.ndarray
    provenance: Provenance = field(default_factory=Provenance)

    def __post_init__(self) -> None:
        for name in COLUMNS:
            object.__setattr__(self, name, _as_column(name, getattr(self, name)))
        lengths = {name: len(column) for name, column in self.columns().items()}
        if len(set(lengths.values())) > 1:
            raise InputError(f"columns of a trace differ in length: {lengths}")

    @classmethod
    def of(
        cls, op: Any, object: Any, size: Any, *, provenance: Provenance | None = None, **others: Any
    ) -> "Trace":
        """A trace from sequences or single numbers; what is left out gets its default.

        The default is 0 for all columns but `written`, which is `size` for allocations.

        >>> Trace.of(op=[Op.MALLOC, Op.FREE], object=[0, 0], size=[100, 0]).written
        array([100,   0])
        """
        given = {"op": op, "object": object, "size": size, **others}
        if unknown := [name for name in given if name not in COLUMNS]:
            raise InputError(f"a trace has no column {unknown[0]}; it has {', '.join(COLUMNS)}")
        columns = {name: _as_column(name, np.atleast_1d(given.get(name, 0))) for name in COLUMNS}
        try:
            columns = dict(zip(COLUMNS, np.broadcast_arrays(*columns.values()), strict=True))
        except ValueError:
            lengths = {name: len(columns[name]) for name in given}
            raise InputError(f"columns of a trace differ in length: {lengths}") from None
        if "written" not in given:
            columns["written"] = default_written(columns["op"], columns["size"])
        return cls(**columns, provenance=provenance or Provenance())

    @classmethod
    def concatenate(cls, parts: Iterable["Trace"], provenance: Provenance | None = None) -> "Trace":
        """All ops of `parts` in order; the provenance is the first part's unless given."""
        traces = list(parts)
        if provenance is None:
            provenance = traces[0].provenance if traces else Provenance()
        empty = {name: np.empty(0, dtype) for name, dtype in COLUMNS.items()}
        tables = [empty, *(trace.columns() for trace in traces)]
        columns = {name: np.concatenate([table[name] for table in tables]) for name in COLUMNS}
        return cls(**columns, provenance=provenance)

    def columns(self) -> dict[str, np.ndarray]:
        """The ten columns by name, in order."""
        return {name: getattr(self, name) for name in COLUMNS}

    def __len__(self) -> int:
        return len(self.op)

    def __getitem__(self, rows: slice) -> "Trace":
        columns = {name: column[rows] for name, column in self.columns().items()}
        return Trace(**columns, provenance=self.provenance)

    @property
    def n_ops(self) -> int:
        """Number of ops."""
        return len(self)

    @cached_property
    def n_slots(self) -> int:
        """One more than the largest object."""
        return int(self.object.max(initial=-1)) + 1

    @cached_property
    def n_threads(self) -> int:
        """One more than the largest thread."""
        return int(self.thread.max(initial=-1)) + 1

    def batches(self, batch_ops: int = BATCH_OPS) -> Iterator["Trace"]:
        """The ops in order, at most `batch_ops` at a time, without copying."""
        for start in range(0, len(self), batch_ops):
            yield self[start : start + batch_ops]

    def content_hash(self) -> str:
        """The identity of the ops: see `ContentHash`."""
        digest = ContentHash()
        digest.update(self.columns())
        return digest.text()


def _as_column(name: str, values: Any) -> np.ndarray:
    """`values` as a read-only contiguous array of the column's type."""
    array, dtype = np.asarray(values), COLUMNS[name]
    if array.ndim != 1:
        raise InputError(f"column {name} of a trace is not a list of numbers")
    if array.dtype != dtype and array.size:
        _check_range(name, array, dtype)
    column = np.ascontiguousarray(array, dtype=dtype).view()
    column.flags.writeable = False
    return column


def _check_range(name: str, array: np.ndarray, dtype: np.dtype) -> None:
    if array.dtype.kind not in "iu":
        raise InputError(f"column {name} of a trace holds {array.dtype}, not whole numbers")
    low, high = int(array.min()), int(array.max())
    limits = np.iinfo(dtype)
    if low < limits.min or high > limits.max:
        raise InputError(f"column {name} of a trace: {low}..{high} does not fit {dtype}")
