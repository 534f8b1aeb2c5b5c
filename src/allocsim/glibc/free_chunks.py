"""One arena: how requests are served from its free chunks, and what freeing does."""

from allocsim.component import Array, Ref, inline
from allocsim.glibc.bins import Bins
from allocsim.glibc.chunks import (
    FLAGS,
    HEADER_BYTES,
    IN_OTHER_ARENA,
    LARGE_BYTES,
    NEXT,
    PREVIOUS,
    PREVIOUS_IN_USE,
    SIZE,
    SMALLEST_CHUNK_BYTES,
    UNSORTED,
    cache_index,
    large_bin,
)

N_FAST_BINS = 10
SMALL_HIT, UNSORTED_HIT = -1, -2
"""Instead of a block: the `waiting` chunk fits, but the thread cache is to be made first."""
MOST_SORTED = 10_000  # chunks that one call sorts into bins
LARGE_FREE_BYTES = 65_536  # freeing yields so much free memory in one piece: tidy up


class FreeChunks(Bins):
    """An arena's free chunks: fast bins, bins and top, and the order in which they serve.

    `policy` is the enclosing allocator, which makes the decisions. `own_flag` is what the arena's
    chunks carry in their size words: nothing in the main arena.
    """

    policy = Ref("")
    fast = Array("i8", N_FAST_BINS)
    has_fast = 0  # a fast bin may hold something
    top = 0  # the last chunk, which borders on unused memory; 0 before there is any
    last_remainder = 0
    own_flag = 0
    n_sorted = 0  # chunks sorted into bins by the call in progress
    waiting = 0  # the chunk that the call in progress found before there was a thread cache
    block_from_cache = 0  # what the call in progress took out of the thread cache again

    # ---- serving
    def find(self, need):
        """A chunk's block of at least `need` bytes, from free memory or the system, or 0."""
        if need <= self.policy.fast_bytes:
            block = self.take_fast(need)
            if block != 0:
                return block
        index = need >> 4
        if need < LARGE_BYTES:
            block = self.take_small(need)
            if block != 0:
                return block
        else:
            index = large_bin(need)
            if self.has_fast:
                self.consolidate()
        self.n_sorted = 0
        while True:
            block = self.search(need, index)
            if block != 0:
                return block
            if not self.has_fast:
                return self.grow(need)
            self.consolidate()

    def search(self, need, index):
        """Sort the unsorted list, then look into the bins from `index` on and the top."""
        if self.heads[2 * UNSORTED + 1] != UNSORTED:
            block = self.sort(need, False)
            if block != 0:
                return block
        if need >= LARGE_BYTES:
            chunk = self.best_in_bin(need, index)
            if chunk != 0:
                return self.carve(chunk, need, 0)
        chunk = self.smallest_above(index + 1)
        if chunk != 0:
            return self.carve(chunk, need, need < LARGE_BYTES)
        return self.split_top(need)

    def take_fast(self, need):
        """A block from the fast bin of this size, or 0; the bin's others go to the thread cache."""
        index = cache_index(need)
        chunk = self.fast[index]
        if chunk == 0:
            return 0
        self.fast[index] = self.kernel.load(chunk + NEXT)
        room = self.policy.cache_room(index)
        while room > 0 and self.fast[index] != 0:
            spare = self.fast[index]
            self.fast[index] = self.kernel.load(spare + NEXT)
            self.policy.stash(spare + HEADER_BYTES, index)
            room -= 1
        return chunk + HEADER_BYTES

    def take_small(self, need):
        """A block from the small bin of this size, or 0; its others go to the thread cache."""
        index = need >> 4
        chunk = self.heads[2 * index + 1]
        if chunk == index:
            return 0
        self.take_last(index, chunk, need)
        if cache_index(need) < self.policy.cache_classes and self.policy.cache_is_due():
            self.waiting = chunk
            return SMALL_HIT
        self.stash_small(need)
        return chunk + HEADER_BYTES

    def stash_small(self, need):
        """Give the thread cache what it takes of the small bin of a size."""
        index = need >> 4
        room = self.policy.cache_room(cache_index(need))
        while room > 0 and self.heads[2 * index + 1] != index:
            spare = self.heads[2 * index + 1]
            self.take_last(index, spare, need)
            self.policy.stash(spare + HEADER_BYTES, cache_index(need))
            room -= 1

    @inline
    def take_last(self, index, chunk, size):
        """Take the last chunk of a list, known to be `chunk`, into use."""
        before = self.kernel.load(chunk + PREVIOUS)
        self.claim(chunk, size)
        self.heads[2 * index + 1] = before
        self.set_next(before, index)

    @inline
    def claim(self, chunk, size):
        """A free chunk is in use now, as a whole."""
        self.set_used(chunk, size)
        if self.own_flag:
            self.set_size(chunk, self.size_word(chunk) | IN_OTHER_ARENA)

    def sort(self, need, already_cached):
        """Put unsorted chunks into their bins; a block if one fits exactly, or 0.

        Fitting chunks fill the thread cache first, `already_cached` if there was one before. A
        small request also splits the last remainder where that is all there is.
        """
        index = cache_index(need)
        room = self.policy.cache_room(index)
        cached = already_cached
        n = 0
        while n < MOST_SORTED and self.heads[2 * UNSORTED + 1] != UNSORTED:
            chunk = self.heads[2 * UNSORTED + 1]
            before = self.kernel.load(chunk + PREVIOUS)
            size = self.kernel.load(chunk + SIZE) & ~FLAGS
            if before == UNSORTED and self.is_remainder_for(chunk, size, need):
                return self.split_remainder(chunk, size, need)
            self.heads[2 * UNSORTED + 1] = before
            self.set_next(before, UNSORTED)
            if size == need:
                self.claim(chunk, size)
                if self.policy.cache_is_due():
                    self.waiting = chunk
                    return UNSORTED_HIT
                if room == 0:
                    return chunk + HEADER_BYTES
                self.policy.stash(chunk + HEADER_BYTES, index)
                room -= 1
                cached = True
                continue
            self.put(chunk, size)
            self.n_sorted += 1
            if cached and self.policy.has_sorted_enough(self.n_sorted):
                break
            n += 1
        if cached:
            self.block_from_cache = self.policy.take_cached(index)
        return self.block_from_cache

    def is_remainder_for(self, chunk, size, need):
        """Whether the only unsorted chunk is the last remainder and shall be split further."""
        if need >= LARGE_BYTES or chunk != self.last_remainder:
            return False
        return size > need + SMALLEST_CHUNK_BYTES

    def split_remainder(self, chunk, size, need):
        rest = chunk + need
        self.replace_unsorted(rest, size - need)
        self.last_remainder = rest
        self.set_size(chunk, need | PREVIOUS_IN_USE | self.own_flag)
        self.set_free(rest, size - need)
        return chunk + HEADER_BYTES

    def carve(self, chunk, need, remember):
        """Take a binned chunk into use; what is left over becomes an unsorted chunk."""
        size = self.size_of(chunk)
        self.unlink(chunk, size)
        if size - need < SMALLEST_CHUNK_BYTES:
            self.claim(chunk, size)
            return chunk + HEADER_BYTES
        rest = chunk + need
        self.add_unsorted(rest, size - need)
        if remember:
            self.last_remainder = rest
        self.set_size(chunk, need | PREVIOUS_IN_USE | self.own_flag)
        self.set_free(rest, size - need)
        return chunk + HEADER_BYTES

    @inline
    def top_bytes(self):
        """Size of the top; 0 before there is one."""
        return self.kernel.load(self.top + SIZE) & ~FLAGS if self.top != 0 else 0

    @inline
    def split_top(self, need):
        """A block from the start of the top, or 0 when the top is too small."""
        size = self.top_bytes()
        if size < need + SMALLEST_CHUNK_BYTES:
            return 0
        chunk = self.top
        self.top = chunk + need
        self.kernel.store(chunk + SIZE, need | PREVIOUS_IN_USE | self.own_flag)
        self.kernel.store(chunk + need + SIZE, (size - need) | PREVIOUS_IN_USE)
        return chunk + HEADER_BYTES

    # ---- freeing
    @inline
    def release(self, chunk, size):
        """Free a chunk that the thread cache did not take."""
        if size <= self.policy.fast_bytes:
            self.size_word(chunk + size)  # checked for being plausible
            self.policy.fill_freed(chunk, size)
            self.has_fast = 1
            index = cache_index(size)
            self.kernel.store(chunk + NEXT, self.fast[index])
            self.fast[index] = chunk
        else:
            self.policy.fill_freed(chunk, size)
            self.release_merged(chunk, size)

    def release_merged(self, chunk, size):
        """Free a chunk that joins its neighbours at once."""
        freed_bytes = self.merge(chunk, size, self.policy.small_bins_at_once)
        if freed_bytes >= LARGE_FREE_BYTES:
            self.policy.after_large_free(self)

    def merge(self, chunk, size, straight_to_bin):
        """Join a chunk with free neighbours; returns the size of the free chunk that results.

        It goes to the unsorted list, or, if small, `straight_to_bin`.
        """
        behind = chunk + size
        behind_word = self.kernel.load(behind + SIZE)
        if not self.kernel.load(chunk + SIZE) & PREVIOUS_IN_USE:
            before_size = self.kernel.load(chunk)
            chunk -= before_size
            size += before_size
            self.unlink(chunk, before_size)
        behind_size = behind_word & -16
        if behind == self.top:
            size += behind_size
            self.set_size(chunk, size | PREVIOUS_IN_USE)
            self.top = chunk
            return size
        if self.is_used(behind, behind_size):
            self.set_size(behind, behind_word & ~PREVIOUS_IN_USE)
        else:
            self.unlink(behind, behind_size)
            size += behind_size
        if size < LARGE_BYTES and straight_to_bin:
            self.put(chunk, size)
        else:
            self.add_unsorted(chunk, size)
        self.set_free(chunk, size)
        return size

    def consolidate(self):
        """Empty the fast bins: their chunks join their neighbours and go to the unsorted list."""
        self.has_fast = 0
        index = 0
        while index < N_FAST_BINS:
            chunk = self.fast[index]
            self.fast[index] = 0
            while chunk != 0:
                following = self.kernel.load(chunk + NEXT)
                self.merge(chunk, self.size_of(chunk), 0)
                chunk = following
            index += 1
