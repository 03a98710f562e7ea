"""The classical solvers against the bound: good ones sit on it."""

import numpy as np
import pytest

from heimdall.domain.datasets import SyntheticDatasetConfig
from heimdall.domain.errors import InvalidInputError
from heimdall.rf.accuracy import coverage
from heimdall.rf.bounds import StrengthErrors, mixture_quantiles
from heimdall.rf.constants import DETECTION_SNR_DB, SPEED_OF_LIGHT_M_S
from heimdall.rf.network import load_default_network
from heimdall.rf.posterior import Heard, StrengthModel, arrival_log_likelihood, locate_on_grid
from heimdall.rf.propagation import LogDistancePathLoss, noise_floor_dbm
from heimdall.rf.synthetic import SyntheticGenerator
from heimdall.rf.tdoa import solve_tdoa

METRES_PER_US = SPEED_OF_LIGHT_M_S * 1e-6
NETWORK = load_default_network()


def simulate(**changes):
    values = {"num_examples": 1024, "seed": 4, "margin_km": 0.0, "waveform": "flat-12k5", "min_receivers": 4, "shadowing_sigma_db": 6.0}
    generator = SyntheticGenerator(SyntheticDatasetConfig(name="s", **(values | changes)), NETWORK)
    block = generator.block(0)
    parts = generator.arrival_sigmas_us(block).values()
    sigma_m = METRES_PER_US * np.sqrt(sum(np.square(np.broadcast_to(part, block.heard.shape)) for part in parts))
    return generator, block, sigma_m


def describe(block, sigma_m, row):
    return Heard(block.heard[row], block.rssi_dbm[row], block.toa_offset_us[row] * METRES_PER_US, sigma_m[row])


def strength_of(generator, sigma_db=6.0):
    model = LogDistancePathLoss(145.0, 3.5)
    return StrengthModel(
        loss=lambda grid: model.path_loss_db(grid, NETWORK.position_m),
        errors=StrengthErrors(sigma_db, 0.46, 16 / np.sqrt(12)),
        power_dbm=35.0,
        threshold_dbm=noise_floor_dbm(145.0) + DETECTION_SNR_DB,
    )


def solve(block, sigma_m, arrival_m=None):
    covariance = np.where(block.heard, sigma_m, 1.0)[:, :, None] ** 2 * np.eye(7)
    arrival_m = block.toa_offset_us * METRES_PER_US if arrival_m is None else arrival_m
    return solve_tdoa(arrival_m, covariance, block.heard, NETWORK.position_m, block.transmitter_m[:, 2])


def test_least_squares_from_times_sits_on_the_bound_and_its_ellipses_are_honest():
    _, block, sigma_m = simulate(min_receivers=5)
    found = solve(block, sigma_m)
    error_m = np.hypot(*(found.position_m - block.transmitter_m[:, :2]).T)
    bound_m = mixture_quantiles(block.bound_sigma_m, (0.68,))[0]
    assert np.quantile(error_m, 0.68) / bound_m == pytest.approx(1.0, abs=0.12)
    assert coverage(found.position_m, block.transmitter_m[:, :2], found.covariance_m2) == pytest.approx(0.68, abs=0.08)


def test_without_errors_the_position_is_exact_even_from_three_receivers():
    _, block, _ = simulate(clock_sigma_ns=0, waveform=None, delay_noise_sigma_ns=0, min_receivers=3)
    found = solve(block, np.full(block.heard.shape, 1.0))
    error_m = np.hypot(*(found.position_m - block.transmitter_m[:, :2]).T)
    # Three hyperbolas can meet twice: then the wrong one fits as well.
    is_one = (block.heard.sum(axis=1) >= 5) | (found.cost > 1e-6)
    assert np.quantile(error_m[is_one], 0.99) < 1.0


def test_one_late_receiver_moves_a_robust_position_little():
    _, block, sigma_m = simulate(min_receivers=7)
    late = block.toa_offset_us * METRES_PER_US
    late[:, 0] += 3000.0
    plain, robust = (solve(block, sigma_m, arrival).position_m for arrival in (None, late))
    assert np.median(np.hypot(*(robust - plain).T)) < 600


def test_correlated_errors_count_by_their_covariance():
    """A common error of two receivers is a common error: taking it for two independent ones is worse."""
    _, block, sigma_m = simulate(min_receivers=7, clock_sigma_ns=0)
    generator = np.random.default_rng(0)
    shared = np.zeros((len(block.heard), 7))
    shared[:, :3] = generator.normal(0, 400, (len(block.heard), 1))
    covariance = sigma_m[:, :, None] ** 2 * np.eye(7)
    covariance[:, :3, :3] += 400**2
    arrival = block.toa_offset_us * METRES_PER_US + shared
    known = solve_tdoa(arrival, covariance, block.heard, NETWORK.position_m, block.transmitter_m[:, 2])
    ignored = solve_tdoa(
        arrival, np.einsum("nii->ni", covariance)[:, :, None] * np.eye(7), block.heard, NETWORK.position_m, block.transmitter_m[:, 2]
    )
    errors = [np.median(np.hypot(*(found.position_m - block.transmitter_m[:, :2]).T)) for found in (known, ignored)]
    assert errors[0] < 0.9 * errors[1]


def test_two_receivers_are_refused():
    with pytest.raises(InvalidInputError, match="at least three"):
        solve_tdoa(np.zeros((1, 3)), np.eye(3)[None], np.array([[True, True, False]]), NETWORK.position_m[:3], np.zeros(1))


def test_the_joint_posterior_sits_on_the_bound_and_is_honest():
    generator, block, sigma_m = simulate(min_receivers=4)
    found = [
        locate_on_grid(
            describe(block, sigma_m, row),
            NETWORK.position_m,
            generator.region_m,
            float(block.transmitter_m[row, 2]),
            strength_of(generator),
        )
        for row in range(120)
    ]
    truth = block.transmitter_m[:120, :2]
    mean, covariance = np.array([one.mean_m for one in found]), np.array([one.covariance_m2 for one in found])
    ratio = np.quantile(np.hypot(*(mean - truth).T), 0.68) / mixture_quantiles(block.bound_sigma_m[:120], (0.68,))[0]
    assert ratio == pytest.approx(1.0, abs=0.3)
    assert coverage(mean, truth, covariance) == pytest.approx(0.68, abs=0.14)
    assert all(one.probability.sum() == pytest.approx(1) for one in found)


def test_strengths_alone_locate_better_than_the_middle_of_the_region_and_no_better_than_their_bound():
    generator, block, _ = simulate(clock_sigma_ns=1e9, min_receivers=3)
    nothing = np.full(block.heard.shape, np.inf)
    rows = range(60)
    mean = np.array(
        [
            locate_on_grid(describe(block, nothing, row), NETWORK.position_m, generator.region_m, -200.0, strength_of(generator)).mean_m
            for row in rows
        ]
    )
    truth = block.transmitter_m[:60, :2]
    error_m = np.hypot(*(mean - truth).T)
    middle_m = np.hypot(*(truth - np.mean(generator.region_m, axis=0)).T)
    assert np.median(error_m) < 0.6 * np.median(middle_m)
    assert np.quantile(error_m, 0.68) > 0.7 * mixture_quantiles(block.bound_sigma_m[:60], (0.68,))[0]


def test_the_posterior_is_that_of_a_gaussian_where_everything_is_linear():
    """Receivers far away in four directions: plane waves, so the posterior's covariance is the inverse information."""
    receiver_m = 1e6 * np.array([[1.0, 0, 0], [-1, 0, 0], [0, 1, 0], [0, -1, 0]])
    example = Heard(np.ones(4, bool), np.zeros(4), np.linalg.norm(receiver_m, axis=1), np.full(4, 100.0))
    found = locate_on_grid(example, receiver_m, (np.full(2, -20e3), np.full(2, 20e3)), 0.0)
    np.testing.assert_allclose(found.covariance_m2, np.eye(2) * 100**2 / 2, rtol=0.1, atol=200)
    np.testing.assert_allclose(found.mean_m, 0, atol=5)
    assert not arrival_log_likelihood(Heard(np.zeros(4, bool), np.zeros(4), np.zeros(4), np.ones(4)), receiver_m, receiver_m).any()
