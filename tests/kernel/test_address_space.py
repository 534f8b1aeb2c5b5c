"""The table of areas against a model that knows every page by itself."""

import random

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from allocsim.kernel.address_space import ENOMEM, VmaTable

PAGES = 400
FLOOR, CEILING = 20, 380
FILE = 1 << 3  # a kind that never merges


class AreasAgainstPages(RuleBasedStateMachine):
    """The model: a dictionary page -> (attributes, number of the mapping that may not merge)."""

    def __init__(self) -> None:
        super().__init__()
        self.table = VmaTable()
        self.pages: dict[int, tuple[int, int]] = {}
        self.mappings = 0

    @rule(
        lo=st.integers(0, PAGES - 1),
        n=st.integers(1, 30),
        attributes=st.sampled_from([0, 1, 3, FILE]),
    )
    def map(self, lo, n, attributes):
        if any(page in self.pages for page in range(lo, lo + n)):
            return
        self.mappings += attributes >= 8
        self.table.map(lo, lo + n, attributes)
        own = self.mappings if attributes >= 8 else 0
        self.pages |= dict.fromkeys(range(lo, lo + n), (attributes, own))

    @rule(lo=st.integers(0, PAGES), n=st.integers(1, 60))
    def unmap(self, lo, n):
        gone = [page for page in range(lo, lo + n) if self.pages.pop(page, None)]
        holes = self.table.n_areas + self.table.splits(lo, lo + n)
        self.table.unmap(lo, lo + n)
        assert self.table.unmapped_bytes == len(gone)
        assert self.table.n_areas <= holes

    @rule(lo=st.integers(0, PAGES), n=st.integers(1, 40), protection=st.sampled_from([0, 1, 3]))
    def protect(self, lo, n, protection):
        pages = range(lo, lo + n)
        mapped = all(page in self.pages for page in pages)
        assert self.table.covers(lo, lo + n) == mapped
        if mapped and all(self.pages[page][1] == 0 for page in pages):
            self.table.protect(lo, lo + n, protection)
            self.pages |= dict.fromkeys(pages, (protection, 0))

    @rule(n=st.integers(1, 120))
    def gaps(self, n):
        fits = [
            lo
            for lo in range(FLOOR, CEILING - n + 1)
            if not any(page in self.pages for page in range(lo, lo + n))
        ]
        assert self.table.highest_gap(n, FLOOR, CEILING) == (fits[-1] if fits else ENOMEM)
        assert self.table.lowest_gap(n, FLOOR, CEILING) == (fits[0] if fits else ENOMEM)

    @rule(lo=st.integers(0, PAGES), n=st.integers(1, 30))
    def lookups(self, lo, n):
        slot = self.table.find(lo)
        assert (slot >= 0) == (lo in self.pages)
        assert slot < 0 or self.table.lo[slot] <= lo < self.table.hi[slot]
        assert self.table.is_free(lo, lo + n) != any(p in self.pages for p in range(lo, lo + n))

    @precondition(lambda self: self.pages)
    @invariant()
    def areas_are_the_runs_of_equal_pages(self):
        assert areas_of(self.table) == runs_of(self.pages)


def areas_of(table: VmaTable) -> list[tuple[int, int, int]]:
    found, cursor = [], table.first_above(-1)
    while cursor != table.end():
        slot = table.slot(cursor)
        found.append((table.lo[slot], table.hi[slot], table.attributes[slot]))
        cursor = table.after(cursor)
    assert len(found) == table.n_areas
    return found


def runs_of(pages: dict[int, tuple[int, int]]) -> list[tuple[int, int, int]]:
    runs: list[list] = []
    for page in sorted(pages):
        if runs and runs[-1][1] == page and runs[-1][2] == pages[page]:
            runs[-1][1] += 1
        else:
            runs.append([page, page + 1, pages[page]])
    return [(lo, hi, attributes) for lo, hi, (attributes, _) in runs]


AreasAgainstPages.TestCase.settings = settings(
    max_examples=25, stateful_step_count=60, deadline=None
)
TestAreasAgainstPages = AreasAgainstPages.TestCase


@pytest.mark.parametrize("n", [65, 5000])
def test_many_areas_stay_ordered_and_searchable(n):
    """More areas than a block of the table holds, and more than 64 blocks."""
    table, order = VmaTable(), list(range(n))
    random.Random(1).shuffle(order)
    for i in order:
        table.map(i * 10, i * 10 + 5, i % 2)
    assert [lo for lo, _, _ in areas_of(table)] == [i * 10 for i in range(n)]
    assert table.find(10 * (n - 1) + 4) >= 0
    assert table.find(10 * (n - 1) + 5) == -1
    assert table.highest_gap(6, 0, 10 * n) == ENOMEM
    table.unmap(400, 405)
    assert table.highest_gap(6, 0, 10 * n) == 410 - 6
    assert table.lowest_gap(6, 0, 10 * n) == 395
    for i in order:
        table.unmap(i * 10, i * 10 + 5)
    assert table.n_areas == 0
    assert table.highest_gap(10 * n, 0, 10 * n) == 0


def test_a_gap_search_may_start_inside_an_area():
    table = VmaTable()
    table.map(50, 150, 0)
    assert table.highest_gap(10, 0, 100) == 40
    assert table.lowest_gap(10, 60, 200) == 150
