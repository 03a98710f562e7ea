from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from scipy.stats import chi2, multivariate_normal

from heimdall.rf.accuracy import CHI2_68
from heimdall.training.architectures.localizer import Gaussian
from heimdall.training.losses import gaussian_nll, squared_mahalanobis

SCALE_KM = 1.7


@pytest.fixture
def case() -> tuple[Gaussian, torch.Tensor]:
    generator = torch.Generator().manual_seed(3)
    cholesky = torch.randn(50, 3, generator=generator, dtype=torch.float64)
    cholesky[:, [0, 2]] = cholesky[:, [0, 2]].exp()
    return (
        Gaussian(torch.randn(50, 2, generator=generator, dtype=torch.float64), cholesky),
        torch.randn(50, 2, generator=generator, dtype=torch.float64),
    )


def covariance_of(cholesky_3: np.ndarray) -> np.ndarray:
    factor = np.array([[cholesky_3[0], 0], [cholesky_3[1], cholesky_3[2]]])
    return factor @ factor.T


def test_nll_is_that_of_scipy_with_positions_in_km(case):
    predicted, truth = case
    ours = gaussian_nll(predicted, truth, scale_km=SCALE_KM)
    theirs = [
        -multivariate_normal(mean=mean * SCALE_KM, cov=covariance_of(cholesky) * SCALE_KM**2).logpdf(point * SCALE_KM)
        for mean, cholesky, point in zip(predicted.position_B2.numpy(), predicted.cholesky_B3.numpy(), truth.numpy(), strict=True)
    ]
    np.testing.assert_allclose(ours.numpy(), theirs, rtol=1e-10)


def test_nll_has_its_minimum_at_the_truth_and_the_right_spread(case):
    predicted, truth = case
    at_truth = gaussian_nll(Gaussian(truth, predicted.cholesky_B3), truth, scale_km=1.0)
    assert (at_truth <= gaussian_nll(predicted, truth, scale_km=1.0)).all()


def test_the_gradient_is_that_of_finite_differences(case):
    predicted, truth = case
    inputs = (predicted.position_B2[:4].requires_grad_(), predicted.cholesky_B3[:4].requires_grad_())
    assert torch.autograd.gradcheck(lambda mean, cholesky: gaussian_nll(Gaussian(mean, cholesky), truth[:4], scale_km=SCALE_KM), inputs)


def test_whitened_errors_of_a_true_gaussian_are_chi_square():
    generator = torch.Generator().manual_seed(1)
    cholesky = torch.tensor([[2.0, -0.7, 0.3]]).expand(20_000, 3)
    factor = torch.tensor([[2.0, 0.0], [-0.7, 0.3]])
    truth = torch.randn(20_000, 2, generator=generator) @ factor.T
    distances = squared_mahalanobis(Gaussian(torch.zeros(20_000, 2), cholesky), truth)
    assert float((distances <= CHI2_68).float().mean()) == pytest.approx(0.68, abs=0.015)
    assert math.isclose(chi2(df=2).cdf(CHI2_68), 0.68, abs_tol=1e-12)
