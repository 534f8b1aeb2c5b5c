"""Words of metadata: what is stored is what is loaded, wherever the host keeps it."""

from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from allocsim.errors import SimulationError
from allocsim.kernel import Kernel
from allocsim.kernel.pages import POISON
from allocsim.kernel.swap import SwappingKernel

PAGE = 4096


@pytest.fixture
def kernel() -> Kernel:
    return Kernel()


@given(
    writes=st.lists(
        st.tuples(
            st.sampled_from([1, 2, 4, 8]), st.integers(0, 63), st.integers(-(2**63), 2**63 - 1)
        ),
        max_size=40,
    )
)
def test_narrow_and_wide_words_share_bytes_as_on_x86(writes):
    kernel = Kernel()
    at = kernel.mmap(PAGE)
    bytes_there = bytearray(512)
    for width, index, value in writes:
        offset = index * width
        kernel.store(at + offset, value, width)
        low = value & ((1 << 8 * width) - 1)
        bytes_there[offset : offset + width] = low.to_bytes(width, "little")
    for width in (1, 2, 4, 8):
        for offset in range(0, 512, width):
            expected = int.from_bytes(
                bytes_there[offset : offset + width], "little", signed=width == 8
            )
            assert kernel.load(at + offset, width) == expected


@pytest.mark.parametrize(("offset", "width"), [(1, 8), (4, 8), (2, 4), (1, 2)])
def test_misaligned_accesses_are_errors(kernel, offset, width):
    at = kernel.mmap(PAGE)
    with pytest.raises(SimulationError, match=f"misaligned access at {at + offset:#x}"):
        kernel.load(at + offset, width)
    with pytest.raises(SimulationError, match="misaligned"):
        kernel.store(at + offset, 1, width)


def test_poison_destroys_what_lay_under_the_programs_writes(kernel):
    at = kernel.mmap(PAGE)
    kernel.store(at + 16, 7)
    kernel.store(at + 800, 9)
    kernel.poison = 1
    kernel.touch(at + 8, 700)
    assert kernel.load(at + 16) == POISON
    assert kernel.load(at) == 0
    assert kernel.load(at + 800) == 9


@pytest.mark.parametrize("offset", [0, 8])
def test_pairs_are_two_accesses(offset):
    """Aligned to 16 or not, they have the values, counts and faults of single accesses."""
    paired, single = Kernel(), Kernel()
    at = paired.mmap(PAGE) + offset
    assert at == single.mmap(PAGE) + offset
    assert paired.load_pair(at) == (single.load(at), single.load(at + 8)) == (0, 0)
    paired.store_pair(at, 3, 4)
    single.store(at, 3)
    single.store(at + 8, 4)
    assert paired.load_pair(at) == (single.load(at), single.load(at + 8)) == (3, 4)
    assert list(paired.ledger()) == list(single.ledger())
    assert paired.minor_faults == single.minor_faults == 2


@given(st.lists(st.integers(0, 511), min_size=1, max_size=6), st.sampled_from(["unmap", "drop"]))
def test_dropped_pages_hold_nothing_wherever_words_were(places, how):
    kernel = Kernel()
    at = kernel.mmap(2 * PAGE)
    for place in places:
        kernel.store(at + 8 * place, place + 1)
    assert all(kernel.peek(at + 8 * place) == place + 1 for place in places)
    if how == "unmap":
        kernel.munmap(at, 2 * PAGE)
        assert kernel.mmap(2 * PAGE) == at
    else:
        kernel.madvise(at, 2 * PAGE, 4)
    assert kernel.resident_pages == 0
    assert all(kernel.load(at + 8 * place) == 0 for place in range(512))


PLACES = st.sampled_from([0, 8, 16, 48, 56, 64, 72, 128, 2048, PAGE - 16, PAGE - 8])
DEEDS = st.tuples(
    st.sampled_from(["store", "pair", "push", "pop", "touch", "plant", "lazy", "drop", "move"]),
    st.integers(0, 2),
    PLACES,
    st.integers(1, 2**40),
)


@pytest.mark.parametrize("memory_pages", [0, 2])
@settings(max_examples=300)
@given(st.lists(DEEDS, min_size=4, max_size=30))
def test_words_are_what_was_stored_last_wherever_the_host_keeps_them(memory_pages, deeds):
    """First lines of pages are kept apart until other words join them; a dictionary is not."""
    kernel = SwappingKernel(memory_pages=memory_pages) if memory_pages else Kernel()
    words: dict[int, int] = {}
    at, n_pages = kernel.mmap(3 * PAGE), 3
    for deed, page, place, value in deeds:
        where = page * PAGE + place
        pair = where & -16
        if deed == "store":
            kernel.store(at + where, value)
            words[where] = value
        elif deed == "pair":
            kernel.store_pair(at + pair, value, value + 1)
            words |= {pair: value, pair + 8: value + 1}
        elif deed == "push":
            kernel.push_link(at + pair, value, value + 1)
            words |= {pair: value, pair + 8: value + 1}
        elif deed == "pop":
            assert kernel.pop_link(at + pair) == words.get(pair, 0)
            words[pair + 8] = 0
        elif deed == "touch":
            kernel.touch(at + where, 1)
        elif deed == "plant":
            kernel.touch(at + where, 1)
            kernel.plant(at + where, value)
            words[where] = value
        elif deed == "lazy" and not memory_pages:  # there they may go
            kernel.madvise(at + page * PAGE, PAGE, 8)
        elif deed == "drop":
            kernel.madvise(at + page * PAGE, PAGE, 4)
            words = {k: v for k, v in words.items() if k // PAGE != page}
        elif deed == "move":
            kernel.mmap(PAGE)  # in the way of growing
            at, n_pages = kernel.mremap(at, n_pages * PAGE, (n_pages + 1) * PAGE), n_pages + 1
    assert all(kernel.load(at + k) == words.get(k, 0) for k in range(0, 3 * PAGE, 8))
    kernel.munmap(at, n_pages * PAGE)
    again = kernel.mmap(n_pages * PAGE)
    for page in range(3):
        kernel.store(again + page * PAGE + 32, 5)
    rest = [k for k in range(0, 3 * PAGE, 8) if k % PAGE != 32]
    assert all(kernel.load(again + k) == 0 for k in rest)


def test_blocks_with_a_mapping_each_take_a_line_of_host_memory_each(kernel):
    """Their headers would take the host 80 MB, if each had a page of it."""

    def anonymous_bytes():
        lines = Path("/proc/self/status").read_text().splitlines()
        return next(int(line.split()[1]) for line in lines if line.startswith("RssAnon")) * 1024

    before = anonymous_bytes()
    for _ in range(20_000):
        at = kernel.mmap(2 * PAGE)
        kernel.store(at + 8, 2 * PAGE | 2)
    assert anonymous_bytes() - before < 20 << 20


def test_peeking_leaves_no_trace(kernel):
    at = kernel.mmap(PAGE)
    kernel.store(at, 7)
    before = (kernel.accesses, kernel.minor_faults, kernel.now_ps())
    assert kernel.peek(at) == 7
    assert kernel.peek(at + 8) == 0
    assert (kernel.accesses, kernel.minor_faults, kernel.now_ps()) == before
