"""What is measured of an event belongs to its receivers and to nothing else."""

from __future__ import annotations

from dataclasses import fields

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from heimdall.rf.capture import FrontEnd, Scene, simulate_capture
from heimdall.rf.measurements import Search, measure_event
from heimdall.rf.network import load_default_network
from heimdall.rf.randomness import make_generator
from heimdall.rf.waveforms import make_waveform

RATE_HZ, SIZE = 16_000.0, 1600
SEARCH = Search(bandwidth_hz=12_500.0, max_delay_s=8e-4, max_frequency_hz=120.0)
RECEIVER_M = load_default_network().position_m


def record(waveform, seed, power_dbm):
    """A capture of seven receivers; -116 dBm is 3.7 dB above the noise, where peaks of noise are as high as the signal's."""
    generator = make_generator(5, seed)
    sent = make_waveform(waveform, generator, SIZE + 160, RATE_HZ)
    scene = Scene(np.array([9e3, -2e3, -200.0]), np.zeros(3), RECEIVER_M, np.full(7, power_dbm), np.zeros(7), 145.0)
    return simulate_capture(sent, scene, generator, num_samples=SIZE, front_end=FrontEnd(crystal_sigma_ppm=0.1))


def measure(capture, order, *, is_timed):
    return measure_event(capture.iq[order], RATE_HZ, capture.gain_db[order], SEARCH, is_timed=is_timed[order], keep_iq=True)


@settings(deadline=None, max_examples=15, derandomize=True)
@given(
    st.integers(0, 1000),
    st.permutations(range(7)),
    st.sampled_from(["flat-12k5", "nbfm-voice"]),
    st.sampled_from([-116.0, -115.0, -105.0]),
    st.integers(0, 6),
)
def test_features_follow_their_receivers_in_any_order_to_the_last_bit(seed, order, waveform, power_dbm, untimed):
    capture, order, is_timed = record(waveform, seed, power_dbm), np.array(order), np.arange(7) != untimed
    first = measure(capture, np.arange(7), is_timed=is_timed)
    again = measure(capture, order, is_timed=is_timed)
    for field in fields(first):
        np.testing.assert_array_equal(getattr(again, field.name), getattr(first, field.name)[:, order], err_msg=field.name)


def test_receivers_of_equal_power_still_have_one_order():
    capture = record("flat-12k5", 3, -105.0)
    iq = np.stack([capture.iq[0], np.conj(capture.iq[0]), capture.iq[0][::-1]]).astype(np.complex64)
    one, other = (measure_event(iq[order], RATE_HZ, np.zeros(3), SEARCH, keep_iq=True) for order in (np.arange(3), np.array([2, 0, 1])))
    for field in fields(one):
        np.testing.assert_array_equal(getattr(other, field.name), getattr(one, field.name)[:, [2, 0, 1]], err_msg=field.name)


@pytest.mark.parametrize("num_columns", [3, 5])
def test_columns_without_a_receiver_hold_zeros(num_columns):
    found = measure_event(record("aprs", 1, -100.0).iq[:2], RATE_HZ, np.array([80.0, 90.0]), SEARCH, keep_iq=True)
    laid_out = found.lay_out(np.array([2, 0]), num_columns)
    np.testing.assert_array_equal(laid_out.gain_db[0, [2, 0]], [80.0, 90.0])
    np.testing.assert_array_equal(laid_out.iq[0, 2], found.iq[0, 0])
    for field in fields(laid_out):
        values = getattr(laid_out, field.name)
        assert values.shape[1] == num_columns
        assert not np.delete(values, [0, 2], axis=1).any()
