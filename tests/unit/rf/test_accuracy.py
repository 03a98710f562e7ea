import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import multivariate_normal

from heimdall.rf.accuracy import (
    CHI2_68,
    coverage,
    horizontal_errors,
    mean_gaussian_nll,
    share_within,
    squared_mahalanobis,
    summarize_errors,
)


def draw(num, seed=0):
    generator = np.random.default_rng(seed)
    factor = generator.normal(size=(num, 2, 2)) * 300 + 50 * np.eye(2)
    covariance = factor @ factor.transpose(0, 2, 1) + 100 * np.eye(2)
    truth = generator.normal(size=(num, 2)) * 5000
    error = np.einsum("nij,nj->ni", np.linalg.cholesky(covariance), generator.normal(size=(num, 2)))
    return truth + error, truth, covariance


def test_the_size_of_a_68_percent_ellipse_is_the_chi_square_point():
    assert pytest.approx(2.279, abs=5e-4) == CHI2_68


def test_an_honest_ellipse_covers_its_share():
    prediction, truth, covariance = draw(50_000)
    for probability in (0.5, 0.68, 0.95):
        assert coverage(prediction, truth, covariance, probability) == pytest.approx(probability, abs=0.01)
    assert coverage(prediction, truth, covariance / 4) < 0.4


def test_nll_is_the_gaussian_density_in_kilometres():
    prediction, truth, covariance = draw(20)
    expected = -np.mean(
        [multivariate_normal(p / 1e3, c / 1e6).logpdf(t / 1e3) for p, t, c in zip(prediction, truth, covariance, strict=True)]
    )
    assert mean_gaussian_nll(prediction, truth, covariance) == pytest.approx(expected)


@given(st.floats(-3, 3), st.integers(0, 1000))
def test_mahalanobis_distance_does_not_change_when_the_plane_is_turned(angle, seed):
    prediction, truth, covariance = draw(5, seed)
    turn = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    turned = squared_mahalanobis(prediction @ turn.T, truth @ turn.T, turn @ covariance @ turn.T)
    np.testing.assert_allclose(turned, squared_mahalanobis(prediction, truth, covariance), rtol=1e-6)


def test_a_covariance_that_is_none_is_refused():
    with pytest.raises(ValueError, match="positive definite"):
        squared_mahalanobis(np.zeros((1, 2)), np.ones((1, 2)), -np.eye(2)[None])


def test_errors_are_summed_up_by_percentiles_and_radius():
    errors = horizontal_errors(np.array([[3.0, 4.0], [0.0, 1.0]]), np.zeros((2, 2)))
    assert errors.tolist() == [5.0, 1.0]
    summary = summarize_errors(np.arange(101.0))
    assert (summary.median_m, summary.p68_m, summary.p95_m, summary.num_examples) == (50.0, 68.0, 95.0, 101)
    assert share_within(errors, 1.0) == 0.5


@pytest.mark.parametrize("errors", [[], [1.0, np.nan]])
def test_no_percentile_is_made_up(errors):
    with pytest.raises(ValueError, match="finite"):
        summarize_errors(np.array(errors))
