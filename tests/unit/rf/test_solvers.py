import numpy as np
import pytest

from heimdall.domain.errors import InvalidInputError
from heimdall.rf.accuracy import horizontal_errors
from heimdall.rf.geodesy import slant_ranges
from heimdall.rf.observations import gather_observations
from heimdall.rf.solvers import Centroid, LogDistanceMl, NearestNeighbours

SIDE_M = 4000.0


def simulate(num, *, sigma_db=2.0, seed=0, is_moving=False, threshold_dbm=-200.0, num_receivers=8):
    """Receivers with different offsets on a square; each moves per example where asked."""
    generator = np.random.default_rng(seed)
    layout = np.random.default_rng(99)
    target = np.column_stack([generator.uniform(0, SIDE_M, (num, 2)), np.zeros(num)])
    site = np.concatenate([layout.uniform(0, SIDE_M, (num_receivers, 2)), np.full((num_receivers, 1), 20.0)], axis=1)
    site = np.tile(site, (num, 1, 1))
    if is_moving:
        site[..., :2] = generator.uniform(0, SIDE_M, (num, num_receivers, 2))
    offset = layout.uniform(-90, -60, num_receivers)
    rssi = offset - 35 * np.log10(slant_ranges(target, site) / 1000) + sigma_db * generator.normal(size=(num, num_receivers))
    heard = rssi > threshold_dbm
    observations = gather_observations(
        rssi_dbm=np.where(heard, rssi, 0.0),
        heard=heard,
        present=np.ones_like(heard),
        receiver_index=np.tile(np.arange(num_receivers), (num, 1)),
        receiver_m=site,
        is_moving=np.full(num_receivers, is_moving),
    )
    return observations, target


def median_error(solver, **options):
    fitted = solver.fit(*simulate(800, seed=1, **options))
    observations, target = simulate(200, seed=2, **options)
    return float(np.median(horizontal_errors(fitted.predict(observations), target[:, :2])))


def test_the_centroid_answers_the_mean_of_the_training_positions():
    observations, target = simulate(50)
    np.testing.assert_allclose(Centroid.fit(observations, target).predict(observations), np.tile(target[:, :2].mean(axis=0), (50, 1)))


def test_knn_finds_a_fingerprint_it_has_seen():
    observations, target = simulate(300)
    found = NearestNeighbours.fit(observations, target).predict(observations)
    assert np.median(horizontal_errors(found, target[:, :2])) < 5


def test_knn_manages_with_fewer_examples_than_neighbours():
    observations, target = simulate(2)
    assert NearestNeighbours.fit(observations, target).predict(observations).shape == (2, 2)


def test_log_distance_ml_locates_where_its_law_holds():
    assert median_error(LogDistanceMl, sigma_db=0.5) < 60
    assert median_error(LogDistanceMl, sigma_db=2.0) < 300


def test_log_distance_ml_follows_receivers_that_move():
    assert median_error(LogDistanceMl, is_moving=True) < 300
    assert median_error(NearestNeighbours, is_moving=True) > 600


def test_silence_of_receivers_that_are_never_off_is_information():
    options = {"threshold_dbm": -78.0, "sigma_db": 3.0}
    observations, target = simulate(800, seed=1, **options)
    fitted = LogDistanceMl.fit(observations, target)
    test, truth = simulate(300, seed=2, **options)
    is_quiet = test.heard.sum(axis=1) <= 3
    deaf = gather_observations(
        rssi_dbm=test.rssi_dbm,
        heard=test.heard,
        present=test.heard,
        receiver_index=np.tile(np.arange(8), (300, 1)),
        receiver_m=test.receiver_m,
        is_moving=test.is_moving,
    )
    errors = [np.median(horizontal_errors(fitted.predict(seen), truth[:, :2])[is_quiet]) for seen in (test, deaf)]
    assert is_quiet.sum() > 20
    assert errors[0] < 0.8 * errors[1]


def test_a_receiver_never_heard_in_training_says_nothing():
    observations, target = simulate(300)
    observations.heard[:, 0] = False
    fitted = LogDistanceMl.fit(observations, target)
    test, _ = simulate(20, seed=3)
    before = fitted.predict(test)
    test.rssi_dbm[:, 0] = 0.0
    np.testing.assert_array_equal(before, fitted.predict(test))


def test_the_order_of_tokens_does_not_matter():
    observations, target = simulate(100)
    order = np.random.default_rng(0).permutation(8)
    shuffled = gather_observations(
        rssi_dbm=observations.rssi_dbm[:, order],
        heard=observations.heard[:, order],
        present=observations.present[:, order],
        receiver_index=np.tile(order, (100, 1)),
        receiver_m=observations.receiver_m[:, order],
        is_moving=observations.is_moving,
    )
    np.testing.assert_array_equal(shuffled.rssi_dbm, observations.rssi_dbm)
    fitted = LogDistanceMl.fit(observations, target)
    np.testing.assert_allclose(fitted.predict(shuffled), fitted.predict(observations))


@pytest.mark.parametrize("solver", [LogDistanceMl, NearestNeighbours])
def test_data_without_a_single_strength_are_refused(solver):
    observations, target = simulate(10, threshold_dbm=1000.0)
    with pytest.raises(InvalidInputError, match="no strength"):
        solver.fit(observations, target)
