"""How good predicted positions are, and how honest their ellipses."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Final

import numpy as np
from jaxtyping import Float

from heimdall.rf.shapes import AnyFloatArray, FloatArray

CHI2_68: Final = -2 * math.log(1 - 0.68)
"""2.279: 68 % point of chi-square with two degrees of freedom, the squared size of a 68 % ellipse."""


@dataclass(frozen=True)
class ErrorSummary:
    """Horizontal errors of a set of examples, m."""

    median_m: float
    p68_m: float
    p95_m: float
    mean_m: float
    num_examples: int


def horizontal_errors(prediction_m: Float[AnyFloatArray, "n 2"], truth_m: Float[AnyFloatArray, "n 2"]) -> Float[FloatArray, " n"]:
    """Return distances in m on the east-north plane, [n]."""
    difference = np.asarray(prediction_m, np.float64) - np.asarray(truth_m, np.float64)
    return np.hypot(difference[:, 0], difference[:, 1])


def summarize_errors(error_m: Float[AnyFloatArray, " n"]) -> ErrorSummary:
    """Return the percentiles that are published (linear interpolation).

    Raises
    ------
    ValueError
        Where there is no error, or one is not finite: a percentile of such would be a made-up number.
    """
    errors = np.asarray(error_m, np.float64)
    if errors.size == 0 or not np.isfinite(errors).all():
        raise ValueError("errors must be finite and at least one")
    median, p68, p95 = np.percentile(errors, [50, 68, 95])
    return ErrorSummary(float(median), float(p68), float(p95), float(errors.mean()), errors.size)


def share_within(error_m: Float[AnyFloatArray, " n"], radius_m: float) -> float:
    """Return the accuracy: share of examples located within a radius, 0 to 1."""
    return float(np.mean(np.asarray(error_m) <= radius_m))


def squared_mahalanobis(
    prediction_m: Float[AnyFloatArray, "n 2"], truth_m: Float[AnyFloatArray, "n 2"], covariance_m2: Float[AnyFloatArray, "n 2 2"]
) -> Float[FloatArray, " n"]:
    """Return e' C^-1 e per example, [n], without unit.

    Raises
    ------
    ValueError
        Where a covariance is not positive definite.
    """
    error = np.asarray(truth_m, np.float64) - np.asarray(prediction_m, np.float64)
    whitened = np.linalg.solve(_cholesky(covariance_m2), error[..., None])[..., 0]
    return np.asarray(np.square(whitened).sum(axis=-1), np.float64)


def coverage(
    prediction_m: Float[AnyFloatArray, "n 2"],
    truth_m: Float[AnyFloatArray, "n 2"],
    covariance_m2: Float[AnyFloatArray, "n 2 2"],
    probability: float = 0.68,
) -> float:
    """Return the share of truths inside their ellipse of this probability; an honest one covers that share."""
    limit = -2 * math.log(1 - probability)
    return float(np.mean(squared_mahalanobis(prediction_m, truth_m, covariance_m2) <= limit))


def mean_gaussian_nll(
    prediction_m: Float[AnyFloatArray, "n 2"], truth_m: Float[AnyFloatArray, "n 2"], covariance_m2: Float[AnyFloatArray, "n 2 2"]
) -> float:
    """Return the mean negative log-likelihood in nats with positions in kilometres (the unit of the loss)."""
    covariance_km2 = np.asarray(covariance_m2, np.float64) * 1e-6
    log_determinant = 2 * np.log(np.diagonal(_cholesky(covariance_km2), axis1=-2, axis2=-1)).sum(axis=-1)
    distance = squared_mahalanobis(prediction_m, truth_m, covariance_m2)
    return float(np.mean(0.5 * (distance + log_determinant) + math.log(2 * math.pi)))


def _cholesky(covariance: Float[AnyFloatArray, "n 2 2"]) -> Float[FloatArray, "n 2 2"]:
    try:
        return np.asarray(np.linalg.cholesky(np.asarray(covariance, np.float64)), np.float64)
    except np.linalg.LinAlgError as error:
        raise ValueError("a covariance is not positive definite") from error
