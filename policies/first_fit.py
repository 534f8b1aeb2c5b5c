"""First fit, address-ordered: the hole of the lowest address that is large enough."""

from allocsim import BoundaryTagHeap

LEFT, RIGHT = 0, 8  # offsets of the links to lower and to higher addresses
ROOT = 0  # the link that is no word in memory


class FirstFit(BoundaryTagHeap):
    """Address-ordered first fit (Wilson et al. 1995, section 3.5; "FF AO" of Johnstone and Wilson,
    The Memory Fragmentation Problem: Solved?, ISMM 1998).

    The holes form a Cartesian tree (Stephenson, Fast Fits, SOSP 1983): ordered by address from left
    to right, the larger above the smaller, so that the lowest hole that fits is found by going left
    only. Placement is that of a list sorted by address; a search takes steps in the logarithm of
    the number of holes instead of their number.

    Not modelled: the sorted list's cost; see BoundaryTagHeap for the rest.
    """

    root = 0

    def find(self, size):
        chunk = self.root
        if chunk == 0 or self.size_of(chunk) < size:
            return 0
        left = self.kernel.load(chunk + LEFT)
        while left != 0 and self.size_of(left) >= size:
            chunk = left
            left = self.kernel.load(chunk + LEFT)
        return chunk

    def insert(self, chunk, size):
        """Go down while holes are larger, then split the rest of the tree around the new hole."""
        link = ROOT
        node = self.root
        while node != 0 and self.is_above(node, chunk, size):
            link = node + LEFT if chunk < node else node + RIGHT
            node = self.kernel.load(link)
        self.hang(link, chunk)
        lower = chunk + LEFT
        higher = chunk + RIGHT
        while node != 0:
            if node < chunk:
                self.kernel.store(lower, node)
                lower = node + RIGHT
                node = self.kernel.load(lower)
            else:
                self.kernel.store(higher, node)
                higher = node + LEFT
                node = self.kernel.load(higher)
        self.kernel.store(lower, 0)
        self.kernel.store(higher, 0)

    def remove(self, chunk, size):
        """Merge the two trees below the hole into its place."""
        link = ROOT
        node = self.root
        while node != chunk:
            link = node + LEFT if chunk < node else node + RIGHT
            node = self.kernel.load(link)
        lower = self.kernel.load(chunk + LEFT)
        higher = self.kernel.load(chunk + RIGHT)
        while lower != 0 and higher != 0:
            if self.is_above(lower, higher, self.size_of(higher)):
                self.hang(link, lower)
                link = lower + RIGHT
                lower = self.kernel.load(link)
            else:
                self.hang(link, higher)
                link = higher + LEFT
                higher = self.kernel.load(link)
        self.hang(link, lower + higher)

    def is_above(self, node, chunk, size):
        """The larger hole is above; among equals a hash of the address, for a bushy tree."""
        node_size = self.size_of(node)
        if node_size == size:
            return self.mix(node) > self.mix(chunk)
        return node_size > size

    def mix(self, chunk):
        return ((chunk >> 4) * 0x9E3779B1) & 0xFFFFFFFF

    def hang(self, link, chunk):
        if link == ROOT:
            self.root = chunk
        else:
            self.kernel.store(link, chunk)
