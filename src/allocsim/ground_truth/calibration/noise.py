"""Whether the machine was quiet enough for the figures to mean much."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

NOISE_LIMIT = 0.15
"""A machine whose typical benchmark spreads further is called noisy."""


@dataclass(frozen=True)
class Noise:
    """How far the rounds of one benchmark lie apart.

    typical, worst: spread of a benchmark, (90th - 10th percentile) / median over its rounds; the
    median over all benchmarks, and the largest, which is that of `worst_name`.
    """

    typical: float
    worst: float
    worst_name: str

    @property
    def noisy(self) -> bool:
        """Whether the figures should be taken with care."""
        return self.typical > NOISE_LIMIT


def noise(times_ns: Mapping[str, Sequence[float] | np.ndarray]) -> Noise:
    """The spread of `times_ns[benchmark][round]`."""
    spreads = {name: _spread(np.asarray(values)) for name, values in times_ns.items()}
    worst = max(spreads, key=lambda name: spreads[name])
    return Noise(float(np.median(list(spreads.values()))), spreads[worst], worst)


def _spread(values: np.ndarray) -> float:
    low, middle, high = np.quantile(values, [0.1, 0.5, 0.9])
    return float((high - low) / middle)
