"""A run as an image of tiles: a row is a range of places on the axis, a column a span of ops.

Each plane is an array of bytes by (row, column).
"""

from dataclasses import dataclass

import numpy as np

from allocsim.heapmap.address_axis import AddressAxis
from allocsim.heapmap.blocks import Blocks
from allocsim.heapmap.page_states import Moment, PagePeriods, PageState
from allocsim.kernel.backing import PAGE_SHIFT
from allocsim.numba_cache import njit_cached

MOST_COLUMNS = 2048
LIVE_STEPS = 63
PAGE_STEPS = 15
AGE_STEPS = 62

CLASS_TOPS = np.array([64, 256, 1024, 4096, 32768, 131072], np.int64)
"""The largest size of each class of blocks but the last."""

OWN_CLASS = len(CLASS_TOPS) + 1
"""The class of the program's own mappings."""

MOST_THREAD_COLOURS = 8


def size_class(blocks: Blocks) -> np.ndarray:
    """Each block's class: its place in CLASS_TOPS, one more for larger blocks, OWN_CLASS."""
    found = np.searchsorted(CLASS_TOPS, blocks.size_bytes)
    return np.where(blocks.own, OWN_CLASS, found)


@dataclass(frozen=True)
class Tiles:
    """The grid that planes are drawn on."""

    axis: AddressAxis
    n_ops: int

    @property
    def columns(self) -> int:
        """At most one for each op."""
        return max(1, min(MOST_COLUMNS, self.n_ops))

    @property
    def ops_per_column(self) -> float:
        """How many ops a tile is wide."""
        return max(self.n_ops, 1) / self.columns

    def block_planes(self, blocks: Blocks, n_threads: int) -> dict[str, np.ndarray]:
        """live: the part that is live, in LIVE_STEPS; class: which holds most of that; age: half
        octaves of the mean age in ops of what is live; thread, of several: as class."""
        kinds = {"class": size_class(blocks)}
        if n_threads > 1:
            kinds["thread"] = blocks.thread % MOST_THREAD_COLOURS
        planes = {}
        for name, kind in kinds.items():
            planes[name], total = self._dominant(blocks, kind)
        planes["live"] = self._steps(total, LIVE_STEPS)
        birth = self._area(blocks, blocks.born.astype(np.float64))
        planes["age"] = self._age(birth, total)
        return planes

    def page_planes(self, periods: PagePeriods, moments: list[Moment]) -> dict[str, np.ndarray]:
        """Parts of a tile in PAGE_STEPS: resident and accessible pages in the upper and lower half
        of a byte, and such that are lazy or swapped, and zero."""
        ends = np.append(0, [moment.n_ops for moment in moments])
        parts = {state: self._page_part(periods, ends, (state,)) for state in PageState}
        resident = self._page_part(periods, ends, (PageState.RESIDENT, PageState.LAZY))
        mapped = self._page_part(periods, ends, tuple(PageState))
        rare = np.maximum(parts[PageState.LAZY], parts[PageState.SWAPPED])
        return {"pages": resident << 4 | mapped, "rare": rare << 4 | parts[PageState.ZERO]}

    def _page_part(
        self, periods: PagePeriods, ends: np.ndarray, states: tuple[PageState, ...]
    ) -> np.ndarray:
        """What one moment says holds for the ops since the moment before."""
        kept = np.isin(periods.state, states)
        lo = periods.page[kept] << PAGE_SHIFT
        hi = lo + (periods.n_pages[kept] << PAGE_SHIFT)
        born, died = ends[periods.first[kept]], ends[periods.last[kept]]
        area = self._nothing()
        _add(area, lo, hi, born, died, np.zeros(0), self.axis.row_bytes, self.ops_per_column)
        return self._steps(_summed(area), PAGE_STEPS)

    def _dominant(self, blocks: Blocks, kind: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Which kind of block takes most of each tile, and what all take, in bytes x ops."""
        shape = (self.axis.n_rows, self.columns)
        best, total = np.zeros(shape), np.zeros(shape)
        found = np.zeros(shape, np.uint8)
        for number in np.unique(kind).tolist():
            area = self._area(blocks[kind == number], np.zeros(0))
            found[area > best + 0.5] = number
            np.maximum(best, area, out=best)
            total += area
        return found, total

    def _area(self, blocks: Blocks, weight: np.ndarray) -> np.ndarray:
        area = self._nothing()
        place = self.axis.place(blocks.address)
        end = place + np.maximum(blocks.size_bytes, 1)
        ops = self.ops_per_column
        _add(area, place, end, blocks.born, blocks.died, weight, self.axis.row_bytes, ops)
        return _summed(area)

    def _nothing(self) -> np.ndarray:
        return np.zeros((self.axis.n_rows, self.columns + 2))

    def _steps(self, area: np.ndarray, steps: int) -> np.ndarray:
        """Parts of a tile as 0 to `steps`: 0 only where there is nothing, `steps` where all is."""
        part = area / (self.axis.row_bytes * self.ops_per_column)
        inner = np.clip(np.rint(part * steps), 1, steps - 1)
        inner[part < 1e-9] = 0
        inner[part > 1 - 1e-6] = steps
        return inner.astype(np.uint8)

    def _age(self, birth: np.ndarray, total: np.ndarray) -> np.ndarray:
        middle = (np.arange(self.columns) + 0.5) * self.ops_per_column
        held = total > 0.5
        born = np.divide(birth, total, out=np.zeros_like(birth), where=held)
        age = np.maximum(middle - born, 1)
        return np.where(held, 1 + np.minimum(AGE_STEPS, 2 * np.log2(age)), 0).astype(np.uint8)


def _summed(area: np.ndarray) -> np.ndarray:
    return np.cumsum(area, axis=1)[:, :-2]


@njit_cached
def _add(area, lo, hi, born, died, weight, row_bytes, ops_per_column):
    """Add the bytes x ops that rectangles cover to tiles, as differences along each row.

    `area` has two columns more than the grid. Each rectangle counts `weight` times, if there are
    any weights. Their sum along a row is the area.
    """
    last = area.shape[1] - 3
    for i in range(len(lo)):
        if died[i] <= born[i]:
            continue
        first_column = min(last, int(born[i] / ops_per_column))
        last_column = min(last, int(died[i] / ops_per_column))
        for row in range(lo[i] // row_bytes, (hi[i] - 1) // row_bytes + 1):
            height = min(hi[i], (row + 1) * row_bytes) - max(lo[i], row * row_bytes)
            height = height * (weight[i] if len(weight) else 1.0)
            if first_column == last_column:
                only = height * (died[i] - born[i])
                area[row, first_column] += only
                area[row, first_column + 1] -= only
                continue
            before = height * ((first_column + 1) * ops_per_column - born[i])
            whole = height * ops_per_column
            after = height * (died[i] - last_column * ops_per_column)
            area[row, first_column] += before
            area[row, first_column + 1] += whole - before
            area[row, last_column] += after - whole
            area[row, last_column + 1] -= after
