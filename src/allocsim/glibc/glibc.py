"""The policy: malloc and its relatives as glibc does them."""

from dataclasses import replace

from allocsim.component import in_bounds, inline
from allocsim.glibc.caching import Caching
from allocsim.glibc.chunks import (
    FLAGS,
    HEADER_BYTES,
    IS_MAPPED,
    PAGE_MASK,
    SIZE,
    SMALLEST_CHUNK_BYTES,
    chunk_bytes,
)
from allocsim.glibc.tcache import N_CLASSES, N_LARGE_CLASSES, NO_ARENA


class Glibc(Caching):
    """The malloc of glibc on x86-64 Linux, equal to it in addresses, system calls and faults.

    Mirrored: malloc, calloc, realloc, memalign and its relatives, free, malloc_usable_size,
    malloc_trim, mallinfo2 and what happens when a thread ends; thread cache, arenas, fast bins,
    unsorted, small and large bins, brk, heaps of other arenas, mapped chunks, all tunables but
    `hugetlb` above 1. `version` is the library's. Written from documentation and observation;
    docs/glibc.md tells what is compared with the real library, what differs between versions, and
    which methods are decisions meant to be replaced.

    Where threads meet in simulated time, whatever is not served by the thread cache takes its
    arena's lock. Not modelled: fast bins that take a chunk without that lock; the checks that
    stop a program with a broken heap.
    """

    # ---- the thread cache
    @inline
    @in_bounds
    def malloc(self, size):
        index = (size - 9) >> 4 if size > 24 else 0  # (size + 23) // 16 - 2, the smallest chunk's
        if index < self.cache_classes and self.tcache.counts[index] > 0:
            return self.take_cached(index)
        return self.malloc_uncached(size)

    @inline
    @in_bounds
    def free(self, address):
        word = self.kernel.load(address - SIZE)
        index = (word >> 4) - 2
        cache = self.tcache
        if index < self.cache_classes and word & IS_MAPPED == 0 and cache.structure != 0:
            if cache.counts[index] < self.cache_count:
                self.put_cached(address, index)
            else:
                self.release_uncached(address, word)
        else:
            self.free_uncached(address, word)

    @inline
    def expect_free(self, address):
        """The chunk behind is looked at where the thread cache has no room."""
        self.kernel.expect_behind(address - SIZE)

    def private_malloc(self, size):
        """What the thread cache would give."""
        index = (size - 9) >> 4 if size > 24 else 0
        if index < self.cache_classes and self.tcache.counts[index] > 0:
            return self.tcache.heads[index]
        return 0

    def private_free(self, address):
        """Whether the thread cache would take the block, whose first words it writes."""
        word = self.kernel.peek(address - SIZE)
        return (
            word & IS_MAPPED == 0
            and self.cache_room((word >> 4) - 2) > 0
            and self.kernel.is_settled(address, HEADER_BYTES)
        )

    # ---- malloc and free beyond the thread cache
    def malloc_uncached(self, size):
        if self.large_cached_bytes:
            block = self.take_large(chunk_bytes(size), 1)
            if block != 0:
                return block
        if self.tcache.structure == 0:
            self.start_cache()
        return self.allocate(size)

    def allocate(self, request):
        """A block from the thread's arena, or from another where that has no memory; or 0."""
        need = chunk_bytes(request)
        number = self.own_arena(request)
        if number == NO_ARENA:
            return self.map_chunk(need)
        block = self.allocate_in(number, need, request)
        if block == 0:
            number = self.other_arena(request, number)
            if number != NO_ARENA:
                block = self.allocate_in(number, need, request)
        return block

    @inline
    def allocate_in(self, number, need, request):
        """A block from an arena, under its lock; or 0."""
        self.enter(number)
        block = self.arenas[number].allocate(need, request)
        self.leave(number)
        return block

    def free_uncached(self, address, word):
        """Free a mapped block, one too large for the thread cache, or in a thread's first call."""
        mapped = word & IS_MAPPED != 0
        if not mapped:
            self.start_cache()
        if (not mapped or self.large_cached_bytes) and self.cache_takes(address, word & ~FLAGS):
            return
        if mapped:
            self.adapt_thresholds(word)
            self.unmap_chunk(address - HEADER_BYTES)
        else:
            self.release(address, word)

    @inline
    def release_uncached(self, address, word):
        """Free a block whose class is full in the thread cache."""
        self.kernel.load(address + SIZE)
        self.release(address, word)

    @inline
    def release(self, address, word):
        """Free a block to the arena that it belongs to."""
        chunk = address - HEADER_BYTES
        number = self.arena_of(chunk, word)
        self.enter(number)
        self.arenas[number].release(chunk, word & ~FLAGS)
        self.leave(number)

    def after_large_free(self, arena):
        """A free made a large free chunk: empty the fast bins, and trim the top."""
        if arena.has_fast:
            arena.consolidate()
        if arena.own_flag:
            arena.trim_heaps(self.top_pad_bytes)
        elif self.should_trim(arena.top_bytes()):
            arena.shrink_by_brk(self.top_pad_bytes)

    # ---- the relatives
    def calloc(self, size):
        if self.cache_serves_calloc:
            block = self.take_from_cache(chunk_bytes(size), 1)
            if block != 0:
                self.kernel.zero(block, size)
                return block
        self.start_cache()
        number = self.own_arena(size)
        if number == NO_ARENA:
            return self.map_chunk(chunk_bytes(size))
        arena = self.arenas[number]
        old_top = arena.top
        old_top_bytes = arena.fresh_from()
        block = self.allocate_in(number, chunk_bytes(size), size)
        if block == 0:
            number = self.other_arena(size, number)
            if number != NO_ARENA:
                block = self.allocate_in(number, chunk_bytes(size), size)
        if block != 0:
            self.clear(block, size, old_top, old_top_bytes)
        return block

    def clear(self, block, size, old_top, old_top_bytes):
        """Clear a new block but for what is known to be zeros: mappings, and fresh heap."""
        chunk = block - HEADER_BYTES
        word = self.kernel.load(chunk + SIZE)
        if word & IS_MAPPED:
            if self.perturb:
                self.kernel.zero(block, size)
            return
        used = word & ~FLAGS
        if self.perturb == 0 and chunk == old_top and used > old_top_bytes:
            used = old_top_bytes
        self.kernel.zero(block, used - SIZE)

    def realloc(self, address, size):
        chunk = address - HEADER_BYTES
        word = self.kernel.load(chunk + SIZE)
        need = chunk_bytes(size)
        if self.realloc_keeps_fitting and self.fits(word, size):
            return address
        if word & IS_MAPPED:
            return self.realloc_mapped(chunk, self.extent(word), need, size)
        self.start_cache()
        number = self.arena_of(chunk, word)
        arena = self.arenas[number]
        self.enter(number)
        block = arena.resize(chunk, word & ~FLAGS, need)
        self.leave(number)
        if block == 0 and self.threaded:
            block = self.malloc(size)
            if block != 0:
                self.kernel.copy(block, address, (word & ~FLAGS) - SIZE)
                self.enter(number)
                arena.free_chunk(chunk, word & ~FLAGS)
                self.leave(number)
        return block

    def fits(self, size_word, size):
        """Whether a block uses a chunk's room nearly up: but for 15 bytes, or a page if mapped."""
        if size_word & IS_MAPPED:
            return 0 <= self.extent(size_word) - HEADER_BYTES - size <= PAGE_MASK + 1
        return 0 <= (size_word & ~FLAGS) - SIZE - size < HEADER_BYTES

    def realloc_mapped(self, chunk, old, need, size):
        moved = self.remap_chunk(chunk, old, need)
        if moved != 0:
            return moved + HEADER_BYTES
        if old - SIZE >= need:
            return chunk + HEADER_BYTES
        block = self.malloc(size)
        if block != 0:
            self.kernel.copy(block, chunk + HEADER_BYTES, old - HEADER_BYTES)
            self.unmap_chunk(chunk)
        return block

    def aligned_alloc(self, alignment, size):
        if alignment <= HEADER_BYTES:
            return self.malloc(size)
        alignment = max(alignment, SMALLEST_CHUNK_BYTES)
        need = chunk_bytes(size)
        if self.cache_serves_aligned:
            block = self.take_from_cache(need, alignment)
            if block != 0:
                return block
        number = self.own_arena(size + alignment + SMALLEST_CHUNK_BYTES)
        if number == NO_ARENA:
            block = self.map_chunk(chunk_bytes(need + alignment + SMALLEST_CHUNK_BYTES))
            return self.align_mapped(block - HEADER_BYTES, alignment) if block != 0 else 0
        block = self.aligned_in(number, alignment, need)
        if block == 0:
            number = self.other_arena(size, number)
            if number != NO_ARENA:
                block = self.aligned_in(number, alignment, need)
        return block

    @inline
    def aligned_in(self, number, alignment, need):
        """An aligned block from an arena, under its lock; or 0."""
        self.enter(number)
        block = self.arenas[number].allocate_aligned(alignment, need)
        self.leave(number)
        return block

    def thread_exit(self):
        """Free what the thread cache holds and the cache itself, and leave the arena."""
        cache = self.tcache
        structure = cache.structure
        cache.structure = 0
        cache.ended = 1
        index = 0
        while index < N_CLASSES + N_LARGE_CLASSES:
            while cache.counts[index] > 0:
                block = self.take_cached(index)
                self.free_uncached(block, self.kernel.load(block - SIZE))
            index += 1
        if structure != 0:
            self.free_uncached(structure, self.kernel.load(structure - SIZE))
        self.leave_arena()

    def usable_size(self, address):
        word = self.kernel.load(address - SIZE)
        if word & IS_MAPPED:
            return self.extent(word) - HEADER_BYTES
        return (word & ~FLAGS) - SIZE

    def malloc_trim(self, pad):
        """Give all whole free pages back but for `pad` bytes of the top; 1 if there were any."""
        number = 0
        released = 0
        while True:
            arena = self.arenas[number]
            arena.consolidate()
            released |= arena.release_pages()
            if number == 0:
                released |= arena.shrink_by_brk(pad)
            number = arena.after
            if number == 0:
                return released

    # ---- perturb
    def fill_allocated(self, block, size):
        self.kernel.zero(block, size)

    def fill_freed(self, chunk, size):
        if self.perturb:
            self.kernel.zero(chunk + HEADER_BYTES, size - HEADER_BYTES)


class MmapOnly(Glibc):
    """glibc set so that every chunk gets a mapping of its own, however small."""

    mmap_threshold = replace(Glibc._fields["mmap_threshold"], default=0)
    mmap_max = replace(Glibc._fields["mmap_max"], default=2**31 - 1)


class BrkOnly(Glibc):
    """glibc set so that all memory comes from the heap that brk grows."""

    mmap_max = replace(Glibc._fields["mmap_max"], default=0)
