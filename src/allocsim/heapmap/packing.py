"""Columns of whole numbers as compressed bytes, and where each lies in one long string of them.

A column is stored by the weight of its bytes: all lowest ones first, and so on, in as many as its
largest value needs; then deflated (zlib). A plane's tiles are differences to the left neighbour.
"""

import zlib
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np

from allocsim.heapmap.blocks import Blocks

LEVEL = 6
OVERLAP = 1 << 48
"""Added to `idle` where it is negative: a faulty policy may hand out the same place twice."""


class Packed:
    """Named columns and planes. `directory`: for each, where it starts, its bytes, and its form."""

    def __init__(self) -> None:
        self._raw: dict[str, tuple[bytes, dict[str, int]]] = {}

    def add_column(self, name: str, column: np.ndarray) -> None:
        """Add a column of numbers from 0 to 2^53."""
        values = np.ascontiguousarray(column, np.uint64)
        width = max(1, (int(values.max(initial=0)).bit_length() + 7) // 8)
        by_weight = values.view(np.uint8).reshape(-1, 8)[:, :width].T
        self._raw[name] = np.ascontiguousarray(by_weight).tobytes(), {"width": width}

    def add_plane(self, name: str, plane: np.ndarray) -> None:
        """Add an array of bytes by (row, column)."""
        self._raw[name] = np.diff(plane, axis=1, prepend=np.uint8(0)).tobytes(), {}

    def deflated(self) -> tuple[bytes, dict[str, dict[str, Any]]]:
        """All bytes, and the directory."""
        with ThreadPoolExecutor(2) as pool:  # zlib does without the GIL
            parts = list(pool.map(lambda raw: zlib.compress(raw[0], LEVEL), self._raw.values()))
        directory, at = {}, 0
        for (name, (_, form)), part in zip(self._raw.items(), parts, strict=True):
            directory[name] = {"start": at, "bytes": len(part), **form}
            at += len(part)
        return b"".join(parts), directory


def block_columns(blocks: Blocks, place: np.ndarray) -> dict[str, np.ndarray]:
    """Blocks as columns that deflate well, in order of (place on the axis, born).

    step: from the place of the block before. idle: ops from the death of the block before, if that
    had the same place, else from the start, to `born`. lived: ops.
    """
    order = np.lexsort((blocks.born, place))
    sorted_blocks, place = blocks[order], place[order]
    step = np.diff(place, prepend=0)
    before = np.zeros(len(place), np.int64)
    before[1:] = np.where(step[1:] == 0, sorted_blocks.died[:-1], 0)
    return {
        "step": step,
        "size": sorted_blocks.size_bytes,
        "idle": (sorted_blocks.born - before) % OVERLAP,
        "lived": sorted_blocks.died - sorted_blocks.born,
        "thread": sorted_blocks.thread,
        "slot": sorted_blocks.slot,
        "own": sorted_blocks.own,
    }
