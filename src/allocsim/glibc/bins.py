"""The lists of free chunks of one arena: unsorted, small bins, large bins with their skip list."""

from allocsim.component import Array, Part, ctz, inline
from allocsim.glibc.chunks import (
    FLAGS,
    LARGE_BYTES,
    N_BINS,
    NEXT,
    NEXT_SIZE,
    PREVIOUS_SIZE,
    SIZE,
    UNSORTED,
    Chunks,
    large_bin,
)
from allocsim.glibc.size_index import SizeIndex


class Bins(Chunks):
    """Lists of free chunks.

    The unsorted list takes what was freed or split off. A small bin holds one size, oldest last. A
    large bin is sorted by falling size; the first chunk of each size also is in a ring of sizes
    (`NEXT_SIZE` to smaller ones, `PREVIOUS_SIZE` to larger ones). `marks` has a bit for each bin
    that may hold something.
    """

    marks = Array("i8", N_BINS >> 5)
    sizes = Part(SizeIndex)

    # ---- the unsorted list
    @inline
    def add_unsorted(self, chunk, size):
        """Put a free chunk at the unsorted list's front."""
        first = self.heads[2 * UNSORTED]
        self.kernel.store_pair(chunk + NEXT, first, UNSORTED)
        if size >= LARGE_BYTES:
            self.kernel.store_pair(chunk + NEXT_SIZE, 0, 0)
        self.heads[2 * UNSORTED] = chunk
        self.set_previous(first, chunk)

    def replace_unsorted(self, chunk, size):
        """Make a free chunk the only one on the unsorted list."""
        self.heads[2 * UNSORTED] = chunk
        self.heads[2 * UNSORTED + 1] = chunk
        self.kernel.store_pair(chunk + NEXT, UNSORTED, UNSORTED)
        if size >= LARGE_BYTES:
            self.kernel.store_pair(chunk + NEXT_SIZE, 0, 0)

    # ---- bins
    @inline
    def put(self, chunk, size):
        """Put a chunk into the bin of its size."""
        if size < LARGE_BYTES:
            index = size >> 4
            above = index
            below = self.heads[2 * index]
        else:
            index = large_bin(size)
            below = self.place_in_sizes(chunk, size, index)
            above = self.previous(below)
        self.marks[index >> 5] |= 1 << (index & 31)
        self.kernel.store_pair(chunk + NEXT, below, above)
        self.set_previous(below, chunk)
        self.set_next(above, chunk)

    def place_in_sizes(self, chunk, size, index):
        """Enter a chunk into a large bin's ring of sizes; returns what it is to stand before.

        A chunk of a size that is there already goes into second place, outside of the ring.
        """
        first = self.heads[2 * index]
        if first == index:
            self.kernel.store_pair(chunk + NEXT_SIZE, chunk, chunk)
            self.sizes.enter(chunk, size)
            return index
        if size < self.size_of(self.heads[2 * index + 1]):
            self.join_sizes(chunk, size, first)
            return index
        at = first
        at_size = self.kernel.load(at + SIZE) & ~FLAGS
        if self.sizes.serves(at_size):
            at, at_size = self.sizes.walk_down(at, at_size, size)
        while size < at_size:
            at = self.kernel.load(at + NEXT_SIZE)
            at_size = self.kernel.load(at + SIZE) & ~FLAGS
        if size == at_size:
            return self.next(at)
        self.join_sizes(chunk, size, at)
        return at

    def join_sizes(self, chunk, size, smaller):
        """Link a chunk into the ring of sizes on the larger side of `smaller`."""
        self.sizes.enter(chunk, size)
        larger = self.kernel.load(smaller + PREVIOUS_SIZE)
        self.kernel.store_pair(chunk + NEXT_SIZE, smaller, larger)
        self.kernel.store(smaller + PREVIOUS_SIZE, chunk)
        self.kernel.store(larger + NEXT_SIZE, chunk)

    @inline
    def unlink(self, chunk, size):
        """Take a chunk out of its list, whichever that is."""
        after, before = self.kernel.load_pair(chunk + NEXT)
        self.set_previous(after, before)
        self.set_next(before, after)
        if size >= LARGE_BYTES:
            smaller = self.kernel.load(chunk + NEXT_SIZE)
            if smaller != 0:
                self.leave_sizes(chunk, size, smaller, after)

    def leave_sizes(self, chunk, size, smaller, after):
        """Take a chunk out of the ring of sizes; the next one of the same size takes its place."""
        larger = self.kernel.load(chunk + PREVIOUS_SIZE)
        if after < N_BINS or self.kernel.load(after + NEXT_SIZE) != 0:
            self.sizes.leave(size)
            self.kernel.store(smaller + PREVIOUS_SIZE, larger)
            self.kernel.store(larger + NEXT_SIZE, smaller)
            return
        self.sizes.enter(after, size)
        if smaller == chunk:
            self.kernel.store_pair(after + NEXT_SIZE, after, after)
        else:
            self.kernel.store_pair(after + NEXT_SIZE, smaller, larger)
            self.kernel.store(smaller + PREVIOUS_SIZE, after)
            self.kernel.store(larger + NEXT_SIZE, after)

    # ---- searches
    def best_in_bin(self, need, index):
        """The smallest chunk of at least `need` bytes in a large bin, or 0.

        Among several of one size it is the second, so that the ring of sizes can stay as it is.
        """
        first = self.heads[2 * index]
        if first == index or self.size_of(first) < need:
            return 0
        chunk = self.kernel.load(first + PREVIOUS_SIZE)
        size = self.kernel.load(chunk + SIZE) & ~FLAGS
        if self.sizes.serves(need):
            chunk, size = self.sizes.walk_up(chunk, size, need)
        while size < need:
            chunk = self.kernel.load(chunk + PREVIOUS_SIZE)
            size = self.kernel.load(chunk + SIZE) & ~FLAGS
        if chunk != self.heads[2 * index + 1]:
            second = self.kernel.load(chunk + NEXT)
            if self.size_of(second) == size:
                return second
        return chunk

    def smallest_above(self, index):
        """The last chunk of the first bin from `index` on that has one, or 0.

        The marks of bins that turn out to be empty are cleared on the way.
        """
        word = index >> 5
        marks = self.marks[word] >> (index & 31) << (index & 31)
        while True:
            while marks == 0:
                word += 1
                if word == N_BINS >> 5:
                    return 0
                marks = self.marks[word]
            bit = ctz(marks)
            index = (word << 5) + bit
            chunk = self.heads[2 * index + 1]
            if chunk != index:
                return chunk
            marks &= marks - 1
            self.marks[word] &= ~(1 << bit)
