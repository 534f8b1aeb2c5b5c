"""Distributions of requested sizes, as quantile functions: a uniform number in, bytes out.

One uniform number per request keeps streams of random numbers aligned whatever the distribution.
"""

import math
from typing import Annotated, Literal

import numpy as np
from pydantic import Field, model_validator

from allocsim.strict_toml import SizeBytes, StrictModel

RequestBytes = Annotated[SizeBytes, Field(ge=1)]


class _Range(StrictModel):
    """Sizes between two bounds, both included."""

    low: RequestBytes = 1
    high: RequestBytes = 2**30

    @model_validator(mode="after")
    def _ordered(self) -> "_Range":
        if self.low > self.high:
            raise ValueError(f"low ({self.low}) must not be above high ({self.high})")
        return self

    @property
    def largest(self) -> int:
        """No size is above this, in bytes."""
        return self.high

    def _within(self, sizes: np.ndarray) -> np.ndarray:
        return np.clip(sizes, self.low, self.high).astype(np.int64)


class Uniform(_Range):
    """All sizes from `low` to `high` equally likely."""

    distribution: Literal["uniform"]

    def quantile(self, uniform: np.ndarray) -> np.ndarray:
        """Sizes in bytes for numbers in [0, 1)."""
        return self._within(np.floor(self.low + uniform * (self.high - self.low + 1)))


class LogUniform(_Range):
    """Every doubling between `low` and `high` equally likely."""

    distribution: Literal["loguniform"]

    def quantile(self, uniform: np.ndarray) -> np.ndarray:
        """Sizes in bytes for numbers in [0, 1)."""
        return self._within(np.rint(self.low * np.exp(uniform * np.log(self.high / self.low))))


class LogNormal(_Range):
    """The logarithm of the size is normal with deviation `sigma`, cut off at `low` and `high`."""

    distribution: Literal["lognormal"]
    median: RequestBytes
    sigma: float = Field(gt=0, le=10)

    def quantile(self, uniform: np.ndarray) -> np.ndarray:
        """Sizes in bytes for numbers in [0, 1)."""
        from scipy.special import ndtr, ndtri

        bounds = ndtr(np.log(np.array([self.low, self.high]) / self.median) / self.sigma)
        normal = ndtri(bounds[0] + uniform * (bounds[1] - bounds[0]))
        return self._within(np.rint(self.median * np.exp(self.sigma * normal)))


class Pareto(_Range):
    """A power law: the share of sizes above s falls as s to the power -`alpha`, up to `high`."""

    distribution: Literal["pareto"]
    alpha: float = Field(gt=0, le=100)

    def quantile(self, uniform: np.ndarray) -> np.ndarray:
        """Sizes in bytes for numbers in [0, 1): the inverse of the bounded Pareto distribution."""
        tail = (self.low / self.high) ** self.alpha
        return self._within(np.rint(self.low * (1 - uniform * (1 - tail)) ** (-1 / self.alpha)))


class Choice(StrictModel):
    """One of the given `sizes`: one size, a few classes, or a list measured somewhere.

    weights: how often each is drawn, in any unit; equally often where left out.
    """

    distribution: Literal["choice"]
    sizes: list[RequestBytes] = Field(min_length=1)
    weights: list[Annotated[float, Field(ge=0)]] | None = None

    @model_validator(mode="after")
    def _weights_fit(self) -> "Choice":
        if self.weights is not None:
            if len(self.weights) != len(self.sizes):
                raise ValueError(f"{len(self.weights)} weights for {len(self.sizes)} sizes")
            if not 0 < sum(self.weights) < math.inf:
                raise ValueError("at least one weight must be above 0, and their sum a number")
        return self

    @property
    def largest(self) -> int:
        """No size is above this, in bytes."""
        return max(self.sizes)

    def quantile(self, uniform: np.ndarray) -> np.ndarray:
        """Sizes in bytes for numbers in [0, 1)."""
        weights = np.array(self.weights or [1.0] * len(self.sizes))
        edges = np.cumsum(weights) / weights.sum()
        chosen = np.searchsorted(edges, uniform, side="right")
        return np.array(self.sizes, np.int64)[np.minimum(chosen, len(self.sizes) - 1)]


Sizes = Annotated[
    Uniform | LogUniform | LogNormal | Pareto | Choice, Field(discriminator="distribution")
]
