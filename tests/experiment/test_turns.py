import pytest

from allocsim.experiment.turns import find_crossing, find_turn

X = [1, 2, 4, 8, 16, 32]


def turn(y, tolerance=0.05):
    return find_turn(X, y, tolerance)


def test_a_level_curve_has_no_turn():
    found = turn([100, 101, 99, 102, 100, 103])
    assert found.shape == "flat" and found.ratio == pytest.approx(103 / 99)


def test_a_step_down_turns_between_its_corners():
    found = turn([100, 101, 100, 20, 20.5, 20])
    assert (found.shape, found.start, found.end) == ("falls", 4, 8)
    assert found.ratio == pytest.approx(5.05)


def test_a_slope_between_two_plateaus_tells_both_ends():
    found = turn([10, 10, 20, 40, 80, 81])
    assert (found.shape, found.start, found.end) == ("rises", 2, 16)


def test_a_curve_that_falls_throughout_turns_nowhere_inside():
    found = turn([64, 32, 16, 8, 4, 2])
    assert (found.shape, found.start, found.end, found.best) == ("falls", 1, 32, 32)


def test_a_small_rise_turns_at_its_steepest_step():
    found = turn([100, 100, 104, 104, 104, 106])
    assert (found.shape, found.start, found.end) == ("rises", 2, 4)


def test_a_valley_turns_at_its_lowest_point():
    found = turn([50, 30, 20, 25, 40, 60])
    assert (found.shape, found.extreme, found.best) == ("valley", 4, 4)


def test_a_peak_turns_at_its_highest_point():
    found = turn([5, 8, 9, 7, 6, 5])
    assert (found.shape, found.extreme) == ("peak", 4)


def test_wavering_is_called_mixed():
    found = turn([10, 20, 10, 20, 10, 20])
    assert (found.shape, found.extreme) == ("mixed", None)


def test_noise_within_the_tolerance_does_not_hide_a_fall():
    assert turn([100, 102, 60, 62, 30, 31]).shape == "falls"
    assert turn([100, 102, 60, 70, 30, 31]).shape == "mixed"
    assert turn([100, 102, 60, 70, 30, 31], tolerance=0.2).shape == "falls"


def test_zero_is_a_value_like_others():
    found = turn([5, 3, 0, 0, 0, 0])
    assert (found.shape, found.end, found.ratio) == ("falls", 4, None)
    assert turn([0] * 6).shape == "flat"


@pytest.mark.parametrize(
    "y", [[1] * 5, [1, 2, 3, float("nan"), 5, 6], [1, 2, 3, float("inf"), 5, 6]]
)
def test_curves_with_holes_are_refused(y):
    with pytest.raises(ValueError, match="at least two points"):
        turn(y)
    with pytest.raises(ValueError, match="at least two points"):
        find_turn([1], [1], 0.05)


def test_a_falling_and_a_rising_curve_cross_once():
    falls, rises = [100, 90, 40, 10, 0, 0], [7, 7, 7.5, 8, 9, 9]
    assert find_crossing(X, falls, rises) == (4, 8)
    assert find_crossing(X, rises, falls) == (4, 8)


def test_curves_that_go_the_same_way_do_not_cross():
    assert find_crossing(X, [1, 2, 3, 4, 5, 6], [1, 2, 3, 4, 5, 7]) is None
    assert find_crossing(X, [1, 2, 1, 2, 1, 2], [2, 1, 2, 1, 2, 1]) is None
