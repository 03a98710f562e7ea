import numpy as np
import pytest

from heimdall.training.calibration import LEVELS, NOMINAL_RADII, find_radii, to_nominal


def draw_student(count, seed=0, freedom=3):
    """Squared distances in two dimensions of a Student distribution: a Gaussian of random width."""
    rng = np.random.default_rng(seed)
    return rng.chisquare(2, count) * freedom / rng.chisquare(freedom, count)


@pytest.mark.parametrize("too_small", [0.5, 1.0, 2.0])
def test_the_radii_undo_ellipses_of_the_wrong_size(too_small):
    distances = np.random.default_rng(0).chisquare(2, 20_000) * too_small**2
    assert find_radii([distances]) == pytest.approx(np.array(NOMINAL_RADII) * too_small, rel=0.03)


def test_heavy_tails_are_covered_at_every_level_where_one_factor_would_miss():
    radii = find_radii([draw_student(5000)])
    fresh = draw_student(20_000, seed=1)
    assert [np.mean(fresh <= radius**2) for radius in radii] == pytest.approx(list(LEVELS), abs=0.02)
    by_one_factor = np.array(NOMINAL_RADII) * radii[1] / NOMINAL_RADII[1]
    assert np.mean(fresh <= by_one_factor[2] ** 2) < 0.92


def test_a_large_day_does_not_outvote_a_hard_one():
    rng = np.random.default_rng(0)
    easy, hard = rng.chisquare(2, 20_000), 4 * rng.chisquare(2, 2000)
    assert find_radii([easy, hard])[1] == pytest.approx(NOMINAL_RADII[1] * np.sqrt((1 + 4) / 2), rel=0.05)


def test_few_examples_ask_for_the_largest_distance_and_no_more():
    assert find_radii([np.array([1.0, 2.0, 4.0])])[2] == pytest.approx(2.0)


def test_one_far_outlier_does_not_stretch_all_ellipses():
    distances = np.append(np.random.default_rng(0).chisquare(2, 500), 1e9)
    assert find_radii([distances]) == pytest.approx(np.array(NOMINAL_RADII), rel=0.12)


def test_absurd_distances_stay_within_limits():
    assert find_radii([np.full(50, 1e12)]) == pytest.approx(10 * np.array(NOMINAL_RADII))
    assert (find_radii([np.zeros(50)]) > 0).all()


def test_distances_in_the_models_own_ellipses_cover_what_they_promise():
    radii = find_radii([draw_student(20_000)])
    nominal = to_nominal(draw_student(20_000, seed=1), tuple(radii))
    assert [np.mean(nominal <= radius**2) for radius in NOMINAL_RADII] == pytest.approx(list(LEVELS), abs=0.02)


def test_a_gaussian_keeps_its_distances():
    distances = np.array([0.0, 0.3, 2.0, 40.0])
    np.testing.assert_allclose(to_nominal(distances, NOMINAL_RADII), distances)
