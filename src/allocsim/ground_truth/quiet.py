"""Which of repeated timings of one thing counts: the lower quartile.

What else runs on a machine only ever adds to a time, and does so in phases of seconds in which
everything takes up to half as long again. How many rounds such a phase meets is chance, and a
median falls to one side or the other by it. The lower quartile stays with the undisturbed rounds.
In four validations on one virtual machine, what mmap-only costs as a multiple of the defaults
varied from run to run by 5 % (standard deviation, typical trace) by medians, by 2.4 % by lower
quartiles.
"""

import numpy as np

QUIET = 0.25


def quiet(times: np.ndarray) -> np.ndarray:
    """The time of an undisturbed round, in the unit of `times`: its last axis, the rounds, goes."""
    return np.quantile(times, QUIET, axis=-1)
