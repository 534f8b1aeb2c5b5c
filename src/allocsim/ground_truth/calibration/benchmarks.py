"""The list of what is measured, each with the events that the cost model sees in it."""

from allocsim.ground_truth.calibration import heap_scripts as heap
from allocsim.ground_truth.calibration.benchmark import (
    DISPATCH,
    FROM_MODEL,
    NULL_SCRIPT,
    SECTION,
    Benchmark,
    size_of,
)
from allocsim.kernel.pages import FREE_PAGES, MOST_FLUSHED
from allocsim.trace import Op

_FAULT = "write_fault + page_zeroed"

CLOCK = Benchmark(SECTION, "read_clock", 1, SECTION, "reading the clock around a timed section")

SYSTEM_CALLS = [
    Benchmark("null_syscall", "null_syscall", 1, "", "a system call that does nothing"),
    Benchmark("brk_grow", "brk_grow", 33, "brk", "brk: 132 KiB more"),
    Benchmark("brk_shrink", "brk_shrink", 33, "", "brk: 132 KiB less, untouched"),
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
    released = "{call} + {n} page_released{flushed}"
    kinds = (
        ("munmap_written", "unmap_written", "munmap", released, "munmap of {size}, written"),
        ("madvise_written", "dontneed_written", "madvise", released, "MADV_DONTNEED of {size}"),
        (
            "mremap_moving",
            "mremap_moving",
            "mremap",
            "{call} + {n} page_moved{flushed}",
            "move of {size}",
        ),
    )
    sizes = {"munmap_written": (1, 8, 32, 256)}
    sized = [
        Benchmark(
            f"{name}_{n}",
            body,
            n,
            events.format(call=call, n=n, flushed=_flushed(n)),
            what.format(size=size_of(n)),
        )
        for name, body, call, events, what in kinds
        for n in sizes.get(name, (32, 256))
    ]
    events = released.format(call="brk_shrink", n=33, flushed=_flushed(33))
    what = "brk: 132 KiB less, written"
    return [*sized, Benchmark("brk_shrink_written", "brk_shrink_written", 33, events, what)]


def _flushed(n: int) -> str:
    """The end of a call's events that takes n written pages away."""
    return f" + {n} page_flushed" if n <= MOST_FLUSHED else ""


def _mappings() -> list[Benchmark]:
    """mmap and munmap.

    munmap of an untouched area has no page table to clear and free, and mmap after mmap takes half
    of what it takes after munmap of written pages, which has the processor forget more than the
    translations that it is told to. An allocator's areas are never untouched: it writes a header.
    So areas that are mapped, written and unmapped tell the fit what the calls cost.
    """
    found = []
    for n in (1, 32, 256, 16384):
        size = size_of(n)
        found += [
            Benchmark(f"mmap_{n}", "map_many", n, "", f"mmap of {size}, again and again"),
            Benchmark(f"munmap_{n}", "unmap_many", n, "", f"munmap of {size}, untouched"),
        ]
    cut = f"munmap + area_cut + page_released{_flushed(1)}"
    found += [
        Benchmark("cut", "cut_areas", 1, cut, "munmap of a page in the midst of an area"),
        Benchmark("join", "join_areas", 1, "", "mmap of a page into the hole, again and again"),
    ]
    what = "mmap and munmap of 128 KiB, untouched"
    return [*found, Benchmark("mmap_munmap", "map_unmap", 32, "", what), *_lives()]


def _lives() -> list[Benchmark]:
    """Areas from mmap to munmap, and heaps that grow and shrink; malloc of 200 kB maps 49 pages."""
    pages = "{n} write_fault + {n} page_zeroed + {n} page_released"
    events = f"mmap + munmap + fault_run + {pages}"
    hole = f"{events} + area_cut + area_joined"
    cold = f"{hole} + {{n}} cold_page"
    heap = f"brk + brk_shrink + fault_run + {pages}"
    kinds = (
        ("brk_write_shrink", "brk_write_shrink", heap, "brk, a word in each page, brk back, of"),
        ("mmap_write_munmap", "map_write_unmap", events, "mmap, a word in each page, munmap of"),
        ("replace", "replace_areas", hole, "the same in turn with many, 1 MiB in all, of"),
        ("replace_cold", "replace_cold_areas", cold, "the same in turn with 32 MiB, of"),
    )
    return [
        Benchmark(
            f"{name}_{n}", body, n, made.format(n=n) + _flushed(n), f"{what} {size_of(n)}",
        )
        for name, body, made, what in kinds
        for n in (1, 8, 49)
    ]  # fmt: skip


_COPIED = "copy_fault + page_zeroed"


def _cold(n: int) -> str:
    """The end of a fault's events, one of n in an area as large as the one just given back."""
    return f" + {1 - FREE_PAGES / n:f} cold_page" if n > FREE_PAGES else ""


FAULTS = [
    *(
        Benchmark(
            f"fault_{n}",
            "fault_fresh",
            n,
            "" if n == 1 else f"{_FAULT} + {1 / n:f} fault_run{_cold(n)}",
            f"a fault in fresh {size_of(n)}",
        )
        for n in (1, 32, 256, 4096, 16384)
    ),
    Benchmark(
        "fault_random",
        "fault_random",
        16384,
        f"{_FAULT} + fault_run{_cold(16384)}",
        "a fault in 64 MiB, random order",
    ),
    Benchmark("fault_again", "fault_again", 256, _FAULT, "a fault on a page just given back"),
    Benchmark("read_fault", "read_absent", 256, "read_fault", "a read fault: the page of zeros"),
    Benchmark("copy_fault", "write_after_read", 256, _COPIED, "a write to the page of zeros"),
    Benchmark("write_all", "write_all_fresh", 256, "", "memset of fresh pages, each faulting"),
    Benchmark("populate", "populate", 256, "", "a page populated without a trap"),
]


def _bytes() -> list[Benchmark]:
    """A page each. What a program's writes cost is learned from churns that fill their blocks."""
    kinds = (
        ("set", "set_bytes", "4096 byte_zeroed", "memset of a page of {size}"),
        ("copy", "copy_bytes", "4096 byte_copied", "memcpy of a page of {size}"),
        ("store", "store_words", "", "the program stores a page of {size} by words"),
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


def _regular_paths() -> list[Benchmark]:
    """Single paths of malloc, repeated until the processor predicts every branch and address.

    They tell what a path takes at best, and stay out of the fit: programs are less regular.
    """
    scripts = {
        "thread_cache_pair": (heap.pair(64, {}), "malloc and free, thread cache"),
        "fastbin_pair": (heap.pair(64, heap.NO_CACHE), "malloc and free, fast bin"),
        "small_bin_hit": (heap.small_bin_hits(), "malloc from a small bin"),
        "merging_free": (heap.merging_frees(), "free that merges with the hole before"),
        "consolidation": (heap.consolidation(), "emptying a chunk from a fast bin"),
    }
    return [Benchmark(n, "script", 1, "", what, script) for n, (script, what) in scripts.items()]


def _irregular_paths() -> list[Benchmark]:
    """Sizes and blocks at random: they tell the fit what the allocator's work costs in programs."""
    scripts = {
        "sort_small": (heap.sorting(heap.SMALL_SIZES), "sorting a chunk into a small bin"),
        "sort_large": (heap.sorting(heap.LARGE_SIZES), "sorting a chunk into large bins"),
        "large_bin_fit": (heap.large_bin_fits(), "best fit in a large bin, the rest split off"),
    }
    for largest, n in heap.CHURNS:
        what = f"a call in a churn of {n} blocks, sizes up to {largest}"
        scripts[f"churn_{largest}_{n}"] = (heap.churn(largest, n), what)
    for largest, n in heap.FILLED_CHURNS:
        what = f"the same, {n} blocks up to {largest}, written by the program"
        scripts[f"filled_{largest}_{n}"] = (heap.churn(largest, n, writes=True), what)
    for largest, n in heap.SETTLED_CHURNS:
        what = f"the same, {n} blocks up to {largest}, in a heap that has stopped growing"
        scripts[f"settled_{largest}_{n}"] = (heap.settled(largest, n), what)
    for largest, n in heap.MAPPED_CHURNS:
        what = f"the same, {n} blocks up to {largest}, each with an area of its own"
        scripts[f"mapped_{largest}_{n}"] = (heap.churn(largest, n, tunables=heap.MAPPED), what)
    largest, n = heap.RELEASED
    what = f"free of {n} blocks up to {largest} in random order, each with an area of its own"
    scripts[f"released_{largest}_{n}"] = (heap.released(largest, n), what)
    for largest, n in heap.GROWN_HEAPS:
        what = f"a call while a fresh heap grows to {n} blocks up to {largest} and vanishes"
        scripts[f"grown_{largest}_{n}"] = (heap.grown(largest, n, writes=False), what)
        what = "the same, the blocks written by the program"
        scripts[f"grown_filled_{largest}_{n}"] = (heap.grown(largest, n, writes=True), what)
    for largest, n in heap.ZEROED_CHURNS:
        what = f"the same, {n} blocks up to {largest}, all by calloc"
        scripts[f"zeroed_{largest}_{n}"] = (heap.churn(largest, n, Op.CALLOC), what)
    return [Benchmark(n, "script", 1, FROM_MODEL, what, s) for n, (s, what) in scripts.items()]


def _loop() -> Benchmark:
    """Null functions instead of malloc and free."""
    churn = heap.churn(*heap.CHURNS[0])
    return Benchmark(
        NULL_SCRIPT, NULL_SCRIPT, 1, DISPATCH, "the loop that runs heap scripts", churn
    )


def all_benchmarks(huge_pages: bool) -> list[Benchmark]:
    """Everything that one thread measures; with huge pages where the machine allows them."""
    kernel = [CLOCK, *SYSTEM_CALLS, *_releases(), *_mappings(), *FAULTS, *_bytes(), LOCK]
    allocator = [_loop(), *_regular_paths(), *_irregular_paths()]
    return [*kernel, *allocator, *(HUGE_PAGES if huge_pages else [])]
