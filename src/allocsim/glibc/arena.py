"""An arena's calls: allocate, resize and align blocks."""

from allocsim.glibc.chunks import (
    FLAGS,
    HEADER_BYTES,
    N_BINS,
    PAGE_MASK,
    PREVIOUS,
    PREVIOUS_IN_USE,
    SIZE,
    SMALLEST_CHUNK_BYTES,
    UNSORTED,
    cache_index,
    large_bin,
)
from allocsim.glibc.free_chunks import SMALL_HIT
from allocsim.glibc.heaps import DONTNEED
from allocsim.glibc.mapped_heap import MappedHeap

LARGE_HEADER_BYTES = 48  # what a free chunk may hold at its start


class Arena(MappedHeap):
    """One arena: its free chunks, its memory from the system, and the calls that are made to it.

    `attached_threads`, `after` and `after_free` are what the list of arenas needs: how many threads
    use it, the arena after it in the ring of all, and in the list of those without threads.
    """

    attached_threads = 0
    after = 0
    after_free = 0

    def allocate(self, need, request):
        """A chunk of `need` bytes for a request; its block, or 0."""
        self.block_from_cache = 0
        block = self.find(need)
        if block < 0:
            block = self.go_on_with_cache(need, block)
        if self.policy.perturb and block != self.block_from_cache:
            self.policy.fill_allocated(block, request)
        return block

    def go_on_with_cache(self, need, hit):
        """Make the thread cache, then go on with the chunk found: the cache takes others, too.

        The real library makes it in the midst of its search; compiled code cannot call itself.
        """
        chunk, n_sorted = self.waiting, self.n_sorted
        self.policy.make_cache_from(self)
        self.n_sorted = n_sorted
        if hit == SMALL_HIT:
            self.stash_small(need)
        elif self.policy.cache_room(cache_index(need)) > 0:
            self.policy.stash(chunk + HEADER_BYTES, cache_index(need))
            return self.sort(need, True)
        return chunk + HEADER_BYTES

    def grow(self, need):
        """A block in new memory from the system, or 0."""
        mapping = self.policy.should_map(need)
        if mapping:
            block = self.policy.map_chunk(need)
            if block != 0:
                return block
        if self.own_flag == 0:
            self.grow_by_brk(need)
        elif not self.grow_in_heap(need) and not mapping:
            block = self.policy.map_chunk(need)
            if block != 0:
                return block
        return self.split_top(need)

    def release_pages(self):
        """Let the kernel drop the whole pages inside of free chunks; 1 if there were any."""
        released = 0
        index = UNSORTED
        while index < N_BINS:
            if index == UNSORTED or index >= large_bin(PAGE_MASK + 1):
                released |= self.release_pages_of(index)
            index += 1
        return released

    def release_pages_of(self, index):
        released = 0
        chunk = self.heads[2 * index + 1]
        while chunk != index:
            start = (chunk + LARGE_HEADER_BYTES + PAGE_MASK) & ~PAGE_MASK
            length = (chunk + self.size_of(chunk) - start) & ~PAGE_MASK
            if length > 0:
                self.kernel.madvise(start, length, DONTNEED)
                released = 1
            chunk = self.kernel.load(chunk + PREVIOUS)
        return released

    # ---- realloc
    def resize(self, chunk, size, need):
        """Give a chunk the size `need`, moving it if it must; its block, or 0."""
        behind = chunk + size
        if size < need:
            behind_bytes = self.size_of(behind)
            joint = size + behind_bytes
            if behind == self.top and joint >= need + SMALLEST_CHUNK_BYTES:
                return self.extend_into_top(chunk, need, joint)
            if behind == self.top or self.is_used(behind, behind_bytes) or joint < need:
                return self.move(chunk, size, need)
            self.unlink(behind, behind_bytes)
            size = joint
        return self.cut(chunk, size, need)

    def extend_into_top(self, chunk, need, joint):
        self.set_size_only(chunk, need)
        self.top = chunk + need
        self.set_size(self.top, (joint - need) | PREVIOUS_IN_USE)
        return chunk + HEADER_BYTES

    def move(self, chunk, size, need):
        """Copy a block into a new chunk; one right behind the old is joined instead."""
        block = self.allocate(need, need - 15)
        if block == 0:
            return 0
        if block == chunk + size + HEADER_BYTES:
            return self.cut(chunk, size + self.size_of(chunk + size), need)
        self.kernel.copy(block, chunk + HEADER_BYTES, size - SIZE)
        self.free_chunk(chunk, size)
        return block

    def cut(self, chunk, size, need):
        """Free what a chunk in use has beyond `need` bytes."""
        if size - need < SMALLEST_CHUNK_BYTES:
            self.set_size_only(chunk, size)
            self.set_used(chunk, size)
        else:
            rest = chunk + need
            self.set_size_only(chunk, need)
            self.set_size(rest, (size - need) | PREVIOUS_IN_USE | self.own_flag)
            self.set_used(rest, size - need)
            self.free_chunk(rest, size - need)
        return chunk + HEADER_BYTES

    def set_size_only(self, chunk, size):
        """Change a chunk's size but not its flags."""
        self.set_size(chunk, size | (self.size_word(chunk) & FLAGS))

    # ---- aligned_alloc
    def allocate_aligned(self, alignment, need):
        """A chunk of `need` bytes with its block at a multiple of `alignment` (32 or more)."""
        enough = need + alignment + SMALLEST_CHUNK_BYTES
        block = self.allocate((enough + 23) & -16, enough)
        if block == 0:
            return 0
        chunk = block - HEADER_BYTES
        if self.policy.is_mapped(chunk):
            return self.policy.align_mapped(chunk, alignment)
        if block % alignment != 0:
            chunk = self.free_leader(chunk, alignment)
        self.free_trailer(chunk, need)
        return chunk + HEADER_BYTES

    def free_trailer(self, chunk, need):
        """Free what an aligned chunk has beyond `need` bytes."""
        size = self.size_of(chunk)
        if self.policy.aligned_cuts_merge:
            wanted = size > need and (
                size - need >= SMALLEST_CHUNK_BYTES or self.is_free(chunk + size)
            )
        else:
            wanted = size > need + SMALLEST_CHUNK_BYTES
        if wanted:
            rest = chunk + need
            self.set_size(rest, (size - need) | PREVIOUS_IN_USE | self.own_flag)
            self.set_size_only(chunk, need)
            self.free_cut(rest, size - need)

    def free_cut(self, chunk, size):
        """Free a part of an aligned chunk."""
        if self.policy.aligned_cuts_merge:
            self.release_merged(chunk, size)
        else:
            self.free_chunk(chunk, size)

    def is_free(self, chunk):
        """Whether a chunk is the top or lies in a bin."""
        return chunk == self.top or not self.is_used(chunk, self.size_of(chunk))

    def free_leader(self, chunk, alignment):
        """Free what lies before the first aligned block in a chunk; returns the rest."""
        aligned = (chunk + HEADER_BYTES + alignment - 1) & -alignment
        lead = aligned - HEADER_BYTES - chunk
        if lead < SMALLEST_CHUNK_BYTES:
            lead += alignment
        size = self.size_of(chunk) - lead
        self.set_size(chunk + lead, size | PREVIOUS_IN_USE | self.own_flag)
        self.set_used(chunk + lead, size)
        self.set_size(chunk, lead | (self.size_word(chunk) & FLAGS) | self.own_flag)
        self.free_cut(chunk, lead)
        return chunk + lead
