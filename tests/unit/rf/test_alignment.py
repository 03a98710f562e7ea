"""Pairs become one time at each receiver."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from heimdall.rf.alignment import LARGEST_SIGMA_S, align_receivers
from heimdall.rf.features import PairFeatures


def make_pairs(arrival_s, frequency_hz, pairs, sigma_s=1e-7, noise=None) -> PairFeatures:
    index = np.array(pairs, np.int64).reshape(-1, 2)
    delay = arrival_s[index[:, 0]] - arrival_s[index[:, 1]]
    ones = np.ones(len(index))
    return PairFeatures(
        pair=index,
        delay_s=delay if noise is None else delay + noise,
        frequency_hz=frequency_hz[index[:, 0]] - frequency_hz[index[:, 1]],
        coherence=0.9 * ones,
        width_s=1e-4 * ones,
        variance_s2=np.square(sigma_s) * ones,
    )


@given(st.integers(0, 2**32 - 1), st.integers(2, 9))
def test_consistent_pairs_give_the_arrivals_back_whatever_their_order(seed, count):
    rng = np.random.default_rng(seed)
    arrival, frequency = rng.normal(0, 1e-4, count), rng.normal(0, 30, count)
    pairs = [(i, j) for i in range(count) for j in range(i + 1, count)]
    sigma = rng.uniform(1e-8, 1e-6, len(pairs))
    found = align_receivers(make_pairs(arrival, frequency, pairs, sigma), count)
    np.testing.assert_allclose(found.arrival_s, arrival - arrival.mean(), atol=1e-12)
    np.testing.assert_allclose(found.frequency_hz, frequency - frequency.mean(), atol=1e-9)
    other = rng.permutation(len(pairs))
    again = align_receivers(make_pairs(arrival, frequency, np.array(pairs)[other], sigma[other]), count)
    np.testing.assert_allclose(again.arrival_s, found.arrival_s, atol=1e-15)


def test_a_pair_that_locked_on_a_side_peak_is_let_go():
    arrival = np.array([0.0, 30e-6, -20e-6, 5e-6, 12e-6])
    pairs = [(i, j) for i in range(5) for j in range(i + 1, 5)]
    noise = np.zeros(10)
    noise[3] = 200e-6
    found = align_receivers(make_pairs(arrival, np.zeros(5), pairs, 3e-7, noise), 5)
    np.testing.assert_allclose(found.arrival_s, arrival - arrival.mean(), atol=1e-7)


def test_receivers_that_no_pair_times_say_so():
    none = align_receivers(make_pairs(np.zeros(3), np.zeros(3), [], 1e-7), 3)
    assert (none.arrival_s == 0).all()
    assert (none.sigma_s == LARGEST_SIGMA_S).all()
    silent = align_receivers(make_pairs(np.array([0.0, 1e-5, 0.0]), np.zeros(3), [(0, 1)], np.inf), 3)
    assert (silent.arrival_s == 0).all()
    assert (silent.sigma_s == LARGEST_SIGMA_S).all()
    partly = align_receivers(make_pairs(np.array([0.0, 1e-5, 0.0]), np.zeros(3), [(0, 1)], 1e-7), 3)
    np.testing.assert_allclose(partly.arrival_s, [-5e-6, 5e-6, 0])
    assert partly.sigma_s[2] == LARGEST_SIGMA_S
    assert (partly.sigma_s[:2] < 1e-7).all()
