import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from heimdall.rf.constants import CHANNEL_BANDWIDTH_HZ, thermal_noise_dbm
from heimdall.rf.propagation import LogDistancePathLoss, draw_shadowing_db, free_space_loss_db, noise_floor_dbm


def loss_at(distance_m, exponent=3.5, frequency_mhz=145.0):
    model = LogDistancePathLoss(frequency_mhz, exponent)
    return model.path_loss_db(np.array([[distance_m, 0.0, 0.0]]), np.zeros((1, 3)))[0, 0]


def test_the_noise_floor_is_what_was_measured_for_both_bands():
    assert thermal_noise_dbm(CHANNEL_BANDWIDTH_HZ) == pytest.approx(-133.0, abs=0.05)
    assert noise_floor_dbm(145.0) == pytest.approx(-119.5, abs=0.5)
    assert noise_floor_dbm(433.0) == pytest.approx(-127.0, abs=0.5)


def test_free_space_loss_is_the_textbook_figure():
    assert free_space_loss_db(1000.0, 145.0) == pytest.approx(32.45 + 20 * np.log10(145.0), abs=0.01)


@given(st.floats(10, 400_000), st.floats(1.01, 10), st.floats(2, 6))
def test_loss_grows_with_distance(distance, factor, exponent):
    assert loss_at(distance * factor, exponent) > loss_at(distance, exponent)


def test_loss_is_continuous_where_free_space_ends_and_has_the_slope_asked_for():
    assert loss_at(1000.001) == pytest.approx(loss_at(999.999), abs=1e-3)
    assert loss_at(100_000) - loss_at(10_000) == pytest.approx(35.0)
    assert loss_at(500) - loss_at(50) == pytest.approx(20.0)


def test_receivers_share_their_shadowing_to_the_degree_asked_for():
    drawn = draw_shadowing_db(np.random.default_rng(1), 200_000, 4, sigma_db=6.0, correlation=0.46)
    np.testing.assert_allclose(drawn.std(axis=0), 6.0, rtol=0.01)
    correlation = np.corrcoef(drawn.T)[np.triu_indices(4, 1)]
    np.testing.assert_allclose(correlation, 0.46, atol=0.01)
