import pytest

from allocsim.experiment.axis import expand_axis


@pytest.mark.parametrize(
    ("written", "values"),
    [
        ([1, 2, 5], [1, 2, 5]),
        ([0.5, "1 KiB"], [0.5, 1024]),
        ({"from": "4 KiB", "to": "32 KiB", "factor": 2}, [4096, 8192, 16384, 32768]),
        ({"from": 1, "to": 10, "step": 4}, [1, 5, 9]),
        ({"from": 3, "to": 3, "factor": 2}, [3]),
    ],
)
def test_axes_may_be_lists_or_ranges(written, values):
    assert expand_axis(written) == values


@pytest.mark.parametrize(
    ("written", "why"),
    [
        ([], "needs at least one value"),
        ([1, 1], "holds a value twice"),
        (["large"], "no size"),
        ([True], "must hold numbers"),
        (7, "must be a list of values"),
        ({"from": 1, "to": 4}, "either factor or step"),
        ({"from": 1, "to": 4, "factor": 2, "step": 1}, "either factor or step"),
        ({"from": 4, "to": 1, "factor": 2}, "must not be above"),
        ({"from": 0, "to": 4, "factor": 2}, "from above 0"),
        ({"from": 1, "to": 4, "factor": 1}, "factor above 1"),
        ({"from": 1, "to": 4, "step": 0}, "step must be above 0"),
        ({"from": 1, "to": 10**9, "step": 1}, "more than 10000 values"),
        ({"from": 1, "to": 4, "faktor": 2}, "did you mean 'factor'"),
    ],
)
def test_impossible_axes_say_what_would_be_right(written, why):
    with pytest.raises(ValueError, match=why):
        expand_axis(written)
