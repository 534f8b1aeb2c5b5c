"""A heap of chunks with boundary tags, for policies that differ only in which hole they choose.

Source of the mechanism: Knuth, The Art of Computer Programming, vol. 1, section 2.5, algorithm C
(boundary tags: a freed chunk finds its neighbours at once); Wilson, Johnstone, Neely and Boles,
Dynamic Storage Allocation: A Survey and Critical Review (1995), section 3.

A chunk is named by the address of its block, a multiple of 16:

    chunk - 8              size of the chunk in bytes, a multiple of 16, and two flags: USED (this
                           chunk) and USED_BELOW (the one below)
    chunk                  the program's block; in a free chunk 16 bytes for the policy's own links
    chunk + size - 16      only in a free chunk: its size again, for the chunk above to find
    chunk + size - 8       the tag of the chunk above; at the heap's end that of an empty used chunk
"""

from allocsim.component import Param, inline
from allocsim.errors import SimulationError
from allocsim.policy import Kind, Policy

SMALLEST = 32  # tag, two links, size again
USED, USED_BELOW = 1, 2
PAGE_BYTES = 4096


class BoundaryTagHeap(Policy):
    """One heap on brk, its holes coalesced at once; a subclass decides how holes are kept.

    A subclass defines `find`, `insert` and `remove`. The first 16 bytes of a free chunk are its to
    hold links in. The heap never shrinks.

    Not modelled: giving memory back (trimming), several threads' locks, deferred coalescing.
    """

    grow_bytes = Param(
        64 << 10, "bytes", PAGE_BYTES, 1 << 40, "the heap grows by at least this, in whole pages"
    )
    start = 0  # the lowest chunk
    end = 0  # where the chunk above the highest would be

    # ---- decisions
    def find(self, size):
        """A free chunk of at least `size` bytes, or 0; it stays where it is kept."""
        raise NotImplementedError("a boundary-tag heap defines find(self, size)")

    def insert(self, chunk, size):
        """Keep a chunk that became free."""
        raise NotImplementedError("a boundary-tag heap defines insert(self, chunk, size)")

    def remove(self, chunk, size):
        """Keep a free chunk no longer: it is about to be used or merged."""
        raise NotImplementedError("a boundary-tag heap defines remove(self, chunk, size)")

    # ---- the policy's contract
    def malloc(self, size):
        need = self.chunk_bytes(size)
        chunk = self.find(need)
        if chunk == 0:
            chunk = self.grow(need)
        if chunk != 0:
            has = self.size_of(chunk)
            self.remove(chunk, has)
            self.use(chunk, has, need)
        return chunk

    def free(self, address):
        tag = self.kernel.load(address - 8)
        if not tag & USED:
            raise SimulationError("free of a block that is not live, at", address)
        size = tag & -16
        chunk = address
        above = address + size
        if not tag & USED_BELOW:
            below = self.kernel.load(chunk - 16)
            chunk -= below
            size += below
            self.remove(chunk, below)
        tag_above = self.kernel.load(above - 8)
        if tag_above & USED:
            self.kernel.store(above - 8, tag_above & ~USED_BELOW)
        else:
            self.remove(above, tag_above & -16)
            size += tag_above & -16
        self.keep(chunk, size)

    def usable_size(self, address):
        return self.size_of(address) - 8

    def realloc(self, address, size):
        """In place where the chunk above is free and large enough, else by moving."""
        need = self.chunk_bytes(size)
        if self.size_of(address) < need:
            self.absorb(address, need)
        if self.size_of(address) < need:
            return super().realloc(address, size)
        self.shrink(address, need)
        return address

    def aligned_alloc(self, alignment, size):
        """A larger chunk, of which the parts before and after the aligned block are freed."""
        if alignment <= 16:
            return self.malloc(size)
        block = self.malloc(size + alignment + SMALLEST)
        if block == 0:
            return 0
        if block & (alignment - 1):
            aligned = (block + SMALLEST + alignment - 1) & -alignment
            self.cut(block, aligned - block)
            self.free(block)
            block = aligned
        self.shrink(block, self.chunk_bytes(size))
        return block

    def walk(self):
        chunk = self.start
        if chunk != 0:
            self.ranges.add(self.end - 8, 8, Kind.METADATA)
        while chunk < self.end:
            tag = self.kernel.peek(chunk - 8)
            size = tag & -16
            if tag & USED:
                self.ranges.add(chunk - 8, 8, Kind.METADATA)
                self.ranges.add(chunk, size - 8, Kind.USED)
            else:
                kind = Kind.TOP if chunk + size == self.end else Kind.FREE
                self.ranges.add(chunk - 8, size, kind)
            chunk += size

    # ---- mechanisms
    @inline
    def chunk_bytes(self, size):
        """The chunk that a request of `size` bytes needs."""
        return max((size + 8 + 15) & -16, SMALLEST)

    @inline
    def size_of(self, chunk):
        return self.kernel.load(chunk - 8) & -16

    def keep(self, chunk, size):
        """Tag a chunk as free, both neighbours being used, and have the policy keep it."""
        self.kernel.store(chunk - 8, size | USED_BELOW)
        self.kernel.store(chunk + size - 16, size)
        self.insert(chunk, size)

    def use(self, chunk, has, need):
        """Tag `need` bytes of a free chunk of `has` bytes as used; the rest stays free."""
        if has - need >= SMALLEST:
            self.kernel.store(chunk - 8, need | USED | USED_BELOW)
            self.keep(chunk + need, has - need)
        else:
            self.kernel.store(chunk - 8, has | USED | USED_BELOW)
            above = chunk + has - 8
            self.kernel.store(above, self.kernel.load(above) | USED_BELOW)

    def cut(self, block, size):
        """Make two used chunks of one: the lower has `size` bytes."""
        tag = self.kernel.load(block - 8)
        self.kernel.store(block - 8, size | (tag & 15))
        self.kernel.store(block + size - 8, ((tag & -16) - size) | USED | USED_BELOW)

    def shrink(self, block, need):
        """Free what a used chunk has beyond `need` bytes, if that makes a chunk."""
        if self.size_of(block) - need >= SMALLEST:
            self.cut(block, need)
            self.free(block + need)

    def absorb(self, block, need):
        """Merge the chunk above into a used one, if it is free and gives `need` bytes."""
        tag = self.kernel.load(block - 8)
        above = block + (tag & -16)
        tag_above = self.kernel.load(above - 8)
        more = tag_above & -16
        if not tag_above & USED and (tag & -16) + more >= need:
            self.remove(above, more)
            self.kernel.store(block - 8, tag + more)
            end = above + more - 8
            self.kernel.store(end, self.kernel.load(end) | USED_BELOW)

    def grow(self, need):
        """Extend the heap: its highest chunk is free and has `need` bytes; 0 if exhausted."""
        flags = USED_BELOW
        spare = 0
        if self.end != 0:
            flags = self.kernel.load(self.end - 8) & USED_BELOW
            spare = 0 if flags else self.kernel.load(self.end - 16)
        at = self.more(need - spare + 2 * 16)  # room for the first chunk's alignment
        if at < 0:
            return 0
        chunk = self.end
        if chunk == 0:
            chunk = ((at + 15) & -16) + 16
            self.start = chunk
        self.end = self.kernel.sbrk(0) & -16
        self.kernel.store(chunk - 8, (self.end - chunk) | USED | flags)
        self.kernel.store(self.end - 8, USED | USED_BELOW)
        self.free(chunk)
        return chunk - spare

    def more(self, n_bytes):
        """Move the break up by whole pages; returns the old break or a negative errno."""
        pages = -PAGE_BYTES
        at = self.kernel.sbrk((max(n_bytes, self.grow_bytes) + PAGE_BYTES - 1) & pages)
        if at < 0:
            at = self.kernel.sbrk((n_bytes + PAGE_BYTES - 1) & pages)
        return at
