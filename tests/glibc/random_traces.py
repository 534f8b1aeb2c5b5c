"""Random traces that go where models of glibc go wrong: class borders, all calls, tunables."""

import math
from dataclasses import dataclass, field
from random import Random

from allocsim.trace import Op, Trace

MIB = 1 << 20
BORDERS = (
    *(24, 40, 56, 72, 120, 128, 136, 152, 160, 168, 504, 1000, 1008, 1016, 1024, 1032, 1040, 1048),
    *(2048, 3072, 4080, 65_512, 65_536, 131_032, 131_048, 131_056, 131_072, 200_000, 262_144),
    *(524_288, MIB, 2 * MIB, 4 * MIB, 32 * MIB - 4096, 32 * MIB, 32 * MIB + 4096, 40 * MIB),
)
"""Requests at which something changes, or whose chunks lie there."""
MOST_LIVE_BYTES = 512 * MIB
SMALL_BORDERS = 21  # those up to a page
LIGHT_WRITTEN_BYTES = 16_384
AROUND = (-17, -16, -9, -8, -7, -1, 0, 1, 7, 8, 9, 16, 17)
ALIGNMENTS = (1, 8, 16, 32, 64, 128, 256, 512, 1024, 4096, 8192, 65_536, MIB, 2 * MIB)
TUNABLES = {
    "mmap_threshold": (0, 1, 4096, 65_536, 131_072, 200_000, 4 * MIB, 64 * MIB),
    "trim_threshold": (0, 1, 4096, 131_072, MIB),
    "top_pad": (0, 1, 4096, 100_000, MIB),
    "mmap_max": (0, 1, 3, 10),
    "tcache_count": (0, 1, 3, 20, 1000, 65_535, 70_000),
    "tcache_max": (0, 1, 24, 25, 100, 1000, 1032, 1033, 4000, 70_000, 4 * MIB - 24, 4 * MIB),
    "tcache_unsorted_limit": (0, 1, 2, 5),
    "mxfast": (0, 8, 9, 64, 80, 128, 150, 160, 161),
    "perturb": (0, 1, 255),
    "hugetlb": (1,),
    "arena_max": (1, 2, 3, 5),
    "arena_test": (1, 2, 3, 5),
}


def random_tunables(random: Random) -> dict[str, int]:
    """No tunables in two cases of five, else some of them."""
    if random.random() < 0.4:
        return {}
    return {k: random.choice(v) for k, v in TUNABLES.items() if random.random() < 0.2}


@dataclass
class Program:
    """Makes random ops; its tastes are drawn once, those in `_change_mood` change every 500 ops.

    A light program costs little time for what it covers: it is mostly made of small sizes, writes
    or reads the first pages of a large block only, and its threads make a few ops in turn.
    """

    random: Random
    n_threads: int = 1
    largest_border: int = 0  # 0: drawn
    light: bool = False
    sizes: dict[int, int] = field(default_factory=dict)  # of live objects

    def __post_init__(self) -> None:
        draw = self.random.choice
        self.n_borders = self.largest_border or draw([10, 18, 22, 26, 28, 30, 34, len(BORDERS)])
        self.n_slots = min(draw([5, 30, 200, 1000]), MOST_LIVE_BYTES // BORDERS[self.n_borders - 1])
        self.share_at_borders = draw([0.0, 0.5, 1.0])
        self.alignments = ALIGNMENTS[: draw([5, 10, len(ALIGNMENTS)])]
        self.writes = draw(["nothing", "all", "some"])
        self.share_any_size = draw([0.02, 0.1]) if self.light else 1.0
        self.share_same_thread = draw([0.5, 0.9]) if self.light else 0.0
        self._change_mood()

    def _change_mood(self) -> None:
        self.share_freed = self.random.choice([0.3, 0.5, 0.7, 0.9])
        self.share_unusual = self.random.choice([0.05, 0.2, 0.5])

    def trace(self, n_ops: int) -> Trace:
        rows = []
        thread = 0
        for i in range(n_ops):
            if i % 500 == 499:
                self._change_mood()
            slot = self.random.randrange(self.n_slots)
            if self.n_threads > 1 and self.random.random() >= self.share_same_thread:
                thread = self.random.randrange(self.n_threads)
            call = self._use(slot) if slot in self.sizes else self._get(slot)
            rows.append((slot, thread, *call))
        slots, threads, ops, sizes, alignments, written, offsets = zip(*rows, strict=True)
        return Trace.of(
            op=ops, object=slots, size=sizes, thread=threads,
            alignment=alignments, written=written, offset=offsets,
        )  # fmt: skip

    def _size(self) -> int:
        n_borders = self.n_borders
        if self.random.random() >= self.share_any_size:
            n_borders = min(n_borders, SMALL_BORDERS)
        if self.random.random() < self.share_at_borders:
            return self.random.choice(BORDERS[:n_borders]) + self.random.choice(AROUND)
        return int(math.exp(self.random.random() * math.log(BORDERS[n_borders - 1])))

    def _written(self, size: int) -> int:
        size = self._accessed(size)
        if self.writes == "all":
            return size
        some = self.writes == "some" and self.random.random() < 0.5
        return self.random.randrange(size + 1) if some else 0

    def _accessed(self, size: int) -> int:
        """How much of `size` bytes the program writes or reads at most."""
        return min(size, LIGHT_WRITTEN_BYTES) if self.light else size

    def _get(self, slot: int) -> tuple[int, ...]:
        """A new object."""
        size = self.sizes[slot] = self._size()
        kind, alignment = Op.MALLOC, 0
        if self.random.random() < self.share_unusual:
            kind = self.random.choice([Op.CALLOC, Op.ALIGNED_ALLOC, Op.REALLOC])
        if kind == Op.ALIGNED_ALLOC:
            alignment = self.random.choice(self.alignments)
        return kind, size, alignment, self._written(size), 0

    def _use(self, slot: int) -> tuple[int, ...]:
        """An object is freed, resized, written to or read."""
        kind = self.random.random()
        if kind < self.share_freed or self.sizes[slot] == 0:
            del self.sizes[slot]
            return Op.FREE, 0, 0, 0, 0
        if kind < (1 + self.share_freed) / 2:
            return self._resize(slot)
        offset = self.random.randrange(self.sizes[slot])
        size = self.random.randrange(self._accessed(self.sizes[slot] - offset)) + 1
        return self.random.choice([Op.TOUCH, Op.READ]), size, 0, 0, offset

    def _resize(self, slot: int) -> tuple[int, ...]:
        size = self._size()
        if self.random.random() < 0.3:
            step = self.random.choice([-4096, -64, -16, -1, 0, 1, 16, 64, 4096])
            size = max(self.sizes[slot] + step, 0)
        if size > 0:
            self.sizes[slot] = size
        else:
            del self.sizes[slot]
        return Op.REALLOC, size, 0, self._written(size), 0
