"""The first pass over a recording: what becomes known only when a block or mapping ends.

How much of a block was written, the recorder can only see when the block is freed; a trace says it
where the block is allocated. So the events are read twice: here, only those of big blocks and of
mappings, whose number is small against all calls; the results are kept by order number for
`recorder_convert`.
"""

from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np

from allocsim.trace.ops import Op
from allocsim.trace.recorder_log import EVENT, Kind, Process, Resident
from allocsim.trace.recorder_mappings import Mappings, Piece, joined, share

BIG_BYTES = 16_384
"""From this size on the recorder looks at the page map when a block is freed."""

_WRITABLE, _RESERVE = 2, 8
_READ, _READ_WRITE = 1, 3


@dataclass
class MappingRow:
    """A row of the trace about the mapping `identity`, for which a slot is yet to be found.

    resident_bytes: by how much it changes the memory that the trace explains.
    is_last: the mapping's slot is empty afterwards.
    """

    op: Op
    identity: int
    size: int
    offset: int = 0
    arg: int = 0
    resident_bytes: int = 0
    is_last: bool = False
    is_reserve: bool = False


class Survey:
    """What the first pass found.

    written: bytes written of the block that the event with this order number allocated, where it is
    less than all. rows: the trace's rows for each event about mappings, by its order number.
    n_assumed: blocks that were big, and live at an end that left no page map.
    """

    def __init__(self, process: Process) -> None:
        self.written: dict[int, int] = {}
        self.rows: dict[int, list[MappingRow]] = {}
        self.n_assumed = 0
        self._live: dict[int, tuple[int, int]] = {}
        self._mappings = Mappings()
        self._mmap_rows: dict[int, MappingRow] = {}
        self._resident: dict[int, int] = {}
        self._moving: dict[int, tuple[int, int, int]] = {}
        for events in process.events():
            for event in _interesting(events):
                self._follow(*event)
        self._finish(process.resident())

    def _follow(
        self, kind: int, detail: int, thread: int, address: int, size: int, order: int
    ) -> None:
        if kind in (Kind.FREE, Kind.REALLOC_BEGIN):
            self._settle_block(address, size)
        elif kind < Kind.MMAP:
            self._live[address] = (order, size)
        elif kind == Kind.RESIDENT:
            self._resident[thread] = size
        elif kind == Kind.MMAP:
            self._map(order, address, size, detail)
        elif kind == Kind.MUNMAP:
            self._unmap(order, address, size, self._resident.pop(thread, 0))
        elif kind == Kind.MADVISE:
            self._advise(order, address, size, detail, self._resident.pop(thread, 0))
        elif kind == Kind.MREMAP_BEGIN:
            self._moving[thread] = (address, size, self._resident.pop(thread, 0))
        elif kind == Kind.MREMAP_END and thread in self._moving:
            self._remap(order, self._moving.pop(thread), address, size, bool(detail))

    def _settle_block(self, address: int, resident_bytes: int) -> None:
        order, size = self._live.pop(address, (0, 0))
        if resident_bytes < size:
            self.written[order] = resident_bytes

    def _map(self, order: int, start: int, length: int, detail: int) -> None:
        self._unmap(order, start, length, 0)  # what went away unseen
        protection = _READ_WRITE if detail & _WRITABLE else detail & _READ
        row = MappingRow(Op.MMAP, order, length, arg=protection)
        row.is_reserve = bool(detail & _RESERVE) or not protection
        self._mmap_rows[order] = row
        self._add_row(order, row)
        self._mappings.add(Piece(start, start + length, order, start, order))

    def _unmap(self, order: int, start: int, length: int, resident_bytes: int) -> None:
        self._release(order, self._cut(start, length, resident_bytes), resident_bytes)

    def _cut(self, start: int, length: int, resident_bytes: int) -> list[Piece]:
        """Take a range out; what of it is resident was touched some time before."""
        pieces = self._mappings.cut(start, length)
        for piece, part in share(pieces, resident_bytes):
            self._touch(piece, part)
        return pieces

    def _release(self, order: int, pieces: list[Piece], resident_bytes: int) -> None:
        """Add the munmap rows of pieces that were cut out."""
        whole = joined(pieces)
        for index, (piece, part) in enumerate(share(whole, resident_bytes)):
            row = MappingRow(Op.MUNMAP, piece.slot, piece.n_bytes, piece.offset)
            row.resident_bytes = -part
            later = any(p.slot == piece.slot for p in whole[index + 1 :])
            row.is_last = not later and not self._mappings.has_object(piece.slot)
            if row.is_last:
                del self._mmap_rows[piece.slot]
            self._add_row(order, row)

    def _advise(
        self, order: int, start: int, length: int, advice: int, resident_bytes: int
    ) -> None:
        pieces = self._cut(start, length, resident_bytes)
        for piece in pieces:
            self._mappings.add(replace(piece, since=order))
        for piece, part in share(joined(pieces), resident_bytes):
            row = MappingRow(Op.MADVISE, piece.slot, piece.n_bytes, piece.offset, advice)
            row.resident_bytes = -part
            self._add_row(order, row)

    def _remap(
        self, order: int, old: tuple[int, int, int], start: int, length: int, may_move: bool
    ) -> None:
        if not start:
            return  # it failed, and nothing has changed
        old_start, old_length, resident_bytes = old
        pieces = self._cut(old_start, old_length, resident_bytes)
        if not pieces:
            return  # a mapping that is not recorded
        whole = joined(pieces)
        if len(whole) > 1 or self._mappings.has_object(whole[0].slot):
            self._release(order, pieces, resident_bytes)
            self._map(order, start, length, _READ_WRITE)
            return
        base, identity = start - whole[0].offset, whole[0].slot
        self._mappings.add(Piece(start, start + length, identity, base, order))
        row = MappingRow(Op.MREMAP, identity, length, arg=int(may_move))
        row.resident_bytes = -resident_bytes
        self._add_row(order, row)

    def _touch(self, piece: Piece, n_bytes: int) -> None:
        """The first `n_bytes` of `piece` were written, at once after they were mapped."""
        if n_bytes:
            row = MappingRow(Op.TOUCH, piece.slot, n_bytes, piece.offset)
            row.resident_bytes = n_bytes
            self._add_row(piece.since, row)
            self._mmap_rows[piece.slot].arg = _READ_WRITE

    def _add_row(self, order: int, row: MappingRow) -> None:
        self.rows.setdefault(order, []).append(row)

    def _finish(self, resident: Resident | None) -> None:
        """What is still there at the end."""
        if resident is None:
            self.n_assumed = len(self._live)
        else:
            for address, (_, size) in list(self._live.items()):
                self._settle_block(address, resident.bytes_in(address, address + size))
        for piece in self._mappings:
            if resident is not None:
                self._touch(piece, resident.bytes_in(piece.start, piece.end))
            elif not self._mmap_rows[piece.slot].is_reserve:
                self._touch(piece, piece.n_bytes)


def _interesting(events: np.ndarray) -> Iterator[tuple[int, ...]]:
    """The events about big blocks and mappings: kind, detail, thread, address, size, order."""
    kind, size = events["kind"], events["size"]
    gives_back = (kind == Kind.FREE) | (kind == Kind.REALLOC_BEGIN)
    allocates = (kind >= Kind.MALLOC) & (kind < Kind.MMAP) & ~gives_back
    mask = (gives_back & (events["detail"] == 1)) | (allocates & (size >= BIG_BYTES))
    chosen = events[mask | (kind >= Kind.MMAP)]
    names = [name for name in EVENT.names or () if name not in ("entry", "ticks")]
    yield from zip(*(chosen[name].tolist() for name in names), strict=True)
