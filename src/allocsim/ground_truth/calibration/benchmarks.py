"""The list of what is measured, each with the events that the cost model sees in it."""

from allocsim.ground_truth.calibration import heap_scripts as heap
from allocsim.ground_truth.calibration.benchmark import NULL_SCRIPT, SECTION, Benchmark, size_of

_FAULT = "write_fault + page_zeroed"

CLOCK = Benchmark(SECTION, "read_clock", 1, SECTION, "reading the clock around a timed section")

SYSTEM_CALLS = [
    Benchmark("null_syscall", "null_syscall", 1, "", "a system call that does nothing"),
    Benchmark("brk_grow", "brk_grow", 33, "brk", "brk: 132 KiB more"),
    Benchmark("brk_shrink", "brk_shrink", 33, "brk_shrink", "brk: 132 KiB less, untouched"),
    Benchmark("mprotect", "mprotect_grow", 33, "mprotect", "mprotect: 132 KiB more of a reserve"),
    Benchmark("madvise_absent", "dontneed_absent", 32, "madvise", "MADV_DONTNEED, nothing there"),
    Benchmark("madvise_free", "free_written", 32, "", "MADV_FREE of written 128 KiB"),
    Benchmark(
        "mremap_in_place", "mremap_in_place", 64, "2 mremap", "mremap: a page more, one less"
    ),
    Benchmark("mremap_64_mib", "mremap_moving", 16384, "", "mremap moves 64 MiB: whole tables"),
]


def _releases() -> list[Benchmark]:
    """Calls that give back or move written pages."""
    released = "{call} + {n} page_released"
    kinds = (
        ("munmap_written", "unmap_written", "munmap", released, "munmap of {size}, written"),
        ("madvise_written", "dontneed_written", "madvise", released, "MADV_DONTNEED of {size}"),
        ("mremap_moving", "mremap_moving", "mremap", "{call} + {n} page_moved", "move of {size}"),
    )
    sized = [
        Benchmark(
            f"{name}_{n}", body, n, events.format(call=call, n=n), what.format(size=size_of(n))
        )
        for name, body, call, events, what in kinds
        for n in (32, 256)
    ]
    events = released.format(call="brk_shrink", n=33)
    what = "brk: 132 KiB less, written"
    return [*sized, Benchmark("brk_shrink_written", "brk_shrink_written", 33, events, what)]


def _mappings() -> list[Benchmark]:
    found = []
    for n in (1, 32, 256, 16384):
        size = size_of(n)
        found += [
            Benchmark(f"mmap_{n}", "map_many", n, "mmap", f"mmap of {size}, next to others"),
            Benchmark(f"munmap_{n}", "unmap_many", n, "munmap", f"munmap of {size}, untouched"),
        ]
    for n in (1, 32):
        what = f"mmap and munmap of {size_of(n)}, untouched"
        found.append(Benchmark(f"mmap_munmap_{n}", "map_unmap", n, "mmap + munmap", what))
    n = 49  # what malloc maps for 200 kB
    events = f"mmap + munmap + {n} write_fault + {n} page_zeroed + {n} page_released"
    what = f"mmap, a word in each page, munmap of {size_of(n)}"
    return [*found, Benchmark(f"mmap_write_munmap_{n}", "map_write_unmap", n, events, what)]


_WRITTEN_ALL = f"{_FAULT} + 4096 byte_written"
_COPIED = "copy_fault + page_zeroed"

FAULTS = [
    *(
        Benchmark(f"fault_{n}", "fault_fresh", n, _FAULT, f"a fault in fresh {size_of(n)}")
        for n in (32, 256, 4096, 16384)
    ),
    Benchmark("fault_random", "fault_random", 16384, _FAULT, "a fault in 64 MiB, random order"),
    Benchmark("fault_again", "fault_again", 256, _FAULT, "a fault on a page just given back"),
    Benchmark("read_fault", "read_absent", 256, "read_fault", "a read fault: the page of zeros"),
    Benchmark("copy_fault", "write_after_read", 256, _COPIED, "a write to the page of zeros"),
    Benchmark("write_all", "write_all_fresh", 256, _WRITTEN_ALL, "all bytes of a fresh page"),
    Benchmark("populate", "populate", 256, "", "a page populated without a trap"),
]


def _bytes() -> list[Benchmark]:
    """A page each; programs write by words as well as by memset, so both stand for their writes."""
    kinds = (
        ("set", "set_bytes", "4096 byte_zeroed", "memset of a page of {size}"),
        ("copy", "copy_bytes", "4096 byte_copied", "memcpy of a page of {size}"),
        ("fill", "set_bytes", "4096 byte_written", "the program's memset of a page of {size}"),
        (
            "store",
            "store_words",
            "4096 byte_written",
            "the program stores a page of {size} by words",
        ),
    )
    clear = Benchmark("clear", "clear_pages", 1024, "page_zeroed", "clearing a page of 4 MiB")
    cold = Benchmark("clear_at_random", "clear_at_random", 8192, "", "clearing a cold page")
    sized = [
        Benchmark(f"{name}_{n}", body, n, events, what.format(size=size_of(n)))
        for name, body, events, what in kinds
        for n in (16, 512)
    ]
    return [clear, cold, *sized]


LOCK = Benchmark("lock", "lock_unlock", 1, "lock", "a lock that nobody holds, taken and given back")

HUGE_PAGES = [
    Benchmark("huge_fault", "huge_fault", 16, "", "a fault of a huge page (2 MiB)"),
    Benchmark("huge_munmap", "huge_unmap", 16, "", "unmapping a huge page"),
    Benchmark("huge_clear", "huge_clear", 16, "", "clearing a resident huge page"),
]


def _allocator() -> list[Benchmark]:
    churn = heap.churn(512, 1000)
    scripts = {
        "thread_cache_pair": (heap.pair(64, {}), "malloc and free, thread cache"),
        "fastbin_pair": (heap.pair(64, heap.NO_CACHE), "malloc and free, fast bin"),
        "small_bin_hit": (heap.small_bin_hits(), "malloc from a small bin"),
        "sort_small": (heap.sorting(heap.SMALL_SIZES), "sorting a chunk into a small bin"),
        "sort_large": (heap.sorting(heap.LARGE_SIZES), "sorting a chunk into large bins"),
        "large_bin_fit": (heap.large_bin_fits(), "best fit in a large bin, the rest split off"),
        "merging_free": (heap.merging_frees(), "free that merges with the hole before"),
        "consolidation": (heap.consolidation(), "emptying a chunk from a fast bin"),
        "churn_512": (churn, "a call in a churn of sizes up to 512"),
        "churn_16_kib": (heap.churn(16_384, 4000), "a call in a churn of sizes up to 16 KiB"),
    }  # fmt: skip
    null = Benchmark(NULL_SCRIPT, NULL_SCRIPT, 1, "", "the loop that runs heap scripts", churn)
    return [null, *(Benchmark(n, "script", 1, "", what, s) for n, (s, what) in scripts.items())]


def all_benchmarks(huge_pages: bool) -> list[Benchmark]:
    """Everything that one thread measures; with huge pages where the machine allows them."""
    kernel = [CLOCK, *SYSTEM_CALLS, *_releases(), *_mappings(), *FAULTS, *_bytes(), LOCK]
    return [*kernel, *_allocator(), *(HUGE_PAGES if huge_pages else [])]
