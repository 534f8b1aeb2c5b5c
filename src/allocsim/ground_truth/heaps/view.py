"""What can be seen of a heap of glibc's, real or modelled: its chunks, and its lists of free ones.

Both kinds of heap hold the same words at the same places, so both are read by the same code; only
the way to a word, and to the heads of lists, differs.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

from allocsim.glibc.chunks import FLAGS, LARGE_BYTES, PREVIOUS_IN_USE, SIZE, SMALLEST_CHUNK_BYTES
from allocsim.glibc.heaps import DESCRIPTION_BYTES, HEAP_BEFORE, USED_BYTES
from allocsim.glibc.tcache import N_CLASSES

Word = Callable[[int], int]
"""Reads the 8 bytes at an address."""

USED, FREE, TOP, FENCE = "used", "free", "top", "fence"
MOST_LISTED = 100_000
"""Chunks of one list that are followed: a broken list may go in circles."""


@dataclass(frozen=True)
class Shape:
    """How a version of the library keeps what it needs besides chunks.

    state_bytes: of an arena's own variables. cache_bytes, n_classes: of a thread cache's structure,
    and how many lists start in it. has_fast_bins: whether an arena has these.
    """

    state_bytes: int
    cache_bytes: int
    n_classes: int
    has_fast_bins: bool


@dataclass(frozen=True)
class Chunk:
    """A chunk in a heap: used, free, the top, or the fence that ends a heap.

    Chunks in thread caches and fast bins are `used` for their neighbours, hence here.
    """

    address: int
    size_bytes: int
    state: str


@dataclass
class HeapView:
    """A heap at one moment.

    heaps: the chunks in order by the heap's first address. lists: chunks' addresses in the lists'
    order by the list's name; empty lists are left out. mapped: size of those chunks with a mapping
    of their own that were asked for, by address. notes: what could not be read.
    """

    heaps: dict[int, tuple[Chunk, ...]] = field(default_factory=dict)
    lists: dict[str, tuple[int, ...]] = field(default_factory=dict)
    mapped: dict[int, int] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)

    def add_list(self, name: str, chunks: tuple[int, ...]) -> None:
        """Take note of a list unless it is empty."""
        if chunks:
            self.lists[name] = chunks


def chunks_between(word: Word, first: int, end: int) -> Iterator[Chunk]:
    """The chunks of a heap from the address of its first one to its end."""
    at = first
    while at + SMALLEST_CHUNK_BYTES <= end:
        size = word(at + SIZE) & ~FLAGS
        if size < SMALLEST_CHUNK_BYTES or at + size > end:
            yield Chunk(at, size, FENCE)
            return
        if at + size == end:
            yield Chunk(at, size, TOP)
            return
        used = word(at + size + SIZE) & PREVIOUS_IN_USE
        yield Chunk(at, size, USED if used else FREE)
        at += size


def chunks_of_heap(word: Word, heap: int, shape: Shape) -> tuple[Chunk, ...]:
    """The chunks of one of the 64 MiB heaps of the arenas beside the main one."""
    state_bytes = 0 if word(heap + HEAP_BEFORE) else shape.state_bytes
    first = (heap + DESCRIPTION_BYTES + state_bytes + 15) & -16
    return tuple(chunks_between(word, first, heap + word(heap + USED_BYTES)))


def bin_name(number: int) -> str:
    """A bin in words: 1 is the unsorted list, 2-63 hold one size each."""
    if number == 1:
        return "unsorted list"
    if number < LARGE_BYTES >> 4:
        return f"small bin of {number << 4}"
    return f"large bin {number}"


def fast_name(index: int) -> str:
    return f"fast bin of {(index << 4) + SMALLEST_CHUNK_BYTES}"


def cache_name(thread: int, index: int) -> str:
    if index < N_CLASSES:
        return f"thread {thread}'s cache of {(index << 4) + SMALLEST_CHUNK_BYTES}"
    return f"thread {thread}'s cache from {LARGE_BYTES << index - N_CLASSES}"


def arena_prefix(first_heap: int) -> str:
    """What stands before the names of an arena's lists: nothing for the main arena (0)."""
    return f"arena {first_heap:#x}: " if first_heap else ""
