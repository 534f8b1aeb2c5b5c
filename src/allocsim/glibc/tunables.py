"""The parameters of glibc's malloc with their limits and side effects."""

from allocsim.component import Param, host
from allocsim.glibc.chunks import PAGE_MASK, SMALLEST_CHUNK_BYTES, cache_index, chunk_bytes
from allocsim.glibc.tcache import LARGEST_CACHED_BYTES, N_CLASSES
from allocsim.glibc.versions import Version

NOT_SET = -1
KIB = 1024
LARGEST_BYTES = 2**62
MOST_CACHED = 65_535
LARGEST_FAST_REQUEST_BYTES = 160
HUGE_PAGE_BYTES = 2 << 20


def _bytes(default: int, doc: str, low: int = 0) -> Param:
    return Param(default, unit="bytes", low=low, high=LARGEST_BYTES, doc=doc)


class Tunables(Version):
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
    tcache_count = Param(
        NOT_SET,
        "blocks",
        NOT_SET,
        LARGEST_BYTES,
        "blocks per thread and size; at most 65535; -1: not set, 7, in 2.43 16",
    )
    tcache_max = _bytes(
        1032, "largest request that the thread cache serves; at most 1032, in 2.43 4194280"
    )
    tcache_unsorted_limit = Param(
        0, "chunks", 0, LARGEST_BYTES, "chunks sorted while filling the thread cache; 0: all"
    )
    mxfast = _bytes(
        128, "largest request that fast bins serve; at most 160; in 2.43 without effect"
    )
    arena_max = Param(0, "arenas", 0, LARGEST_BYTES, "most arenas; 0: 8 per CPU")
    arena_test = Param(8, "arenas", 1, LARGEST_BYTES, "arenas before CPUs are counted")
    hugetlb = Param(0, "", 0, 1, "1: ask for transparent huge pages")
    perturb = Param(0, "", 0, 255, "not 0: blocks are overwritten when allocated and freed")
    cpus = Param(2, "CPUs", 1, 4096, "that the program may run on; limits the arenas")

    mmap_from_bytes = 0  # the threshold as it adapts
    trim_from_bytes = 0
    top_pad_bytes = 0
    most_mapped = 0
    adapting = 0
    cache_count = 0
    cache_classes = 0  # of one chunk size each
    large_cached_bytes = 0  # up to this size, larger chunks are cached too; 0: none are
    fast_bytes = 0  # largest chunk for the fast bins
    huge_page_bytes = 0  # 0: huge pages are not asked for

    heap_unit_bytes = 0  # other arenas' heaps grow by so much

    @host
    def setup(self):
        """Work out what the parameters mean."""
        super().setup()
        given = (self.mmap_threshold, self.trim_threshold, self.top_pad, self.mmap_max)
        self.adapting = int(all(value == NOT_SET for value in given))
        self.mmap_from_bytes = _or_default(self.mmap_threshold, 128 * KIB)
        self.trim_from_bytes = _or_default(self.trim_threshold, 128 * KIB)
        self.top_pad_bytes = _or_default(self.top_pad, 128 * KIB)
        self.most_mapped = _or_default(self.mmap_max, 65_536)
        self._size_cache()
        self.fast_bytes = _fast_bytes(self.mxfast) if self.has_fast_bins else 0
        self.huge_page_bytes = HUGE_PAGE_BYTES if self.hugetlb == 1 else 0
        self.heap_unit_bytes = self.unit_bytes() if self.heaps_in_huge_pages else PAGE_MASK + 1

    @host
    def _size_cache(self):
        """How many blocks of which chunks the thread cache takes."""
        given = self.tcache_count
        self.cache_count = given if 0 <= given <= MOST_CACHED else self.usual_cache_count
        largest = chunk_bytes(self.tcache_max)
        if largest > self.cache_limit_bytes:
            largest = LARGEST_CACHED_BYTES
        self.cache_classes = min(cache_index(largest) + 1, N_CLASSES)
        self.large_cached_bytes = largest if largest > LARGEST_CACHED_BYTES else 0

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

        Huge pages want the new break aligned, but 2.36 does not know where it is before the first
        growth (`old_bytes` is 0).
        """
        known = old_bytes > 0 or self.first_growth_aligned
        end = self.kernel.sbrk(0) if known and self.huge_page_bytes else 0
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
