"""Runs a loop over ops as plain Python or compiled, whichever is sooner done."""

import sys
from collections.abc import Callable
from functools import cache

import numpy as np

COMPILE_AFTER_OPS = 100_000
"""From this many ops on, loading numba pays off; it takes half a second."""

LOADED_AFTER_OPS = 10_000
"""The same where numba is there already."""

_made: set[Callable[..., int]] = set()
"""What has been compiled in this process."""


class Loop:
    """A function over arrays that returns a row number; one source, run in two ways.

    It starts as plain Python, on memory views: their elements are Python integers, several times
    faster than numpy's. After some thousands of ops, from the start with `at_once`, or where
    another loop has compiled it before, it runs compiled by numba, on the arrays.
    """

    def __init__(self, function: Callable[..., int], at_once: bool = False) -> None:
        self._function = function
        self._seen_ops = COMPILE_AFTER_OPS if at_once else 0

    def __call__(self, *arrays: np.ndarray) -> int:
        """Run over `arrays`, the first of which has one element for each op."""
        self._seen_ops += len(arrays[0])
        enough = LOADED_AFTER_OPS if "numba" in sys.modules else COMPILE_AFTER_OPS
        if self._seen_ops > enough or self._function in _made:
            return int(_compiled(self._function)(*arrays))
        return self._function(*(array.data for array in arrays))


@cache
def _compiled(function: Callable[..., int]) -> Callable[..., int]:
    """`function` compiled, and kept in the cache."""
    from allocsim.numba_cache import njit_cached

    _made.add(function)
    made: Callable[..., int] = njit_cached(function)
    return made
