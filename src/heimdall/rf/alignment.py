"""From delays and frequencies of pairs to one time of arrival and one frequency at each receiver.

The error of a pair's delay is nearly the difference of two receivers' own errors, so consistent pairs lie on a plane, and weighted least
squares over all of them finds it: no reference receiver is needed, and none's noise enters every delay. A correlation that locked on
a side peak lies far off that plane; Cauchy weights let it go.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np
from jaxtyping import Float64

from heimdall.rf.features import PairFeatures
from heimdall.rf.shapes import FloatArray, IntArray

_NUM_STEPS: Final = 8
_LEAST_SIGMA_S: Final = 1e-9
_RELATIVE_RIDGE: Final = 1e-9

LARGEST_SIGMA_S: Final = 1e-3
"""s; said of a receiver of which no pair tells the time, as in a pause of speech: 300 km, so nothing."""


@dataclass(frozen=True)
class Alignment:
    """At each of r receivers; 0, and the largest sigma, where no pair says anything."""

    arrival_s: Float64[FloatArray, " r"]
    """Relative to the mean over the receivers that pairs connect."""
    sigma_s: Float64[FloatArray, " r"]
    """Standard deviation of that, as the pairs' own variances have it."""
    frequency_hz: Float64[FloatArray, " r"]
    """Relative to the same mean."""


def align_receivers(pairs: PairFeatures, num_receivers: int) -> Alignment:
    """Solve for arrival and frequency of each receiver.

    Parameters
    ----------
    pairs
        Of :func:`heimdall.rf.features.measure_pairs`.
    num_receivers
        r; receivers that are in no pair stay at 0.
    """
    arrival_s, sigma_s, frequency_hz = np.zeros(num_receivers), np.full(num_receivers, LARGEST_SIGMA_S), np.zeros(num_receivers)
    is_usable = np.isfinite(pairs.variance_s2) & np.isfinite(pairs.delay_s)
    if is_usable.any():
        pair, variance = pairs.pair[is_usable], np.maximum(pairs.variance_s2[is_usable], _LEAST_SIGMA_S**2)
        weight = 1 / variance
        for _ in range(_NUM_STEPS):
            solved_s, _ = _solve(pair, pairs.delay_s[is_usable], weight, num_receivers)
            left = pairs.delay_s[is_usable] - (solved_s[pair[:, 0]] - solved_s[pair[:, 1]])
            # Of one spread, that of the bulk: the stated variances are a bound, which weak signals do not reach.
            spread = max(float(np.median(np.square(left) / variance)) / 0.455, 1.0)
            weight = 1 / (variance * (1 + np.square(left) / (variance * spread)))
        arrival_s, covariance = _solve(pair, pairs.delay_s[is_usable], weight, num_receivers)
        seen = np.isin(np.arange(num_receivers), pair)
        sigma_s = np.where(seen, np.sqrt(np.clip(np.diag(covariance), _LEAST_SIGMA_S**2, LARGEST_SIGMA_S**2)), LARGEST_SIGMA_S)
    if len(pairs.pair):
        quality = np.square(pairs.coherence) / np.maximum(1 - np.square(pairs.coherence), 1e-3)
        frequency_hz, _ = _solve(pairs.pair, pairs.frequency_hz, np.maximum(quality, 1e-6), num_receivers)
    return Alignment(arrival_s, sigma_s, frequency_hz)


def _solve(pair: IntArray, difference: FloatArray, weight: FloatArray, num_receivers: int) -> tuple[FloatArray, FloatArray]:
    """Return the values of least norm whose differences fit best, and their covariance."""
    design = np.zeros((len(pair), num_receivers))
    design[np.arange(len(pair)), pair[:, 0]], design[np.arange(len(pair)), pair[:, 1]] = 1.0, -1.0
    normal = design.T @ (weight[:, None] * design)
    value, vector = np.linalg.eigh(normal)  # a pseudo-inverse: the mean over connected receivers is free
    is_kept = value > _RELATIVE_RIDGE * value[-1]
    covariance = (vector[:, is_kept] / value[is_kept]) @ vector[:, is_kept].T
    return np.asarray(covariance @ (design.T @ (weight * difference))), np.asarray(covariance)
