"""Best fit: the smallest hole that is large enough."""

from allocsim import Array, BoundaryTagHeap, ctz, ilog2

NEXT, PREVIOUS = 0, 8  # offsets of the links in a free chunk
EXACT_BYTES = 1024  # below, every size has a list of its own; above, four lists for each doubling
N_LISTS = 256
BITS = 32  # lists in each word of the map of lists that are not empty


class BestFit(BoundaryTagHeap):
    """Exact best fit (Knuth, TAOCP vol. 1, section 2.5; Wilson et al. 1995, section 3.5), on lists
    segregated by size, each sorted from small to large; among equals the one freed last.

    Not modelled: the order by address among equals ("BF AO" of Johnstone and Wilson, ISMM 1998);
    see BoundaryTagHeap for the rest.
    """

    head = Array("i8", N_LISTS)
    filled = Array("i8", N_LISTS // BITS)

    def find(self, size):
        chunk = self.first_in(self.list_of(size), size)
        if chunk == 0:
            other = self.next_filled(self.list_of(size) + 1)
            chunk = self.head[other] if other < N_LISTS else 0
        return chunk

    def first_in(self, number, size):
        """The first hole of list `number` that is no smaller than `size`, or 0."""
        chunk = self.head[number]
        while chunk != 0 and self.size_of(chunk) < size:
            chunk = self.kernel.load(chunk + NEXT)
        return chunk

    def insert(self, chunk, size):
        number = self.list_of(size)
        previous = 0
        following = self.head[number]
        while following != 0 and self.size_of(following) < size:
            previous = following
            following = self.kernel.load(following + NEXT)
        self.kernel.store(chunk + NEXT, following)
        self.kernel.store(chunk + PREVIOUS, previous)
        self.link(number, previous, chunk)
        if following != 0:
            self.kernel.store(following + PREVIOUS, chunk)

    def remove(self, chunk, size):
        following = self.kernel.load(chunk + NEXT)
        previous = self.kernel.load(chunk + PREVIOUS)
        self.link(self.list_of(size), previous, following)
        if following != 0:
            self.kernel.store(following + PREVIOUS, previous)

    def link(self, number, previous, chunk):
        """`chunk` (0: nothing) now follows `previous` (0: the list's head)."""
        if previous != 0:
            self.kernel.store(previous + NEXT, chunk)
            return
        self.head[number] = chunk
        bit = 1 << (number % BITS)
        if chunk != 0:
            self.filled[number // BITS] |= bit
        else:
            self.filled[number // BITS] &= ~bit

    def list_of(self, size):
        if size < EXACT_BYTES:
            return size >> 4
        log = ilog2(size)
        return (EXACT_BYTES >> 4) + (log - 10) * 4 + ((size >> (log - 2)) & 3)

    def next_filled(self, number):
        """The first list from `number` on that is not empty, or N_LISTS."""
        word = number // BITS
        bits = self.filled[word] >> (number % BITS) << (number % BITS)
        while bits == 0 and word + 1 < N_LISTS // BITS:
            word += 1
            bits = self.filled[word]
        return word * BITS + ctz(bits) if bits != 0 else N_LISTS
