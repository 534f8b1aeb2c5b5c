"""Huge pages: what Linux 6.18 was seen to do, step by step."""

import pytest

from allocsim.kernel import Event
from allocsim.kernel.huge_pages import (
    ADVISE_HUGE,
    ADVISE_SMALL,
    ALWAYS,
    MADVISE,
    NEVER,
    HugePageKernel,
)
from allocsim.kernel.kernel import DONTNEED, FREE

PAGE, HUGE = 4096, 2 << 20


class Steps:
    """A kernel with some aligned megabytes; each step tells its faults and change of residency."""

    def __init__(self, setting=ALWAYS, n_bytes=2 * HUGE, **parameters):
        self.kernel = HugePageKernel(huge_pages=setting, **parameters)
        self.at = self.kernel.mmap(n_bytes)
        assert self.at % HUGE == 0

    def __call__(self, call, *arguments):
        kernel = self.kernel
        before = kernel.minor_faults, kernel.resident_pages
        getattr(kernel, call)(*arguments)
        return kernel.minor_faults - before[0], kernel.resident_pages - before[1]


def test_a_write_maps_a_whole_huge_page():
    step = Steps()
    assert step("touch", step.at + 5000, 1) == (1, 512)
    assert step("touch", step.at, HUGE) == (0, 0)
    assert step("store", step.at + HUGE, 7) == (1, 512)
    assert step.kernel.counts[Event.HUGE_FAULT] == 2
    assert step.kernel.counts[Event.WRITE_FAULT] == 0


def test_a_touch_of_many_is_a_fault_for_each_huge_page():
    step = Steps(n_bytes=4 * HUGE)
    assert step("touch", step.at + PAGE, 3 * HUGE) == (4, 4 * 512)


def test_dropping_a_page_splits_and_it_comes_back_small():
    step = Steps()
    step("touch", step.at, 1)
    assert step("madvise", step.at + 2 * PAGE, PAGE, DONTNEED) == (0, -1)
    assert step("touch", step.at + 2 * PAGE, 1) == (1, 1)
    assert step("madvise", step.at, HUGE, DONTNEED) == (0, -512)
    assert step.kernel.counts[Event.PAGE_RELEASED] == 513  # none of them huge any more
    assert step("touch", step.at + 100, 1) == (1, 512)


def test_a_huge_page_that_goes_as_a_whole_is_one():
    step = Steps()
    step("touch", step.at, 2 * HUGE)
    assert step("madvise", step.at, HUGE, DONTNEED) == (0, -512)
    assert step("munmap", step.at, 2 * HUGE) == (0, -512)
    counts = step.kernel.counts
    assert (counts[Event.HUGE_PAGE_RELEASED], counts[Event.PAGE_RELEASED]) == (2, 0)


def test_unmapping_a_part_leaves_small_pages():
    step = Steps()
    step("touch", step.at + HUGE, 1)
    assert step("munmap", step.at + HUGE + HUGE // 2, HUGE // 2) == (0, -256)
    assert step("munmap", step.at + HUGE, HUGE // 2) == (0, -256)
    counts = step.kernel.counts
    assert (counts[Event.HUGE_PAGE_RELEASED], counts[Event.PAGE_RELEASED]) == (0, 512)


def test_reading_maps_the_huge_page_of_zeros_and_a_write_then_a_huge_page():
    step = Steps()
    assert step("load", step.at) == (1, 0)
    assert step("read", step.at, HUGE) == (0, 0)
    assert step("store", step.at + 8 * PAGE, 1) == (1, 512)
    assert step("touch", step.at, HUGE) == (0, 0)


def test_a_region_that_is_not_whole_in_its_area_or_has_pages_gets_small_ones():
    step = Steps()
    step("mprotect", step.at + PAGE, PAGE, 1)
    assert step("touch", step.at, 1) == (1, 1)
    step = Steps()
    step("madvise", step.at, HUGE, ADVISE_SMALL)
    assert step("touch", step.at, 1) == (1, 1)
    step("madvise", step.at, HUGE, ADVISE_HUGE)
    assert step("touch", step.at + PAGE, 1) == (1, 1)


@pytest.mark.parametrize(
    ("setting", "advice", "resident"),
    [
        (NEVER, ADVISE_HUGE, 1),
        (MADVISE, 0, 1),
        (MADVISE, ADVISE_HUGE, 512),
        (MADVISE, ADVISE_SMALL, 1),
        (ALWAYS, 0, 512),
        (ALWAYS, ADVISE_SMALL, 1),
    ],
)
def test_setting_and_advice_decide_together(setting, advice, resident):
    step = Steps(setting)
    step("madvise", step.at, 2 * HUGE, advice)
    assert step("touch", step.at, 1) == (1, resident)


def test_advice_goes_with_its_mapping():
    step = Steps(MADVISE)
    step("madvise", step.at, 2 * HUGE, ADVISE_HUGE)
    step("munmap", step.at, 2 * HUGE)
    assert step.kernel.mmap(2 * HUGE) == step.at
    assert step("touch", step.at, 1) == (1, 1)


def test_huge_pages_move_as_one_where_they_stay_aligned():
    step = Steps()
    step("touch", step.at, 2 * HUGE)
    kernel = step.kernel
    kernel.mmap(PAGE)
    target = kernel.mremap(step.at, 2 * HUGE, 4 * HUGE)
    assert target != step.at
    assert target % HUGE == 0
    assert kernel.counts[Event.PAGE_MOVED] == 2
    assert step("munmap", target, 4 * HUGE) == (0, -1024)
    assert kernel.counts[Event.HUGE_PAGE_RELEASED] == 2


def test_lazily_freed_parts_split_but_stay():
    step = Steps()
    step("touch", step.at, 1)
    assert step("madvise", step.at + 3 * PAGE, 4 * PAGE, FREE) == (0, 0)
    step("munmap", step.at, HUGE)
    assert step.kernel.counts[Event.PAGE_RELEASED] == 512


def test_khugepaged_fills_up_what_has_few_enough_holes():
    step = Steps(n_bytes=4 * HUGE, max_ptes_none=500)
    kernel = step.kernel
    kernel.huge_pages = NEVER
    step("touch", step.at, 11 * PAGE)  # 501 holes: too many
    step("touch", step.at + HUGE, 12 * PAGE)
    step("store", step.at + HUGE, 77)
    kernel.huge_pages = ALWAYS
    before = kernel.resident_pages
    assert kernel.collapse(4096) == 1
    assert kernel.resident_pages - before == 500
    assert kernel.load(step.at + HUGE) == 77
    assert step("munmap", step.at + HUGE, HUGE) == (0, -512)
    assert kernel.counts[Event.HUGE_PAGE_RELEASED] == 1


def test_khugepaged_goes_on_where_it_stopped_and_starts_again_at_the_end():
    step = Steps(n_bytes=4 * HUGE)
    kernel = step.kernel
    kernel.huge_pages = NEVER
    for i in range(4):
        step("touch", step.at + i * HUGE, 1)
    kernel.huge_pages = ALWAYS
    assert [kernel.collapse(1024) for _ in range(2)] == [2, 2]
    kernel.madvise(step.at, PAGE, DONTNEED)
    assert kernel.collapse(4096) == 1
    assert kernel.collapsed == 5


def test_khugepaged_leaves_alone_what_is_empty_or_not_allowed():
    step = Steps(MADVISE)
    step("touch", step.at, PAGE)
    assert step.kernel.collapse(1 << 20) == 0
    step("madvise", step.at, 2 * HUGE, ADVISE_HUGE)
    assert step.kernel.collapse(1 << 20) == 1
