"""Means of repeated runs with confidence intervals."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np

_RESAMPLES = 2_000
_SEED = 20_000_101
"""Resampling must give the same interval each time the same results are looked at."""


@dataclass(frozen=True)
class Interval:
    """A mean, and the ends of its confidence interval."""

    mean: float
    low: float
    high: float

    @property
    def half_width(self) -> float:
        """Half the interval's length."""
        return (self.high - self.low) / 2


def confidence_interval(values: Sequence[float], confidence: float = 0.95) -> Interval:
    """The mean of `values` with its bias-corrected and accelerated bootstrap interval (Efron 1987).

    Equal values, and a single one, have an interval of zero width: a deterministic run is no
    unknown. nan stays nan.
    """
    mean = float(np.mean(values))
    if len(set(values)) == 1 or not np.isfinite(mean):
        return Interval(mean, mean, mean)
    low, high = _bootstrap(tuple(values), confidence)
    return Interval(mean, low, high)


@lru_cache(maxsize=4096)
def _bootstrap(values: tuple[float, ...], confidence: float) -> tuple[float, float]:
    """The ends of the interval; of the plain percentile interval where BCa is undefined.

    `scipy.stats.bootstrap` gives the same, but takes most of a second to import.
    """
    from scipy.special import ndtr, ndtri

    sample = np.array(values, float)
    n, mean = len(sample), sample.mean()
    drawn = np.random.default_rng(_SEED).integers(0, n, (_RESAMPLES, n))
    means = sample[drawn].mean(axis=1)
    tails = np.array([(1 - confidence) / 2, (1 + confidence) / 2])
    bias = ndtri(((means < mean).mean() + (means <= mean).mean()) / 2)
    influence = sample - mean  # of each value on the mean, up to a factor
    acceleration = (influence**3).sum() / (6 * (influence**2).sum() ** 1.5)
    shifted = bias + ndtri(tails)
    levels = ndtr(bias + shifted / (1 - acceleration * shifted))
    if not np.isfinite(levels).all():
        levels = tails
    low, high = np.percentile(means, 100 * levels)
    return float(low), float(high)
