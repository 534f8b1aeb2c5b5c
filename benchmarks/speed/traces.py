"""The traces that are timed: two made up, and those recorded from real programs."""

import math
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from allocsim import resources
from allocsim.trace import Op, Trace, open_trace

RECENT = 64
SLACK = 60
WAVE_OPS = 400_000
_FREE = int(Op.FREE)


@dataclass(frozen=True)
class Churn:
    """A program that allocates and frees at random around a constant number of live objects.

    Sizes are log-normal (median in bytes, sigma); a share comes from a second, larger distribution.
    Six frees in ten take one of the 64 newest objects, the others any. `swing` lets the number of
    live objects rise and fall in waves.
    """

    ops: int
    live: int
    median_bytes: float
    sigma: float
    large_share: float = 0.0
    large_median_bytes: float = 1.0
    large_sigma: float = 0.0
    largest_bytes: float = 1e6
    swing: float = 0.1
    seed: int = 1


SMALL = Churn(5_000_000, 50_000, 72, 1.1)
LARGE = Churn(5_000_000, 20_000, 200, 1.5, 0.35, 6000, 1.6, 4e6, swing=0.04, seed=2)


def made(churn: Churn, ops: int | None = None) -> Trace:
    """The first `ops` operations of a made-up program."""
    from numba import njit  # late: the memory of runs is measured, which do without it

    n = min(ops or churn.ops, churn.ops)
    uniform = np.random.default_rng(churn.seed).random((n, 3))
    sizes = _sizes(churn, n)
    op, slot = njit(_operations)(uniform, churn.live, churn.swing)
    return Trace.of(op=op, object=slot, size=np.where(op == _FREE, 0, sizes))


def _sizes(churn: Churn, n: int) -> np.ndarray:
    draw = np.random.default_rng(churn.seed + 1000)
    normal, large = draw.standard_normal(n), draw.random(n) < churn.large_share
    median = np.where(large, churn.large_median_bytes, churn.median_bytes)
    sigma = np.where(large, churn.large_sigma, churn.sigma)
    return np.clip(median * np.exp(sigma * normal), 1, churn.largest_bytes).astype(np.int64)


def _operations(uniform, live, swing):
    """Operation and slot of each op. uniform: three numbers in [0, 1) per op."""
    n = len(uniform)
    op, slot = np.zeros(n, np.uint8), np.empty(n, np.int32)
    held, n_held = np.empty(live + SLACK, np.int32), 0
    free, n_free = np.arange(live + SLACK - 1, -1, -1).astype(np.int32), live + SLACK
    for i in range(n):
        wave = 0.0 if i < 2 * live else swing * math.sin(2 * math.pi * i / WAVE_OPS)
        grows = i < live or uniform[i, 0] < 0.5 + wave
        if n_held == 0 or (n_free > 0 and grows):
            n_free -= 1
            slot[i] = held[n_held] = free[n_free]
            n_held += 1
            continue
        back = int(uniform[i, 2] * (RECENT if uniform[i, 1] < 0.6 else n_held))
        at = max(n_held - 1 - back, 0)
        op[i], slot[i] = _FREE, held[at]
        free[n_free] = held[at]
        n_free += 1
        n_held -= 1
        if n_held - at <= RECENT:
            for k in range(at, n_held):
                held[k] = held[k + 1]
        else:
            held[at] = held[n_held]
    return op, slot


def recorded() -> dict[str, Trace]:
    """The recorded programs by name; threads' ops in their order, all on one thread.

    Real threads that take turns would be timed with the handing over.
    """
    folder = resources.folder("workloads") / "traces"
    return {path.stem: on_one_thread(path) for path in sorted(folder.glob("*.parquet"))}


def on_one_thread(path: Path) -> Trace:
    trace = open_trace(path).read()
    columns = trace.columns() | {"thread": np.zeros(len(trace), np.int32)}
    return Trace(**columns, provenance=trace.provenance)
