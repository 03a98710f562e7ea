"""A Gaussian process over places: the shadowing of one receiver that its log-distance law leaves over.

Readings near the noise floor are linearized (extended Kalman update, iterated), so that they weigh as little as they tell.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np
from jaxtyping import Float64, Int64
from scipy.linalg import cho_factor, cho_solve
from scipy.spatial.distance import cdist

from heimdall.rf.shapes import FloatArray, IntArray
from heimdall.rf.strength import report_sensitivity, report_strength

FIELD_SHARE: Final = 0.7
"""Of the signal's variance about the law: correlated in space, learned by the map."""
PLACE_SHARE: Final = 0.1
"""Of one place, the same for every reading there; the rest (0.2) is fading, new at each reading. Together 4 to 5 dB."""

MIN_LENGTH_M: Final = 150.0
"""m, correlation length of shadowing among buildings. Where the examples lie too thin to see it, three times their spacing."""

_PLACES_A_LENGTH: Final = 3.0
_MAX_PLACES: Final = 800
_LINEARIZATIONS: Final = 3
_MIN_SENSITIVITY: Final = 0.02


@dataclass(frozen=True)
class Places:
    """Training examples gathered into small square places, and the grid that is asked about."""

    of_example: Int64[IntArray, " n"]
    centre_m: Float64[FloatArray, "p 2"]
    between: Float64[FloatArray, "p p"]
    to_grid: Float64[FloatArray, "g p"]
    """Correlation of the field between places, and between grid points and places."""
    length_m: float
    """Correlation length that places of this size can show."""


@dataclass(frozen=True)
class Readings:
    """Heard examples of one receiver."""

    place: Int64[IntArray, " k"]
    law_dbm: Float64[FloatArray, " k"]
    reported_dbm: Float64[FloatArray, " k"]
    floor_dbm: float
    jitter_db: float
    spread_db: float


def gather_places(target_m: Float64[FloatArray, "n 3"], grid_m: Float64[FloatArray, "g 3"]) -> Places:
    """Gather examples into squares of 50 m, or larger ones where that would make more than 800."""
    edge_m = MIN_LENGTH_M / _PLACES_A_LENGTH
    while True:
        _, inverse = np.unique(np.floor(target_m[:, :2] / edge_m).astype(np.int64), axis=0, return_inverse=True)
        place = inverse.reshape(-1).astype(np.int64)
        if place.max() < _MAX_PLACES:
            break
        edge_m *= 1.5
    count = np.bincount(place)
    centre = np.stack([np.bincount(place, target_m[:, axis]) / count for axis in (0, 1)], axis=1)
    length_m = _PLACES_A_LENGTH * edge_m
    between, to_grid = (matern_3_2(cdist(points, centre), length_m) for points in (centre, grid_m[:, :2]))
    return Places(place, centre, between, to_grid, length_m)


def matern_3_2(distance_m: FloatArray, length_m: float) -> FloatArray:
    """Return the Matérn correlation of smoothness 3/2 (Rasmussen and Williams 2006, eq. 4.17)."""
    scaled = np.sqrt(3) * distance_m / length_m
    return np.asarray((1 + scaled) * np.exp(-scaled), np.float64)


def predict_field(readings: Readings, places: Places, *, has_field: bool) -> tuple[FloatArray, FloatArray]:
    """Return the field's mean and variance on the grid, [g] dB and dB², given one receiver's readings.

    The variance is that of the signal at one new reading there: field, place and fading. Without a field its mean is 0.
    """
    variance = readings.spread_db**2
    num_grid = len(places.to_grid)
    if not has_field:
        return np.zeros(num_grid), np.full(num_grid, variance)
    used, factor, solved = _condition(readings, places, FIELD_SHARE)
    cross = FIELD_SHARE * variance * places.to_grid[:, used]
    # Single precision: a variance of some dB² needs four digits, and this product is most of the fit's time.
    precision = cho_solve(factor, np.eye(len(solved))).astype(np.float32)
    single = cross.astype(np.float32)
    explained = np.einsum("gp,gp->g", single @ precision, single).astype(np.float64)
    return cross @ solved, np.maximum(FIELD_SHARE * variance - explained, 0.0) + (1 - FIELD_SHARE) * variance


def score_field(readings: Readings, places: Places, *, has_field: bool) -> float:
    """Return the leave-one-place-out log-density of the readings, nats (Rasmussen and Williams 2006, eq. 5.10 to 5.12)."""
    _, factor, solved = _condition(readings, places, FIELD_SHARE if has_field else 0.0)
    precision = np.diag(cho_solve(factor, np.eye(len(solved))))
    return float((0.5 * np.log(precision) - 0.5 * np.square(solved) / precision).sum())


def _condition(readings: Readings, places: Places, share: float) -> tuple[IntArray, tuple[FloatArray, bool], FloatArray]:
    """Return the places used, the Cholesky factor of the pseudo-observations' covariance there, and its solution for them."""
    used, place = np.unique(readings.place, return_inverse=True)
    variance = readings.spread_db**2
    own_variance = PLACE_SHARE * variance
    fading_variance = (1 - share - PLACE_SHARE) * variance
    prior = share * variance * places.between[np.ix_(used, used)]
    signal = _start(readings)
    for _ in range(_LINEARIZATIONS):
        slope = _slope(signal, readings)
        pseudo = signal + (readings.reported_dbm - report_strength(signal, readings.floor_dbm)) / slope - readings.law_dbm
        weight = 1 / (fading_variance + np.square(readings.jitter_db / slope))
        total = np.bincount(place, weight)
        values = np.bincount(place, weight * pseudo) / total
        factor = cho_factor(prior + np.diag(1 / total + own_variance), lower=True)
        solved = cho_solve(factor, values)
        signal = _relinearize(signal, readings, (prior @ solved)[place], fading_variance + own_variance)
    return used.astype(np.int64), factor, solved


def _start(readings: Readings) -> FloatArray:
    """Undo the floor where the report stands clearly above it; elsewhere believe the law."""
    above = readings.reported_dbm - readings.floor_dbm
    signal = readings.floor_dbm + 10 * np.log10(np.maximum(np.power(10.0, above / 10) - 1, 1e-3))
    return np.where(above > 2, signal, np.minimum(readings.law_dbm, readings.floor_dbm - 2))


def _relinearize(signal: FloatArray, readings: Readings, field: FloatArray, variance: float) -> FloatArray:
    """Return each reading's most probable signal, given the field at its place."""
    expected = readings.law_dbm + field
    for _ in range(_LINEARIZATIONS):
        slope = _slope(signal, readings)
        pseudo = signal + (readings.reported_dbm - report_strength(signal, readings.floor_dbm)) / slope
        weight = np.square(slope / readings.jitter_db)
        signal = np.maximum((expected / variance + pseudo * weight) / (1 / variance + weight), readings.floor_dbm - 25)
    return signal


def _slope(signal: FloatArray, readings: Readings) -> FloatArray:
    return np.maximum(report_sensitivity(signal, readings.floor_dbm), _MIN_SENSITIVITY)
