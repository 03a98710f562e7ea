import itertools
import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from heimdall.rf.bounds import (
    StrengthErrors,
    arrival_sigmas,
    bound_sigmas,
    log_distance_gradient,
    mixture_quantiles,
    prior_information,
    radial_quantiles,
    strength_information,
    timing_information,
)
from heimdall.rf.constants import SPEED_OF_LIGHT_M_S
from heimdall.rf.network import load_default_network
from heimdall.rf.propagation import LogDistancePathLoss
from heimdall.rf.spectra import SPECTRA, Spectrum
from tests.unit.rf.places import draw_in_hull

VOICE_1K = Spectrum(1000.0, 12_500.0)
FLAT_12K5, FLAT_200K = SPECTRA["flat-12k5"], SPECTRA["flat-200k"]
RECEIVER_M = load_default_network().position_m
TRANSMITTER_M = draw_in_hull(load_default_network(), 1500)
EVERYONE = np.ones((len(TRANSMITTER_M), 7), bool)


def pair_sigma_ns(spectrum, snr_db, duration_s=1.0):
    snr = np.full((1, 2), 10 ** (snr_db / 10))
    return float(np.sqrt(np.square(arrival_sigmas(snr, np.ones((1, 2), bool), spectrum, duration_s)).sum())) * 1e9


def median_p68_m(spectrum, duration_s, snr_db, clock_s):
    arrival = arrival_sigmas(np.full(EVERYONE.shape, 10 ** (snr_db / 10)), EVERYONE, spectrum, duration_s)
    return float(np.median(radial_quantiles(bound_sigmas(timing_information(TRANSMITTER_M, RECEIVER_M, np.hypot(arrival, clock_s))))))


def arrival_matrix(spectrum, snr, duration_s):
    """J of physics.md, section 3, summed over frequencies as it is written there."""
    frequency = np.linspace(-spectrum.noise_bandwidth_hz / 2, spectrum.noise_bandwidth_hz / 2, 20_001)
    density = np.ones_like(frequency) if spectrum.is_flat else np.exp(-0.5 * np.square(frequency / spectrum.rms_bandwidth_hz))
    density /= density.mean()
    a = snr[:, None] * density
    total = a.sum(axis=0)
    kernel = (total * a[:, None] * np.eye(len(snr))[..., None] - a[:, None] * a[None]) / (1 + total)
    return 2 * duration_s * np.trapezoid(np.square(2 * np.pi * frequency) * kernel, frequency)


@pytest.mark.parametrize(
    ("spectrum", "expected_ns"), [(VOICE_1K, (1738, 469, 143)), (FLAT_12K5, (483, 128, 39.6)), (FLAT_200K, (7.55, 2.0, 0.618))]
)
def test_the_delay_of_a_pair_is_as_in_the_table_of_physics(spectrum, expected_ns):
    for snr_db, expected in zip((0, 10, 20), expected_ns, strict=True):
        assert pair_sigma_ns(spectrum, snr_db) == pytest.approx(expected, rel=0.01)


def test_a_flat_pair_is_the_formula_of_knapp_and_carter():
    for snr_db in (0, 10, 20):
        snr = 10 ** (snr_db / 10)
        gain = math.sqrt(2 * 12_500 * 0.2 * snr * snr / (1 + 2 * snr))
        assert pair_sigma_ns(FLAT_12K5, snr_db, 0.2) == pytest.approx(1e9 / (2 * math.pi * 12_500 / math.sqrt(12) * gain), rel=1e-9)


@given(st.lists(st.floats(0.01, 1e4), min_size=3, max_size=7), st.floats(1e-8, 1e-4), st.floats(0.05, 5), st.booleans())
def test_independent_errors_tell_what_the_whole_matrix_with_nuisances_does(snr, clock_s, duration_s, is_flat):
    snr, spectrum = np.array(snr), FLAT_12K5 if is_flat else VOICE_1K
    receiver, transmitter = RECEIVER_M[: len(snr)], TRANSMITTER_M[:1]
    information = arrival_matrix(spectrum, snr, duration_s)
    discounted = np.linalg.solve(np.eye(len(snr)) + information * clock_s**2, information)
    offset = transmitter - receiver
    jacobian = offset[:, :2] / np.linalg.norm(offset, axis=1, keepdims=True) / SPEED_OF_LIGHT_M_S
    sigma = np.hypot(arrival_sigmas(snr[None], np.ones((1, len(snr)), bool), spectrum, duration_s), clock_s)
    ours = timing_information(transmitter, receiver, sigma)[0]
    expected = jacobian.T @ discounted @ jacobian
    np.testing.assert_allclose(ours, expected, rtol=1e-4, atol=1e-4 * np.trace(expected))


@pytest.mark.parametrize(
    ("spectrum", "duration_s", "expected"),
    [
        (VOICE_1K, 0.2, {0: (718, 211, 66), 50e-9: (718, 212, 68), 1e-6: (775, 361, 300)}),
        (VOICE_1K, 1.0, {0: (321, 95, 29), 50e-9: (321, 96, 33), 1e-6: (434, 307, 294)}),
        (FLAT_12K5, 0.2, {0: (195, 58, 18), 50e-9: (195, 60, 23), 1e-6: (351, 298, 293)}),
        (FLAT_12K5, 1.0, {0: (87, 26, 8), 50e-9: (88, 30, 17), 1e-6: (305, 293, 292), 1e-3: (292e3, 292e3, 292e3)}),
        (FLAT_200K, 0.2, {0: (3, 1, 0.4), 50e-9: (15, 15, 15), 1e-6: (292, 292, 292)}),
    ],
)
def test_positions_in_the_hull_are_as_in_the_table_of_physics(spectrum, duration_s, expected):
    """Within 3.5 % of another draw of places, and the table's rounding."""
    for clock_s, row in expected.items():
        for snr_db, value in zip((0, 10, 20), row, strict=True):
            assert median_p68_m(spectrum, duration_s, snr_db, clock_s) == pytest.approx(value, abs=0.035 * value + 0.5)


@pytest.mark.parametrize(("waveform", "expected"), [("dmr", (69, 21)), ("aprs", (45, 14)), ("nbfm-voice-25k", (55, 17))])
def test_waveforms_reach_what_the_table_of_physics_says(waveform, expected):
    rows = [median_p68_m(SPECTRA[waveform], 1.0, snr_db, 0.0) for snr_db in (10, 20)]
    if waveform == "nbfm-voice-25k":  # its table row keeps the ratio of a 12.5 kHz channel at twice the deviation
        wide = Spectrum(1740.0, 12_500.0)
        rows = [median_p68_m(wide, 1.0, snr_db, 0.0) for snr_db in (10, 20)]
    assert rows == pytest.approx(expected, rel=0.05, abs=0.6)


@pytest.mark.parametrize(("num_receivers", "expected_ns"), [(7, 102), (5, 83), (4, 62), (3, 13)])
def test_thirty_metres_need_the_timing_of_the_table_of_physics(num_receivers, expected_ns):
    values = []
    for chosen in itertools.combinations(range(7), num_receivers):
        sigma = np.full(EVERYONE.shape, np.inf)
        sigma[:, list(chosen)] = 1e-9
        values.append(radial_quantiles(bound_sigmas(timing_information(TRANSMITTER_M, RECEIVER_M, sigma))))
    assert 30 / np.median(np.concatenate(values)) == pytest.approx(expected_ns, rel=0.1)


@pytest.mark.parametrize(("sigma_db", "expected_km"), [(6, 27), (8, 36), (12, 54)])
def test_strength_alone_is_as_in_the_table_of_physics(sigma_db, expected_km):
    information = strength_information(log_distance_gradient(TRANSMITTER_M, RECEIVER_M, 3.5), EVERYONE, StrengthErrors(sigma_db))
    assert np.median(radial_quantiles(bound_sigmas(information))) / 1e3 == pytest.approx(expected_km, rel=0.04)


def test_the_gradient_of_the_power_law_is_the_slope_of_the_loss():
    model, step_m = LogDistancePathLoss(145.0, 3.5), 0.5
    gradient = log_distance_gradient(TRANSMITTER_M[:50], RECEIVER_M, 3.5)
    for axis in (0, 1):
        shift = np.eye(3)[axis] * step_m
        ahead, behind = (model.path_loss_db(TRANSMITTER_M[:50] + sign * shift, RECEIVER_M) for sign in (1, -1))
        np.testing.assert_allclose(gradient[..., axis], (ahead - behind) / (2 * step_m), rtol=1e-3, atol=1e-9)


def test_known_power_and_shared_shadowing_are_worth_what_the_inverse_covariance_says():
    gradient = log_distance_gradient(TRANSMITTER_M[:20], RECEIVER_M, 3.5)
    errors = StrengthErrors(sigma_db=6.0, correlation=0.46, power_sigma_db=5.0)
    covariance = 36 * (0.54 * np.eye(7) + 0.46) + 25
    expected = np.einsum("nri,rs,nsj->nij", gradient, np.linalg.inv(covariance), gradient)
    np.testing.assert_allclose(strength_information(gradient, EVERYONE[:20], errors), expected, rtol=1e-9)


def test_a_receiver_that_did_not_hear_tells_nothing():
    heard = EVERYONE[:10].copy()
    heard[:, 3] = False
    others = [0, 1, 2, 4, 5, 6]
    sigma = arrival_sigmas(np.full((10, 7), 10.0), heard, FLAT_12K5, 0.2)
    fewer = arrival_sigmas(np.full((10, 6), 10.0), heard[:, others], FLAT_12K5, 0.2)
    np.testing.assert_allclose(
        timing_information(TRANSMITTER_M[:10], RECEIVER_M, sigma), timing_information(TRANSMITTER_M[:10], RECEIVER_M[others], fewer)
    )


def test_two_receivers_leave_a_line_and_one_leaves_everything():
    sigma = np.full((2, 7), np.inf)
    sigma[0, :2] = sigma[1, 0] = 1e-7
    bounds = bound_sigmas(timing_information(TRANSMITTER_M[:2], RECEIVER_M, sigma))
    assert bounds[0, 0] > 1e6 > bounds[0, 1]
    assert bounds[1, 0] > 1e6
    prior = prior_information(np.array([50e3, 40e3]))
    with_prior = bound_sigmas(timing_information(TRANSMITTER_M[:2], RECEIVER_M, sigma) + prior)
    np.testing.assert_allclose(with_prior[1], (50e3, 40e3), rtol=1e-6)
    assert with_prior[0, 0] < 51e3


def test_radii_of_a_circle_a_line_and_an_ellipse_are_those_of_drawn_errors():
    sigma = np.array([[1.0, 1.0], [1.0, 0.0], [3.0, 1.0]])
    radius = radial_quantiles(sigma)
    np.testing.assert_allclose(radius[:2], [math.sqrt(-2 * math.log(0.32)), 0.9945], rtol=1e-3)
    drawn = np.random.default_rng(0).standard_normal((200_000, 2)) * sigma[2]
    assert radius[2] == pytest.approx(np.quantile(np.hypot(*drawn.T), 0.68), rel=0.01)


def test_a_mixture_is_not_the_percentile_of_its_parts():
    sigma = np.repeat([[1.0, 1.0], [100.0, 100.0]], 5000, axis=0)
    drawn = np.hypot(*(np.random.default_rng(1).standard_normal((10_000, 2)) * sigma).T)
    median, p68, p95 = mixture_quantiles(sigma, (0.5, 0.68, 0.95))
    np.testing.assert_allclose([p68, p95], np.quantile(drawn, [0.68, 0.95]), rtol=0.05)
    assert 3 < median < 15


@pytest.mark.parametrize("snr_db", [10, 20])
def test_correlating_drawn_signals_reaches_the_bound_and_no_less(snr_db):
    """Monte Carlo over the maximum-likelihood delay of two noisy copies of one random signal (Hannan-Thomson weights)."""
    spectrum, duration_s, num_trials = VOICE_1K, 0.2, 600
    generator = np.random.default_rng(snr_db)
    frequency = np.arange(-1250, 1250) / duration_s
    density = np.exp(-0.5 * np.square(frequency / 1000.0))
    density /= density.mean()
    snr = 10 ** (snr_db / 10)

    def draw():
        return (generator.standard_normal((num_trials, 2500)) + 1j * generator.standard_normal((num_trials, 2500))) / math.sqrt(2)

    signal = draw() * np.sqrt(snr * density)
    cross = (signal + draw()) * np.conj(signal + draw()) * (snr * density / (1 + 2 * snr * density))
    delays = np.linspace(-6e-6, 6e-6, 241)
    score = np.abs(cross @ np.exp(2j * np.pi * np.outer(frequency, delays)))
    peak = np.clip(score.argmax(axis=1), 1, 239)
    left, middle, right = (score[np.arange(num_trials), peak + shift] for shift in (-1, 0, 1))
    estimate = delays[peak] + 0.5 * (left - right) / (left - 2 * middle + right) * (delays[1] - delays[0])
    rms_ns = float(np.sqrt(np.mean(np.square(estimate)))) * 1e9
    error_bar = 3 / math.sqrt(2 * num_trials)
    bound_ns = pair_sigma_ns(spectrum, snr_db, duration_s)
    assert 1 - error_bar < rms_ns / bound_ns < 1.05 + error_bar
    assert bound_ns == pytest.approx({10: 1047, 20: 320}[snr_db], rel=0.01)


@pytest.mark.parametrize("snr_db", [10, 20])
def test_solving_for_the_position_reaches_the_bound_of_all_receivers_and_no_less(snr_db):
    """Monte Carlo: Gauss-Newton on drawn arrival times against the radius, at one place."""
    generator = np.random.default_rng(snr_db)
    place, num_trials = TRANSMITTER_M[:1], 4000
    sigma = np.hypot(arrival_sigmas(np.full((1, 7), 10 ** (snr_db / 10)), EVERYONE[:1], FLAT_12K5, 0.2), 50e-9)
    arrival_m = np.linalg.norm(place - RECEIVER_M, axis=1) + generator.standard_normal((num_trials, 7)) * sigma * SPEED_OF_LIGHT_M_S
    estimate = np.repeat(place, num_trials, axis=0)
    weight = 1 / np.square(sigma[0])
    for _ in range(4):
        offset = estimate[:, None] - RECEIVER_M
        distance = np.linalg.norm(offset, axis=2)
        design = np.concatenate([offset[..., :2] / distance[..., None], np.ones((num_trials, 7, 1))], axis=2)
        normal = np.einsum("nri,r,nrj->nij", design, weight, design)
        step = np.linalg.solve(normal, np.einsum("nri,r,nr->ni", design, weight, arrival_m - distance)[..., None])[..., 0]
        estimate[:, :2] += step[:, :2]
    p68 = np.quantile(np.hypot(*(estimate - place)[:, :2].T), 0.68)
    bound = radial_quantiles(bound_sigmas(timing_information(place, RECEIVER_M, sigma)))[0]
    assert p68 == pytest.approx(bound, rel=0.06)


def test_a_perfect_time_is_refused():
    with pytest.raises(ValueError, match="positive"):
        timing_information(TRANSMITTER_M[:1], RECEIVER_M, np.zeros((1, 7)))
