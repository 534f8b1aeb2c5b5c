"""From times of benchmarks to unit costs: non-negative least squares with bootstrap intervals.

Each benchmark is one equation: its time is the sum of counts x unit costs. The equations outnumber
the unknowns and contradict each other, because the model has one cost where the machine has several
(a fault in a small area is cheaper than one in a large area). The fit minimises the squares of
log(predicted / measured): a benchmark of nanoseconds weighs as much as one of microseconds, and
twice too much as much as half.

Intervals show both what chance did and how far the model is from the machine. Each resample draws
rounds with replacement, takes each benchmark's lower quartile over them, fits, then gives the fit's
residuals back with random signs and fits again: the wild bootstrap (Wu, Annals of Statistics 14,
1986), with residuals scaled up for the degrees of freedom that the fit used.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from scipy.optimize import nnls

from allocsim.ground_truth.quiet import QUIET, quiet

CONFIDENCE = 0.95
RESAMPLES = 1000
_MOST_STEPS = 40
_CLOSE = 1e-4
_FARTHEST = 1.5
"""How far, as a logarithm, one step trusts the linear approximation."""


@dataclass(frozen=True)
class Estimate:
    """A figure in nanoseconds and the ends of its 95 % interval."""

    ns: float
    low_ns: float
    high_ns: float


@dataclass(frozen=True)
class Fit:
    """Estimates of the unknowns, and what they predict for each benchmark in nanoseconds."""

    unknowns: dict[str, Estimate]
    predicted_ns: dict[str, float]


def fit(
    counts: Mapping[str, Mapping[str, float]],
    times_ns: Mapping[str, np.ndarray],
    rng: np.random.Generator,
    resamples: int = RESAMPLES,
) -> Fit:
    """Unit costs from `counts[benchmark][unknown]` and `times_ns[benchmark][round]`.

    All benchmarks have the same number of rounds. An unknown that no benchmark counts has no
    estimate. Raises ValueError if a benchmark took no time or counts nothing.
    """
    names = list(counts)
    unknowns = sorted({unknown for row in counts.values() for unknown in row})
    design = np.array([[counts[name].get(u, 0.0) for u in unknowns] for name in names])
    times = np.array([times_ns[name] for name in names])
    units = solve(design, quiet(times))
    drawn = np.array([_resampled(design, times, units, rng) for _ in range(resamples)])
    estimates = {u: _estimate(units[i], drawn[:, i]) for i, u in enumerate(unknowns)}
    return Fit(estimates, dict(zip(names, (design @ units).tolist(), strict=True)))


def solve(design: np.ndarray, times_ns: np.ndarray, start: np.ndarray | None = None) -> np.ndarray:
    """The units >= 0 that minimise the sum of log(design @ units / times_ns) squared.

    Gauss-Newton: each step is a linear non-negative least-squares problem.
    """
    if not ((times_ns > 0).all() and design.any(axis=1).all()):
        raise ValueError("every benchmark must take time and count something")
    units = _step(design, times_ns, np.zeros(len(times_ns))) if start is None else start
    for _ in range(_MOST_STEPS):
        predicted = np.maximum(design @ units, times_ns * np.exp(-_FARTHEST))
        off = np.clip(np.log(times_ns / predicted), -_FARTHEST, _FARTHEST)
        better = _step(design, predicted, off)
        change = np.abs(design @ (better - units)) / predicted
        units = (units + better) / 2 if change.max() > 1 else better
        if change.max() < _CLOSE:
            break
    return units


def _step(design: np.ndarray, predicted: np.ndarray, off: np.ndarray) -> np.ndarray:
    """Units whose prediction is `predicted`, raised by the logarithm `off`, as well as can be."""
    relative = design / predicted[:, None]
    scale = np.linalg.norm(relative, axis=0)
    units, _ = nnls(relative / scale, 1 + off, maxiter=100 * len(scale))
    return units / scale


def _resampled(
    design: np.ndarray, times: np.ndarray, start: np.ndarray, rng: np.random.Generator
) -> np.ndarray:
    """Units from one resample of rounds, with its residuals given back at random signs."""
    n_rounds, (n_rows, n_unknowns) = times.shape[1], design.shape
    typical = quiet(times[:, rng.integers(n_rounds, size=n_rounds)])
    units = solve(design, typical, start)
    predicted = np.maximum(design @ units, typical * np.exp(-_FARTHEST))
    scale = np.sqrt(n_rows / max(1, n_rows - n_unknowns))
    misfit = np.log(typical / predicted) * scale * rng.choice([-1.0, 1.0], n_rows)
    return solve(design, predicted * np.exp(misfit), units)


def _estimate(value: float, drawn: np.ndarray) -> Estimate:
    """The interval always holds the value itself."""
    tail = (1 - CONFIDENCE) / 2
    low, high = np.quantile(drawn, [tail, 1 - tail])
    return Estimate(float(value), float(min(low, value)), float(max(high, value)))


def estimate_of(
    times_ns: np.ndarray,
    rng: np.random.Generator,
    resamples: int = RESAMPLES,
    quantile: float = QUIET,
) -> Estimate:
    """The lower quartile, or another quantile, over rounds, with its bootstrap interval."""
    rows = times_ns[rng.integers(len(times_ns), size=(resamples, len(times_ns)))]
    return _estimate(float(np.quantile(times_ns, quantile)), np.quantile(rows, quantile, axis=1))
