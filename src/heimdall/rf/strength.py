"""Reported strength near the noise floor: a power detector sums signal and noise, so a weak signal reads as the floor.

``reported = floor + 10 log10(1 + 10^((signal - floor) / 10)) + N(0, jitter^2)``, with a signal that is normal in dB about a
log-distance law. Far from the transmitter the report tells "weak" and its spread is the jitter (about 1 dB); near it the spread is
the shadowing (about 8 dB). One spread for both, as a plain law has it, takes a reading on the floor for a measurement of distance.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np
from jaxtyping import Bool, Float64
from scipy.optimize import minimize

from heimdall.rf.geodesy import slant_ranges
from heimdall.rf.observations import Observations
from heimdall.rf.shapes import BoolArray, FloatArray

MIN_DISTANCE_M: Final = 20.0
"""m; nearer counts as this near: antennas and positions are not known better."""

_NODES, _WEIGHTS = np.polynomial.hermite_e.hermegauss(15)
_LOG_WEIGHTS: Final = np.log(_WEIGHTS / _WEIGHTS.sum())
_NODE_WIDTH: Final = 0.35
"""Share of the spread by which each quadrature node is widened, so that 15 of them make a smooth density."""

_THINNED_EXAMPLES: Final = 250
_PRIOR_SLOPE_DB: Final = (-40.0, 6.0)
_PRIOR_LOG_SPREAD: Final = (float(np.log(8.5)), 0.15)
_PRIOR_LOG_JITTER: Final = (float(np.log(1.2)), 0.3)
_PRIOR_FLOOR_DB: Final = 4.0
"""Mean and deviation of weak priors (literature values of path-loss slope and shadowing); 250 examples outweigh them."""


@dataclass(frozen=True)
class StrengthLaw:
    """Log-distance law with a noise floor, one row of numbers a receiver."""

    is_known: Bool[BoolArray, " r"]
    """False where the training examples never heard it: it then says nothing."""
    offset_dbm: Float64[FloatArray, " r"]
    """At one kilometre."""
    slope_db: Float64[FloatArray, " r"]
    """dB a decade, at most 0."""
    floor_dbm: Float64[FloatArray, " r"]
    spread_db: Float64[FloatArray, " r"]
    """Of the signal about the law: shadowing and fading."""
    jitter_db: Float64[FloatArray, " r"]
    """Of the report about what it reports."""


def report_strength(signal_dbm: FloatArray, floor_dbm: FloatArray | float) -> FloatArray:
    """Return what a power detector reports, dB: signal and noise floor added as powers."""
    return np.asarray(10 * np.logaddexp(signal_dbm * np.log(10) / 10, floor_dbm * np.log(10) / 10) / np.log(10), np.float64)


def report_sensitivity(signal_dbm: FloatArray, floor_dbm: FloatArray | float) -> FloatArray:
    """Return the derivative of the report by the signal: 1 far above the floor, 1/2 on it, 0 far below."""
    return np.asarray(1 / (1 + np.power(10.0, (floor_dbm - signal_dbm) / 10)), np.float64)


def log_density(
    reported_dbm: FloatArray, mean_dbm: FloatArray, spread_db: FloatArray | float, floor_dbm: float, jitter_db: float
) -> FloatArray:
    """Return the log-density of a report, nats per dB, for arrays that broadcast together.

    Parameters
    ----------
    reported_dbm, mean_dbm, spread_db
        Report; mean and deviation of the signal.
    floor_dbm, jitter_db
        Of the receiver.

    References
    ----------
    Gauss-Hermite quadrature over the signal, Abramowitz and Stegun, 25.4.46; each node widened by the gap to its neighbours.
    """
    spread = np.asarray(spread_db)[..., None]
    signal = mean_dbm[..., None] + spread * _NODES
    width = np.hypot(jitter_db, _NODE_WIDTH * spread * report_sensitivity(signal, floor_dbm))
    deviation = (reported_dbm[..., None] - report_strength(signal, floor_dbm)) / width
    score = _LOG_WEIGHTS - 0.5 * np.square(deviation) - np.log(width)
    return np.asarray(np.logaddexp.reduce(score, axis=-1) - 0.5 * np.log(2 * np.pi), np.float64)


def decades(distance_m: FloatArray) -> FloatArray:
    """Return log10 of the distance in kilometres."""
    return np.asarray(np.log10(np.maximum(distance_m, MIN_DISTANCE_M) / 1000), np.float64)


def fit_strength_law(observations: Observations, target_m: Float64[FloatArray, "n 3"]) -> StrengthLaw:
    """Fit offset, slope, floor, spread and jitter of every receiver by maximum posterior density.

    Parameters
    ----------
    observations
        Training examples, at least one of them heard; evenly thinned to 250 a receiver.
    target_m
        [n, 3] their positions.
    """
    heard = observations.heard
    distance = decades(slant_ranges(target_m, observations.receiver_m))
    values = np.zeros((heard.shape[1], 5))
    for receiver in np.flatnonzero(heard.any(axis=0)):
        rows = np.flatnonzero(heard[:, receiver])
        rows = rows[np.unique(np.linspace(0, len(rows) - 1, min(len(rows), _THINNED_EXAMPLES)).astype(np.int64))]
        values[receiver] = _fit_receiver(distance[rows, receiver], observations.rssi_dbm[rows, receiver])
    offset, slope, floor, spread, jitter = values.T
    return StrengthLaw(np.asarray(heard.any(axis=0), bool), offset, slope, floor, spread, jitter)


def _fit_receiver(distance: FloatArray, reported: FloatArray) -> tuple[float, ...]:
    lowest = float(np.percentile(reported, 5))
    middle = float(distance.mean())
    slope, slope_sd = _PRIOR_SLOPE_DB

    def cost(values: FloatArray) -> float:
        offset, slope_db, floor, log_spread, log_jitter = values
        score = log_density(reported, offset + slope_db * (distance - middle), np.exp(log_spread), floor, np.exp(log_jitter))
        prior = (
            ((slope_db - slope) / slope_sd) ** 2
            + ((floor - lowest) / _PRIOR_FLOOR_DB) ** 2
            + ((log_spread - _PRIOR_LOG_SPREAD[0]) / _PRIOR_LOG_SPREAD[1]) ** 2
            + ((log_jitter - _PRIOR_LOG_JITTER[0]) / _PRIOR_LOG_JITTER[1]) ** 2
        )
        return float(prior / 2 - score.sum())

    start = np.array([float(reported.mean()), slope, lowest, _PRIOR_LOG_SPREAD[0], _PRIOR_LOG_JITTER[0]])
    bounds = [(None, None), (None, 0.0), (lowest - 30, float(reported.max())), (0.0, 3.5), (-2.0, 2.5)]
    found = minimize(cost, start, method="L-BFGS-B", bounds=bounds, options={"maxiter": 40}).x
    return float(found[0] - found[1] * middle), float(found[1]), float(found[2]), float(np.exp(found[3])), float(np.exp(found[4]))
