"""The vocabulary of traces: the ops, the columns and what each column means for each op.

A trace is a table with one row per op. Objects are named by *slot*: a number that is free again
once the object is gone, so the memory that a trace needs is bounded by the peak of live objects.
Blocks from malloc and the program's own mappings share one numbering.

column     type   meaning
op         uint8  what is called, see `Op`
thread     int32  the calling thread, numbered from 0
object     int32  the slot, numbered from 0; -1 for MARK
size       int64  bytes requested (calloc: in total; realloc, mremap: the new size), touched, read,
                  mapped, unmapped or advised; 0 for free and mark
alignment  int64  bytes, a power of two, for aligned_alloc; else 0
written    int64  bytes the program writes from the block's start after the call; allocations only
offset     int64  bytes from the object's first byte: touch, read, munmap, madvise; else 0
arg        int64  mmap: protection (0 none, 1 read, 3 read and write); mremap: 1 if it may move;
                  madvise: the advice (4 MADV_DONTNEED, 8 MADV_FREE); mark: its number; else 0
time_ns    int64  entry of the call since the trace's start; 0 if unknown
think_ns   int64  from the thread's previous return to this call; 0 if unknown
"""

from enum import IntEnum

import numpy as np


class Op(IntEnum):
    """What an op does. The numbers are part of the file format: they never change."""

    MALLOC = 0
    CALLOC = 1
    REALLOC = 2
    """Of an empty slot: realloc(NULL, size). Of a block to size 0: frees it."""
    ALIGNED_ALLOC = 3
    FREE = 4
    TOUCH = 5
    """The program writes `size` bytes of an object, at `offset`."""
    READ = 6
    """The program reads `size` bytes of an object, at `offset`."""
    MARK = 7
    """A point of interest, numbered by `arg`; costs nothing."""
    MMAP = 8
    MUNMAP = 9
    """Covering all that is left of a mapping empties its slot; else the rest stays mapped."""
    MREMAP = 10
    MADVISE = 11

    @property
    def label(self) -> str:
        """The name in CSV files and messages, such as ``aligned_alloc``."""
        return self.name.lower()


OP_LABELS: tuple[str, ...] = tuple(op.label for op in Op)

ALLOCATIONS: tuple[Op, ...] = (Op.MALLOC, Op.CALLOC, Op.REALLOC, Op.ALIGNED_ALLOC)
"""The ops that return a block, whose `written` may differ from 0."""

COLUMNS: dict[str, np.dtype] = {
    "op": np.dtype(np.uint8),
    "thread": np.dtype(np.int32),
    "object": np.dtype(np.int32),
    "size": np.dtype(np.int64),
    "alignment": np.dtype(np.int64),
    "written": np.dtype(np.int64),
    "offset": np.dtype(np.int64),
    "arg": np.dtype(np.int64),
    "time_ns": np.dtype(np.int64),
    "think_ns": np.dtype(np.int64),
}
"""The columns of every trace, in order, with their types."""

BATCH_OPS = 65_536
"""Ops in a batch unless asked otherwise: small enough for the cache, large enough to vectorise."""

PAGE_BYTES = 4096
"""Mappings are whole pages: a mapping of 100 bytes can be unmapped and touched up to byte 4096."""

MAX_SIZE_BYTES = 2**47
"""No request, offset or mapping is larger: it is all that a 64-bit Linux process can address."""


def is_allocation(op: np.ndarray) -> np.ndarray:
    """Mask of the rows whose op is one of `ALLOCATIONS`."""
    return op <= Op.ALIGNED_ALLOC


def default_written(op: np.ndarray, size: np.ndarray) -> np.ndarray:
    """What `written` is taken to be where nobody measured it: all of a block, in bytes."""
    return np.where(is_allocation(op), size, 0)
