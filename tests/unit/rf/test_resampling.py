import numpy as np
import pytest

from heimdall.rf.resampling import decimate, read_at, tune


def tone(frequency, size, first=0.0, step=1.0):
    return np.exp(2j * np.pi * frequency * (first + step * np.arange(size))).astype(np.complex64)


@pytest.mark.parametrize(("first", "step"), [(100.5, 1.0), (100.123, 1.0), (100.25, 0.99991), (100.0, 1.5), (77.7, 1.9)])
def test_values_between_samples_are_those_of_the_signal_itself(first, step):
    found = read_at(tone(0.2 / step, 4000), first, step, 1000)
    np.testing.assert_allclose(found, tone(0.2 / step, 1000, first, step), atol=2e-3)


def test_whole_places_are_taken_as_they_are_and_beyond_the_ends_lies_nothing():
    samples = tone(0.1, 100)
    np.testing.assert_array_equal(read_at(samples, 3.0, 1.0, 50), samples[3:53])
    np.testing.assert_array_equal(read_at(samples, -2.0, 1.0, 4), [0, 0, samples[0], samples[1]])
    np.testing.assert_array_equal(read_at(samples, 98.0, 1.0, 4), [samples[98], samples[99], 0, 0])


def test_what_would_fold_into_the_band_is_taken_away():
    assert np.abs(read_at(tone(0.4, 8000), 500.5, 2.0, 2000)).max() < 1e-2
    assert np.abs(decimate(tone(0.3, 8000), 4)[100:-100]).max() < 1e-2


def test_tuning_puts_an_offset_in_the_middle():
    np.testing.assert_allclose(tune(tone(0.125, 1000), 1000.0, 8000.0), np.ones(1000), atol=1e-3)
