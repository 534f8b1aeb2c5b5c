"""The sizes that an arena's large bins have, and how to get from one to the next without a walk."""

from allocsim.component import Array, Component, Ref, ctz, inline
from allocsim.component.native import ilog2
from allocsim.glibc.chunks import NEXT_SIZE, SIZE

INDEXED_BYTES = 163_840
"""Chunks from here on are few, and their bins too wide for sets of bits to be of use."""
WORDS = INDEXED_BYTES >> 9


class SizeIndex(Component):
    """For each size that a large bin has: the chunk that stands for it in the bin's ring of sizes.

    The real library goes along the ring from chunk to chunk, and waits for memory at each. Here the
    next one is known from a set of bits; the accesses are counted as if they had been made. `enter`
    and `leave` tell the index of every change to a ring. Addresses and sizes are in bytes; a bad
    size is an IndexError.
    """

    kernel = Ref("kernel")
    sizes = Array("i8", WORDS)  # a bit for each multiple of 16, 32 in a word
    chunks = Array("i8", WORDS << 5)

    @inline
    def enter(self, chunk, size):
        """The chunk stands for its size from now on."""
        if size < INDEXED_BYTES:
            self.sizes[size >> 9] |= 1 << (size >> 4 & 31)
            self.chunks[size >> 4] = chunk

    @inline
    def leave(self, size):
        """No chunk of that size is left."""
        if size < INDEXED_BYTES:
            self.sizes[size >> 9] &= ~(1 << (size >> 4 & 31))

    @inline
    def serves(self, size):
        """Whether a walk that starts at that size need not be made."""
        return size < INDEXED_BYTES and not self.kernel.EVERY_ACCESS

    @inline
    def step(self, chunk, following):
        """How many of a step's two accesses are far: to the link, and to the next chunk's size.

        Links to smaller and to larger chunks lie in the same line.
        """
        far = self.kernel.becomes_near(chunk + NEXT_SIZE)
        return far + self.kernel.becomes_near(following + SIZE)

    @inline
    def walk_down(self, chunk, size, most):
        """The first chunk of `most` bytes or less on the way to smaller ones, and its size."""
        word = size >> 9
        bits = self.sizes[word] & ((1 << (size >> 4 & 31)) - 1)
        n = 0
        n_far = 0
        while size > most:
            while bits == 0:
                word -= 1
                bits = self.sizes[word]
            bit = ilog2(bits)
            bits ^= 1 << bit
            size = (word << 9) + (bit << 4)
            following = self.chunks[size >> 4]
            n_far += self.step(chunk, following)
            n += 2
            chunk = following
        self.kernel.count_accesses(n, n_far)
        return chunk, size

    @inline
    def walk_up(self, chunk, size, least):
        """The first chunk of at least `least` bytes on the way to larger ones, and its size."""
        word = size >> 9
        bits = self.sizes[word] & (-2 << (size >> 4 & 31))
        n = 0
        n_far = 0
        while size < least:
            while bits == 0:
                word += 1
                bits = self.sizes[word]
            bit = ctz(bits)
            bits &= bits - 1
            size = (word << 9) + (bit << 4)
            following = self.chunks[size >> 4]
            n_far += self.step(chunk, following)
            n += 2
            chunk = following
        self.kernel.count_accesses(n, n_far)
        return chunk, size
