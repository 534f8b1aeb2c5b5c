"""The program's own mappings while a recording is read: which addresses belong to which object."""

import bisect
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace

PAGE_BYTES = 4096


@dataclass(frozen=True)
class Piece:
    """A mapped range of addresses, from `start` up to `end`, all of one object.

    slot: the object's. base: the address of the object's first byte. since: order number of the
    event after which the piece's pages were touched: its mmap, mremap, or an madvise that emptied
    it; negative if they had been touched before.
    """

    start: int
    end: int
    slot: int
    base: int
    since: int

    @property
    def n_bytes(self) -> int:
        """Its length."""
        return self.end - self.start

    @property
    def offset(self) -> int:
        """Where it lies in its object, in bytes."""
        return self.start - self.base


class Mappings:
    """All pieces, by address. Addresses are rounded out to whole pages, as the kernel does."""

    def __init__(self) -> None:
        self._starts: list[int] = []
        self._pieces: dict[int, Piece] = {}
        self._count: dict[int, int] = {}

    def add(self, piece: Piece) -> None:
        """Map `piece`; its range must be free."""
        end = -(-piece.end // PAGE_BYTES) * PAGE_BYTES
        bisect.insort(self._starts, piece.start)
        self._pieces[piece.start] = replace(piece, end=end)
        self._count[piece.slot] = self._count.get(piece.slot, 0) + 1

    def cut(self, start: int, length: int) -> list[Piece]:
        """Take out the range and return the pieces that were there, in order of address."""
        if length <= 0:
            return []
        end = start + -(-length // PAGE_BYTES) * PAGE_BYTES
        taken = []
        for piece in self._overlapping(start, end):
            self._remove(piece)
            if piece.start < start:
                self.add(replace(piece, end=start))
            if piece.end > end:
                self.add(replace(piece, start=end))
            taken.append(replace(piece, start=max(piece.start, start), end=min(piece.end, end)))
        return taken

    def has_object(self, slot: int) -> bool:
        """Whether anything of the object is mapped."""
        return slot in self._count

    def __iter__(self) -> Iterator[Piece]:
        return iter([self._pieces[start] for start in self._starts])

    def _overlapping(self, start: int, end: int) -> list[Piece]:
        first = max(0, bisect.bisect_right(self._starts, start) - 1)
        last = bisect.bisect_left(self._starts, end)
        pieces = (self._pieces[at] for at in self._starts[first:last])
        return [piece for piece in pieces if piece.end > start]

    def _remove(self, piece: Piece) -> None:
        del self._starts[bisect.bisect_left(self._starts, piece.start)]
        del self._pieces[piece.start]
        self._count[piece.slot] -= 1
        if not self._count[piece.slot]:
            del self._count[piece.slot]


def overlap(piece: Piece, start: int, end: int) -> tuple[int, int]:
    """The part of a range of addresses that lies in `piece`, as offset in the object and length."""
    first, last = max(piece.start, start), min(piece.end, end)
    return first - piece.base, max(0, last - first)


def joined(pieces: Iterable[Piece]) -> list[Piece]:
    """Pieces of one object that touch each other as one."""
    result: list[Piece] = []
    for piece in pieces:
        if result and result[-1].slot == piece.slot and result[-1].end == piece.start:
            result[-1] = replace(result[-1], end=piece.end)
        else:
            result.append(piece)
    return result
