"""A policy's system calls as marks on a map."""

from dataclasses import dataclass

import numpy as np

from allocsim.heapmap.address_axis import AddressAxis
from allocsim.kernel.kernel import SYS_BRK, SYS_MMAP

MOST_MARKS = 200_000
"""Of more calls those with the most bytes are kept."""

_OP, _NUMBER, _ADDRESS, _LENGTH, _RESULT = 0, 1, 2, 3, 8


@dataclass(frozen=True)
class SyscallMarks:
    """Calls as columns.

    address: of the memory that a call was about, 0 if it failed or there is none. n_bytes: of that
    memory; of a brk what the break moved by. grows: whether a brk moved it up. left_out: calls.
    """

    op: np.ndarray
    number: np.ndarray
    address: np.ndarray
    n_bytes: np.ndarray
    grows: np.ndarray
    left_out: int

    def columns(self, axis: AddressAxis) -> dict[str, np.ndarray]:
        """As a page holds them. place: on the axis, plus one; 0 where it is on none."""
        at = np.maximum(np.searchsorted(axis.lo, self.address, side="right") - 1, 0)
        shown = (self.address >= axis.lo[at]) & (self.address < axis.hi[at])
        place = np.where(shown, axis.place(np.maximum(self.address, axis.lo[0])) + 1, 0)
        return {
            "op": np.diff(self.op, prepend=0),
            "number": self.number,
            "place": place,
            "size": self.n_bytes,
            "grows": self.grows,
        }


def syscall_marks(calls: np.ndarray) -> SyscallMarks:
    """The marks of the kernel's log, in order of their ops."""
    number, result = calls[:, _NUMBER], calls[:, _RESULT]
    is_brk = number == SYS_BRK
    before = _break_before(result, is_brk)
    moved = np.where(is_brk, result - before, 0)
    address = np.where(number == SYS_MMAP, result, calls[:, _ADDRESS])
    address = np.where(is_brk, np.minimum(result, before), address)
    n_bytes = np.where(is_brk, np.abs(moved), calls[:, _LENGTH])
    kept = np.arange(len(calls))
    if len(calls) > MOST_MARKS:
        kept = np.sort(np.argpartition(-n_bytes, MOST_MARKS)[:MOST_MARKS])
    kept = kept[np.argsort(calls[kept, _OP], kind="stable")]
    return SyscallMarks(
        op=np.maximum(calls[kept, _OP], 0),
        number=number[kept],
        address=np.where(result < 0, 0, address)[kept],
        n_bytes=n_bytes[kept],
        grows=moved[kept] > 0,
        left_out=len(calls) - len(kept),
    )


def _break_before(result: np.ndarray, is_brk: np.ndarray) -> np.ndarray:
    """The program break before each brk; the first one tells where it is."""
    rows = np.flatnonzero(is_brk)
    before = np.zeros(len(result), np.int64)
    before[rows[1:]] = result[rows[:-1]]
    before[rows[:1]] = result[rows[:1]]
    return before
