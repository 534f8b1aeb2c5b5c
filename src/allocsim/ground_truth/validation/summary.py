"""How good the predictions are over many cases."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import combinations, groupby

import numpy as np

from allocsim.ground_truth.validation.comparison import Comparison

CLEAR_RATIO = 1.3
"""Settings whose measured costs differ by more should come out in the right order."""


@dataclass(frozen=True)
class Errors:
    """Relative errors of one figure over cases, as absolute values: median, 90th percentile, worst.

    noise: the median width of the measurements' own bands. n: how many cases have the figure.
    """

    median: float
    percentile_90: float
    worst: float
    noise: float
    n: int


@dataclass(frozen=True)
class Gap:
    """What a setting costs, as a multiple of the defaults' cost on the same trace."""

    trace: str
    setting: str
    measured: float
    predicted: float

    @property
    def error(self) -> float:
        """Relative error of the multiple."""
        return self.predicted / self.measured - 1


@dataclass(frozen=True)
class Ranking:
    """Pairs of settings on one trace whose measured costs clearly differ, and how many are told
    apart rightly."""

    right: int
    pairs: int


def errors_of(comparisons: Sequence[Comparison], figure: str) -> Errors | None:
    """The errors of one figure; None where no case has it."""
    pairs = [c.pairs()[figure] for c in comparisons if figure in c.pairs()]
    found = np.array([abs(pair.error) for pair in pairs if np.isfinite(pair.error)])
    if not len(found):
        return None
    median, high, worst = np.quantile(found, [0.5, 0.9, 1.0]).tolist()
    noise = float(np.median([pair.measured.spread for pair in pairs]))
    return Errors(median, high, worst, noise, len(found))


def gaps_of(comparisons: Sequence[Comparison], figure: str) -> list[Gap]:
    """Each setting against the defaults, where a trace has both."""
    gaps = []
    for cases in _by_trace(comparisons):
        base = next((c.pairs()[figure] for c in cases if not c.setting), None)
        if base is None or base.measured.value <= 0 or base.predicted.value <= 0:
            continue
        for case in cases:
            if case.setting:
                pair = case.pairs()[figure]
                multiples = (
                    pair.measured.value / base.measured.value,
                    pair.predicted.value / base.predicted.value,
                )
                gaps.append(Gap(case.trace, case.setting, *multiples))
    return gaps


def ranking_of(comparisons: Sequence[Comparison], figure: str) -> Ranking:
    """How often the dearer of two settings is the dearer one in the simulation, too."""
    right = pairs = 0
    for cases in _by_trace(comparisons):
        for one, other in combinations((c.pairs()[figure] for c in cases), 2):
            low, high = sorted((one, other), key=lambda pair: pair.measured.value)
            if high.measured.value > CLEAR_RATIO * low.measured.value:
                pairs += 1
                right += high.predicted.value > low.predicted.value
    return Ranking(right, pairs)


def _by_trace(comparisons: Sequence[Comparison]) -> Iterator[list[Comparison]]:
    for _, cases in groupby(comparisons, key=lambda c: c.trace):
        yield list(cases)
