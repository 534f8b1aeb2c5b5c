"""The modelled heap as a `HeapView`."""

from collections.abc import Iterable, Iterator
from typing import Any

from allocsim.glibc import Glibc
from allocsim.glibc.chunks import FLAGS, HEADER_BYTES, N_BINS, NEXT, SIZE, UNSORTED
from allocsim.glibc.free_chunks import N_FAST_BINS
from allocsim.glibc.heaps import HEAP_BEFORE, HEAP_BYTES
from allocsim.glibc.tcache import BYTES_PER_CLASS, N_CLASSES, N_LARGE_CLASSES
from allocsim.ground_truth.heaps.view import (
    HeapView,
    Shape,
    arena_prefix,
    bin_name,
    cache_name,
    chunks_between,
    chunks_of_heap,
    fast_name,
)


def model_view(policy: Glibc, n_threads: int, asked: Iterable[int] = ()) -> HeapView:
    """All heaps and lists of the model; `asked`: chunks that may have a mapping of their own."""
    view = HeapView()
    kernel = policy.kernel
    if policy.arenas[0].top:
        chunks = chunks_between(kernel.peek, kernel.start_brk, kernel.break_)
        view.heaps[kernel.start_brk] = tuple(chunks)
    for number in range(policy.n_arenas):
        _add_arena(view, policy, policy.arenas[number])
    for thread in range(n_threads):
        _add_cache(view, policy, thread)
    listed = set(policy.listed[: policy.n_listed])
    sizes = {chunk: kernel.peek(chunk + SIZE) & ~FLAGS for chunk in asked if chunk in listed}
    view.mapped.update(sizes)
    return view


def shape_of(policy: Glibc) -> Shape:
    """How the library that `policy` is a model of keeps its variables."""
    return Shape(
        state_bytes=policy.arena_state_bytes,
        cache_bytes=policy.cache_bytes,
        n_classes=policy.cache_bytes // BYTES_PER_CLASS,
        has_fast_bins=bool(policy.has_fast_bins),
    )


def structures(policy: Glibc, n_threads: int) -> dict[int, int]:
    """Where each thread's cache lies in the heap, for the threads that have one."""
    found = {thread: _cache(policy, thread).structure for thread in range(n_threads)}
    return {thread: address for thread, address in found.items() if address}


def _add_arena(view: HeapView, policy: Glibc, arena: Any) -> None:
    for heap in _heaps_of(policy, arena):
        view.heaps[heap] = chunks_of_heap(policy.kernel.peek, heap, shape_of(policy))
    prefix = arena_prefix(arena.first_heap)
    for number in range(UNSORTED, N_BINS - 1):
        view.add_list(prefix + bin_name(number), tuple(_members(arena, number)))
    for index in range(N_FAST_BINS):
        chunks = _linked(policy, arena.fast[index], NEXT)
        view.add_list(prefix + fast_name(index), tuple(chunks))


def _heaps_of(policy: Glibc, arena: Any) -> Iterator[int]:
    heap = arena.top & -HEAP_BYTES if arena.first_heap else 0
    while heap:
        yield heap
        heap = policy.kernel.peek(heap + HEAP_BEFORE)


def _members(arena: Any, number: int) -> Iterator[int]:
    chunk = arena.next(number)
    while chunk != number:
        yield chunk
        chunk = arena.kernel.peek(chunk + NEXT)


def _linked(policy: Glibc, start: int, link: int) -> Iterator[int]:
    while start:
        yield start
        start = policy.kernel.peek(start + link)


def _add_cache(view: HeapView, policy: Glibc, thread: int) -> None:
    cache = _cache(policy, thread)
    for index in range(N_CLASSES + N_LARGE_CLASSES):
        block, chunks = cache.heads[index], []
        for _ in range(cache.counts[index]):
            chunks.append(block - HEADER_BYTES)
            block = policy.kernel.peek(block)
        view.add_list(cache_name(thread, index), tuple(chunks))


def _cache(policy: Any, thread: int) -> Any:
    return policy.each_tcache[thread]
