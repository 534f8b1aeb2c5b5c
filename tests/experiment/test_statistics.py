import warnings

import numpy as np
import pytest

from allocsim.experiment import statistics
from allocsim.experiment.statistics import confidence_interval


def test_identical_runs_have_an_interval_of_no_width():
    found = confidence_interval([3.5] * 10)
    assert (found.low, found.mean, found.high) == (3.5, 3.5, 3.5)
    assert confidence_interval([7.0]).half_width == 0


def test_nan_stays_nan():
    assert np.isnan(confidence_interval([float("nan"), float("nan")]).mean)


def test_the_interval_covers_the_true_mean_about_as_often_as_it_says():
    rng = np.random.default_rng(1)
    found = [confidence_interval(rng.normal(10, 2, size=20)) for _ in range(100)]
    covered = np.mean([interval.low <= 10 <= interval.high for interval in found])
    assert 0.85 <= covered <= 1.0


def test_two_values_have_a_finite_interval_between_them():
    found = confidence_interval([1.0, 2.0])
    assert 1.0 <= found.low < found.mean < found.high <= 2.0


def test_the_same_values_always_give_the_same_interval():
    values = [1.0, 2.0, 4.0, 8.0]
    assert confidence_interval(values) == confidence_interval(values)


@pytest.mark.parametrize("seed", range(20))
def test_it_is_the_interval_that_scipy_gives(seed):
    from scipy.stats import bootstrap

    rng = np.random.default_rng(seed)
    values = rng.lognormal(3, 1, int(rng.integers(2, 12)))
    same = {"n_resamples": statistics._RESAMPLES, "rng": np.random.default_rng(statistics._SEED)}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # SciPy's, where the interval is undefined
        theirs = bootstrap((values,), np.mean, **same).confidence_interval
    ours = confidence_interval(values.tolist())
    if np.isfinite([theirs.low, theirs.high]).all():
        assert (ours.low, ours.high) == pytest.approx((theirs.low, theirs.high), rel=1e-12)
    else:
        assert min(values) <= ours.low < ours.high <= max(values)
