import functools

import numpy as np
import pytest

from heimdall.domain.errors import InvalidInputError
from heimdall.rf.accuracy import coverage, horizontal_errors
from heimdall.rf.place_posterior import SquareGrid, locate, make_square_grid
from heimdall.rf.radio_map import RadioMap
from heimdall.rf.solvers import LogDistanceMl
from tests.unit.rf.strengths import simulate_floor


@functools.cache
def fit(solver, **options):
    return solver.fit(*simulate_floor(500, seed=1, **options)[:2])


def measure(solver, **options):
    fitted = fit(solver, **options)
    observations, target, _ = simulate_floor(150, seed=2, **options)
    return fitted, observations, target[:, :2]


def median(solver, **options):
    fitted, observations, truth = measure(solver, **options)
    return float(np.median(horizontal_errors(fitted.predict(observations), truth)))


def test_the_map_learns_shadowing_that_a_law_cannot_know():
    assert median(RadioMap) < 0.75 * median(LogDistanceMl)


def test_shadowing_that_no_neighbours_share_is_not_mapped():
    assert not measure(RadioMap, field_db=0.0, fading_db=7.0)[0].has_field
    assert measure(RadioMap)[0].has_field


def test_its_ellipses_are_not_too_small():
    fitted, observations, truth = measure(RadioMap)
    posterior = fitted.posterior(observations)
    assert coverage(posterior.position_m, truth, posterior.covariance_m2, 0.68) > 0.68
    assert coverage(posterior.position_m, truth, posterior.covariance_m2, 0.95) > 0.93


def test_receivers_that_move_are_used_where_they_were():
    assert median(RadioMap, moving=(0, 1, 2, 3, 4, 5, 6)) < 300


def test_a_receiver_that_is_often_off_says_little_by_its_silence():
    assert median(RadioMap, silent_share=0.3) < 2.5 * median(RadioMap)


def test_an_example_that_nobody_heard_gets_the_prior_and_not_a_number_from_nowhere():
    fitted, observations, _ = measure(RadioMap)
    nobody = observations.rows(slice(0, 3))
    nobody.heard[:], nobody.present[:], nobody.rssi_dbm[:] = False, False, 0.0
    posterior = fitted.posterior(nobody)
    assert np.isfinite(posterior.position_m).all()
    assert (np.sqrt(posterior.covariance_m2[:, 0, 0]) > 400).all()


def test_one_broken_receiver_does_not_rule_the_place_out():
    fitted, observations, truth = measure(RadioMap)
    whole = np.median(horizontal_errors(fitted.predict(observations), truth))
    observations.rssi_dbm[:, 0] = -20.0
    assert np.median(horizontal_errors(fitted.predict(observations), truth)) < 2 * whole + 50


def test_training_examples_without_strength_are_refused():
    observations, target, _ = simulate_floor(5, silent_share=1.1)
    with pytest.raises(InvalidInputError, match="no strength"):
        RadioMap.fit(observations, target)


def test_the_place_of_two_hills_is_the_higher_one_and_not_the_valley():
    grid = SquareGrid((0.0, 0.0), 50.0, 41, 21, 0.0)
    points = grid.points_m[:, :2]
    hills = [np.exp(-0.5 * np.square((points - centre) / 90.0).sum(axis=1)) for centre in ([410.0, 500.0], [1600.0, 500.0])]
    found = locate(grid, np.log(0.65 * hills[0] + 0.35 * hills[1] + 1e-12)[None])
    np.testing.assert_allclose(found.position_m[0], [410.0, 500.0], atol=12)
    assert found.covariance_m2[0, 0, 0] > 500**2
    assert found.covariance_m2[0, 1, 1] < 120**2


def test_the_grid_covers_positions_and_near_receivers_with_square_cells():
    target = np.array([[0.0, 0.0, 5.0], [1000.0, 400.0, 7.0]])
    grid = make_square_grid(target, np.array([[1500.0, 100.0, 0.0], [90_000.0, 100.0, 0.0]]))
    low, high = grid.points_m[:, :2].min(axis=0), grid.points_m[:, :2].max(axis=0)
    assert (low < 0).all()
    assert high[0] > 1500
    assert high[0] < 2500
    assert max(grid.num_east, grid.num_north) <= 64
    assert grid.up_m == 6.0
