"""The other arenas' memory: growing and shrinking a top that lies in a chain of heaps."""

from allocsim.glibc.brk_heap import BrkHeap
from allocsim.glibc.chunks import (
    HEADER_BYTES,
    IN_OTHER_ARENA,
    PAGE_MASK,
    PREVIOUS_IN_USE,
    SMALLEST_CHUNK_BYTES,
)
from allocsim.glibc.heaps import (
    ARENA,
    DESCRIPTION_BYTES,
    HEAP_BEFORE,
    HEAP_BYTES,
    USABLE_BYTES,
    USED_BYTES,
)

FENCE_BYTES = 2 * HEADER_BYTES


class MappedHeap(BrkHeap):
    """A top in heaps. `number` is the arena's: 0 is the main one, which has no heaps."""

    number = 0
    first_heap = 0

    def start_in(self, heap, number):
        """Begin a new arena in its first heap."""
        size = self.kernel.load(heap + USED_BYTES)
        self.number = number
        self.own_flag = IN_OTHER_ARENA
        self.contiguous = 0
        self.first_heap = heap
        self.system_bytes = size
        self.kernel.store(heap + ARENA, number)
        self.kernel.zero(heap + DESCRIPTION_BYTES, self.policy.arena_state_bytes)
        self.top = (heap + DESCRIPTION_BYTES + self.policy.arena_state_bytes + 15) & -16
        self.set_size(self.top, (heap + size - self.top) | PREVIOUS_IN_USE)

    def grow_in_heap(self, need):
        """Enlarge the top in its heap or move it to a new one; whether that worked."""
        old_bytes = self.top_bytes()
        heap = self.top & -HEAP_BYTES
        used = self.kernel.load(heap + USED_BYTES)
        if self.policy.heaps.grow(heap, SMALLEST_CHUNK_BYTES + need - old_bytes):
            size = self.kernel.load(heap + USED_BYTES)
            self.system_bytes += size - used
            self.set_size(self.top, (heap + size - self.top) | PREVIOUS_IN_USE)
            return True
        wanted = need + SMALLEST_CHUNK_BYTES + DESCRIPTION_BYTES
        new = self.policy.heaps.make(wanted, self.policy.top_pad_bytes)
        if new == 0:
            return False
        self.move_top_to(new, heap)
        return True

    def move_top_to(self, new, heap):
        """Continue in a new heap; what remains of the old top is fenced off and freed."""
        old_top = self.top
        old_bytes = self.top_bytes()
        size = self.kernel.load(new + USED_BYTES)
        self.kernel.store(new + ARENA, self.number)
        self.kernel.store(new + HEAP_BEFORE, heap)
        self.system_bytes += size
        self.top = new + DESCRIPTION_BYTES
        self.set_size(self.top, (size - DESCRIPTION_BYTES) | PREVIOUS_IN_USE)
        rest = (old_bytes - FENCE_BYTES) & -16
        fence = old_top + rest
        self.set_size(fence + HEADER_BYTES, PREVIOUS_IN_USE)
        if rest >= SMALLEST_CHUNK_BYTES:
            self.set_size(fence, HEADER_BYTES | PREVIOUS_IN_USE)
            self.kernel.store(fence + HEADER_BYTES, HEADER_BYTES)
            self.set_size(old_top, rest | PREVIOUS_IN_USE | IN_OTHER_ARENA)
            self.free_chunk(old_top, rest)
        else:
            self.set_size(old_top, (rest + HEADER_BYTES) | PREVIOUS_IN_USE)
            self.kernel.store(fence + HEADER_BYTES, rest + HEADER_BYTES)

    def trim_heaps(self, pad):
        """Delete heaps at the chain's end that hold nothing, then give pages of the top back."""
        heap = self.top & -HEAP_BYTES
        while self.top == heap + DESCRIPTION_BYTES:
            before = self.kernel.load(heap + HEAP_BEFORE)
            last = self.last_chunk(before)
            size = self.size_of(last) + HEADER_BYTES
            if not self.size_word(last) & PREVIOUS_IN_USE:
                size += self.kernel.load(last)
            unused = HEAP_BYTES - self.kernel.load(before + USED_BYTES)
            if size + unused < pad + SMALLEST_CHUNK_BYTES + PAGE_MASK + 1:
                break
            self.system_bytes -= self.kernel.load(heap + USED_BYTES)
            self.policy.heaps.delete(heap)
            heap = before
            self.return_top_to(last, size)
        self.shrink_in_heap(heap, pad)

    def last_chunk(self, heap):
        """The first of the two chunks that fence off a heap's end."""
        fence = heap + self.kernel.load(heap + USED_BYTES) - HEADER_BYTES
        return fence - self.kernel.load(fence)

    def return_top_to(self, fence, size):
        """The fence and a free chunk before it are the top again."""
        if not self.size_word(fence) & PREVIOUS_IN_USE:
            before_bytes = self.kernel.load(fence)
            fence -= before_bytes
            self.unlink(fence, before_bytes)
        self.top = fence
        self.set_size(fence, size | PREVIOUS_IN_USE)

    def shrink_in_heap(self, heap, pad):
        top_bytes = self.top_bytes()
        spare = top_bytes - SMALLEST_CHUNK_BYTES - 1
        if not self.policy.should_trim(top_bytes) or spare <= pad:
            return
        extra = (spare - pad) & -self.policy.heap_unit_bytes
        if extra > 0:
            self.policy.heaps.shrink(heap, extra)
            self.system_bytes -= extra
            self.set_size(self.top, (top_bytes - extra) | PREVIOUS_IN_USE)

    def fresh_from(self):
        """How many bytes of the top may have been written before, for calloc."""
        size = self.top_bytes()
        if self.own_flag:
            heap = self.top & -HEAP_BYTES
            size = max(size, heap + self.kernel.load(heap + USABLE_BYTES) - self.top)
        return size
