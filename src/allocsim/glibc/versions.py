"""What differs between versions of glibc's malloc, as named decisions."""

from allocsim.component import Param, host
from allocsim.glibc.chunks import HEADER_BYTES, PAGE_MASK, SMALLEST_CHUNK_BYTES
from allocsim.glibc.tcache import (
    BYTES_PER_CLASS,
    LARGEST_CACHED_BYTES,
    LARGEST_EVER_CACHED_BYTES,
    N_CLASSES,
    N_LARGE_CLASSES,
)
from allocsim.policy import Policy

VERSIONS = (2.36, 2.41, 2.43)
PRIVATE_ANONYMOUS, NO_RESERVE = 0x22, 0x4000  # how memory is mapped


class Version(Policy):
    """The parameter `version`, and the decisions that follow from it, made once in setup().

    The values are those observed in Debian's packages of these versions; docs/glibc.md has them in
    a table.
    """

    version = Param(VERSIONS[0], choices=VERSIONS, doc="of glibc")

    # the thread cache
    cache_serves_calloc = 0
    cache_serves_aligned = 0  # aligned_alloc takes a cached block that happens to be aligned
    cache_starts_late = 0  # it is made when it is first filled, not in the thread's first call
    only_free_fills_cache = 0  # what realloc and others free goes to the arena at once
    usual_cache_count = 0  # blocks of a class, where tcache_count says nothing
    cache_limit_bytes = 0  # the largest chunk that tcache_max may allow
    cache_bytes = 0  # of its structure: counts and heads

    # arenas
    has_fast_bins = 0
    aligned_cuts_merge = 0  # what aligned_alloc cuts off joins its free neighbours at once
    small_bins_at_once = 0  # small chunks that are freed skip the unsorted list
    realloc_keeps_fitting = 0  # realloc returns a block that just fits before it does anything
    arena_state_bytes = 0  # of an arena's own: list heads and counters

    # memory from the system
    heap_flags = 0  # with which other arenas' heaps are mapped
    stacks_have_guards = 0  # a thread's stack ends with a guard, instead of with no access
    fallback_unit_bytes = 0  # the first mapping in place of brk is a multiple
    fallback_rounds_once = 0  # of what is needed, not of what brk was asked for
    fallback_least_bytes = 0  # any such mapping has so much
    first_growth_aligned = 0  # with huge pages, the heap ends at one from the beginning
    heaps_in_huge_pages = 0  # with huge pages, other arenas' heaps grow by them
    mremap_keeps_advice = 0  # huge pages are not asked for again after mremap
    least_lead_bytes = 0  # that a mapping has before an aligned chunk, if any
    unsized_bytes = 0  # of a mapping, which its chunk's size does not tell
    miscounted_bytes = 0  # by which mallinfo2's hblkhd is too large after each mremap

    @host
    def setup(self):
        """Make the decisions."""
        since_2_41, since_2_43 = int(self.version >= 2.41), int(self.version >= 2.43)
        self.cache_serves_calloc = since_2_41
        self.cache_serves_aligned = since_2_41
        self.cache_starts_late = since_2_43
        self.only_free_fills_cache = since_2_43
        self.usual_cache_count = 16 if since_2_43 else 7
        self.cache_limit_bytes = LARGEST_EVER_CACHED_BYTES if since_2_43 else LARGEST_CACHED_BYTES
        self.cache_bytes = (N_CLASSES + since_2_43 * N_LARGE_CLASSES) * BYTES_PER_CLASS
        self.has_fast_bins = 1 - since_2_43
        self.aligned_cuts_merge = since_2_41
        self.small_bins_at_once = since_2_41
        self.realloc_keeps_fitting = since_2_41 - since_2_43
        self.arena_state_bytes = 2112 if since_2_43 else 2200
        self.heap_flags = PRIVATE_ANONYMOUS | (0 if since_2_41 else NO_RESERVE)
        self.stacks_have_guards = since_2_43
        self.fallback_unit_bytes = PAGE_MASK + 1 if since_2_41 else 1 << 20
        self.fallback_rounds_once = since_2_43
        self.fallback_least_bytes = 1 << 20 if since_2_41 else PAGE_MASK + 1
        self.first_growth_aligned = since_2_43
        self.heaps_in_huge_pages = since_2_43
        self.mremap_keeps_advice = since_2_43
        self.least_lead_bytes = HEADER_BYTES if since_2_43 else SMALLEST_CHUNK_BYTES
        self.unsized_bytes = since_2_43 * HEADER_BYTES
        self.miscounted_bytes = self.unsized_bytes
