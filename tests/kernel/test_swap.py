"""Little physical memory: which pages go out, and what that costs."""

import pytest

from allocsim import load_policy
from allocsim.check.workloads import mixed
from allocsim.errors import InputError
from allocsim.kernel import Event
from allocsim.kernel.swap import SwappingKernel
from allocsim.policy import with_kernel
from allocsim.simulation import simulate

PAGE = 4096


def counted(kernel: SwappingKernel) -> tuple[int, int]:
    """Pages out, pages back."""
    return kernel.counts[Event.PAGE_SWAPPED], kernel.counts[Event.MAJOR_FAULT]


def by_age(kernel: SwappingKernel, start: int) -> list[int]:
    """Resident pages, counted from `start`, the least recently used first."""
    found, page = [], kernel.oldest
    while page:
        found.append(page - 1 - (kernel.offset(start) >> 12))
        page = kernel.newer[page]
    return found


def test_the_least_recently_used_page_goes_out_and_comes_back_with_its_words():
    kernel = SwappingKernel(memory_pages=3)
    at = kernel.mmap(8 * PAGE)
    for page in range(3):
        kernel.store(at + page * PAGE, 100 + page)
    kernel.load(at)
    kernel.store(at + 3 * PAGE, 103)
    assert by_age(kernel, at) == [2, 0, 3]
    assert counted(kernel) == (1, 0)
    assert kernel.load(at + PAGE) == 101
    assert counted(kernel) == (2, 1)
    assert by_age(kernel, at) == [0, 3, 1]
    assert kernel.minor_faults == 4


@pytest.mark.parametrize("access", ["load_pair", "store_pair", "pop_link", "push_link"])
def test_every_kind_of_access_is_a_use_of_its_page(access):
    kernel = SwappingKernel(memory_pages=3)
    at = kernel.mmap(8 * PAGE)
    for page in range(3):
        kernel.store(at + page * PAGE, 100 + page)
    getattr(kernel, access)(at, *(7, 8)[: 2 * (access in ("store_pair", "push_link"))])
    assert by_age(kernel, at) == [1, 2, 0]


def test_more_than_memory_is_never_resident():
    kernel = SwappingKernel(memory_pages=5)
    at = kernel.mmap(100 * PAGE)
    kernel.touch(at, 100 * PAGE)
    assert kernel.resident_pages == kernel.peak_resident_pages == 5
    assert counted(kernel) == (95, 0)
    assert by_age(kernel, at) == [95, 96, 97, 98, 99]
    kernel.read(at, 100 * PAGE)
    assert counted(kernel) == (195, 100)


def test_zero_pages_need_no_memory():
    kernel = SwappingKernel(memory_pages=2)
    kernel.read(kernel.mmap(100 * PAGE), 100 * PAGE)
    assert (kernel.resident_pages, *counted(kernel)) == (0, 0, 0)


def test_lazily_freed_pages_are_dropped_instead_of_swapped():
    kernel = SwappingKernel(memory_pages=2)
    at = kernel.mmap(8 * PAGE)
    kernel.store(at, 7)
    kernel.madvise(at, PAGE, 8)
    kernel.touch(at + PAGE, 2 * PAGE)
    assert counted(kernel) == (0, 0)
    assert kernel.load(at) == 0


def test_unmapping_forgets_pages_in_memory_and_in_swap():
    kernel = SwappingKernel(memory_pages=2)
    at = kernel.mmap(4 * PAGE)
    for page in range(4):
        kernel.store(at + page * PAGE, 7)
    kernel.munmap(at, 4 * PAGE)
    assert (kernel.resident_pages, by_age(kernel, at)) == (0, [])
    assert kernel.mmap(4 * PAGE) == at
    assert [kernel.load(at + page * PAGE) for page in range(4)] == [0] * 4
    assert counted(kernel) == (2, 0)


def test_moving_a_mapping_takes_pages_in_memory_and_in_swap_along():
    kernel = SwappingKernel(memory_pages=2)
    kernel.mmap(PAGE)
    at = kernel.mmap(4 * PAGE)
    for page in range(4):
        kernel.store(at + page * PAGE, 100 + page)
    to = kernel.mremap(at, 4 * PAGE, 8 * PAGE)
    assert to != at
    assert by_age(kernel, to) == [2, 3]
    assert [kernel.load(to + page * PAGE) for page in range(4)] == [100, 101, 102, 103]


def test_with_enough_memory_nothing_differs():
    policy = load_policy("best_fit")
    plain = simulate(mixed(), policy, mode="interpreted").totals
    swapping = with_kernel(policy, SwappingKernel, memory_pages=1 << 20)
    totals = simulate(mixed(), swapping, mode="interpreted").totals
    assert {k: v for k, v in totals.items() if v == v} == {k: v for k, v in plain.items() if v == v}


@pytest.mark.parametrize("memory_pages", [8, 20])
def test_contents_survive_swapping(memory_pages):
    policy = with_kernel(load_policy("first_fit"), SwappingKernel, memory_pages=memory_pages)
    result = simulate(mixed(), policy, referee=True)
    assert result.totals["major_faults"] > 0
    assert result.totals["resident_peak_bytes"] == memory_pages * PAGE


def test_no_memory_at_all_is_refused():
    with pytest.raises(InputError, match="memory_pages"):
        SwappingKernel(memory_pages=0)


@pytest.mark.slow
def test_swapping_compiled_equals_interpreted():
    policy = with_kernel(load_policy("best_fit"), SwappingKernel, memory_pages=20)
    totals = [simulate(mixed(), policy, mode=m).totals for m in ("interpreted", "compiled")]
    assert totals[0]["major_faults"] > 0
    assert {k: v for k, v in totals[0].items() if v == v} == {
        k: v for k, v in totals[1].items() if v == v
    }
