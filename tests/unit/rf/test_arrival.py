"""What the law of times of arrival must find again, and that the search uses it."""

from __future__ import annotations

import numpy as np
import pytest

from heimdall.domain.errors import InvalidInputError
from heimdall.rf.accuracy import horizontal_errors
from heimdall.rf.arrival import ArrivalLaw, Arrivals, Earth, air_share
from heimdall.rf.geodesy import frame_at_centroid, geodetic_to_enu

NUM_RECEIVERS = 6
BIAS_M = np.array([40.0, -40.0, 10.0, 0.0, -20.0, 10.0])
REFRACTIVITY = 315e-6


def simulate(num_examples: int, seed: int, *, sigma_m: float = 8.0, refractivity: float = REFRACTIVITY):
    """Aircraft at 3-11 km over receivers 100-250 km apart, by geodetic coordinates and the exact slant range."""
    rng = np.random.default_rng(seed)
    site = np.random.default_rng(0)
    frame = frame_at_centroid(np.array([46.0, 48.0]), np.array([6.0, 9.0]))
    receiver_m = geodetic_to_enu(frame, *(site.uniform(low, high, NUM_RECEIVERS) for low, high in ((46, 48), (6, 9), (100, 900))))
    altitude = rng.uniform(3000, 11000, num_examples)
    target_m = geodetic_to_enu(frame, rng.uniform(46, 48, num_examples), rng.uniform(6, 9, num_examples), altitude)
    distance = np.linalg.norm(target_m[:, None] - receiver_m, axis=2)
    earth = Earth.at(frame.latitude)
    everywhere = np.broadcast_to(receiver_m, (num_examples, NUM_RECEIVERS, 3)).copy()
    late = distance * (1 + refractivity * air_share(everywhere, altitude, earth)) + BIAS_M + rng.normal(0, sigma_m, distance.shape)
    heard = rng.random(distance.shape) < 0.9
    heard[:, :4] = True
    arrival = late + rng.uniform(-1e5, 1e5, (num_examples, 1))
    return Arrivals(arrival, heard, everywhere, np.zeros(distance.shape), altitude), target_m, earth


def test_the_law_finds_biases_errors_and_refraction_again():
    arrivals, target_m, earth = simulate(600, 1)
    law = ArrivalLaw.fit(arrivals, target_m, earth)
    np.testing.assert_allclose(law.bias_m - law.bias_m.mean(), BIAS_M - BIAS_M.mean(), atol=4)
    assert law.refractivity == pytest.approx(REFRACTIVITY, abs=40e-6)
    assert law.sigma_m == pytest.approx(8.0, abs=2.5)


def test_air_and_biases_are_worth_most_of_the_error():
    train, target_m, earth = simulate(400, 1)
    unseen, truth_m, _ = simulate(300, 2)
    law = ArrivalLaw.fit(train, target_m, earth)
    ignorant = law.__class__(**{**vars(law), "bias_m": np.zeros(NUM_RECEIVERS), "refractivity": 0.0})
    informed = np.median(horizontal_errors(law.predict(unseen), truth_m[:, :2]))
    assert informed < 15
    assert informed < 0.4 * np.median(horizontal_errors(ignorant.predict(unseen), truth_m[:, :2]))


def test_ellipses_cover_what_they_promise_where_errors_are_gaussian():
    train, target_m, earth = simulate(600, 1)
    unseen, truth_m, _ = simulate(600, 2)
    found = ArrivalLaw.fit(train, target_m, earth).locate(unseen)
    error = truth_m[:, :2] - found.position_m
    square = np.einsum("ni,nij,nj->n", error, np.linalg.inv(found.covariance_m2), error)
    for limit, nominal in ((1.386, 0.50), (2.279, 0.68), (5.991, 0.95)):
        assert (square <= limit).mean() == pytest.approx(nominal, abs=0.07)


def test_two_receivers_give_a_place_with_a_large_ellipse_and_none_gives_the_prior():
    arrivals, target_m, earth = simulate(300, 1)
    law = ArrivalLaw.fit(arrivals, target_m, earth)
    poor = Arrivals(*(np.array(value[:2]) for value in vars(arrivals).values()))
    poor.heard[0, 2:] = False
    poor.heard[1] = False
    found = law.locate(poor)
    assert np.isfinite(found.position_m).all()
    assert (np.linalg.eigvalsh(found.covariance_m2)[:, 1] > 20_000**2).all()
    np.testing.assert_allclose(found.position_m[1], law.mean_m, atol=1.0)


def test_one_receiver_alone_teaches_nothing():
    arrivals, target_m, earth = simulate(20, 1)
    arrivals.heard[:, 1:] = False
    with pytest.raises(InvalidInputError, match="two receivers"):
        ArrivalLaw.fit(arrivals, target_m, earth)
