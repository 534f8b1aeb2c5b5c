"""Next fit: the first hole that is large enough, from where the last search ended."""

from allocsim import BoundaryTagHeap

NEXT, PREVIOUS = 0, 8  # offsets of the links in a free chunk


class NextFit(BoundaryTagHeap):
    """First fit with a roving pointer (Knuth, TAOCP vol. 1, section 2.5, exercise 6; Wilson et al.
    1995, section 3.5).

    The holes form a circular list. A search starts at the rover and leaves it behind the chosen
    hole; what becomes free, the rest of a split hole included, joins the list behind the rover, to
    be tried last.

    Not modelled: the variant whose list is sorted by address; see BoundaryTagHeap for the rest.
    """

    rover = 0

    def find(self, size):
        chunk = self.rover
        if chunk == 0:
            return 0
        while self.size_of(chunk) < size:
            chunk = self.kernel.load(chunk + NEXT)
            if chunk == self.rover:
                return 0
        self.rover = chunk
        return chunk

    def insert(self, chunk, size):
        following = self.rover if self.rover != 0 else chunk
        previous = chunk
        if self.rover != 0:
            previous = self.kernel.load(following + PREVIOUS)
        self.rover = following
        self.kernel.store(chunk + NEXT, following)
        self.kernel.store(chunk + PREVIOUS, previous)
        self.kernel.store(previous + NEXT, chunk)
        self.kernel.store(following + PREVIOUS, chunk)

    def remove(self, chunk, size):
        following = self.kernel.load(chunk + NEXT)
        previous = self.kernel.load(chunk + PREVIOUS)
        self.kernel.store(previous + NEXT, following)
        self.kernel.store(following + PREVIOUS, previous)
        if self.rover == chunk:
            self.rover = following if following != chunk else 0
