"""Ops in the binary form that the replayer reads: one record of 32 bytes each (far_memory.h).

A record shares fields between columns that no op needs together: `extent` is `written` for
allocations and `offset` for the rest, `detail` is `alignment` for aligned_alloc and `arg` for the
rest. Times are left out.
"""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from enum import IntEnum
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import BinaryIO

import numpy as np

from allocsim.errors import InputError
from allocsim.trace import ALLOCATIONS, Op, Trace, TraceSource

RECORD = np.dtype(
    [
        ("size", "<i8"),
        ("extent", "<i8"),
        ("detail", "<i8"),
        ("object", "<i4"),
        ("kind_and_thread", "<u4"),
    ]
)
MAX_THREADS = 2**24
BATCH_OPS = 32_768


class MarkedCall(IntEnum):
    """Calls that traces do not have, for which marks may stand: kinds of records beyond `Op`.

    MALLOC_TRIM keeps as many bytes of the top as the mark's size; its result, 0 or 1, is reported
    as an address. THREAD_EXIT is the calling thread's last op; not for a trace's only thread.
    """

    MALLOC_TRIM = 128
    THREAD_EXIT = 129


Marks = Mapping[int, MarkedCall]
"""What marks stand for, by their number; other marks do nothing."""


@dataclass(frozen=True)
class OpStream:
    """A file of records, to replay a trace several times without packing it again."""

    path: Path
    n_ops: int
    n_slots: int
    n_threads: int


@contextmanager
def packed(source: TraceSource, marks: Marks | None = None) -> Iterator[OpStream]:
    """The ops of `source` as a temporary file, which lasts as long as the context."""
    with TemporaryDirectory(prefix="allocsim-") as folder:
        path = Path(folder) / "ops"
        with path.open("wb") as file:
            n_ops = write_ops(source, file, marks)
        yield OpStream(path, n_ops, source.n_slots, source.n_threads)


def write_ops(source: TraceSource, file: BinaryIO, marks: Marks | None = None) -> int:
    """Write all ops of `source` and return their number."""
    n_ops = 0
    for batch in source.batches(BATCH_OPS):
        file.write(pack(batch, source.n_slots, source.n_threads, marks).data)
        n_ops += len(batch)
    return n_ops


def pack(batch: Trace, n_slots: int, n_threads: int, marks: Marks | None = None) -> np.ndarray:
    """The ops of one batch as records.

    Raises InputError for a thread or object beyond what the source announced: the replayer trusts
    its input.
    """
    _check_below("thread", batch.thread, min(n_threads, MAX_THREADS))
    _check_below("object", batch.object, n_slots)
    records = np.empty(len(batch), RECORD)
    records["size"] = batch.size
    records["extent"] = np.where(np.isin(batch.op, ALLOCATIONS), batch.written, batch.offset)
    records["detail"] = np.where(batch.op == Op.ALIGNED_ALLOC, batch.alignment, batch.arg)
    records["object"] = np.maximum(batch.object, 0)
    kind = _kinds(batch, marks or {}, n_threads)
    records["kind_and_thread"] = kind | batch.thread.astype(np.uint32) << np.uint32(8)
    return records


def _kinds(batch: Trace, marks: Marks, n_threads: int) -> np.ndarray:
    """The ops' numbers, or those of the calls that marks stand for."""
    kind = batch.op.copy()
    for number, call in marks.items():
        here = (batch.op == Op.MARK) & (batch.arg == number)
        if call == MarkedCall.THREAD_EXIT and n_threads == 1 and here.any():
            raise InputError("the only thread of a trace cannot exit")
        kind[here] = call
    return kind


def _check_below(name: str, values: np.ndarray, limit: int) -> None:
    highest = int(values.max(initial=-1))
    if highest >= limit:
        raise InputError(f"a trace of {limit} {name}s has an op with {name} {highest}")
