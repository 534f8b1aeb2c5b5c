"""The main arena's memory: growing and shrinking its top with brk."""

from allocsim.glibc.chunks import HEADER_BYTES, PAGE_MASK, PREVIOUS_IN_USE, SMALLEST_CHUNK_BYTES
from allocsim.glibc.free_chunks import FreeChunks

NO_ADDRESS = -1


class BrkHeap(FreeChunks):
    """A top that grows by brk, or by mmap where brk fails.

    `contiguous` says that new memory continues the old, which is given up for good with the first
    mapping. `system_bytes` is what the arena holds.
    """

    contiguous = 1
    system_bytes = 0

    def grow_by_brk(self, need):
        """Enlarge the top so that it serves `need` bytes, if the system has memory."""
        old_bytes = self.top_bytes()
        old_end = self.top + old_bytes
        size = self.policy.growth_bytes(need)
        if self.contiguous:
            size -= old_bytes
        size = self.policy.rounded_growth(size, old_bytes)
        start = self.kernel.sbrk(size) if size > 0 else NO_ADDRESS
        if start >= 0:
            self.policy.advise_huge_pages(start, size)
            end = NO_ADDRESS
        else:
            size = self.fallback_bytes(size, old_bytes, need)
            start = self.map_region(size, need)
            end = start + size
        if start < 0:
            return
        self.system_bytes += size
        if start == old_end and end == NO_ADDRESS:
            self.set_size(self.top, (size + old_bytes) | PREVIOUS_IN_USE)
        else:
            self.start_region(start, end, size)

    def fallback_bytes(self, size, old_bytes, need):
        """What to map where brk failed for `size` bytes: the old top does not help any more.

        What is meant: whole pages, at least a MiB; 2.36 has the two exchanged, which makes the
        first mapping whole MiB, and later ones as small as the growth asked for.
        """
        policy = self.policy
        unit = policy.fallback_unit_bytes
        if policy.fallback_rounds_once:
            size = (policy.growth_bytes(need) + unit - 1) & -unit
        elif self.contiguous:
            size = (size + old_bytes + unit - 1) & -unit
        return max(size, policy.fallback_least_bytes)

    def map_region(self, size, need):
        """Memory for the heap from mmap; its address, or a negative number."""
        if size <= need:
            return NO_ADDRESS
        start = self.kernel.mmap(size)
        if start >= 0:
            self.policy.advise_huge_pages(start, size)
            self.contiguous = 0
        return start

    def start_region(self, start, end, size):
        """Make new memory at `start` the top, and fence off what remains of the old one."""
        old_top = self.top
        old_bytes = self.top_bytes()
        correction = 0
        first = start
        if self.contiguous:
            if old_bytes > 0:
                self.system_bytes += start - (old_top + old_bytes)
            first = (start + 15) & -16
            correction = first - start + old_bytes
            correction += -(start + size + correction) & PAGE_MASK
            end = self.kernel.sbrk(correction)
            if end < 0:
                correction = 0
                end = self.kernel.sbrk(0)
            else:
                self.policy.advise_huge_pages(end, correction)
        elif end == NO_ADDRESS:
            end = self.kernel.sbrk(0)
        self.top = first
        self.policy.note_region(first)
        self.set_size(first, (end - first + correction) | PREVIOUS_IN_USE)
        self.system_bytes += correction
        if old_bytes > 0:
            self.fence_off(old_top, old_bytes)

    def fence_off(self, chunk, size):
        """Two tiny chunks, forever in use, end a region that is not the last; the rest is freed."""
        size = (size - 2 * HEADER_BYTES) & -16
        self.set_size(chunk, size | PREVIOUS_IN_USE)
        self.set_size(chunk + size, HEADER_BYTES | PREVIOUS_IN_USE)
        self.set_size(chunk + size + HEADER_BYTES, HEADER_BYTES | PREVIOUS_IN_USE)
        if size >= SMALLEST_CHUNK_BYTES:
            self.free_chunk(chunk, size)

    def free_chunk(self, chunk, size):
        """Free a chunk: to the thread cache if that takes it, else to this arena."""
        policy = self.policy
        if policy.only_free_fills_cache or not policy.cache_freed(chunk + HEADER_BYTES, size):
            self.release(chunk, size)

    def shrink_by_brk(self, pad):
        """Give whole pages of the top back but for `pad` bytes; 1 if there were any, else 0.

        The real library takes a spare of -1, when the top is as small as can be, for a huge number
        when it compares, but for -1 when it subtracts: then the break moves up, by pad and a page.
        """
        top_bytes = self.top_bytes()
        spare = top_bytes - SMALLEST_CHUNK_BYTES - 1
        if 0 <= spare <= pad:
            return 0
        extra = self.policy.rounded_shrink(spare - pad)
        end = self.kernel.sbrk(0)
        if extra == 0 or end != self.top + top_bytes:
            return 0
        self.kernel.sbrk(-extra)
        released = end - self.kernel.sbrk(0)
        if released == 0:
            return 0
        self.system_bytes -= released
        self.set_size(self.top, (top_bytes - released) | PREVIOUS_IN_USE)
        return 1
