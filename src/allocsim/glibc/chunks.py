"""Chunks: how glibc lays blocks out in memory.

A chunk starts 16 bytes before the block that the program gets, at a multiple of 16:

    chunk + 0    size of the chunk before, valid only while that one is free (in use, it is data)
    chunk + 8    size of this chunk, a multiple of 16, with three flags in the low bits
    chunk + 16   the program's data; in a free chunk: next chunk of its list (`fd`)
    chunk + 24   ... previous chunk of its list (`bk`)
    chunk + 32   ... in a large bin's list: next smaller size (`fd_nextsize`), or 0
    chunk + 40   ... next larger size (`bk_nextsize`)

All sizes and addresses are in bytes.
"""

from array import array

from allocsim.component import Array, Component, Ref, host, inline

SIZE, NEXT, PREVIOUS, NEXT_SIZE, PREVIOUS_SIZE = 8, 16, 24, 32, 40  # offsets in a chunk
HEADER_BYTES = 16  # from a chunk to its block
PREVIOUS_IN_USE, IS_MAPPED, IN_OTHER_ARENA = 1, 2, 4  # the flags beside a size
FLAGS = 7
SMALLEST_CHUNK_BYTES = 32
LARGE_BYTES = 1024  # chunks from here on go to the bins that hold a range of sizes
PAGE_MASK = 4095

UNSORTED = 1
"""The number of the list of recently freed chunks; 2-63 are small bins, 64-126 large ones."""
N_BINS = 128
_EMPTY_HEADS = array("q", [number for number in range(N_BINS) for _ in ("first", "last")])
_BEFORE_SPACING = 48 | 91 << 8 | 110 << 16 | 119 << 24 | 124 << 32  # added to size / spacing


def chunk_bytes(request):
    """The size of the chunk that serves a request."""
    size = (request + 23) & -16
    return size if size > SMALLEST_CHUNK_BYTES else SMALLEST_CHUNK_BYTES


def cache_index(size):
    """The class of a chunk's size in the thread cache, and among the fast bins."""
    return (size >> 4) - 2


def large_bin(size):
    """The bin for a chunk of LARGE_BYTES or more: five spacings, each eight times the last.

    Without a branch, which no processor could predict.
    """
    spacing = (size >= 49 << 6) + (size >= 21 << 9) + (size >= 11 << 12) + (size >= 5 << 15)
    return min((_BEFORE_SPACING >> 8 * spacing & 255) + (size >> 6 + 3 * spacing), 126)


class Chunks(Component):
    """Access to chunks, and to the heads of an arena's lists.

    The heads belong to the arena itself, so they have no address: in links they are known by the
    number of their list, which no chunk's address can be.
    """

    kernel = Ref("kernel")
    heads = Array("i8", 2 * N_BINS)  # of list i: its first chunk at 2i, its last at 2i + 1

    @host
    def setup(self):
        """All lists are empty: each head is linked to itself."""
        self.heads[:] = _EMPTY_HEADS

    @inline
    def size_word(self, chunk):
        """Size and flags."""
        return self.kernel.load(chunk + SIZE)

    @inline
    def size_of(self, chunk):
        """Size without flags."""
        return self.kernel.load(chunk + SIZE) & ~FLAGS

    @inline
    def set_size(self, chunk, size_and_flags):
        self.kernel.store(chunk + SIZE, size_and_flags)

    @inline
    def set_free(self, chunk, size):
        """Write a free chunk's size, at its start and behind its end."""
        self.kernel.store(chunk + SIZE, size | PREVIOUS_IN_USE)
        self.kernel.store(chunk + size, size)

    @inline
    def set_used(self, chunk, size):
        """Tell the chunk behind that this one is in use now."""
        behind = chunk + size + SIZE
        self.kernel.store(behind, self.kernel.load(behind) | PREVIOUS_IN_USE)

    @inline
    def is_used(self, chunk, size):
        """Whether a chunk is in use, which the one behind it knows."""
        return self.kernel.load(chunk + size + SIZE) & PREVIOUS_IN_USE != 0

    # ---- links, of chunks and heads alike
    @inline
    def next(self, chunk):
        if chunk < N_BINS:
            return self.heads[2 * chunk]
        return self.kernel.load(chunk + NEXT)

    @inline
    def previous(self, chunk):
        if chunk < N_BINS:
            return self.heads[2 * chunk + 1]
        return self.kernel.load(chunk + PREVIOUS)

    @inline
    def set_next(self, chunk, target):
        if chunk < N_BINS:
            self.heads[2 * chunk] = target
        else:
            self.kernel.store(chunk + NEXT, target)

    @inline
    def set_previous(self, chunk, target):
        if chunk < N_BINS:
            self.heads[2 * chunk + 1] = target
        else:
            self.kernel.store(chunk + PREVIOUS, target)
