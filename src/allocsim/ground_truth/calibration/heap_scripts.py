"""Scripts of malloc and free that walk the allocator's paths, for the real C library and the model.

Both run the same calls, with the program's writes where a script has them. The library gives the
time of a script's timed part, the model of glibc counts what happened in it: calls, accesses to
metadata near and far, bytes, system calls and faults.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

import numpy as np

from allocsim.glibc import Glibc
from allocsim.kernel.costs import Event
from allocsim.machine import Machine
from allocsim.trace import Op, Trace

Call = tuple[Op, int, int]
"""A malloc, calloc or free, the slot of its block, and the size asked for (0 for free)."""

STEP = np.dtype([("size", "<i8"), ("slot", "<i4"), ("kind", "<i4")])
"""One step as heap_script.h reads it; its kinds are those of `_KINDS`, then begin and end."""

_KINDS = {Op.MALLOC: 0, Op.CALLOC: 1, Op.FREE: 2}
_WRITE = 3
_BEGIN, _END = (0, 0, 4), (0, 0, 5)
NO_CACHE = {"tcache_count": 0}
MAPPED = {"mmap_threshold": 0, "mmap_max": 1 << 20}
_SEED = 20_010_207


@dataclass(frozen=True)
class HeapScript:
    """Calls that prepare the heap, then those that are timed, which are n_steps of something.

    writes: whether the program fills every block that it gets.
    """

    prepare: tuple[Call, ...]
    timed: tuple[Call, ...]
    n_steps: int
    tunables: dict[str, int] = field(default_factory=dict)
    writes: bool = False

    def packed(self) -> bytes:
        """The script as the C program reads it."""
        rows = [*self._rows(self.prepare), _BEGIN, *self._rows(self.timed), _END]
        return np.array(rows, STEP).tobytes()

    @property
    def dispatches(self) -> float:
        """How often the loop that runs the script goes round for a step."""
        return sum(1 for _ in self._rows(self.timed)) / self.n_steps

    def trace(self) -> Trace:
        """All calls as a trace, with the program's writes."""
        ops, slots, sizes = zip(*self.prepare, *self.timed, strict=True)
        return Trace.of(op=ops, object=slots, size=sizes, written=sizes if self.writes else 0)

    def _rows(self, calls: Iterable[Call]) -> Iterator[tuple[int, int, int]]:
        for op, slot, size in calls:
            yield size, slot, _KINDS[op]
            if self.writes and size:
                yield size, slot, _WRITE

    def model_counts(self) -> dict[Event, float]:
        """What the model of glibc counts in the timed part, for each step."""
        driver = Machine().driver(Glibc, self.tunables)
        columns = [c for name, c in self.trace().columns().items() if name != "time_ns"][:-1]
        nothing = np.zeros(0, np.int64)
        first, last = len(self.prepare), len(self.prepare) + len(self.timed)
        driver.run("drive", *columns, nothing, nothing, nothing, 0, first, compiled=False)
        before = driver.policy.kernel.ledger()
        driver.run("drive", *columns, nothing, nothing, nothing, first, last, compiled=False)
        counts = driver.policy.kernel.ledger() - before
        return {e: float(counts[e]) / self.n_steps for e in Event if counts[e]}


# ---- the calls that scripts are made of
def _take(slots: Iterable[int], size: int) -> list[Call]:
    return [(Op.MALLOC, slot, size) for slot in slots]


def _give(slots: Iterable[int]) -> list[Call]:
    return [(Op.FREE, slot, 0) for slot in slots]


def _pairs(size: int, n: int) -> list[Call]:
    return [(Op.MALLOC, 0, size), (Op.FREE, 0, 0)] * n


def _apart(sizes: Iterable[int]) -> list[Call]:
    """Blocks in even slots, kept from merging by small ones between them in odd slots."""
    return [
        call
        for i, size in enumerate(sizes)
        for call in ((Op.MALLOC, 2 * i, size), (Op.MALLOC, 2 * i + 1, 16))
    ]


def _shuffled(n: int) -> list[int]:
    return np.random.default_rng(_SEED).permutation(n).tolist()


SMALL_SIZES = [256 + 16 * (i % 32) for i in range(4000)]
LARGE_SIZES = [12_288 + 16 * i for i in range(1000)]
CHURNS = (
    (512, 1000), (128, 4000), (256, 100), (1024, 100),
    (4096, 500), (4096, 4000), (16_384, 300), (16_384, 4000), (65_536, 100),
)  # fmt: skip
"""Largest size and number of blocks of churns, as various as programs are."""
FILLED_CHURNS = (
    (512, 1000), (4096, 4000), (16_384, 300), (65_536, 100), (1 << 20, 60), (1 << 20, 400),
)  # fmt: skip
"""Those in which the program writes its blocks; the last has more than any cache holds."""
SETTLED_CHURNS = (
    (128, 20_000), (512, 4000), (512, 16_000),
    (4096, 1000), (4096, 4000), (16_384, 1000), (16_384, 4000),
)  # fmt: skip
"""Those in heaps that have stopped growing: large ones, with hardly a fault. Without them the fit
could not tell what a large heap costs from what it costs to make it grow."""
ZEROED_CHURNS = ((512, 1000), (4096, 4000), (16_384, 300), (65_536, 100))
"""Those whose blocks are zeroed by calloc."""
MAPPED_CHURNS = ((512, 1000), (16_384, 4000), (512, 10_000))
"""Those in which every block gets a mapping of its own."""
RELEASED = (512, 16_000)
"""That in which blocks with a mapping each vanish at random, more than any cache holds."""
GROWN_HEAPS = ((512, 4000), (4096, 2000), (65_536, 500))
"""Largest size and number of blocks of heaps that grow from nothing and vanish again."""
_SORTING = 1 << 20
"""No chunk is free for a request of this size: all unsorted ones are put into their bins."""


# ---- the scripts
def pair(size: int, tunables: dict[str, int]) -> HeapScript:
    """malloc and free of one size in turn. A step is a pair."""
    n = 5000
    return HeapScript(tuple(_pairs(size, 20)), tuple(_pairs(size, n)), n, tunables)


def small_bin_hits() -> HeapScript:
    """malloc of a size whose small bin holds chunks. A step is a malloc."""
    n = 2000
    prepare = [*_apart([256] * n), *_give(range(0, 2 * n, 2)), (Op.MALLOC, 2 * n, _SORTING)]
    return HeapScript(tuple(prepare), tuple(_take(range(0, 2 * n, 2), 256)), n, NO_CACHE)


def sorting(sizes: list[int]) -> HeapScript:
    """One malloc that finds no fit and sorts all unsorted chunks. A step is a chunk sorted."""
    n = len(sizes)
    prepare = [*_apart(sizes), *_give(2 * i for i in _shuffled(n))]
    return HeapScript(tuple(prepare), ((Op.MALLOC, 2 * n, _SORTING),), n, NO_CACHE)


def large_bin_fits() -> HeapScript:
    """malloc of sizes that are cut from the best fit in a large bin. A step is a malloc."""
    n = len(LARGE_SIZES)
    prepare = [*sorting(LARGE_SIZES).prepare, (Op.MALLOC, 2 * n, _SORTING)]
    wanted = [LARGE_SIZES[i] - 2048 for i in _shuffled(n)[:400]]
    timed = [(Op.MALLOC, 2 * n + 1 + i, size) for i, size in enumerate(wanted)]
    return HeapScript(tuple(prepare), tuple(timed), len(timed), NO_CACHE)


def merging_frees() -> HeapScript:
    """free of neighbours, each merging with the hole before it. A step is a free."""
    n = 4000
    return HeapScript(tuple(_take(range(n + 1), 256)), tuple(_give(range(n))), n, NO_CACHE)


def consolidation() -> HeapScript:
    """One malloc that empties the fast bins. A step is a chunk that was in them."""
    n = 4000
    prepare = [*_apart([64] * n), *_give(2 * i for i in _shuffled(n))]
    return HeapScript(tuple(prepare), ((Op.MALLOC, 2 * n, 4096),), n, NO_CACHE)


def churn(
    largest: int,
    n_slots: int,
    op: Op = Op.MALLOC,
    writes: bool = False,
    tunables: dict[str, int] | None = None,
) -> HeapScript:
    """free and `op` in random slots, of log-uniform sizes. A step is a call."""
    rng = np.random.default_rng(_SEED)
    calls: list[Call] = [(op, slot, 64) for slot in range(n_slots)]
    calls += _replacing(rng, largest, n_slots, op, 8_000)
    half = len(calls) // 2 & -2
    timed = tuple(calls[half:])
    return HeapScript(tuple(calls[:half]), timed, len(timed), tunables or {}, writes)


def settled(largest: int, n_slots: int) -> HeapScript:
    """free and malloc in random slots, all of which have been through that four times on average,
    of log-uniform sizes. A step is a call."""
    rng = np.random.default_rng(_SEED)
    prepare = _take(range(n_slots), 64)
    prepare += _replacing(rng, largest, n_slots, Op.MALLOC, 4 * n_slots)
    timed = tuple(_replacing(rng, largest, n_slots, Op.MALLOC, 4_000))
    return HeapScript(tuple(prepare), timed, len(timed))


def _replacing(rng: np.random.Generator, largest: int, n_slots: int, op: Op, n: int) -> list[Call]:
    """free and `op`, n times in a random one of the slots, of log-uniform sizes."""
    return [
        call
        for slot in rng.integers(n_slots, size=n).tolist()
        for call in ((Op.FREE, slot, 0), (op, slot, int(16 * (largest / 16) ** rng.random())))
    ]


def released(largest: int, n_blocks: int) -> HeapScript:
    """free in random order, from a heap that has given some of them back. A step is a free."""
    rng = np.random.default_rng(_SEED)
    sizes = [int(16 * (largest / 16) ** rng.random()) for _ in range(n_blocks)]
    taken = [(Op.MALLOC, slot, size) for slot, size in enumerate(sizes)]
    given = list(_give(rng.permutation(n_blocks).tolist()))
    n = n_blocks // 4
    return HeapScript((*taken, *given[:n]), tuple(given[n : 2 * n]), n, MAPPED)


def grown(largest: int, n_blocks: int, writes: bool) -> HeapScript:
    """malloc of log-uniform sizes in a fresh heap, then free in random order. A step is a call."""
    rng = np.random.default_rng(_SEED)
    sizes = [int(16 * (largest / 16) ** rng.random()) for _ in range(n_blocks)]
    taken = [(Op.MALLOC, slot, size) for slot, size in enumerate(sizes)]
    timed = (*taken, *_give(rng.permutation(n_blocks).tolist()))
    prepare = (*_take([n_blocks], 64), *_give([n_blocks]))
    return HeapScript(prepare, timed, len(timed), {}, writes)
