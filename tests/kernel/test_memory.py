"""Page states, faults and words: what an access does to a page, and what the kernel forgets."""

import pytest

from allocsim.errors import SimulationError
from allocsim.kernel import Event, Kernel

PAGE = 4096
FAULTS = (Event.READ_FAULT, Event.WRITE_FAULT, Event.COPY_FAULT)


@pytest.fixture
def kernel() -> Kernel:
    return Kernel()


def faults(kernel: Kernel) -> tuple[int, ...]:
    return tuple(kernel.counts[event] for event in FAULTS)


# ---- three page states
def test_mapping_alone_makes_nothing_resident(kernel):
    kernel.mmap(100 * PAGE)
    assert (kernel.resident_pages, faults(kernel)) == (0, (0, 0, 0))


def test_a_first_write_is_one_fault_and_one_resident_page(kernel):
    at = kernel.mmap(2 * PAGE)
    kernel.store(at, 7)
    kernel.store(at + 8, 8)
    assert (kernel.resident_pages, faults(kernel)) == (1, (0, 1, 0))
    assert kernel.counts[Event.PAGE_ZEROED] == 1


def test_a_first_read_maps_the_zero_page_and_the_write_after_it_faults_again(kernel):
    at = kernel.mmap(PAGE)
    assert kernel.load(at) == 0
    assert (kernel.resident_pages, faults(kernel)) == (0, (1, 0, 0))
    kernel.store(at, 7)
    assert (kernel.resident_pages, faults(kernel)) == (1, (1, 0, 1))
    assert kernel.minor_faults == 2


@pytest.mark.parametrize(
    ("offset", "n_bytes", "pages"), [(0, 1, 1), (4095, 2, 2), (8, 3 * PAGE, 4)]
)
def test_touching_faults_on_every_page_of_the_range(kernel, offset, n_bytes, pages):
    at = kernel.mmap(8 * PAGE)
    kernel.touch(at + offset, n_bytes)
    assert (kernel.resident_pages, faults(kernel)) == (pages, (0, pages, 0))


def test_touching_a_mixed_range_faults_where_it_must(kernel):
    at = kernel.mmap(6 * PAGE)
    kernel.read(at + PAGE, PAGE)  # zero page
    kernel.store(at + 3 * PAGE, 1)  # written
    kernel.touch(at, 6 * PAGE)
    assert faults(kernel) == (1, 5, 1)
    assert kernel.resident_pages == 6


def test_copying_reads_its_source(kernel):
    at = kernel.mmap(4 * PAGE)
    kernel.copy(at, at + 2 * PAGE, 2 * PAGE)
    assert faults(kernel) == (2, 2, 0)
    assert kernel.counts[Event.BYTE_COPIED] == 2 * PAGE


def test_pages_given_back_are_absent_and_empty_again(kernel):
    at = kernel.mmap(2 * PAGE)
    kernel.store(at, 7)
    kernel.madvise(at, PAGE, 4)
    assert kernel.resident_pages == 0
    assert kernel.load(at) == 0
    assert faults(kernel) == (1, 1, 0)


def test_lazily_freed_pages_stay_until_written_without_a_fault(kernel):
    at = kernel.mmap(2 * PAGE)
    kernel.store(at, 7)
    kernel.madvise(at, 2 * PAGE, 8)
    assert kernel.resident_pages == 1
    kernel.store(at + 8, 8)
    assert kernel.load(at) == 7
    assert faults(kernel) == (0, 1, 0)


@pytest.mark.parametrize("rewritten", [False, True])
def test_lazily_freed_words_do_not_come_back_in_a_new_mapping(kernel, rewritten):
    at = kernel.mmap(PAGE)
    kernel.store(at, 7)
    kernel.madvise(at, PAGE, 8)
    if rewritten:
        kernel.touch(at, PAGE)
    kernel.munmap(at, PAGE)
    assert kernel.mmap(PAGE) == at
    assert kernel.load(at) == 0
    assert kernel.resident_pages == 0


def test_lazily_freed_words_move_with_their_mapping(kernel):
    at = kernel.mmap(PAGE)
    kernel.store(at, 7)
    kernel.madvise(at, PAGE, 8)
    kernel.mmap(PAGE)
    to = kernel.mremap(at, PAGE, 64 * PAGE)
    assert to != at
    assert kernel.load(to) == 7


def test_the_peak_of_resident_pages_is_kept(kernel):
    at = kernel.mmap(10 * PAGE)
    kernel.touch(at, 10 * PAGE)
    kernel.munmap(at, 10 * PAGE)
    assert (kernel.resident_pages, kernel.peak_resident_pages) == (0, 10)


# ---- what is counted
def test_near_and_far_accesses_are_told_apart_by_cache_lines(kernel):
    at = kernel.mmap(64 * PAGE)
    kernel.load(at)
    kernel.load(at + 56)
    assert (kernel.accesses, kernel.far_accesses) == (2, 1)
    kernel.load(at + 32 * 1024)  # the same line of a direct-mapped cache of 32 KiB
    kernel.load(at)
    assert (kernel.accesses, kernel.far_accesses) == (4, 3)


def test_faults_of_one_access_are_a_run(kernel):
    at = kernel.mmap(20 * PAGE)
    runs = []
    for act in (
        lambda: kernel.touch(at, 5 * PAGE),
        lambda: kernel.touch(at, 5 * PAGE),  # nothing faults
        lambda: kernel.touch(at + 4 * PAGE, 3 * PAGE),
        lambda: kernel.store(at + 10 * PAGE, 1),
        lambda: kernel.read(at + 12 * PAGE, 2 * PAGE),
        lambda: kernel.touch(at + 12 * PAGE, 4 * PAGE),  # copies, then new pages
    ):
        act()
        runs.append(kernel.counts[Event.FAULT_RUN])
    assert runs == [1, 1, 2, 3, 4, 5]


def test_bytes_are_far_in_pages_not_written_for_4_mib(kernel):
    at, others = kernel.mmap(2 * PAGE), kernel.mmap(6 << 20)
    kernel.touch(at, 2 * PAGE)
    kernel.touch(others, 2 << 20)
    kernel.touch(at, 100)
    assert kernel.counts[Event.FAR_BYTE_WRITTEN] == 0  # new pages, and one that is still known
    kernel.touch(others + (2 << 20), 4 << 20)
    kernel.touch(at + 50, PAGE)
    kernel.touch(at + PAGE, 100)
    assert kernel.counts[Event.FAR_BYTE_WRITTEN] == PAGE


def test_pages_are_released_cold_where_the_page_table_was_not_used_lately(kernel):
    far = kernel.mmap(32 << 20)
    kernel.touch(far, 32 << 20)

    def cold(page, n=1):
        before = kernel.counts[Event.COLD_RELEASE]
        kernel.munmap(far + page * PAGE, n * PAGE)
        return kernel.counts[Event.COLD_RELEASE] - before

    line = far // PAGE % 8  # entries of eight pages share a line of the page table
    assert cold(8192 - 100) == 0  # its fault was among the latest
    assert cold(8192 - 140) == 1  # of 16 lines
    assert [cold(16 - line), cold(17 - line), cold(23 - line), cold(24 - line)] == [1, 0, 0, 1]
    assert cold(800 - line, 100) == 1  # once for a call
    assert cold(800 - line, 100) == 0  # nothing is left there
    kernel.read(far + (1600 - line) * PAGE, 1)  # no fault: the kernel has nothing to do
    assert cold(1601 - line) == 1


def test_the_kernel_hands_out_first_what_it_got_back_last(kernel):
    def cold(at, n):
        before = kernel.counts[Event.COLD_PAGE]
        kernel.touch(at, n * PAGE)
        return kernel.counts[Event.COLD_PAGE] - before

    areas = [kernel.mmap(600 * PAGE) for _ in range(4)]
    assert cold(areas[0], 600) == 600  # nothing was given back yet
    kernel.munmap(areas[0], 600 * PAGE)
    assert cold(areas[1], 500) == 0
    assert cold(areas[1] + 500 * PAGE, 100) == 88  # 512 of the 600 were in a cache
    assert cold(areas[2], 600) == 600
    kernel.madvise(areas[1], 10 * PAGE, 4)
    kernel.read(areas[3], PAGE)
    assert cold(areas[3], 12) == 2  # the page of zeros is no page of its own


def test_pages_not_written_for_long_are_cold_when_they_come_back(kernel):
    def again(n_bytes):
        """How many of four pages are cold after n_bytes of others were written."""
        old, others = kernel.mmap(4 * PAGE), kernel.mmap(n_bytes)
        kernel.touch(old, 4 * PAGE)
        kernel.touch(others, n_bytes)
        kernel.munmap(old, 4 * PAGE)
        before = kernel.counts[Event.COLD_PAGE]
        kernel.touch(kernel.mmap(4 * PAGE), 4 * PAGE)
        return kernel.counts[Event.COLD_PAGE] - before

    assert again(8 << 20) == 0
    assert again(16 << 20) == 4


def test_writes_are_counted_where_their_size_changes(kernel):
    """To a power of two, since memset takes another path then."""
    at = kernel.mmap(4 * PAGE)
    counted = []
    for size in (100, 127, 128, 128, 255, 100, 1, 5000):
        kernel.touch(at, size)
        counted.append(kernel.counts[Event.WRITE])
    assert counted == [1, 1, 2, 2, 2, 3, 4, 5]


def test_clearing_and_copying_are_counted_alike(kernel):
    at = kernel.mmap(4 * PAGE)
    kernel.zero(at, 100)
    kernel.zero(at, 0)
    kernel.copy(at + PAGE, at, 120)
    assert kernel.counts[Event.FILL] == 1
    kernel.copy(at + PAGE, at, 130)
    assert (kernel.counts[Event.FILL], kernel.counts[Event.WRITE]) == (2, 0)


def test_a_block_is_distant_if_calls_were_not_at_its_page_lately(kernel):
    def distant(*pages):
        before = kernel.counts[Event.DISTANT_BLOCK]
        for page in pages:
            kernel.visit(page * PAGE + 16)
        return kernel.counts[Event.DISTANT_BLOCK] - before

    assert distant(1000, 1000, 1001, 1000) == 2
    assert distant(*range(1000, 1256)) == 254
    assert distant(*range(1000, 1256)) == 0
    assert distant(1256, 1000) == 2  # they meet in a slot
    assert distant(1001 + 16384, 1001) == 1  # arenas do not


@pytest.mark.parametrize(("n", "flushed"), [(1, 1), (33, 33), (34, 0)])
def test_translations_of_few_pages_are_forgotten_one_by_one(kernel, n, flushed):
    at = kernel.mmap(n * PAGE)
    kernel.touch(at, n * PAGE)
    moved = kernel.mremap(at, n * PAGE, 2 * n * PAGE)
    assert moved != at
    assert kernel.counts[Event.PAGE_FLUSHED] == flushed
    kernel.munmap(moved, 2 * n * PAGE)
    assert kernel.counts[Event.PAGE_FLUSHED] == 2 * flushed
    kernel.munmap(kernel.mmap(PAGE), PAGE)  # nothing there
    assert kernel.counts[Event.PAGE_FLUSHED] == 2 * flushed


def test_bytes_of_new_pages_are_near_however_many(kernel):
    kernel.touch(kernel.mmap(40 << 20), 40 << 20)
    assert kernel.counts[Event.FAR_BYTE_WRITTEN] == 0


def test_bytes_are_near_in_pages_that_the_kernel_has_just_cleared(kernel):
    at, others = kernel.mmap(2 * PAGE), kernel.mmap(16 << 20)
    kernel.touch(at, 2 * PAGE)
    kernel.touch(others, 16 << 20)
    kernel.madvise(at, 2 * PAGE, 4)
    kernel.store(at, 1)
    kernel.touch(at, 2 * PAGE)
    assert kernel.counts[Event.FAR_BYTE_WRITTEN] == 0


# ---- forbidden addresses
@pytest.mark.parametrize(
    ("address", "said"),
    [
        (0, "reserved low range"),
        (8, "reserved low range"),
        (0x7FFF_FFFF_F000, "user mode may not use"),
        (0x7FFF_FFFF_FFF8, "user mode may not use"),
        (-(2**47), "user mode may not use"),
        (0x4000_0000_0000, "outside the simulated memory"),
        (0x5555_5555_9000, "segmentation fault at"),  # the heap before the first brk
    ],
)
def test_accesses_outside_the_programs_memory_are_segmentation_faults(kernel, address, said):
    for access in (kernel.load, lambda at: kernel.store(at, 1), lambda at: kernel.touch(at, 1)):
        with pytest.raises(SimulationError, match=said):
            access(address)


def test_protection_is_checked_at_the_first_access(kernel):
    nothing, read_only = kernel.mmap(PAGE, 0), kernel.mmap(PAGE, 1)
    for address in (nothing, read_only):
        with pytest.raises(SimulationError, match=f"segmentation fault at {address:#x}"):
            kernel.store(address, 1)
    with pytest.raises(SimulationError):
        kernel.load(nothing)
    assert kernel.load(read_only) == 0


def test_touching_past_the_end_of_a_mapping_is_a_segmentation_fault(kernel):
    first, guard = kernel.mmap(2 * PAGE), kernel.mmap(PAGE, 0)
    low = min(first, guard)
    kernel.munmap(guard, PAGE)
    at = kernel.mmap(PAGE, 0)
    assert at == low
    with pytest.raises(SimulationError):
        kernel.touch(at, 3 * PAGE)
