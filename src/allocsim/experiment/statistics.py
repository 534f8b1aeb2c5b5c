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
    low, high = _bootstrap(tuple(values), confidence, "BCa")
    if not (np.isfinite(low) and np.isfinite(high)):
        low, high = _bootstrap(tuple(values), confidence, "percentile")
    return Interval(mean, low, high)


@lru_cache(maxsize=4096)
def _bootstrap(values: tuple[float, ...], confidence: float, method: str) -> tuple[float, float]:
    from scipy.stats import bootstrap

    found = bootstrap(
        (np.array(values, float),),
        np.mean,
        confidence_level=confidence,
        n_resamples=_RESAMPLES,
        method=method,
        rng=np.random.default_rng(_SEED),
    ).confidence_interval
    return float(found.low), float(found.high)
