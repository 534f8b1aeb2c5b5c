"""The parameters of glibc's malloc with their limits and side effects."""

from allocsim.component import Param, host
from allocsim.glibc.chunks import PAGE_MASK, SMALLEST_CHUNK_BYTES, cache_index, chunk_bytes
from allocsim.policy import Policy

VERSIONS = (2.36, 2.41)
NOT_SET = -1
KIB = 1024
LARGEST_BYTES = 2**62
MOST_CACHED = 65_535
LARGEST_CACHED_REQUEST_BYTES = 1032
LARGEST_FAST_REQUEST_BYTES = 160
HUGE_PAGE_BYTES = 2 << 20
PRIVATE_ANONYMOUS, NO_RESERVE = 0x22, 0x4000  # how memory is mapped


def _bytes(default: int, doc: str, low: int = 0) -> Param:
    return Param(default, unit="bytes", low=low, high=LARGEST_BYTES, doc=doc)


class Tunables(Policy):
    """Parameters as a user sets them, and the state that follows from them.

    As in the real library, a value beyond its own limit (`tcache_max`, `mxfast`, `tcache_count`)
    is ignored, and setting any of `mmap_threshold`, `trim_threshold`, `top_pad` and `mmap_max`,
    even to its default, keeps the thresholds from adapting; hence their default "not set", -1.
    """

    mmap_threshold = _bytes(
        NOT_SET, "chunks from this size on are mapped; -1: not set, 131072 that adapts", NOT_SET
    )
    trim_threshold = _bytes(
        NOT_SET, "a top of this size is given back; -1: not set, 131072 that adapts", NOT_SET
    )
    top_pad = _bytes(
        NOT_SET,
        "beyond need: asked for when growing, left when trimming; -1: not set, 131072",
        NOT_SET,
    )
    mmap_max = Param(
        NOT_SET, "chunks", NOT_SET, 2**31 - 1, "most mapped chunks; -1: not set, 65536"
    )
    tcache_count = Param(7, "blocks", 0, LARGEST_BYTES, "blocks per thread and size; at most 65535")
    tcache_max = _bytes(1032, "largest request that the thread cache serves; at most 1032")
    tcache_unsorted_limit = Param(
        0, "chunks", 0, LARGEST_BYTES, "chunks sorted while filling the thread cache; 0: all"
    )
    mxfast = _bytes(128, "largest request that fast bins serve; at most 160")
    arena_max = Param(0, "arenas", 0, LARGEST_BYTES, "most arenas; 0: 8 per CPU")
    arena_test = Param(8, "arenas", 1, LARGEST_BYTES, "arenas before CPUs are counted")
    hugetlb = Param(0, "", 0, 1, "1: ask for transparent huge pages")
    perturb = Param(0, "", 0, 255, "not 0: blocks are overwritten when allocated and freed")
    version = Param(VERSIONS[0], choices=VERSIONS, doc="of glibc")
    cpus = Param(2, "CPUs", 1, 4096, "that the program may run on; limits the arenas")

    mmap_from_bytes = 0  # the threshold as it adapts
    trim_from_bytes = 0
    top_pad_bytes = 0
    most_mapped = 0
    adapting = 0
    cache_count = 0
    cache_classes = 0
    fast_bytes = 0  # largest chunk for the fast bins
    huge_page_bytes = 0  # 0: huge pages are not asked for

    # what differs between versions
    cache_serves_calloc = 0
    cache_serves_aligned = 0  # aligned_alloc takes a cached block that happens to be aligned
    aligned_cuts_merge = 0  # what aligned_alloc cuts off joins its free neighbours at once
    small_bins_at_once = 0  # small chunks that are freed skip the unsorted list
    realloc_keeps_fitting = 0  # realloc returns a block that just fits before it does anything
    heap_flags = 0  # with which other arenas' heaps are mapped

    @host
    def setup(self):
        """Work out what the parameters and the version mean."""
        given = (self.mmap_threshold, self.trim_threshold, self.top_pad, self.mmap_max)
        self.adapting = int(all(value == NOT_SET for value in given))
        self.mmap_from_bytes = _or_default(self.mmap_threshold, 128 * KIB)
        self.trim_from_bytes = _or_default(self.trim_threshold, 128 * KIB)
        self.top_pad_bytes = _or_default(self.top_pad, 128 * KIB)
        self.most_mapped = _or_default(self.mmap_max, 65_536)
        self.cache_count = self.tcache_count if self.tcache_count <= MOST_CACHED else 7
        largest = self.tcache_max if self.tcache_max <= LARGEST_CACHED_REQUEST_BYTES else 1032
        self.cache_classes = cache_index(chunk_bytes(largest)) + 1
        self.fast_bytes = _fast_bytes(self.mxfast)
        self.huge_page_bytes = HUGE_PAGE_BYTES if self.hugetlb == 1 else 0
        self._follow_version()

    @host
    def _follow_version(self):
        since_2_41 = int(self.version >= 2.41)
        self.cache_serves_calloc = since_2_41
        self.cache_serves_aligned = since_2_41
        self.aligned_cuts_merge = since_2_41
        self.small_bins_at_once = since_2_41
        self.realloc_keeps_fitting = since_2_41
        self.heap_flags = PRIVATE_ANONYMOUS | (0 if since_2_41 else NO_RESERVE)

    # ---- decisions about memory from the system
    def should_map(self, need):
        """Whether a chunk that free memory cannot serve gets a mapping of its own."""
        return need >= self.mmap_from_bytes and self.n_mapped < self.most_mapped

    def should_trim(self, top_bytes):
        """Whether freeing shall give a top of this size back."""
        return top_bytes >= self.trim_from_bytes

    def growth_bytes(self, need):
        """How large the top shall become to serve a chunk of `need` bytes."""
        return need + self.top_pad_bytes + SMALLEST_CHUNK_BYTES

    def unit_bytes(self):
        """What the break moves by: pages, or huge pages where they are asked for."""
        return self.huge_page_bytes if self.huge_page_bytes else PAGE_MASK + 1

    def rounded_growth(self, size, old_bytes):
        """Growth of the break that serves `size` bytes: up to a whole unit.

        Huge pages want the new break aligned, but the real library does not know where it is before
        the first growth (`old_bytes` is 0).
        """
        end = self.kernel.sbrk(0) if old_bytes > 0 and self.huge_page_bytes else 0
        return ((end + size + self.unit_bytes() - 1) & -self.unit_bytes()) - end

    def rounded_shrink(self, size):
        """What to give back of `size` bytes that are not needed."""
        return size & -self.unit_bytes()

    def has_sorted_enough(self, n):
        """Whether a call that has filled the thread cache stops after sorting n chunks."""
        return 0 < self.tcache_unsorted_limit < n


def _or_default(value: int, default: int) -> int:
    return default if value == NOT_SET else value


def _fast_bytes(mxfast: int) -> int:
    if mxfast > LARGEST_FAST_REQUEST_BYTES:
        mxfast = 128
    return (mxfast + 8) & -16 if mxfast > 0 else 16
