"""The vertical axis of a map: the addresses that were ever used, without the gaps between them."""

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np

from allocsim.kernel.backing import PAGE_BYTES, PAGE_SHIFT

SMALLEST_GAP_PAGES = 16
"""Narrower gaps are drawn."""

MOST_SEGMENTS = 48

MOST_ROWS = 1024
"""Rows of tiles that the axis is divided into."""


@dataclass(frozen=True)
class AddressAxis:
    """Segments of the address space, one above the other; the same at all times of a run.

    lo, hi: their addresses in bytes, ascending, whole pages. base: each one's place on the axis, in
    bytes. row_bytes: the height of a tile, a power of two; a segment starts with a row of its own.
    length: of the axis, in bytes.
    """

    lo: np.ndarray
    hi: np.ndarray
    base: np.ndarray
    row_bytes: int
    length: int

    @classmethod
    def of(cls, ranges: Iterable[tuple[np.ndarray, np.ndarray]]) -> "AddressAxis":
        """The axis of all ranges [lo, hi) of addresses."""
        los, his = zip(*ranges, strict=True)
        lo = np.concatenate(los) & -PAGE_BYTES
        hi = (np.concatenate(his) + PAGE_BYTES - 1) & -PAGE_BYTES
        gap = SMALLEST_GAP_PAGES * PAGE_BYTES
        lo, hi = merged(lo, hi, gap)
        while len(lo) > MOST_SEGMENTS:
            gap *= 2
            lo, hi = merged(lo, hi, gap)
        return cls._laid_out(lo, hi)

    @classmethod
    def _laid_out(cls, lo: np.ndarray, hi: np.ndarray) -> "AddressAxis":
        row_bytes = 16
        while (int((hi - lo).sum()) > MOST_ROWS * row_bytes) and row_bytes < 1 << 40:
            row_bytes *= 2
        unit = max(row_bytes, PAGE_BYTES)
        length = -(-(hi - lo) // unit) * unit
        return cls(lo, hi, np.cumsum(length) - length, row_bytes, int(length.sum()))

    @property
    def n_pages(self) -> int:
        """Pages on the axis, those between a segment's end and its last row's included."""
        return self.length >> PAGE_SHIFT

    @property
    def n_rows(self) -> int:
        """Rows of tiles."""
        return self.length // self.row_bytes

    def place(self, address: np.ndarray) -> np.ndarray:
        """Addresses, each within a segment, as places on the axis in bytes."""
        at = np.searchsorted(self.lo, address, side="right") - 1
        return address - self.lo[at] + self.base[at]


def merged(lo: np.ndarray, hi: np.ndarray, gap: int) -> tuple[np.ndarray, np.ndarray]:
    """Ranges [lo, hi) in any order as disjoint ones, ascending; those up to `gap` apart joined."""
    order = np.argsort(lo, kind="stable")
    lo, hi = lo[order], np.maximum.accumulate(hi[order])
    starts = np.ones(len(lo), bool)
    starts[1:] = lo[1:] > hi[:-1] + gap
    return lo[starts], hi[np.append(starts[1:], True)[: len(hi)]]
