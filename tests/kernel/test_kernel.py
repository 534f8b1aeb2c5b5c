"""System calls: where Linux puts mappings, and when it refuses."""

import pytest

from allocsim.errors import SimulationError
from allocsim.kernel import Event, Kernel, Layout

PAGE, MIB = 4096, 1 << 20
EINVAL, EFAULT, ENOMEM = -22, -14, -12
DONTNEED = 4


@pytest.fixture
def kernel() -> Kernel:
    return Kernel()


def laid_out(**options) -> Kernel:
    kernel = Kernel()
    kernel.lay_out(Layout.standard(**options))
    return kernel


# ---- brk
def test_the_break_moves_by_bytes_and_maps_whole_pages(kernel):
    start = kernel.start_brk
    assert kernel.sbrk(100) == start
    assert (kernel.sbrk(0), kernel.mapped_bytes) == (start + 100, PAGE)
    assert kernel.sbrk(PAGE - 100) == start + 100
    assert kernel.mapped_bytes == PAGE
    assert kernel.counts[Event.BRK] == 2


def test_sbrk_of_nothing_is_no_system_call(kernel):
    kernel.sbrk(0)
    assert kernel.counts[Event.BRK] == 0


def test_shrinking_the_heap_releases_whole_pages(kernel):
    start = kernel.sbrk(10 * PAGE)
    kernel.touch(start, 10 * PAGE)
    kernel.sbrk(-(3 * PAGE) - 1)
    assert kernel.resident_pages == 7
    assert kernel.mapped_bytes == 7 * PAGE
    assert kernel.counts[Event.BRK_SHRINK] == 1
    with pytest.raises(SimulationError):
        kernel.load(start + 8 * PAGE)


def test_the_break_does_not_go_below_its_start(kernel):
    assert kernel.brk(kernel.start_brk - 1) == kernel.start_brk
    assert kernel.sbrk(-PAGE) == ENOMEM


def test_a_page_stays_free_between_heap_and_the_next_mapping(kernel):
    start = kernel.sbrk(PAGE)
    fence = kernel.mmap(PAGE, 3, start + 4 * PAGE)
    assert fence == start + 4 * PAGE
    assert kernel.sbrk(2 * PAGE) == start + PAGE
    assert kernel.sbrk(PAGE) == ENOMEM
    assert kernel.sbrk(0) == start + 3 * PAGE


# ---- mmap
def test_mappings_go_top_down_and_adjacent_ones_merge(kernel):
    areas = kernel.areas.n_areas
    first, second = kernel.mmap(PAGE), kernel.mmap(2 * PAGE)
    assert second == first - 2 * PAGE
    assert kernel.areas.n_areas == areas + 1
    kernel.mmap(PAGE, 1)
    assert kernel.areas.n_areas == areas + 2


def test_the_first_gap_from_the_top_that_fits_is_used(kernel):
    blocks = [kernel.mmap(3 * PAGE) for _ in range(5)]
    kernel.munmap(blocks[1], 3 * PAGE)
    kernel.munmap(blocks[3], 3 * PAGE)
    assert kernel.mmap(4 * PAGE) < blocks[4]
    assert kernel.mmap(PAGE) == blocks[1] + 2 * PAGE
    assert kernel.mmap(3 * PAGE) == blocks[3]


def test_legacy_mappings_go_up():
    kernel = laid_out(legacy=True)
    first, second = kernel.mmap(PAGE), kernel.mmap(PAGE)
    assert second == first + PAGE
    kernel.munmap(first, PAGE)
    assert kernel.mmap(PAGE) == first


@pytest.mark.parametrize("legacy", [False, True])
def test_multiples_of_2_mib_are_aligned_to_2_mib(legacy):
    kernel = laid_out(legacy=legacy)
    kernel.mmap(PAGE)
    assert kernel.mmap(2 * MIB) % (2 * MIB) == 0
    assert kernel.mmap(6 * MIB) % (2 * MIB) == 0


def test_an_already_aligned_result_is_moved_by_2_mib(kernel):
    low = kernel.mmap(PAGE)
    kernel.mmap(low % (2 * MIB))  # the next mapping would end at a multiple of 2 MiB
    floor = low - low % (2 * MIB)
    assert kernel.mmap(2 * MIB) == floor - 4 * MIB + 2 * MIB
    other = Kernel()
    low = other.mmap(PAGE)
    other.mmap(low % (2 * MIB) + PAGE)
    assert other.mmap(2 * MIB) == floor - 4 * MIB


def test_lengths_that_are_no_multiple_of_2_mib_are_not_aligned(kernel):
    first = kernel.mmap(PAGE)
    assert kernel.mmap(2 * MIB + PAGE) == first - 2 * MIB - PAGE


def test_a_free_hint_is_taken_and_a_used_one_is_not(kernel):
    at = kernel.mmap(PAGE)
    hint = at - 100 * PAGE
    assert kernel.mmap(PAGE, 3, hint) == hint
    assert kernel.mmap(PAGE, 3, hint) == at - PAGE


@pytest.mark.parametrize("length", [0, -1])
def test_mapping_nothing_is_invalid(kernel, length):
    assert kernel.mmap(length) == EINVAL


# ---- munmap, mprotect
def test_unmapping_the_middle_splits_an_area(kernel):
    at = kernel.mmap(3 * PAGE)
    areas = kernel.areas.n_areas
    assert kernel.munmap(at + PAGE, PAGE) == 0
    assert kernel.areas.n_areas == areas + 1
    kernel.touch(at, PAGE)
    with pytest.raises(SimulationError):
        kernel.touch(at + PAGE, 1)


def test_unmapping_what_is_not_mapped_is_no_error(kernel):
    at = kernel.mmap(PAGE)
    assert kernel.munmap(at - 10 * PAGE, PAGE) == 0
    assert kernel.mapped_bytes == PAGE


@pytest.mark.parametrize(("offset", "length"), [(1, PAGE), (0, 0), (0, 1 << 48)])
def test_impossible_ranges_are_invalid(kernel, offset, length):
    assert kernel.munmap(kernel.mmap(PAGE) + offset, length) == EINVAL


def test_protection_splits_and_merges_areas(kernel):
    at = kernel.mmap(4 * PAGE)
    areas = kernel.areas.n_areas
    assert kernel.mprotect(at + PAGE, PAGE, 1) == 0
    assert kernel.areas.n_areas == areas + 2
    with pytest.raises(SimulationError):
        kernel.store(at + PAGE, 1)
    assert kernel.mprotect(at + PAGE, PAGE, 3) == 0
    assert kernel.areas.n_areas == areas
    assert kernel.mprotect(at - PAGE, 2 * PAGE, 1) == ENOMEM


# ---- mremap
def test_growing_in_place_where_there_is_room(kernel):
    at = kernel.mmap(4 * PAGE)
    kernel.munmap(at + 2 * PAGE, 2 * PAGE)
    assert kernel.mremap(at, 2 * PAGE, 4 * PAGE, 0) == at
    assert kernel.mapped_bytes == 4 * PAGE


def test_growing_without_room_fails_or_moves_pages_and_words(kernel):
    kernel.mmap(PAGE)
    at = kernel.mmap(2 * PAGE)
    kernel.store(at + 8, 42)
    assert kernel.mremap(at, 2 * PAGE, 3 * PAGE, 0) == ENOMEM
    to = kernel.mremap(at, 2 * PAGE, 3 * PAGE, 1)
    assert to != at
    assert kernel.load(to + 8) == 42
    assert (kernel.resident_pages, kernel.minor_faults) == (1, 1)
    assert kernel.counts[Event.PAGE_MOVED] == 1
    assert kernel.mapped_bytes == 4 * PAGE
    with pytest.raises(SimulationError):
        kernel.load(at)


def test_shrinking_unmaps_the_tail(kernel):
    at = kernel.mmap(4 * PAGE)
    kernel.touch(at, 4 * PAGE)
    assert kernel.mremap(at, 4 * PAGE, PAGE) == at
    assert (kernel.mapped_bytes, kernel.resident_pages) == (PAGE, 1)


def test_remapping_what_is_not_mapped_is_a_fault(kernel):
    at = kernel.mmap(PAGE)
    assert kernel.mremap(at, 2 * PAGE, 3 * PAGE) == EFAULT
    assert kernel.mremap(at - 100 * PAGE, PAGE, 2 * PAGE) == EFAULT
    assert kernel.mremap(at + 8, PAGE, 2 * PAGE) == EINVAL


# ---- madvise
def test_cutting_an_area_in_two_and_filling_the_hole_are_counted(kernel):
    def counts():
        return kernel.counts[Event.AREA_CUT], kernel.counts[Event.AREA_JOINED]

    lowest = [kernel.mmap(PAGE) for _ in range(5)][-1]
    assert counts() == (0, 0)  # each grew the one before
    kernel.munmap(lowest, PAGE)
    kernel.munmap(lowest + 4 * PAGE, PAGE)
    assert counts() == (0, 0)  # ends are cut off
    kernel.munmap(lowest + 2 * PAGE, PAGE)
    assert counts() == (1, 0)
    assert kernel.mmap(PAGE) == lowest + 4 * PAGE
    assert kernel.mmap(PAGE) == lowest + 2 * PAGE
    assert counts() == (1, 1)


def test_advice_on_holes_is_refused(kernel):
    at = kernel.mmap(PAGE)
    assert kernel.madvise(at - PAGE, 2 * PAGE, DONTNEED) == ENOMEM
    assert kernel.madvise(at + 8, PAGE, DONTNEED) == EINVAL
    assert kernel.madvise(at, PAGE, DONTNEED) == 0


# ---- limits
def test_the_data_limit_ends_the_heap_but_not_mappings(kernel):
    kernel.limit_data_bytes = 10 * PAGE
    assert kernel.sbrk(10 * PAGE) > 0
    assert kernel.sbrk(1) == ENOMEM
    assert kernel.mmap(MIB) > 0


def test_the_address_space_limit_counts_what_was_there_at_the_start(kernel):
    kernel.limit_as_bytes = kernel.start_bytes + 10 * PAGE
    assert kernel.mmap(6 * PAGE) > 0
    assert kernel.sbrk(5 * PAGE) == ENOMEM
    assert kernel.sbrk(4 * PAGE) > 0
    assert kernel.mmap(PAGE) == ENOMEM
    kernel.sbrk(-PAGE)
    assert kernel.mmap(PAGE) > 0


def test_the_number_of_areas_is_limited(kernel):
    kernel.limit_map_count = kernel.areas.n_areas + 4
    made = [kernel.mmap(PAGE, i % 2) for i in range(10)]
    served = [at for at in made if at > 0]
    assert made[len(served) :] == [ENOMEM] * (10 - len(served))
    assert 4 <= len(served) <= 5
    kernel.munmap(served[0], PAGE)
    kernel.munmap(served[1], PAGE)
    assert kernel.mmap(PAGE) > 0


def test_splitting_an_area_beyond_the_limit_is_refused(kernel):
    at = kernel.mmap(3 * PAGE)
    kernel.limit_map_count = kernel.areas.n_areas
    assert kernel.munmap(at + PAGE, PAGE) == ENOMEM
    assert kernel.mprotect(at + PAGE, PAGE, 0) == ENOMEM
    assert kernel.munmap(at, PAGE) == 0


def test_one_request_beyond_memory_and_swap_is_refused(kernel):
    kernel.overcommit_bytes = 1 << 30
    assert kernel.mmap(1 << 31) == ENOMEM
    assert kernel.mmap(1 << 30) > 0


# ---- 32 bits
def test_heap_and_mappings_meet_in_32_bits():
    kernel = laid_out(bits=32)
    made = []
    while (at := kernel.mmap(64 * MIB)) > 0:
        made.append(at)
    assert at == ENOMEM
    grown = 0
    while kernel.sbrk(MIB) > 0:
        grown += 1
    assert grown < 64
    assert kernel.sbrk(0) < min(at for at in made if at > kernel.start_brk)
    assert 2 << 30 < kernel.mapped_bytes < 3 << 30


def test_kernel_addresses_and_the_reserved_range_fail_in_32_bits():
    kernel = laid_out(bits=32)
    for address, said in ((0xC000_0000, "user mode"), (0xFFFF_FFF8, "user mode"), (0, "reserved")):
        with pytest.raises(SimulationError, match=said):
            kernel.load(address)


def test_a_hint_in_the_reserved_range_is_moved_to_its_end():
    kernel = laid_out(bits=32)
    assert kernel.mmap(PAGE, 3, PAGE) == 0x10000


# ---- log, locks, time
def test_system_calls_are_logged_with_their_operation(kernel):
    kernel.logging, kernel.op = 1, 7
    at = kernel.mmap(PAGE)
    kernel.munmap(at, PAGE)
    assert kernel.n_logged == 2
    assert list(kernel.log[:9]) == [7, 9, 0, PAGE, 3, 0x22, 0xFFFFFFFF, 0, at]
    assert list(kernel.log[9:18]) == [7, 11, at, PAGE, 0, 0, 0, 0, 0]


def test_a_lock_that_is_free_later_is_waited_for(kernel):
    kernel.clock_ps = 1_000_000
    kernel.unlock(3)
    released = kernel.now_ps()
    kernel.clock_ps = 0
    assert not kernel.trylock(3)
    kernel.lock(3)
    assert kernel.now_ps() >= released
    assert kernel.waited_ps > 0


def test_every_counted_event_takes_its_unit_cost(kernel):
    before = kernel.now_ps()
    at = kernel.mmap(PAGE)
    kernel.touch(at, 100)
    unit = kernel.costs.unit_ps
    fault = (Event.WRITE_FAULT, Event.FAULT_RUN, Event.PAGE_ZEROED, Event.COLD_PAGE)
    events = (Event.MMAP, *fault, Event.WRITE)
    spent = sum(unit[event] for event in events) + 100 * unit[Event.BYTE_WRITTEN]
    assert kernel.now_ps() - before == spent
    kernel.touch(kernel.mmap(4 << 20), 4 << 20)
    before = kernel.now_ps()
    kernel.touch(at, 100)
    assert kernel.now_ps() - before == unit[Event.WRITE] + 100 * (
        unit[Event.BYTE_WRITTEN] + unit[Event.FAR_BYTE_WRITTEN]
    )
