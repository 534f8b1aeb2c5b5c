"""Chunks with a mapping of their own, and the threshold that adapts to them."""

from allocsim.component import Pool
from allocsim.glibc.chunks import FLAGS, HEADER_BYTES, IS_MAPPED, PAGE_MASK, SIZE
from allocsim.glibc.tunables import Tunables
from allocsim.kernel.backing import PAGE_SHIFT, SPAN_BYTES

LARGEST_ADAPTED_BYTES = 32 << 20
ADVICE_HUGE_PAGES = 14


class MappedChunks(Tunables):
    """Mapped chunks: a page-aligned mapping each.

    In such a chunk the word for the size of the chunk before holds the bytes from the mapping's
    start to the chunk, which are not 0 where an alignment was asked for. Its own size leaves out
    the last `unsized_bytes` of the mapping.
    """

    n_mapped = 0
    mapped_chunk_bytes = 0
    listed = Pool("i8", 1 << 27, for_walk=True)  # all mapped chunks, in no order
    # By page of the block: where it is listed.
    place_of = Pool("i4", SPAN_BYTES >> PAGE_SHIFT, for_walk=True)
    n_listed = 0

    def list_chunk(self, chunk):
        """Enter a mapped chunk into the list that walk() goes through."""
        self.place_of[self.kernel.offset(chunk + HEADER_BYTES) >> PAGE_SHIFT] = self.n_listed
        self.listed[self.n_listed] = chunk
        self.n_listed += 1

    def unlist_chunk(self, chunk):
        """Take a mapped chunk out of the list; the last one moves to its place."""
        place = self.place_of[self.kernel.offset(chunk + HEADER_BYTES) >> PAGE_SHIFT]
        self.n_listed -= 1
        last = self.listed[self.n_listed]
        self.listed[place] = last
        self.place_of[self.kernel.offset(last + HEADER_BYTES) >> PAGE_SHIFT] = place

    def is_mapped(self, chunk):
        return self.kernel.load(chunk + SIZE) & IS_MAPPED != 0

    def extent(self, size_word):
        """Bytes from a mapped chunk's start to its mapping's end."""
        return (size_word & ~FLAGS) + self.unsized_bytes

    def map_chunk(self, need):
        """A new mapped chunk; its block, or 0."""
        length = (need + 8 + PAGE_MASK) & ~PAGE_MASK
        chunk = self.kernel.mmap(length)
        if chunk < 0:
            return 0
        self.advise_huge_pages(chunk, length)
        self.kernel.store(chunk, 0)
        self.kernel.store(chunk + SIZE, (length - self.unsized_bytes) | IS_MAPPED)
        self.n_mapped += 1
        self.mapped_chunk_bytes += length
        self.list_chunk(chunk)
        return chunk + HEADER_BYTES

    def unmap_chunk(self, chunk):
        size = self.extent(self.kernel.load(chunk + SIZE))
        lead = self.kernel.load(chunk)
        self.unlist_chunk(chunk)
        self.n_mapped -= 1
        self.mapped_chunk_bytes -= lead + size
        self.kernel.munmap(chunk - lead, lead + size)

    def adapt_thresholds(self, size_word):
        """A mapped chunk of this size is freed: blocks so large come and go, so keep them."""
        if self.adapting and self.mmap_from_bytes < size_word <= LARGEST_ADAPTED_BYTES:
            self.mmap_from_bytes = size_word & ~FLAGS
            self.trim_from_bytes = 2 * self.mmap_from_bytes

    def remap_chunk(self, chunk, size, need):
        """Resize a mapped chunk by mremap; the chunk, or 0."""
        lead = self.kernel.load(chunk)
        old_length = lead + size
        length = (need + lead + 8 + PAGE_MASK) & ~PAGE_MASK
        if length == old_length:
            return chunk
        start = self.kernel.mremap(chunk - lead, old_length, length)
        if start < 0:
            return 0
        if not self.mremap_keeps_advice or old_length < self.huge_page_bytes:
            self.advise_huge_pages(start, length)
        self.kernel.store(start + lead + SIZE, (length - lead - self.unsized_bytes) | IS_MAPPED)
        self.mapped_chunk_bytes += length - old_length + self.miscounted_bytes
        if start != chunk - lead:
            self.unlist_chunk(chunk)
            self.list_chunk(start + lead)
        return start + lead

    def align_mapped(self, chunk, alignment):
        """Move a new mapped chunk's start so that its block is aligned; returns the block."""
        block = chunk + HEADER_BYTES
        if block % alignment == 0:
            return block
        lead = ((block + alignment - 1) & -alignment) - block
        if lead < self.least_lead_bytes:
            lead += alignment
        size = self.kernel.load(chunk + SIZE) & ~FLAGS
        self.kernel.store(chunk + lead, self.kernel.load(chunk) + lead)
        self.kernel.store(chunk + lead + SIZE, (size - lead) | IS_MAPPED)
        self.unlist_chunk(chunk)
        self.list_chunk(chunk + lead)
        return block + lead

    def advise_huge_pages(self, address, size):
        """Ask for huge pages in new memory, where that is switched on."""
        if self.huge_page_bytes == 0 or size < self.huge_page_bytes:
            return
        misaligned = address & PAGE_MASK
        self.kernel.madvise(address - misaligned, size + misaligned, ADVICE_HUGE_PAGES)
