"""Which block was where, and from which op to which."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from allocsim.trace import Op
from allocsim.trace.ops import PAGE_BYTES


@dataclass(frozen=True)
class Blocks:
    """Blocks and the program's own mappings, as columns of equal length, in order of `born`.

    address and size_bytes: as requested; a mapping is whole pages. born: the op that made it.
    died: the op that ended it, or the number of ops. A realloc ends one block and makes another.
    thread: that made it. slot: the object's. own: whether it is a mapping of the program's own.
    """

    address: np.ndarray
    size_bytes: np.ndarray
    born: np.ndarray
    died: np.ndarray
    thread: np.ndarray
    slot: np.ndarray
    own: np.ndarray

    def __len__(self) -> int:
        return len(self.address)

    def __getitem__(self, rows: np.ndarray) -> "Blocks":
        return Blocks(**{name: column[rows] for name, column in vars(self).items()})

    def live_bytes(self, n_ops: int) -> np.ndarray:
        """Bytes of live blocks, own mappings apart, after each of the run's ops."""
        change = np.zeros(n_ops + 1, np.int64)
        size = np.where(self.own, 0, self.size_bytes)
        np.add.at(change, self.born, size)
        np.add.at(change, self.died, -size)
        return np.cumsum(change[:n_ops])


def lifetimes(ops: Mapping[str, np.ndarray], address: np.ndarray) -> Blocks:
    """The blocks of a run, from the ops in the order in which they ran and what each returned.

    ops: the columns op, thread, object, size and offset of a trace.
    """
    op, thread, slot, size, offset = (
        ops[name] for name in ("op", "thread", "object", "size", "offset")
    )
    makes = _of(op, Op.MALLOC, Op.CALLOC, Op.REALLOC, Op.ALIGNED_ALLOC, Op.MMAP, Op.MREMAP)
    makes &= address > 0
    ends = _of(op, Op.FREE, Op.MUNMAP) | (_of(op, Op.REALLOC) & (size == 0) & (address == 0))
    rows = np.flatnonzero(makes | ends)
    rows = rows[np.argsort(slot[rows], kind="stable")]
    following = np.full(len(rows), len(op), np.int64)  # the next op on the same object
    same = slot[rows][1:] == slot[rows][:-1]
    following[:-1][same] = rows[1:][same]
    place, length = _extents(op[rows], size[rows], offset[rows], address[rows], makes[rows])
    exists = makes[rows] | (length > 0)
    born, own = rows[exists], _of(op[rows[exists]], Op.MMAP, Op.MREMAP, Op.MUNMAP)
    blocks = Blocks(
        address=place[exists],
        size_bytes=length[exists],
        born=born,
        died=following[exists],
        thread=thread[born].astype(np.int64),
        slot=slot[born].astype(np.int64),
        own=own,
    )
    return blocks[np.argsort(born, kind="stable")]


def _of(op: np.ndarray, *kinds: Op) -> np.ndarray:
    return np.isin(op, [int(kind) for kind in kinds])


def _extents(
    op: np.ndarray, size: np.ndarray, offset: np.ndarray, address: np.ndarray, makes: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Address and bytes of what is there after each row; rows are in order of object and op.

    After the munmap of a part the rest of a mapping is there: above that part if it was the first.
    """
    whole = np.isin(op, [int(Op.MMAP), int(Op.MREMAP), int(Op.MUNMAP)])
    length = np.where(whole, (size + PAGE_BYTES - 1) & -PAGE_BYTES, size)
    cut = np.where(op == Op.MUNMAP, length, 0)
    from_start = np.where(offset == 0, cut, 0)
    maker = np.maximum.accumulate(np.where(makes, np.arange(len(op)), 0))
    lost, skipped = np.cumsum(cut), np.cumsum(from_start)
    left = length[maker] - (lost - lost[maker]) if len(op) else length
    place = address[maker] + (skipped - skipped[maker]) if len(op) else address
    is_part = op == Op.MUNMAP
    return (
        np.where(is_part, place, address),
        np.where(is_part, np.maximum(left, 0), np.where(makes, length, 0)),
    )
