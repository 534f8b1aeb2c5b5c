"""Small traces that try a policy: every op of the contract, and memory that runs out."""

from functools import cache

import numpy as np

from allocsim.trace import Op, Trace

SEED = 20240611


@cache
def mixed(n_ops: int = 1500, largest_bytes: int = 3000, seed: int = SEED) -> Trace:
    """malloc, calloc, aligned_alloc, realloc, touch and free at random, by two threads."""
    rng = np.random.default_rng(seed)
    rows: list[tuple[Op, int, int, int]] = []
    live: dict[int, int] = {}
    while len(rows) < n_ops:
        slot, size = int(rng.integers(n_ops // 8)), int(largest_bytes ** rng.random())
        if slot in live:
            rows.append(_use(rng, slot, size, live))
        else:
            live[slot] = size
            rows.append(_make(rng, slot, size))
    return _trace(rows, rng)


def large(seed: int = SEED) -> Trace:
    """The same with blocks up to 1 MiB, which a policy may map."""
    return mixed(400, 1 << 20, seed)


@cache
def all_freed(seed: int = SEED) -> Trace:
    """Blocks of all sizes, freed in another order than they came."""
    rng = np.random.default_rng(seed)
    sizes = (100_000 ** rng.random(300)).astype(int)
    rows = [(Op.MALLOC, slot, int(size), 0) for slot, size in enumerate(sizes)]
    return _trace([*rows, *((Op.FREE, int(slot), 0, 0) for slot in rng.permutation(300))], rng)


@cache
def exhausting(seed: int = SEED) -> tuple[Trace, int]:
    """Requests of 8 MiB in all, growing ones among them, all freed, then small ones again.

    Returns the trace and how many of its ops are before those last requests.
    """
    rng = np.random.default_rng(seed)
    rows = [(Op.MALLOC, slot, int(rng.integers(1, 40_000)), 0) for slot in range(400)]
    rows += [(Op.REALLOC, slot, int(rng.integers(1, 80_000)), 0) for slot in range(0, 400, 5)]
    rows += [(Op.FREE, slot, 0, 0) for slot in range(400)]
    again = [(Op.MALLOC, slot, 100, 0) for slot in range(50)]
    return _trace([*rows, *again], rng), len(rows)


def _make(rng: np.random.Generator, slot: int, size: int) -> tuple[Op, int, int, int]:
    op = rng.choice([Op.MALLOC, Op.MALLOC, Op.MALLOC, Op.CALLOC, Op.ALIGNED_ALLOC])
    if op == Op.ALIGNED_ALLOC:
        return Op.ALIGNED_ALLOC, slot, size, 1 << int(rng.integers(4, 13))
    return Op(int(op)), slot, 0 if rng.random() < 0.02 else size, 0


def _use(
    rng: np.random.Generator, slot: int, size: int, live: dict[int, int]
) -> tuple[Op, int, int, int]:
    op = rng.choice([Op.FREE, Op.FREE, Op.FREE, Op.REALLOC])
    if op == Op.REALLOC:
        live[slot] = size
        return Op.REALLOC, slot, size, 0
    del live[slot]
    return Op.FREE, slot, 0, 0


def _trace(rows: list[tuple[Op, int, int, int]], rng: np.random.Generator) -> Trace:
    op, slot, size, alignment = zip(*rows, strict=True)
    threads = np.sort(rng.integers(0, 8, len(rows))) % 2  # each thread runs for a while
    return Trace.of(op, slot, size, alignment=alignment, thread=threads)
