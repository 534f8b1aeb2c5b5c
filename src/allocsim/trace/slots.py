"""What each slot holds as a trace goes on: the order of ops that makes sense.

A slot is empty, or holds a block from malloc, or one of the program's own mappings. Mappings are
whole pages. Unmapping at either end of a mapping shortens it, a hole in the middle stays inside;
offsets still count from the original start. The slot is empty once every byte is unmapped.
"""

from typing import Any

import numpy as np

from allocsim.trace.columns import Trace
from allocsim.trace.compiled import Loop
from allocsim.trace.ops import OP_LABELS, PAGE_BYTES, Op

EMPTY, BLOCK, MAPPING = 0, 1, 2
LIVE, LIVE_PEAK, MAPPED, MAPPED_PEAK = 0, 1, 2, 3

# Plain integers: enum members are slow to compare, in Python and for the compiler.
_REALLOC, _FREE, _TOUCH, _READ, _MARK, _MMAP, _MUNMAP, _MREMAP = map(
    int, (Op.REALLOC, Op.FREE, Op.TOUCH, Op.READ, Op.MARK, Op.MMAP, Op.MUNMAP, Op.MREMAP)
)


class Slots:
    """The state of all slots, which grow as they are used; and totals over them.

    kind, start, end, left: per slot: what it holds, the bytes it spans (`start` up to `end`, from
    the object's first byte) and how many of them are there. totals: bytes of live blocks, their
    peak, bytes of mappings, their peak.
    """

    def __init__(self) -> None:
        self.kind = np.zeros(0, np.uint8)
        self.start, self.end, self.left = (np.zeros(0, np.int64) for _ in range(3))
        self.totals = np.zeros(4, np.int64)
        self._follow = Loop(follow)

    def apply(self, trace: Trace) -> int:
        """Follow the ops; returns the first row that makes no sense, or -1.

        The rows must obey `allocsim.trace.rules`.
        """
        self._reserve(trace.n_slots)
        state = (self.kind, self.start, self.end, self.left, self.totals)
        return self._follow(trace.op, trace.object, trace.size, trace.offset, *state)

    def explain(self, trace: Trace, row: int) -> str:
        """Why `row`, which `apply` just returned for `trace`, makes no sense."""
        label = OP_LABELS[trace.op[row]]
        slot, size, offset = (int(c[row]) for c in (trace.object, trace.size, trace.offset))
        kind, start, end = (int(a[slot]) for a in (self.kind, self.start, self.end))
        if kind == EMPTY:
            return f"{label} of slot {slot}, which is empty; fill it first"
        if label in ("malloc", "calloc", "aligned_alloc", "mmap"):
            return f"{label} into slot {slot}, which is live with {end} bytes; free it first"
        if kind == MAPPING and trace.op[row] <= Op.FREE:
            return f"{label} of slot {slot}, which is a mapping; mappings take munmap or mremap"
        if kind == BLOCK and trace.op[row] > Op.MARK:
            return f"{label} of slot {slot}, which is a block from malloc; only mappings take it"
        if trace.op[row] != Op.MREMAP and (offset < start or offset + size > end):
            return (
                f"{label} of {size} bytes at offset {offset} of slot {slot}, "
                f"which spans bytes {start} to {end}; stay inside"
            )
        if offset % PAGE_BYTES:
            return f"{label} at offset {offset}; mappings change at multiples of {PAGE_BYTES}"
        return f"{label} of slot {slot} across a part that is already unmapped; split it"

    def _reserve(self, n_slots: int) -> None:
        if n_slots <= len(self.kind):
            return
        for name in ("kind", "start", "end", "left"):
            old = getattr(self, name)
            # Zeros take up no memory until they are used, whatever number a file says.
            new = np.zeros(max(n_slots, 2 * len(old)), old.dtype)
            new[: len(old)] = old
            setattr(self, name, new)


def follow(
    op: Any, object: Any, size: Any, offset: Any,
    kind: Any, start: Any, end: Any, left: Any, totals: Any,
) -> int:  # fmt: skip
    """Apply each op to its slot; returns the first row that makes no sense, or -1.

    Runs as plain Python on memory views or compiled on arrays.
    """
    for row in range(len(op)):
        what, slot, length = op[row], object[row], size[row]
        if what == _MARK:
            continue
        held = kind[slot]
        if what <= _FREE:
            if held != BLOCK and (held == MAPPING or what == _FREE):
                return row
            if held == BLOCK and what != _FREE and what != _REALLOC:
                return row
            before = end[slot] if held == BLOCK else 0
            gone = what == _FREE or (what == _REALLOC and held == BLOCK and length == 0)
            kind[slot] = EMPTY if gone else BLOCK
            start[slot], end[slot], left[slot] = 0, length, length
            totals[LIVE] += length - before
            if totals[LIVE] > totals[LIVE_PEAK]:
                totals[LIVE_PEAK] = totals[LIVE]
            continue
        first, last = offset[row], offset[row] + length
        if what in (_TOUCH, _READ):
            if held == EMPTY or first < start[slot] or last > end[slot]:
                return row
            continue
        last = (last + PAGE_BYTES - 1) // PAGE_BYTES * PAGE_BYTES
        if what == _MMAP:
            if held != EMPTY:
                return row
            kind[slot] = MAPPING
            start[slot], end[slot], left[slot] = 0, last, last
            totals[MAPPED] += last
        elif held != MAPPING:
            return row
        elif what == _MREMAP:
            if left[slot] != end[slot] - start[slot]:
                return row
            totals[MAPPED] += last - left[slot]
            end[slot], left[slot] = start[slot] + last, last
        else:
            if first % PAGE_BYTES != 0 or first < start[slot] or last > end[slot]:
                return row
            if what == _MUNMAP:
                if last - first > left[slot]:
                    return row
                left[slot] -= last - first
                totals[MAPPED] -= last - first
                if first == start[slot]:
                    start[slot] = last
                elif last == end[slot]:
                    end[slot] = first
                if left[slot] == 0:
                    kind[slot] = EMPTY
        if totals[MAPPED] > totals[MAPPED_PEAK]:
            totals[MAPPED_PEAK] = totals[MAPPED]
    return -1
