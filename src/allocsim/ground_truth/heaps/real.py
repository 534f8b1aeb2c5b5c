"""The real heap as a `HeapView`, read from outside.

Chunks are walked by their size words. The lists' heads are the allocator's own variables, whose
place no symbol tells: the main arena's are found in the C library's data as the word that holds the
address of the heap's last chunk, the top, behind which the heads of the bins follow; those of other
arenas lie at the start of their first heap. Links of single lists are scrambled with their own
address, which is undone here.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping

from allocsim.glibc.chunks import (
    FLAGS,
    HEADER_BYTES,
    IS_MAPPED,
    N_BINS,
    NEXT,
    PREVIOUS,
    SIZE,
    UNSORTED,
    chunk_bytes,
)
from allocsim.glibc.free_chunks import N_FAST_BINS
from allocsim.glibc.heaps import (
    ARENA,
    DESCRIPTION_BYTES,
    HEAP_BEFORE,
    HEAP_BYTES,
    USABLE_BYTES,
    USED_BYTES,
)
from allocsim.ground_truth.heaps.view import (
    MOST_LISTED,
    TOP,
    HeapView,
    Shape,
    Word,
    arena_prefix,
    bin_name,
    cache_name,
    chunks_between,
    chunks_of_heap,
    fast_name,
)
from allocsim.ground_truth.held import HeldProcess, Unreadable

LOCK_AND_FLAGS_BYTES = 8  # an arena starts with them; behind are fast bins if any, then the top
FAST_BYTES = 88  # fast bins and a flag
LARGEST_DATA_BYTES = 1 << 20  # of a library
WORD_BYTES = 8


def real_view(
    process: HeldProcess,
    shape: Shape,
    structures: Mapping[int, int],
    asked: Iterable[int] = (),
) -> HeapView:
    """All heaps and lists of a stopped program.

    shape: how its library keeps its variables. structures: where the cache of each thread is
    expected. asked: chunks that may have a mapping of their own.
    """
    view = HeapView()
    _add_main(view, process, shape)
    for heap in _arenas_heaps(process):
        view.heaps[heap] = chunks_of_heap(process.word, heap, shape)
        if not process.word(heap + HEAP_BEFORE):
            top = process.word(heap + ARENA) + LOCK_AND_FLAGS_BYTES
            top += FAST_BYTES if shape.has_fast_bins else 0
            _add_lists(view, process.word, shape, top, arena_prefix(heap))
    for thread, structure in structures.items():
        _add_cache(view, process.word, shape, thread, structure)
    for chunk in asked:
        size = _mapped_size(process.word, chunk)
        if size:
            view.mapped[chunk] = size
    return view


def _add_main(view: HeapView, process: HeldProcess, shape: Shape) -> None:
    heap = next((m for m in process.mappings() if m.name == "[heap]"), None)
    if heap is None:
        return
    chunks = view.heaps[heap.low] = tuple(chunks_between(process.word, heap.low, heap.high))
    place = _place_of_top(process, chunks[-1].address) if chunks and chunks[-1].state == TOP else 0
    if place:
        _add_lists(view, process.word, shape, place, arena_prefix(0))
    else:
        view.notes.append("the real main arena's list heads were not found")


def _place_of_top(process: HeldProcess, top: int) -> int:
    """Where the C library keeps the address of the main arena's top, or 0."""
    for mapping in process.mappings():
        if not mapping.mode.startswith("rw") or mapping.name in ("[heap]", "[stack]"):
            continue
        if mapping.high - mapping.low <= LARGEST_DATA_BYTES:
            for at in range(mapping.low, mapping.high, WORD_BYTES):
                if process.word(at) == top and _is_list_head(process.word, at):
                    return at
    return 0


def _is_list_head(word: Word, head: int) -> bool:
    """Whether the list that starts at `head` leads back there."""
    try:
        return word(word(head + PREVIOUS) + NEXT) == head
    except Unreadable:
        return False


def _arenas_heaps(process: HeldProcess) -> Iterator[int]:
    """Where the heaps of the arenas beside the main one start."""
    for mapping in process.mappings():
        if not mapping.mode.startswith("rw") or mapping.name:
            continue
        first = (mapping.low + HEAP_BYTES - 1) & -HEAP_BYTES
        for heap in range(first, mapping.high, HEAP_BYTES):
            if _is_heap(process.word, heap, mapping.high):
                yield heap


def _is_heap(word: Word, heap: int, end: int) -> bool:
    used, usable = word(heap + USED_BYTES), word(heap + USABLE_BYTES)
    before, arena = word(heap + HEAP_BEFORE), word(heap + ARENA)
    own = before != 0 or arena == heap + DESCRIPTION_BYTES
    return own and 0 < used <= usable <= HEAP_BYTES and heap + usable <= end


def _add_lists(view: HeapView, word: Word, shape: Shape, place_of_top: int, prefix: str) -> None:
    """Bins and fast bins of the arena that keeps its top's address at `place_of_top`."""
    for number in range(UNSORTED, N_BINS - 1):
        head = place_of_top + HEADER_BYTES * (number - UNSORTED)
        chunks = _followed(word(head + NEXT), head, lambda chunk: word(chunk + NEXT))
        view.add_list(prefix + bin_name(number), chunks)
    for index in range(N_FAST_BINS if shape.has_fast_bins else 0):
        first = word(place_of_top - WORD_BYTES * (N_FAST_BINS - index))
        chunks = _followed(first, 0, lambda chunk: _unscrambled(word, chunk + NEXT))
        view.add_list(prefix + fast_name(index), chunks)


def _followed(first: int, end: int, following: Callable[[int], int]) -> tuple[int, ...]:
    """The chunks of a list up to `end`, or as far as it can be read."""
    chunks: list[int] = []
    while first != end and len(chunks) < MOST_LISTED:
        chunks.append(first)
        try:
            first = following(first)
        except Unreadable:
            break
    return tuple(chunks)


def _unscrambled(word: Word, address: int) -> int:
    return word(address) ^ address >> 12


def _add_cache(view: HeapView, word: Word, shape: Shape, thread: int, structure: int) -> None:
    """A thread cache: counts of 2 bytes, then heads of 8, in a block of the heap."""
    try:
        size = word(structure - WORD_BYTES) & ~FLAGS
        start = structure + 2 * shape.n_classes
        heads = [word(start + WORD_BYTES * index) for index in range(shape.n_classes)]
    except Unreadable:
        size, heads = 0, []
    if size - chunk_bytes(shape.cache_bytes) not in (0, HEADER_BYTES):
        view.notes.append(f"no cache of thread {thread} in the real heap at {structure:#x}")
        return
    for index, head in enumerate(heads):
        blocks = _followed(head, 0, lambda block: _unscrambled(word, block))
        view.add_list(cache_name(thread, index), tuple(block - HEADER_BYTES for block in blocks))


def _mapped_size(word: Word, chunk: int) -> int:
    """The size of a chunk with a mapping of its own, or 0 where there is none."""
    try:
        size_word = word(chunk + SIZE)
    except Unreadable:
        return 0
    return size_word & ~FLAGS if size_word & IS_MAPPED else 0
