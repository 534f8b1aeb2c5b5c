"""Chunks with a mapping of their own, and the threshold that adapts to them."""

from allocsim.glibc.chunks import FLAGS, HEADER_BYTES, IS_MAPPED, PAGE_MASK, SIZE
from allocsim.glibc.tunables import Tunables

LARGEST_ADAPTED_BYTES = 32 << 20
ADVICE_HUGE_PAGES = 14


class MappedChunks(Tunables):
    """Mapped chunks: a page-aligned mapping each.

    In such a chunk the word for the size of the chunk before holds the bytes from the mapping's
    start to the chunk, which are not 0 where an alignment was asked for.
    """

    n_mapped = 0
    mapped_chunk_bytes = 0

    def is_mapped(self, chunk):
        return self.kernel.load(chunk + SIZE) & IS_MAPPED != 0

    def map_chunk(self, need):
        """A new mapped chunk; its block, or 0."""
        length = (need + 8 + PAGE_MASK) & ~PAGE_MASK
        chunk = self.kernel.mmap(length)
        if chunk < 0:
            return 0
        self.advise_huge_pages(chunk, length)
        self.kernel.store(chunk, 0)
        self.kernel.store(chunk + SIZE, length | IS_MAPPED)
        self.n_mapped += 1
        self.mapped_chunk_bytes += length
        return chunk + HEADER_BYTES

    def unmap_chunk(self, chunk):
        size = self.kernel.load(chunk + SIZE) & ~FLAGS
        lead = self.kernel.load(chunk)
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
        self.advise_huge_pages(start, length)
        self.kernel.store(start + lead + SIZE, (length - lead) | IS_MAPPED)
        self.mapped_chunk_bytes += length - old_length
        return start + lead

    def align_mapped(self, chunk, alignment):
        """Move a new mapped chunk's start so that its block is aligned; returns the block."""
        block = chunk + HEADER_BYTES
        if block % alignment == 0:
            return block
        lead = ((block + alignment - 1) & -alignment) - block
        if lead < 32:
            lead += alignment
        size = self.kernel.load(chunk + SIZE) & ~FLAGS
        self.kernel.store(chunk + lead, self.kernel.load(chunk) + lead)
        self.kernel.store(chunk + lead + SIZE, (size - lead) | IS_MAPPED)
        return block + lead

    def advise_huge_pages(self, address, size):
        """Ask for huge pages in new memory, where that is switched on."""
        if self.huge_page_bytes == 0 or size < self.huge_page_bytes:
            return
        misaligned = address & PAGE_MASK
        self.kernel.madvise(address - misaligned, size + misaligned, ADVICE_HUGE_PAGES)
