"""Looking at the heap without changing it: ranges for metrics and maps, and mallinfo2."""

from allocsim.component import host
from allocsim.glibc.arenas import Arenas
from allocsim.glibc.chunks import (
    FLAGS,
    HEADER_BYTES,
    IS_MAPPED,
    N_BINS,
    NEXT,
    PREVIOUS,
    PREVIOUS_IN_USE,
    SIZE,
    SMALLEST_CHUNK_BYTES,
    UNSORTED,
)
from allocsim.glibc.free_chunks import N_FAST_BINS
from allocsim.glibc.heaps import DESCRIPTION_BYTES, HEAP_BEFORE, HEAP_BYTES
from allocsim.glibc.tcache import N_CLASSES, N_LARGE_CLASSES
from allocsim.policy import Kind

FREE, USED, METADATA = int(Kind.FREE), int(Kind.USED), int(Kind.METADATA)
MAX_THREADS = 64
MALLINFO2 = (
    *("arena", "ordblks", "smblks", "hblks", "hblkhd", "usmblks"),
    *("fsmblks", "uordblks", "fordblks", "keepcost"),
)


class Accounts(Arenas):
    """Reports on the heap. A chunk's range is from its size word to the next chunk's."""

    def walk(self):
        """Report every chunk; those in the thread caches and fast bins are free."""
        self.walk_mapped()
        at = 0
        while at < self.n_regions:
            self.walk_chunks(self.regions[at], self.arenas[0].top)
            at += 1
        number = 1
        while number < self.n_arenas:
            self.walk_heaps(number)
            number += 1
        number = 0
        while number < self.n_arenas:
            self.walk_fast(number)
            number += 1
        thread = 0
        while thread < MAX_THREADS:
            self.walk_cache(thread)
            thread += 1

    def walk_chunks(self, chunk, top):
        """Report the chunks of one region, up to the top or to the fence that ends it."""
        kernel = self.kernel
        size = kernel.peek(chunk + SIZE) & ~FLAGS
        while chunk != top and size >= SMALLEST_CHUNK_BYTES:
            following = kernel.peek(chunk + size + SIZE)
            if following & PREVIOUS_IN_USE:
                self.ranges.add(chunk + SIZE, SIZE, METADATA)
                self.ranges.add(chunk + HEADER_BYTES, size - SIZE, USED)
            else:
                self.ranges.add(chunk + SIZE, size, FREE)
            chunk += size
            size = following & ~FLAGS
        if chunk == top:
            self.ranges.add(chunk + SIZE, size - SIZE, FREE)
        else:
            self.ranges.add(chunk + SIZE, 2 * HEADER_BYTES - SIZE, METADATA)

    def walk_heaps(self, number):
        """Report the heaps of one arena, the latest first."""
        arena = self.arenas[number]
        heap = arena.top & -HEAP_BYTES
        while heap != 0:
            own_bytes = DESCRIPTION_BYTES
            if heap == arena.first_heap:
                own_bytes = (DESCRIPTION_BYTES + self.arena_state_bytes + 15) & -16
            self.ranges.add(heap, own_bytes + SIZE, METADATA)
            self.walk_chunks(heap + own_bytes, arena.top)
            heap = self.kernel.peek(heap + HEAP_BEFORE)

    def walk_fast(self, number):
        arena = self.arenas[number]
        index = 0
        while index < N_FAST_BINS:
            chunk = arena.fast[index]
            while chunk != 0:
                self.walk_free_block(chunk + HEADER_BYTES)
                chunk = self.kernel.peek(chunk + NEXT)
            index += 1

    def walk_cache(self, thread):
        cache = self.each_tcache[thread]
        if cache.structure == 0:
            return
        self.ranges.replace(cache.structure, self.room_of(cache.structure), METADATA, USED)
        index = 0
        while index < N_CLASSES + N_LARGE_CLASSES:
            n = cache.counts[index]
            block = cache.heads[index]
            while n > 0:
                self.walk_free_block(block)
                block = self.kernel.peek(block)
                n -= 1
            index += 1

    def walk_free_block(self, block):
        """A block that looks used to its neighbours but is free."""
        self.ranges.replace(block - SIZE, SIZE, FREE, METADATA)
        self.ranges.replace(block, self.room_of(block), FREE, USED)

    def room_of(self, block):
        """The usable size of a block."""
        word = self.kernel.peek(block - SIZE)
        if word & IS_MAPPED:
            return self.extent(word) - HEADER_BYTES
        return (word & ~FLAGS) - SIZE

    def walk_mapped(self):
        at = 0
        while at < self.n_listed:
            chunk = self.listed[at]
            lead = self.kernel.peek(chunk)
            size = self.extent(self.kernel.peek(chunk + SIZE))
            self.ranges.add(chunk - lead, lead + SIZE, METADATA)
            self.ranges.add(chunk + SIZE, SIZE, METADATA)
            self.ranges.add(chunk + HEADER_BYTES, size - HEADER_BYTES, USED)
            at += 1

    # ---- mallinfo2
    @host
    def mallinfo2(self) -> dict[str, int]:
        """The numbers that mallinfo2() gives, by name; the heap stays as it is."""
        totals = dict.fromkeys(MALLINFO2, 0)
        for number in range(self.n_arenas):
            self._add_arena(totals, self.arenas[number])
        totals["hblks"], totals["hblkhd"] = self.n_mapped, self.mapped_chunk_bytes
        totals["keepcost"] = self._top_bytes(self.arenas[0])
        return totals

    @host
    def _add_arena(self, totals, arena):
        fast = [size for index in range(N_FAST_BINS) for size in self._fast_sizes(arena, index)]
        binned = [size for index in range(UNSORTED, N_BINS) for size in self._sizes(arena, index)]
        free_bytes = self._top_bytes(arena) + sum(fast) + sum(binned)
        totals["smblks"] += len(fast)
        totals["fsmblks"] += sum(fast)
        totals["ordblks"] += 1 + len(binned)
        totals["fordblks"] += free_bytes
        totals["uordblks"] += arena.system_bytes - free_bytes
        totals["arena"] += arena.system_bytes

    @host
    def _top_bytes(self, arena):
        return self.kernel.peek(arena.top + SIZE) & ~FLAGS if arena.top else 0

    @host
    def _fast_sizes(self, arena, index):
        chunk = arena.fast[index]
        while chunk:
            yield self.kernel.peek(chunk + SIZE) & ~FLAGS
            chunk = self.kernel.peek(chunk + NEXT)

    @host
    def _sizes(self, arena, index):
        chunk = arena.heads[2 * index + 1]
        while chunk != index:
            yield self.kernel.peek(chunk + SIZE) & ~FLAGS
            chunk = self.kernel.peek(chunk + PREVIOUS)
