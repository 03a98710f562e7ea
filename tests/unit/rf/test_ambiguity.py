"""The search over delay and frequency, beside the cross-ambiguity computed directly."""

import numpy as np
import pytest
from scipy import fft
from scipy.optimize import minimize_scalar

from heimdall.rf.ambiguity import Ambiguity
from heimdall.rf.capture import FrontEnd, Scene, simulate_capture
from heimdall.rf.network import load_default_network
from heimdall.rf.randomness import make_generator
from heimdall.rf.waveforms import make_waveform

RATE_HZ, SIZE, HALF = 16_000.0, 3200, 1249
PLACES = np.arange(-HALF, HALF + 1)


def record(seed, power_dbm):
    generator = make_generator(5, seed)
    sent = make_waveform("flat-12k5", generator, SIZE + 160, RATE_HZ)
    receiver_m = load_default_network().position_m
    scene = Scene(np.array([9e3, -2e3, -200.0]), np.zeros(3), receiver_m, np.full(7, power_dbm), np.zeros(7), 145.0)
    return simulate_capture(sent, scene, generator, num_samples=SIZE, front_end=FrontEnd(crystal_sigma_ppm=0.1))


def find_spectrum(late, frequency_bins):
    time = np.arange(SIZE) - SIZE / 2
    return fft.fft(late.astype(np.complex128) * np.exp(-2j * np.pi * frequency_bins / SIZE * time))[PLACES]


def correlate(late, early, delay_samples, frequency_bins):
    """The magnitude itself, by whole transforms in double precision."""
    cross = find_spectrum(late, frequency_bins) * np.conj(fft.fft(early.astype(np.complex128))[PLACES])
    return abs(np.sum(cross * np.exp(2j * np.pi * PLACES / SIZE * delay_samples))) / SIZE


@pytest.mark.parametrize(("power_dbm", "sigma_samples"), [(-95.0, 0.002), (-116.0, 0.01)])
def test_a_peak_is_the_highest_place_of_the_exact_cross_ambiguity(power_dbm, sigma_samples):
    capture = record(1, power_dbm)
    pair = np.array([(0, 1), (0, 4), (2, 6), (3, 5)])
    peaks = Ambiguity(capture.iq, reach=13, max_bin=26, half=HALF).find(*pair.T)
    for row, (late, early) in enumerate(capture.iq[pair]):
        delay, bins = peaks.delay_samples[row], peaks.frequency_bins[row]
        found = correlate(late, early, delay, bins)
        assert peaks.height[row] == pytest.approx(found, rel=2e-3)
        exact = minimize_scalar(lambda d: -correlate(late, early, d, bins), bounds=(delay - 0.5, delay + 0.5), method="bounded")  # noqa: B023
        assert exact.x == pytest.approx(delay, abs=0.1 * sigma_samples + 1e-4)
        for other in np.arange(-26, 27, 2):
            whole = np.zeros(SIZE, np.complex128)
            whole[PLACES] = find_spectrum(late, other) * np.conj(fft.fft(early)[PLACES])
            assert np.abs(fft.ifft(whole)[np.arange(-13, 14)]).max() < 1.001 * found


def test_a_shift_between_samples_and_bins_is_found():
    sent = make_waveform("flat-12k5", make_generator(0, 0), SIZE, RATE_HZ)
    spectrum = fft.fft(sent) * np.exp(-2j * np.pi * fft.fftfreq(SIZE) * 7.3)
    late = (fft.ifft(spectrum) * np.exp(2j * np.pi * 11.4 / SIZE * np.arange(SIZE))).astype(np.complex64)
    search = Ambiguity(np.stack([late, sent.astype(np.complex64)]), reach=20, max_bin=30, half=HALF)
    surface = search.survey(np.array([0]), 1)[0]
    assert np.unravel_index(surface.argmax(), surface.shape) == (41, 27)
    peaks = search.find(np.array([0]), np.array([1]))
    assert peaks.delay_samples[0] == pytest.approx(7.3, abs=2e-3)
    assert peaks.frequency_bins[0] == pytest.approx(11.4, abs=0.02)


def test_silence_has_a_peak_of_no_height():
    peaks = Ambiguity(np.zeros((2, SIZE), np.complex64), reach=5, max_bin=5, half=HALF).find(np.array([0]), np.array([1]))
    assert peaks.height[0] == 0
    assert np.isfinite(peaks.delay_samples).all()
