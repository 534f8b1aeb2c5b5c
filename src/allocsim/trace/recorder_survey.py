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
from allocsim.trace.recorder_log import EVENT, Kind, Resident
from allocsim.trace.recorder_mappings import Mappings, Piece, joined, overlap
from allocsim.trace.recorder_process import Process

BIG_BYTES = 16_384
"""From this size on the recorder looks at the page map when a block is freed."""

Runs = list[tuple[int, int]]
"""Ranges of addresses that are resident, from start up to end."""

_WRITABLE, _RESERVE = 2, 8
_READ, _READ_WRITE = 1, 3
_TOUCHED = -1
"""In place of the order number since when a piece is untouched."""


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
        self._runs: dict[int, Runs] = {}
        self._moving: dict[int, tuple[int, int, Runs]] = {}
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
            self._runs.setdefault(thread, []).append((address, address + size))
        elif kind == Kind.MMAP:
            self._map(order, address, size, detail)
        elif kind == Kind.MUNMAP:
            self._unmap(order, address, size, self._runs.pop(thread, []))
        elif kind == Kind.MADVISE:
            self._advise(order, address, size, detail, self._runs.pop(thread, []))
        elif kind == Kind.MREMAP_BEGIN:
            self._moving[thread] = (address, size, self._runs.pop(thread, []))
        elif kind == Kind.MREMAP_END and thread in self._moving:
            self._remap(order, self._moving.pop(thread), address, size, bool(detail))

    def _settle_block(self, address: int, resident_bytes: int) -> None:
        order, size = self._live.pop(address, (0, 0))
        if resident_bytes < size:
            self.written[order] = resident_bytes

    def _map(self, order: int, start: int, length: int, detail: int) -> None:
        self._unmap(order, start, length, [])  # what went away unseen
        protection = _READ_WRITE if detail & _WRITABLE else detail & _READ
        row = MappingRow(Op.MMAP, order, length, arg=protection)
        row.is_reserve = bool(detail & _RESERVE) or not protection
        self._mmap_rows[order] = row
        self._add_row(order, row)
        self._mappings.add(Piece(start, start + length, order, start, order))

    def _unmap(self, order: int, start: int, length: int, runs: Runs) -> None:
        self._release(order, self._cut(start, length, runs), runs)

    def _cut(self, start: int, length: int, runs: Runs) -> list[Piece]:
        """Take a range out; what of it is resident was touched some time before."""
        pieces = self._mappings.cut(start, length)
        for piece in pieces:
            self._touch(piece, runs)
        return pieces

    def _release(self, order: int, pieces: list[Piece], runs: Runs) -> None:
        """Add the munmap rows of pieces that were cut out."""
        whole = joined(pieces)
        for index, piece in enumerate(whole):
            row = self._row_of_piece(Op.MUNMAP, piece, runs)
            later = any(p.slot == piece.slot for p in whole[index + 1 :])
            row.is_last = not later and not self._mappings.has_object(piece.slot)
            if row.is_last:
                del self._mmap_rows[piece.slot]
            self._add_row(order, row)

    def _row_of_piece(self, op: Op, piece: Piece, runs: Runs) -> MappingRow:
        """A row that takes from `piece` what is resident."""
        row = MappingRow(op, piece.slot, piece.n_bytes, piece.offset)
        row.resident_bytes = -sum(overlap(piece, *run)[1] for run in runs)
        return row

    def _advise(self, order: int, start: int, length: int, advice: int, runs: Runs) -> None:
        pieces = self._cut(start, length, runs)
        for piece in pieces:
            self._mappings.add(replace(piece, since=order))
        for piece in joined(pieces):
            row = self._row_of_piece(Op.MADVISE, piece, runs)
            row.arg = advice
            self._add_row(order, row)

    def _remap(
        self, order: int, old: tuple[int, int, Runs], start: int, length: int, may_move: bool
    ) -> None:
        if not start:
            return  # it failed, and nothing has changed
        old_start, old_length, runs = old
        pieces = self._cut(old_start, old_length, runs)
        if not pieces:
            return  # a mapping that is not recorded
        whole = joined(pieces)
        if len(whole) > 1 or self._mappings.has_object(whole[0].slot):
            self._release(order, pieces, runs)
            self._map(order, start, length, _WRITABLE)
            return
        row = self._row_of_piece(Op.MREMAP, whole[0], runs)
        row.size, row.offset, row.arg = length, 0, int(may_move)
        self._add_row(order, row)
        base = start - whole[0].offset
        self._mappings.add(Piece(start, start + length, row.identity, base, order))
        shift, end = start - old_start, start + length
        for run_start, run_end in [(a + shift, min(b + shift, end)) for a, b in runs]:
            row.resident_bytes += max(0, run_end - run_start)
            self._mark_touched(run_start, run_end)

    def _mark_touched(self, start: int, end: int) -> None:
        """These bytes moved with their mapping: nothing touches them first."""
        for piece in self._mappings.cut(start, end - start):
            self._mappings.add(replace(piece, since=_TOUCHED))

    def _touch(self, piece: Piece, runs: Runs) -> None:
        """What of `runs` lies in `piece` was written, at once after it was mapped."""
        if piece.since == _TOUCHED:
            return
        for run in runs:
            offset, n_bytes = overlap(piece, *run)
            if n_bytes:
                row = MappingRow(Op.TOUCH, piece.slot, n_bytes, offset)
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
                self._touch(piece, resident.runs_in(piece.start, piece.end))
            elif not self._mmap_rows[piece.slot].is_reserve:
                self._touch(piece, [(piece.start, piece.end)])


def _interesting(events: np.ndarray) -> Iterator[tuple[int, ...]]:
    """The events about big blocks and mappings: kind, detail, thread, address, size, order."""
    kind, size = events["kind"], events["size"]
    gives_back = (kind == Kind.FREE) | (kind == Kind.REALLOC_BEGIN)
    allocates = (kind >= Kind.MALLOC) & (kind < Kind.MMAP) & ~gives_back
    mask = (gives_back & (events["detail"] == 1)) | (allocates & (size >= BIG_BYTES))
    chosen = events[mask | (kind >= Kind.MMAP)]
    names = [name for name in EVENT.names or () if name not in ("entry", "ticks")]
    yield from zip(*(chosen[name].tolist() for name in names), strict=True)
