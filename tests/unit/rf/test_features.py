import numpy as np
import pytest

from heimdall.rf.capture import FrontEnd, Scene, simulate_capture
from heimdall.rf.features import measure_pairs, measure_receivers
from heimdall.rf.network import load_default_network
from heimdall.rf.propagation import noise_floor_dbm
from heimdall.rf.randomness import make_generator
from heimdall.rf.waveforms import make_waveform

RATE_HZ, SIZE = 16_000.0, 3200
RECEIVER_M = load_default_network().position_m


def record(waveform, seed=0, power_dbm=-105.0, **front_end):
    generator = make_generator(3, seed)
    sent = make_waveform(waveform, generator, SIZE + 160, RATE_HZ) if isinstance(waveform, str) else waveform
    power = np.broadcast_to(np.asarray(power_dbm, float), 7).copy()
    scene = Scene(np.array([1e3, 2e3, -200.0]), np.zeros(3), RECEIVER_M, power, np.zeros(7), 145.0)
    return simulate_capture(sent, scene, generator, num_samples=SIZE, front_end=FrontEnd(**front_end))


def measure(capture):
    receivers = measure_receivers(capture.iq, RATE_HZ, capture.gain_db)
    return receivers, measure_pairs(capture.iq, RATE_HZ, receivers, max_delay_s=8e-4, max_frequency_hz=700.0)


@pytest.mark.parametrize("waveform", ["flat-12k5", "nbfm-voice", "aprs"])
def test_pairs_give_delay_and_frequency_with_the_variance_they_state(waveform):
    scores, frequency_hz = [], []
    for seed in range(4):
        capture = record(waveform, seed)
        _, pairs = measure(capture)
        i, j = pairs.pair.T
        scores.append((pairs.delay_s - (capture.arrival_s[i] - capture.arrival_s[j])) / np.sqrt(pairs.variance_s2))
        frequency_hz.append(pairs.frequency_hz - (capture.frequency_offset_hz[i] - capture.frequency_offset_hz[j]))
    scores = np.concatenate(scores)
    assert 0.6 < 1.48 * np.median(np.abs(scores)) < 1.9
    assert np.median(np.abs(np.concatenate(frequency_hz))) < 1.0
    assert np.quantile(np.abs(scores), 0.7) < 3  # a silent window of speech is ambiguous, which no variance says


def test_strength_noise_and_their_ratio_are_those_that_were_sent():
    power_dbm = np.array([-90.0, -95.0, -100.0, -105.0, -110.0, -118.0, -140.0])
    receivers, pairs = measure(record("flat-12k5", power_dbm=power_dbm, num_bits=14))
    floor_dbm = noise_floor_dbm(145.0, noise_figure_db=7.0)
    np.testing.assert_allclose(receivers.noise_dbm, floor_dbm, atol=1.0)
    np.testing.assert_allclose(receivers.snr_db[:5], power_dbm[:5] - floor_dbm, atol=1.2)
    np.testing.assert_array_equal(receivers.detected, [True] * 5 + [False] * 2)
    assert len(pairs.pair) == 10
    assert receivers.bandwidth_hz == 12_500.0


def test_a_bare_carrier_tells_no_time():
    capture = record(np.ones(SIZE + 160, np.complex64), linewidth_hz=0.0)
    voiced, bare = measure(record("aprs"))[1], measure(capture)[1]
    assert np.median(bare.variance_s2) > 30 * np.median(voiced.variance_s2)


def test_nobody_heard_makes_no_pair_and_a_full_band_is_refused():
    _, pairs = measure(record("aprs", power_dbm=-200.0))
    assert pairs.pair.shape == (0, 2)
    with pytest.raises(ValueError, match="not wider than the channel"):
        measure_receivers(np.ones((1, 64), np.complex64), 12_500.0, np.zeros(1))
