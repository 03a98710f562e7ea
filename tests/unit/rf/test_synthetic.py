import numpy as np
import pytest

from heimdall.domain.datasets import SyntheticDatasetConfig
from heimdall.domain.errors import InvalidInputError
from heimdall.rf.bounds import StrengthErrors, arrival_sigmas, bound_sigmas, log_distance_gradient, prior_information, strength_information
from heimdall.rf.constants import DETECTION_SNR_DB, SPEED_OF_LIGHT_M_S
from heimdall.rf.geodesy import enu_to_geodetic, slant_ranges
from heimdall.rf.network import load_default_network
from heimdall.rf.propagation import LogDistancePathLoss, noise_floor_dbm
from heimdall.rf.spectra import SPECTRA
from heimdall.rf.synthetic import BLOCK_EXAMPLES, TRANSMITTER_ALTITUDE_M, SyntheticGenerator, delay_sigma_us, remove_mean

FIELDS = ("transmitter_m", "heard", "rssi_dbm", "snr_db", "toa_offset_us")


def make(**changes):
    config = SyntheticDatasetConfig(name="s", **{"num_examples": 3000, "seed": 7, **changes})
    return SyntheticGenerator(config, load_default_network())


def test_a_block_depends_on_the_seed_and_its_number_only():
    forth = [make().block(number) for number in (0, 1, 2)]
    back = [make(num_examples=100_000).block(number) for number in (2, 1, 0)][::-1]
    for a, b in zip(forth, back, strict=True):
        for name in FIELDS:
            part = getattr(a, name)
            np.testing.assert_array_equal(part, getattr(b, name)[: len(part)])
    assert not np.array_equal(forth[0].transmitter_m, make(seed=8).block(0).transmitter_m)
    assert not np.array_equal(forth[0].transmitter_m, forth[1].transmitter_m)


def test_blocks_add_up_to_the_number_of_examples():
    assert [len(block.heard) for block in make(num_examples=BLOCK_EXAMPLES + 5).blocks()] == [BLOCK_EXAMPLES, 5]


def test_without_clock_and_noise_the_delays_are_the_slant_ranges():
    network = load_default_network()
    block = make(clock_sigma_ns=0, delay_noise_sigma_ns=0).block(0)
    delay_us = slant_ranges(block.transmitter_m, network.position_m[None]) / SPEED_OF_LIGHT_M_S * 1e6
    np.testing.assert_allclose(block.toa_offset_us, remove_mean(delay_us, block.heard), atol=1e-9)
    assert np.abs(block.toa_offset_us).max() > 100


def test_delay_errors_have_the_size_asked_for():
    exact, noisy = make(clock_sigma_ns=0, delay_noise_sigma_ns=0).block(0), make(clock_sigma_ns=800, delay_noise_sigma_ns=0).block(0)
    is_complete = exact.heard.all(axis=1)
    error_us = (noisy.toa_offset_us - exact.toa_offset_us)[is_complete]
    assert error_us.std() == pytest.approx(0.8 * np.sqrt(6 / 7), rel=0.05)


def test_delay_noise_is_as_stated_at_20_db_and_ten_times_worse_at_0_db():
    np.testing.assert_allclose(delay_sigma_us(np.array([20.0, 0.0]), 150.0), [0.15, 1.5])


def test_a_receiver_hears_exactly_above_the_threshold():
    block = make(min_receivers=1).block(0)
    np.testing.assert_array_equal(block.heard, block.snr_db > DETECTION_SNR_DB)
    np.testing.assert_allclose(block.rssi_dbm - block.snr_db, noise_floor_dbm(145.0))
    assert 0 < block.heard.mean() < 1


def test_every_example_is_heard_by_enough_receivers_and_lies_in_the_region():
    generator = make(min_receivers=5, margin_km=3.0)
    block = generator.block(0)
    assert block.heard.sum(axis=1).min() == 5
    low, high = generator.region_m
    assert (block.transmitter_m[:, :2] >= low).all()
    assert (block.transmitter_m[:, :2] <= high).all()
    _, _, height = enu_to_geodetic(load_default_network().frame, block.transmitter_m)
    np.testing.assert_allclose(height, TRANSMITTER_ALTITUDE_M, atol=1e-3)


def test_strength_spreads_as_power_and_shadowing_say():
    network = load_default_network()
    block = make(num_examples=BLOCK_EXAMPLES, min_receivers=1, tx_power_min_dbm=60, tx_power_max_dbm=60).block(0)
    loss = LogDistancePathLoss(145.0, 3.5).path_loss_db(block.transmitter_m, network.position_m)
    shadowing = 60 - loss - block.rssi_dbm
    assert shadowing.std() == pytest.approx(6.0, rel=0.1)
    assert shadowing.mean() == pytest.approx(0.0, abs=0.5)


def test_another_path_loss_model_takes_the_seam():
    class Wall:
        gradient_step_m = 25.0

        def path_loss_db(self, transmitter_m, receiver_m):
            return np.full((len(transmitter_m), len(receiver_m)), 100.0)

    config = SyntheticDatasetConfig(name="s", num_examples=100, shadowing_sigma_db=0)
    block = SyntheticGenerator(config, load_default_network(), Wall()).block(0)
    assert np.ptp(block.rssi_dbm, axis=1).max() == pytest.approx(0, abs=1e-9)


def test_a_network_that_hears_nothing_is_refused_with_advice():
    with pytest.raises(InvalidInputError, match="raise the transmit power"):
        make(tx_power_min_dbm=-30, tx_power_max_dbm=-30, path_loss_exponent=6).block(0)


def test_a_waveform_makes_delays_as_exact_as_its_bound():
    exact = {"clock_sigma_ns": 0, "min_receivers": 4, "seed": 5}
    network = load_default_network()
    block = make(waveform="flat-12k5", duration_s=1.0, **exact).block(0)
    delay_us = slant_ranges(block.transmitter_m, network.position_m[None]) / SPEED_OF_LIGHT_M_S * 1e6
    error_us = np.where(block.heard, block.toa_offset_us - remove_mean(delay_us, block.heard), 0.0)
    sigma_us = 1e6 * arrival_sigmas(10 ** (block.snr_db / 10), block.heard, SPECTRA["flat-12k5"], 1.0)
    weight = np.where(block.heard, 1 / np.square(sigma_us), 0.0)
    centred = error_us - (weight * error_us).sum(axis=1, keepdims=True) / weight.sum(axis=1, keepdims=True)
    # Of r independent errors, r - 1 degrees of freedom are left once the weighted mean is removed.
    chi2 = (weight * np.square(centred)).sum(axis=1) / (block.heard.sum(axis=1) - 1)
    assert chi2.mean() == pytest.approx(1.0, abs=0.05)


def test_excess_delay_and_clocks_raise_the_bound_and_a_longer_signal_lowers_it():
    def median_bound(**changes):
        return np.median(make(waveform="flat-12k5", min_receivers=4, **changes).block(0).bound_sigma_m[:, 0])

    assert median_bound(nlos_sigma_ns=500) > median_bound(clock_sigma_ns=200) > median_bound(clock_sigma_ns=0)
    assert median_bound(duration_s=1.0) < median_bound(duration_s=0.2)
    assert median_bound(clock_sigma_ns=1e9) > 1000


def test_the_bound_of_useless_clocks_is_that_of_strengths_and_the_region():
    network = load_default_network()
    block = make(clock_sigma_ns=1e9).block(0)
    errors = StrengthErrors(6.0, 0.46, 16 / np.sqrt(12))
    low, high = make().region_m
    expected = strength_information(log_distance_gradient(block.transmitter_m, network.position_m, 3.5), block.heard, errors)
    # Nearer than 1 km the loss is that of free space.
    is_far = slant_ranges(block.transmitter_m, network.position_m[None]).min(axis=1) > 1500
    bound_m = bound_sigmas(expected + prior_information((high - low) / np.sqrt(12)))
    np.testing.assert_allclose(block.bound_sigma_m[is_far], bound_m[is_far], rtol=0.02)


def test_strength_over_noise_is_stated_in_the_waveforms_own_channel():
    narrow, wide = (make(waveform=waveform, min_receivers=1).block(0) for waveform in ("flat-12k5", "flat-200k"))
    for block, bandwidth_hz in ((narrow, 12_500.0), (wide, 200_000.0)):
        np.testing.assert_allclose(block.rssi_dbm - block.snr_db, noise_floor_dbm(145.0, bandwidth_hz=bandwidth_hz))


def test_a_preview_keeps_what_nobody_hears():
    block = make(min_receivers=5, margin_km=50).preview(4)
    assert (block.heard.sum(axis=1) < 5).any()
    assert len(block.heard) == 4 * BLOCK_EXAMPLES
    assert not np.isin(block.transmitter_m[:, 0], make(min_receivers=5, margin_km=50).block(0).transmitter_m[:, 0]).any()
