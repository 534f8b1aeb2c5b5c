"""Runs a loop over ops as plain Python or compiled, whichever is sooner done."""

from collections.abc import Callable
from functools import cache

import numpy as np

COMPILE_AFTER_OPS = 100_000
"""From this many ops on, loading numba pays off; it takes half a second."""


class Loop:
    """A function over arrays that returns a row number; one source, run in two ways.

    It starts as plain Python, on memory views: their elements are Python integers, several times
    faster than numpy's. After `COMPILE_AFTER_OPS` it runs compiled by numba, on the arrays; from
    the start with `at_once`, where numba is loaded already.
    """

    def __init__(self, function: Callable[..., int], at_once: bool = False) -> None:
        self._function = function
        self._seen_ops = COMPILE_AFTER_OPS if at_once else 0

    def __call__(self, *arrays: np.ndarray) -> int:
        """Run over `arrays`, the first of which has one element for each op."""
        self._seen_ops += len(arrays[0])
        if self._seen_ops > COMPILE_AFTER_OPS:
            return int(_compiled(self._function)(*arrays))
        return self._function(*(array.data for array in arrays))


@cache
def _compiled(function: Callable[..., int]) -> Callable[..., int]:
    """`function` compiled, and kept on disk where numba finds a folder that it may write to."""
    from numba import njit

    try:
        return njit(cache=True, nogil=True)(function)
    except RuntimeError:
        return njit(nogil=True)(function)
