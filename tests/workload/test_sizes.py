import numpy as np
import pytest
from pydantic import TypeAdapter, ValidationError

from allocsim.workload.sizes import Sizes

UNIFORM = (np.arange(100_000) + 0.5) / 100_000


def draw(**keys):
    return TypeAdapter(Sizes).validate_python(keys).quantile(UNIFORM)


def test_lognormal_has_its_median_and_deviation():
    sizes = draw(distribution="lognormal", median=1_000, sigma=0.5)
    assert np.median(sizes) == pytest.approx(1_000, rel=0.01)
    assert np.log(sizes).std() == pytest.approx(0.5, rel=0.01)


def test_lognormal_is_cut_off_without_piling_up_at_the_ends():
    sizes = draw(distribution="lognormal", median=1_000, sigma=1.0, low=500, high=2_000)
    assert sizes.min() >= 500 and sizes.max() <= 2_000
    assert np.mean(sizes == 500) < 0.01 and np.mean(sizes == 2_000) < 0.01


def test_uniform_reaches_both_ends_and_is_even():
    sizes = draw(distribution="uniform", low=10, high=19)
    assert np.bincount(sizes)[10:].tolist() == [10_000] * 10


def test_loguniform_gives_every_doubling_the_same_share():
    sizes = draw(distribution="loguniform", low="4 KiB", high="64 KiB")
    counts = np.histogram(np.log2(sizes), bins=[12, 13, 14, 15, 16])[0]
    assert counts / 100_000 == pytest.approx([0.25] * 4, abs=0.001)


def test_pareto_has_its_tail():
    sizes = draw(distribution="pareto", alpha=2.0, low=100, high=10**9)
    assert np.mean(sizes > 1_000) == pytest.approx(0.01, rel=0.02)
    assert sizes.min() == 100


def test_choice_follows_its_weights():
    sizes = draw(distribution="choice", sizes=[16, 32, 64], weights=[1.0, 0.0, 3.0])
    assert np.mean(sizes == 64) == pytest.approx(0.75, abs=0.001)
    assert set(sizes) == {16, 64}
    assert np.mean(draw(distribution="choice", sizes=[16, 32]) == 16) == pytest.approx(0.5)


@pytest.mark.parametrize(
    "keys",
    [
        {"distribution": "uniform", "low": 10, "high": 9},
        {"distribution": "uniform", "low": 0, "high": 9},
        {"distribution": "lognormal", "median": 10, "sigma": 0.0},
        {"distribution": "pareto", "alpha": -1.0},
        {"distribution": "choice", "sizes": []},
        {"distribution": "choice", "sizes": [1, 2], "weights": [1.0]},
        {"distribution": "choice", "sizes": [1], "weights": [0.0]},
        {"distribution": "normal"},
    ],
)
def test_impossible_distributions_are_refused(keys):
    with pytest.raises(ValidationError):
        draw(**keys)
