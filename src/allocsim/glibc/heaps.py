"""Heaps of the arenas beside the main one: aligned mappings of 64 MiB, usable from the start up.

A heap begins with a description of 48 bytes:

    heap + 0     the arena (here: its number)
    heap + 8     the heap before in the same arena, or 0
    heap + 16    bytes in use by the arena
    heap + 24    bytes that mprotect made usable
    heap + 32    size of a page
"""

from allocsim.component import Component, Ref
from allocsim.glibc.chunks import PAGE_MASK

HEAP_BYTES = 64 << 20
SMALLEST_HEAP_BYTES = 32 << 10
ARENA, HEAP_BEFORE, USED_BYTES, USABLE_BYTES, PAGE_SIZE = 0, 8, 16, 24, 32
DESCRIPTION_BYTES = 48
NO_ACCESS, READ_WRITE = 0, 3
DONTNEED = 4


class Heaps(Component):
    """Makes, grows, shrinks and deletes heaps."""

    kernel = Ref("kernel")
    policy = Ref("")
    likely_place = 0  # where the next heap would be aligned, right above the latest one

    def make(self, size, pad):
        """A new heap with `size` bytes in use and up to `pad` more; its address, or 0."""
        if size + pad < SMALLEST_HEAP_BYTES:
            size = SMALLEST_HEAP_BYTES
        elif size + pad <= HEAP_BYTES:
            size += pad
        elif size > HEAP_BYTES:
            return 0
        else:
            size = HEAP_BYTES
        size = self.whole_units(size)
        heap = self.reserve()
        if heap == 0:
            return 0
        if self.kernel.mprotect(heap, size, READ_WRITE) != 0:
            self.kernel.munmap(heap, HEAP_BYTES)
            return 0
        self.policy.advise_huge_pages(heap, size)
        self.kernel.store(heap + USED_BYTES, size)
        self.kernel.store(heap + USABLE_BYTES, size)
        self.kernel.store(heap + PAGE_SIZE, PAGE_MASK + 1)
        return heap

    def whole_units(self, size):
        """A size rounded up to what heaps grow by."""
        return (size + self.policy.heap_unit_bytes - 1) & -self.policy.heap_unit_bytes

    def reserve(self):
        """Address space for a heap at a multiple of its size, or 0."""
        if self.likely_place != 0:
            place = self.likely_place
            self.likely_place = 0
            heap = self.map(place, HEAP_BYTES)
            if heap > 0 and heap % HEAP_BYTES == 0:
                return heap
            if heap > 0:
                self.kernel.munmap(heap, HEAP_BYTES)
        start = self.map(0, 2 * HEAP_BYTES)
        if start > 0:
            return self.cut_out(start)
        heap = self.map(0, HEAP_BYTES)
        if heap <= 0:
            return 0
        if heap % HEAP_BYTES != 0:
            self.kernel.munmap(heap, HEAP_BYTES)
            return 0
        return heap

    def map(self, place, length):
        return self.kernel.mmap(length, NO_ACCESS, place, self.policy.heap_flags)

    def cut_out(self, start):
        """Keep the aligned half of twice the space needed."""
        heap = (start + HEAP_BYTES - 1) & -HEAP_BYTES
        below = heap - start
        if below > 0:
            self.kernel.munmap(start, below)
        else:
            self.likely_place = heap + HEAP_BYTES
        self.kernel.munmap(heap + HEAP_BYTES, HEAP_BYTES - below)
        return heap

    def grow(self, heap, more):
        """Let the arena use `more` bytes of a heap, rounded up to pages; whether that worked."""
        kernel = self.kernel
        size = kernel.load(heap + USED_BYTES) + self.whole_units(more)
        if size > HEAP_BYTES:
            return False
        usable = kernel.load(heap + USABLE_BYTES)
        if size > usable:
            if kernel.mprotect(heap + usable, size - usable, READ_WRITE) != 0:
                return False
            kernel.store(heap + USABLE_BYTES, size)
        kernel.store(heap + USED_BYTES, size)
        return True

    def shrink(self, heap, less):
        """Give the last `less` bytes in use back; they stay usable."""
        size = self.kernel.load(heap + USED_BYTES) - less
        self.kernel.madvise(heap + size, less, DONTNEED)
        self.kernel.store(heap + USED_BYTES, size)

    def delete(self, heap):
        """Unmap a heap."""
        if heap + HEAP_BYTES == self.likely_place:
            self.likely_place = 0
        self.kernel.munmap(heap, HEAP_BYTES)
