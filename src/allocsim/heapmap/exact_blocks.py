"""Which blocks of a long run a page holds one by one, beside its tiles."""

from dataclasses import dataclass

import numpy as np

from allocsim.heapmap.blocks import Blocks

BUDGET_BYTES = 6_000_000
"""What the blocks of all maps of a page may take, deflated."""

WINDOW_OPS = 40_000
"""Around the largest live memory, where all blocks of a long run are held."""

PROBED = 100_000
"""How many blocks are packed to see what one takes."""


@dataclass(frozen=True)
class ExactBlocks:
    """rows: of the blocks that are held. window: first op and end of a span of ops in which those
    are all; the whole run where nothing was left out."""

    rows: np.ndarray
    window: tuple[int, int]


def choose_blocks(
    blocks: Blocks, n_ops: int, peak_op: int, budget_bytes: int, bytes_each: float
) -> ExactBlocks:
    """All blocks if they fit; else those around `peak_op`, and of the others the largest by
    bytes x ops. bytes_each: what a block takes, about."""
    most = int(budget_bytes / bytes_each)
    if len(blocks) <= most:
        return ExactBlocks(np.arange(len(blocks)), (0, n_ops))
    start = max(0, peak_op - WINDOW_OPS // 2)
    stop = min(n_ops, start + WINDOW_OPS)
    in_window = (blocks.born < stop) & (blocks.died > start)
    weight = _weight(blocks)
    weight[in_window] = np.inf
    return ExactBlocks(_largest(weight, most), (start, stop))


def largest_rows(blocks: Blocks, most: int) -> np.ndarray:
    """The rows of the `most` largest blocks by bytes x ops, ascending."""
    return _largest(_weight(blocks), most)


def _weight(blocks: Blocks) -> np.ndarray:
    """Small blocks, which have headers, too, count a little more."""
    return (blocks.died - blocks.born).astype(np.float64) * (blocks.size_bytes + 64.0)


def _largest(weight: np.ndarray, most: int) -> np.ndarray:
    if most >= len(weight):
        return np.arange(len(weight))
    return np.sort(np.argpartition(-weight, most)[:most])
