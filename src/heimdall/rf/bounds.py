"""The physical limit: how well the best unbiased estimator could locate each example (Cramér-Rao).

Information about an east-north position adds up: from times of arrival, from strengths, from the prior. All functions
work on n examples of r receivers at once; a receiver that did not hear has weight 0.

With absolute time unknown, the information matrix of arrival times of a stochastic signal (project notes physics.md,
section 3) is ``J = T k(S) [S diag(s) - s s']`` for signal-to-noise ratios s of sum S. This is the Laplacian that independent
arrival errors of variance ``1 / (T k(S) S s_i)`` leave after the common time is removed, so clock and excess delay (Gaussian
nuisances, independent by receiver) just add to those variances: ``J - J (J + D^-1)^-1 J`` needs no matrix to be inverted.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import lru_cache
from typing import Final

import numpy as np
from jaxtyping import Bool, Float, Float64
from scipy.optimize import brentq

from heimdall.rf.constants import SPEED_OF_LIGHT_M_S
from heimdall.rf.shapes import AnyFloatArray, BoolArray, FloatArray
from heimdall.rf.spectra import Spectrum

_ANGLES: Final = (np.arange(128) + 0.5) * (np.pi / 256)
_RATIO_GRID: Final = np.linspace(0.0, 1.0, 129) ** 2
_MAX_MIXTURE: Final = 20_000


@dataclass(frozen=True)
class StrengthErrors:
    """What makes strengths uncertain.

    ``sigma_db`` is the spread of shadowing at one receiver and ``correlation`` what any two share. The transmitter's power is unknown
    with a spread of ``power_sigma_db`` (infinite: nothing known).
    """

    sigma_db: float
    correlation: float = 0.0
    power_sigma_db: float = math.inf


def arrival_sigmas(
    snr: Float[AnyFloatArray, "n r"], heard: Bool[BoolArray, "n r"], spectrum: Spectrum, duration_s: float
) -> Float64[FloatArray, "n r"]:
    """Return the smallest standard deviations of arrival times that correlating the receivers allows.

    Parameters
    ----------
    snr
        [n, r] linear, in the spectrum's channel.
    heard
        [n, r]; the others are not used.
    spectrum, duration_s
        Of the transmission.

    Returns
    -------
    ndarray
        [n, r] s, infinite where not heard or where nobody else heard. The equivalent independent errors of the module's docstring:
        differences between receivers have the Knapp-Carter variance.
    """
    used = np.where(heard, np.asarray(snr, np.float64), 0.0)
    total = used.sum(axis=1, keepdims=True)
    information = duration_s * spectrum.delay_information(total[:, 0])[:, None] * total * used
    alone = heard.sum(axis=1, keepdims=True) < 2
    with np.errstate(divide="ignore"):
        return np.where(alone, np.inf, 1 / np.sqrt(information))


def timing_information(
    transmitter_m: Float[AnyFloatArray, "n 3"], receiver_m: Float[AnyFloatArray, "r 3"], sigma_s: Float[AnyFloatArray, "n r"]
) -> Float64[FloatArray, "n 2 2"]:
    """Return the information that arrival times carry about the position, the time of transmission being unknown.

    Parameters
    ----------
    transmitter_m, receiver_m
        East, north, up in m.
    sigma_s
        [n, r] s, of all independent errors of an arrival together: estimate, clock, excess delay. Infinite where not heard.

    Returns
    -------
    ndarray
        [n, 2, 2] 1/m^2, H' J H with H the derivatives of slant ranges over c.

    Raises
    ------
    ValueError
        Where an error is not positive: a perfect time has infinite information.
    """
    sigma_m = np.asarray(sigma_s, np.float64) * SPEED_OF_LIGHT_M_S
    if not (sigma_m > 0).all():
        raise ValueError("arrival errors must be positive")
    weight = 1 / np.square(sigma_m)
    direction = _directions(transmitter_m, receiver_m)
    first = np.einsum("nr,nri->ni", weight, direction)
    second = np.einsum("nr,nri,nrj->nij", weight, direction, direction)
    total = np.maximum(weight.sum(axis=1), np.finfo(np.float64).tiny)
    return np.asarray(second - first[:, :, None] * first[:, None, :] / total[:, None, None], np.float64)


def strength_information(
    gradient_db_m: Float[AnyFloatArray, "n r 2"], heard: Bool[BoolArray, "n r"], errors: StrengthErrors
) -> Float64[FloatArray, "n 2 2"]:
    """Return the information that strengths carry about the position.

    Parameters
    ----------
    gradient_db_m
        [n, r, 2] dB/m, how the median loss of each path grows eastwards and northwards; :func:`log_distance_gradient` or
        differences over a terrain model.
    heard
        [n, r]. That the others did not hear is information, too, which is left out here; it is small beside a strength.
    errors
        Shadowing and unknown power: covariance ``sigma^2 (1 - rho) I + (rho sigma^2 + power^2) 11'``, inverted by Sherman-Morrison.

    Returns
    -------
    ndarray
        [n, 2, 2] 1/m^2.

    References
    ----------
    Patwari et al. 2003, "Relative location estimation in wireless sensor networks", IEEE Trans. SP 51(8), section III; the projection
    off the unknown power as in project notes physics.md, section 3.
    """
    own = errors.sigma_db**2 * (1 - errors.correlation)
    if own <= 0:
        raise ValueError("shadowing must be positive for strengths to have a finite information")
    shared = errors.correlation * errors.sigma_db**2 + errors.power_sigma_db**2
    used = np.where(heard[..., None], np.asarray(gradient_db_m, np.float64), 0.0)
    count = np.maximum(heard.sum(axis=1), 1)
    removed = 1 / count if math.isinf(shared) else shared / (own + count * shared)
    first = used.sum(axis=1)
    second = np.einsum("nri,nrj->nij", used, used)
    return np.asarray((second - removed[:, None, None] * first[:, :, None] * first[:, None, :]) / own, np.float64)


def log_distance_gradient(
    transmitter_m: Float[AnyFloatArray, "n 3"], receiver_m: Float[AnyFloatArray, "r 3"], exponent: Float[AnyFloatArray, "*k"] | float
) -> Float64[FloatArray, "n r 2"]:
    """Return how the loss grows by position under a power law, [n, r, 2] dB/m: ``(10 n / ln 10) (x - r) / d^2``."""
    difference, distance = _offsets(transmitter_m, receiver_m)
    factor = 10 / math.log(10) * np.asarray(exponent, np.float64) / np.square(distance)
    return np.asarray(difference[..., :2] * factor[..., None], np.float64)


def prior_information(sigma_m: Float[AnyFloatArray, " 2"]) -> Float64[FloatArray, "2 2"]:
    """Return what knowing the region is worth: a Gaussian with these spreads east and north, m (a box of side L has L / sqrt 12)."""
    return np.diag(1 / np.square(np.asarray(sigma_m, np.float64)))


def bound_sigmas(information: Float[AnyFloatArray, "n 2 2"]) -> Float64[FloatArray, "n 2"]:
    """Return the bound's ellipse: larger and smaller standard deviation in m, [n, 2]; infinite where nothing is known."""
    smallest, largest = np.moveaxis(np.linalg.eigvalsh(np.asarray(information, np.float64)), -1, 0)
    with np.errstate(divide="ignore"):
        return np.stack([1 / np.sqrt(np.maximum(smallest, 0.0)), 1 / np.sqrt(np.maximum(largest, 0.0))], axis=-1)


def radial_quantiles(sigma_m: Float[AnyFloatArray, "n 2"], probability: float = 0.68) -> Float64[FloatArray, " n"]:
    """Return the radius in m within which an error with this ellipse lies with a probability, [n].

    Circular and 68 %: 1.51 sigma; on a line: 1.0 sigma (0.994 exactly). By a table over the ellipse's axis ratio, good to 1e-4.
    """
    sigma = np.asarray(sigma_m, np.float64)
    large, small = sigma.max(axis=-1), sigma.min(axis=-1)
    with np.errstate(invalid="ignore"):
        ratio = np.where(np.isfinite(large), np.divide(small, large, where=large > 0, out=np.zeros_like(large)), 0.0)
    return np.asarray(large * np.interp(ratio, _RATIO_GRID, _radii_of_ratios(probability)), np.float64)


def mixture_quantiles(sigma_m: Float[AnyFloatArray, "n 2"], probabilities: tuple[float, ...]) -> tuple[float, ...]:
    """Return the percentiles of the errors of many examples together, each Gaussian with its own ellipse, m.

    This is what a percentile over a validation split is to be compared with; a percentile of bounds is not. Of more than
    20 000 examples, evenly spaced ones are taken.
    """
    sigma = np.asarray(sigma_m, np.float64)
    rows = np.linspace(0, len(sigma) - 1, min(len(sigma), _MAX_MIXTURE)).astype(np.int64)
    return tuple(_mixture_quantile(sigma[rows], probability) for probability in probabilities)


@lru_cache(maxsize=16)
def _radii_of_ratios(probability: float) -> tuple[float, ...]:
    return tuple(_mixture_quantile(np.array([[1.0, value]]), probability) for value in _RATIO_GRID)


def _mixture_quantile(sigma_m: FloatArray, probability: float) -> float:
    """Solve P(< R) = E[1 - exp(-R^2 / 2 v(a))]: an error is rho (large cos a, small sin a) for a Rayleigh rho and a uniform angle."""
    variance = np.square(sigma_m[:, :1] * np.cos(_ANGLES)) + np.square(sigma_m[:, 1:] * np.sin(_ANGLES))
    low, high = float(sigma_m.max(axis=1).min()), float(sigma_m.max())
    if math.isinf(high):
        return math.inf
    factor = math.sqrt(-2 * math.log(1 - probability))

    def excess(radius: float) -> float:
        return float(-np.expm1(-0.5 * radius**2 / variance).mean()) - probability

    return float(brentq(excess, 1e-9 * low, 2 * factor * high + 1e-12, xtol=1e-9 * high))


def _directions(transmitter_m: AnyFloatArray, receiver_m: AnyFloatArray) -> Float64[FloatArray, "n r 2"]:
    difference, distance = _offsets(transmitter_m, receiver_m)
    return np.asarray(difference[..., :2] / distance[..., None], np.float64)


def _offsets(transmitter_m: AnyFloatArray, receiver_m: AnyFloatArray) -> tuple[FloatArray, FloatArray]:
    difference = np.asarray(transmitter_m, np.float64)[:, None] - np.asarray(receiver_m, np.float64)[None]
    return difference, np.maximum(np.sqrt(np.einsum("nrk,nrk->nr", difference, difference)), 1.0)
