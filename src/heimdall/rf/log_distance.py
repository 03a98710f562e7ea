"""A log-distance law for every receiver, calibrated on examples with known positions.

``rssi = offset + slope log10(distance / km) + N(0, sigma^2)``, and a receiver hears when that lies above its threshold
and it is not off. Offsets absorb the transmitter's power, antennas and an uncalibrated scale.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np
from jaxtyping import Bool, Float64
from scipy.special import ndtr

from heimdall.rf.geodesy import slant_ranges
from heimdall.rf.observations import Observations
from heimdall.rf.shapes import BoolArray, FloatArray, IntArray

MIN_DISTANCE_M: Final = 20.0
"""m; nearer counts as this near: antennas and positions are not known better."""

_PRIOR_EXAMPLES: Final = 10.0
_PRIOR_SIGMA_DB: Final = 8.0
_OUTAGES: Final = (0.001, 0.01, 0.03, 0.1, 0.2, 0.3, 0.5, 0.7, 0.9)
_THRESHOLD_PERCENTILE: Final = 2.0
_MOVING_BLOCK: Final = 64


@dataclass(frozen=True)
class LogDistanceLaw:
    """One row of numbers a receiver."""

    is_known: Bool[BoolArray, " r"]
    """False where the training examples never heard it: it then says nothing."""
    offset_dbm: Float64[FloatArray, " r"]
    slope_db: Float64[FloatArray, " r"]
    """dB a decade, at most 0."""
    sigma_db: Float64[FloatArray, " r"]
    threshold_dbm: Float64[FloatArray, " r"]
    outage: Float64[FloatArray, " r"]
    """Chance that the receiver hears nothing whatever the strength."""
    site_m: Float64[FloatArray, "r 3"]
    """Where a fixed receiver stands."""


def fit_law(observations: Observations, target_m: Float64[FloatArray, "n 3"]) -> LogDistanceLaw:
    """Fit the law of every receiver by ridge regression towards the slope of all together.

    Parameters
    ----------
    observations
        Training examples, at least one of them heard.
    target_m
        [n, 3] their positions.
    """
    decades = _decades(slant_ranges(target_m, observations.receiver_m))
    heard, rssi = observations.heard, observations.rssi_dbm
    common = _slope(decades[heard], rssi[heard], prior=0.0, weight=1e-9)
    spread = float(decades[heard].var()) + 1e-6
    num_receivers = heard.shape[1]
    values = np.zeros((5, num_receivers))
    site = np.zeros((num_receivers, 3))
    for receiver in range(num_receivers):
        present = observations.present[:, receiver]
        if present.any():
            site[receiver] = observations.receiver_m[present, receiver].mean(axis=0)
        if heard[:, receiver].any():
            values[:, receiver] = _fit_receiver(
                decades[present, receiver], rssi[present, receiver], heard[present, receiver], common, _PRIOR_EXAMPLES * spread
            )
    offset, slope, sigma, threshold, outage = values
    return LogDistanceLaw(np.asarray(heard.any(axis=0), bool), offset, slope, sigma, threshold, outage, site)


def log_likelihood(law: LogDistanceLaw, observations: Observations, grid_m: Float64[FloatArray, "g 3"]) -> Float64[FloatArray, "n g"]:
    """Return the log-likelihood of every grid point for every example, [n, g] nats up to a constant of the example.

    Fixed receivers cost three matrix products; moving ones are taken example by example, where each of them was.
    """
    fixed = np.flatnonzero(law.is_known & ~observations.is_moving)
    expected, silence = _expect(law, fixed[:, None], slant_ranges(grid_m, law.site_m[None, fixed]).T)
    weight = 1 / np.square(law.sigma_db[fixed, None])
    heard = observations.heard[:, fixed].astype(np.float64)
    strength = observations.rssi_dbm[:, fixed] * heard
    silent = (observations.present[:, fixed] & ~observations.heard[:, fixed]).astype(np.float64)
    score: FloatArray = strength @ (weight * expected) - 0.5 * heard @ (weight * np.square(expected)) + silent @ silence
    for receiver in np.flatnonzero(law.is_known & observations.is_moving):
        _add_moving(score, law, observations, int(receiver), grid_m)
    return score


def _add_moving(
    score: FloatArray, law: LogDistanceLaw, observations: Observations, receiver: int, grid_m: Float64[FloatArray, "g 3"]
) -> None:
    present = np.flatnonzero(observations.present[:, receiver])
    for start in range(0, len(present), _MOVING_BLOCK):
        rows = present[start : start + _MOVING_BLOCK]
        distance = slant_ranges(grid_m, observations.receiver_m[rows, receiver][None]).T
        expected, silence = _expect(law, np.array([[receiver]]), distance)
        deviation = (observations.rssi_dbm[rows, receiver, None] - expected) / law.sigma_db[receiver]
        score[rows] += np.where(observations.heard[rows, receiver, None], -0.5 * np.square(deviation), silence)


def _expect(law: LogDistanceLaw, receiver: IntArray, distance_m: FloatArray) -> tuple[FloatArray, FloatArray]:
    """Return expected strength and log chance of silence, shaped like the distances."""
    expected = law.offset_dbm[receiver] + law.slope_db[receiver] * _decades(distance_m)
    outage = law.outage[receiver]
    below = ndtr((law.threshold_dbm[receiver] - expected) / law.sigma_db[receiver])
    return expected, np.log(outage + (1 - outage) * below)


def _fit_receiver(decades: FloatArray, rssi: FloatArray, heard: BoolArray, common_slope: float, weight: float) -> tuple[float, ...]:
    x, y = decades[heard], rssi[heard]
    slope = min(0.0, _slope(x, y, prior=common_slope, weight=weight))
    offset = float(y.mean() - slope * x.mean())
    squares = float(np.square(y - offset - slope * x).sum()) + _PRIOR_EXAMPLES * _PRIOR_SIGMA_DB**2
    sigma = float(np.sqrt(squares / (len(x) + _PRIOR_EXAMPLES)))
    threshold = float(np.percentile(y, _THRESHOLD_PERCENTILE))
    below = ndtr((threshold - offset - slope * decades) / sigma)
    scores = [_silence_score(below, heard, outage) for outage in _OUTAGES]
    return offset, slope, sigma, threshold, _OUTAGES[int(np.argmax(scores))]


def _silence_score(below: FloatArray, heard: BoolArray, outage: float) -> float:
    silent = outage + (1 - outage) * below
    return float(np.log(np.maximum(1 - silent[heard], 1e-12)).sum() + np.log(np.maximum(silent[~heard], 1e-12)).sum())


def _slope(x: FloatArray, y: FloatArray, *, prior: float, weight: float) -> float:
    centred = x - x.mean()
    return float((centred @ (y - y.mean()) + weight * prior) / (centred @ centred + weight))


def _decades(distance_m: FloatArray) -> FloatArray:
    return np.asarray(np.log10(np.maximum(distance_m, MIN_DISTANCE_M) / 1000), np.float64)
