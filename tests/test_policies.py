"""The shipped fit policies: which hole they choose, and what their heap of boundary tags keeps."""

import random

import pytest

from allocsim import Kind, load_policy
from allocsim.driver import driver_for
from allocsim.errors import InputError, SimulationError
from allocsim.kernel import Event
from allocsim.policy import Policy

FITS = ("first_fit", "next_fit", "best_fit")


def policy(name: str, **parameters: int) -> Policy:
    return driver_for(load_policy(name), **parameters).policy


def with_holes(name: str, *sizes: int) -> tuple[Policy, list[int]]:
    """A heap whose holes are chunks of these sizes, kept apart by live blocks, freed in order."""
    heap = policy(name)
    holes = []
    for size in sizes:
        holes.append(heap.malloc(size - 8))
        heap.malloc(8)
    for hole in holes:
        heap.free(hole)
    return heap, holes


def ranges(heap: Policy) -> list[tuple[int, int, int]]:
    heap.ranges.n = 0
    heap.walk()
    r = heap.ranges
    return sorted((r.address[i], r.size_bytes[i], r.kind[i]) for i in range(r.n))


def holes_of(heap: Policy) -> dict[int, int]:
    """Block address that a hole would give -> its size as a chunk."""
    return {start + 8: size for start, size, kind in ranges(heap) if kind in (Kind.FREE, Kind.TOP)}


# ---- which hole
def test_first_fit_takes_the_lowest_hole_that_fits():
    heap, holes = with_holes("first_fit", 64, 256, 128, 512)
    assert heap.malloc(100) == holes[1]


def test_best_fit_takes_the_smallest_hole_that_fits():
    heap, holes = with_holes("best_fit", 64, 256, 128, 512)
    assert heap.malloc(100) == holes[2]


def test_best_fit_takes_the_last_freed_among_equals():
    heap, holes = with_holes("best_fit", 128, 128, 128)
    assert heap.malloc(100) == holes[2]


def test_next_fit_goes_on_where_it_left_off():
    heap, holes = with_holes("next_fit", 128, 128, 128)
    heap.malloc(8 << 10)  # only the end of the heap has room: the rover stands behind it, at the
    assert [heap.malloc(100) for _ in range(3)] == holes  # longest waiting hole


def test_next_fit_tries_the_rest_of_a_split_hole_last():
    heap, (big, other) = with_holes("next_fit", 1024, 128)
    heap.malloc(8 << 10)
    assert [heap.malloc(100) for _ in range(2)] == [big, other]


def random_use(heap: Policy, n_ops: int, before_malloc) -> None:
    rng = random.Random(7)
    live: list[int] = []
    for _ in range(n_ops):
        if live and rng.random() < 0.5:
            heap.free(live.pop(rng.randrange(len(live))))
        else:
            size = int(4000 ** rng.random())
            expected = before_malloc(max((size + 23) & -16, 32))
            live.append(heap.malloc(size))
            if expected:
                assert live[-1] in expected


def test_first_fit_against_a_search_of_all_holes():
    heap = policy("first_fit")

    def lowest(need: int) -> list[int]:
        return [a for a, size in sorted(holes_of(heap).items()) if size >= need][:1]

    random_use(heap, 600, lowest)


def test_best_fit_against_a_search_of_all_holes():
    heap = policy("best_fit")

    def smallest(need: int) -> list[int]:
        fitting = {a: size for a, size in holes_of(heap).items() if size >= need}
        return [a for a, size in fitting.items() if size == min(fitting.values())]

    random_use(heap, 600, smallest)


@pytest.mark.parametrize("order", ["up", "down", "random"])
def test_first_fit_needs_few_steps_among_thousands_of_holes(order):
    heap = policy("first_fit")
    blocks = [heap.malloc(40) for _ in range(4000)]
    every_second = blocks[::2]
    if order == "down":
        every_second.reverse()
    elif order == "random":
        random.Random(1).shuffle(every_second)
    before = heap.kernel.accesses
    for block in every_second:
        heap.free(block)
    again = [heap.malloc(40) for _ in every_second]
    assert again == sorted(every_second)
    assert (heap.kernel.accesses - before) / (2 * len(again)) < 150


# ---- the heap
@pytest.mark.parametrize("name", FITS)
def test_neighbours_merge_into_one_hole(name):
    heap = policy(name)
    blocks = [heap.malloc(100 + i) for i in range(50)]
    random.Random(3).shuffle(blocks)
    for block in blocks:
        heap.free(block)
    assert len(holes_of(heap)) == 1


@pytest.mark.parametrize("name", FITS)
def test_ranges_cover_the_heap_without_gaps(name):
    heap = policy(name)
    blocks = [heap.malloc(i * 37) for i in range(40)]
    for block in blocks[::3]:
        heap.free(block)
    found = ranges(heap)
    assert [a + size for a, size, _ in found[:-1]] == [a for a, _, _ in found[1:]]
    used = {a: size for a, size, kind in found if kind == Kind.USED}
    live = [block for i, block in enumerate(blocks) if i % 3]
    assert sorted(used) == live
    assert all(used[block] == heap.usable_size(block) for block in live)


@pytest.mark.parametrize("name", FITS)
def test_realloc_grows_into_the_hole_above_and_shrinks_in_place(name):
    heap = policy(name)
    block, above, _guard = heap.malloc(100), heap.malloc(200), heap.malloc(8)
    heap.free(above)
    assert heap.realloc(block, 250) == block
    assert heap.realloc(block, 20) == block
    assert heap.usable_size(block) == 24
    assert heap.realloc(block, 5000) != block


@pytest.mark.parametrize("name", FITS)
@pytest.mark.parametrize("alignment", [16, 32, 64, 4096, 1 << 16])
def test_aligned_blocks_waste_no_more_than_a_chunk(name, alignment):
    heap = policy(name)
    heap.malloc(24)
    block = heap.aligned_alloc(alignment, 100)
    assert block % alignment == 0
    assert 100 <= heap.usable_size(block) < 100 + 32


@pytest.mark.parametrize("name", FITS)
def test_heap_grows_by_whole_pages_of_at_least_grow_bytes(name):
    heap = policy(name, grow_bytes=1 << 20)
    for _ in range(20):
        heap.malloc(40_000)
    assert heap.kernel.counts[Event.BRK] == 1
    heap.malloc(3 << 20)
    assert heap.kernel.counts[Event.BRK] == 2
    assert heap.kernel.break_ % 4096 == 0


@pytest.mark.parametrize("name", FITS)
def test_a_scarce_heap_grows_by_what_is_needed_and_no_more(name):
    heap = policy(name, grow_bytes=1 << 20)
    heap.kernel.limit_data_bytes = 256 << 10
    assert heap.malloc(200 << 10) != 0
    assert heap.malloc(200 << 10) == 0
    assert heap.malloc(100) != 0


@pytest.mark.parametrize("name", FITS)
def test_freeing_twice_is_an_error_with_the_address(name):
    heap = policy(name)
    block, _guard = heap.malloc(100), heap.malloc(8)
    heap.free(block)
    with pytest.raises(SimulationError, match=f"not live, at {block:#x}"):
        heap.free(block)


@pytest.mark.parametrize("name", FITS)
def test_an_unknown_parameter_is_refused(name):
    with pytest.raises(InputError, match="grow_byte"):
        policy(name, grow_byte=4096)
