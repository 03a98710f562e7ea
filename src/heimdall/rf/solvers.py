"""Classical baselines in NumPy: a number for every network to stand beside.

Each is fitted on training examples and predicts east and north in metres. None sees a time of arrival.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, Protocol, runtime_checkable

import numpy as np
from jaxtyping import Float64

from heimdall.domain.errors import InvalidInputError
from heimdall.rf.log_distance import LogDistanceLaw, fit_law, log_likelihood
from heimdall.rf.observations import Observations
from heimdall.rf.shapes import FloatArray

_BLOCK_ROWS: Final = 256
_MAX_NEIGHBOUR_ROWS: Final = 50_000
_GRID_CELLS_A_SIDE: Final = 64
_GRID_MARGIN: Final = 0.08


@runtime_checkable
class Solver(Protocol):
    """A fitted position estimator."""

    def predict(self, observations: Observations) -> Float64[FloatArray, "n 2"]:
        """Return east and north in m, [n, 2]."""


@dataclass(frozen=True)
class Centroid:
    """Always answers the mean training position: what is known without listening."""

    position_m: Float64[FloatArray, " 2"]

    @classmethod
    def fit(cls, observations: Observations, target_m: Float64[FloatArray, "n 3"]) -> Centroid:
        """Take the mean of training positions [n, 3] m."""
        _require_examples(target_m)
        return cls(target_m[:, :2].mean(axis=0))

    def predict(self, observations: Observations) -> Float64[FloatArray, "n 2"]:
        """Return the same position for every example, [n, 2] m."""
        return np.tile(self.position_m, (len(observations), 1))


@dataclass(frozen=True)
class NearestNeighbours:
    """Fingerprinting: the mean of the positions with the most similar strengths, weighted by inverse distance in dB.

    References
    ----------
    Bahl and Padmanabhan, RADAR, INFOCOM 2000, section 4.
    """

    fingerprint_db: Float64[FloatArray, "n r"]
    target_m: Float64[FloatArray, "n 2"]
    silence_dbm: float
    num_neighbours: int

    @classmethod
    def fit(cls, observations: Observations, target_m: Float64[FloatArray, "n 3"], num_neighbours: int = 5) -> NearestNeighbours:
        """Keep the training examples; of more than 50 000, evenly spaced ones.

        Raises
        ------
        InvalidInputError
            Where nothing was heard.
        """
        _require_heard(observations)
        rows = np.unique(np.linspace(0, len(target_m) - 1, min(len(target_m), _MAX_NEIGHBOUR_ROWS)).astype(np.int64))
        kept = observations.rows(rows)
        silence = float(observations.rssi_dbm[observations.heard].min())
        return cls(_fingerprint(kept, silence), target_m[rows, :2], silence, min(num_neighbours, len(rows)))

    def predict(self, observations: Observations) -> Float64[FloatArray, "n 2"]:
        """Return the weighted mean position of the nearest fingerprints, [n, 2] m."""
        result = np.empty((len(observations), 2))
        squares = np.square(self.fingerprint_db).sum(axis=1)
        for start in range(0, len(observations), _BLOCK_ROWS):
            rows = slice(start, start + _BLOCK_ROWS)
            query = _fingerprint(observations.rows(rows), self.silence_dbm)
            square = squares - 2 * query @ self.fingerprint_db.T + np.square(query).sum(axis=1, keepdims=True)
            nearest = np.argpartition(square, self.num_neighbours - 1, axis=1)[:, : self.num_neighbours]
            distance = np.sqrt(np.maximum(np.take_along_axis(square, nearest, axis=1), 0.0))
            weight = 1 / (distance + 1e-3)
            result[rows] = np.einsum("nk,nkd->nd", weight / weight.sum(axis=1, keepdims=True), self.target_m[nearest])
        return result


@dataclass(frozen=True)
class LogDistanceMl:
    """Likelihood over a grid of positions under a calibrated log-distance law per receiver; answers the posterior mean.

    The prior is flat over the box of the training positions and a margin. Silence of a receiver counts by its fitted
    chance of being off, so a receiver that is often off says little by it.
    """

    law: LogDistanceLaw
    grid_m: Float64[FloatArray, "g 3"]

    @classmethod
    def fit(cls, observations: Observations, target_m: Float64[FloatArray, "n 3"]) -> LogDistanceMl:
        """Calibrate offset, slope, spread and silence of every receiver on training examples.

        Raises
        ------
        InvalidInputError
            Where nothing was heard.
        """
        _require_heard(observations)
        return cls(fit_law(observations, target_m), _make_grid(target_m))

    def predict(self, observations: Observations) -> Float64[FloatArray, "n 2"]:
        """Return posterior means, [n, 2] m."""
        result = np.empty((len(observations), 2))
        for start in range(0, len(observations), _BLOCK_ROWS):
            rows = slice(start, start + _BLOCK_ROWS)
            score = log_likelihood(self.law, observations.rows(rows), self.grid_m)
            weight = np.exp(score - score.max(axis=1, keepdims=True))
            result[rows] = (weight @ self.grid_m[:, :2]) / weight.sum(axis=1, keepdims=True)
        return result


def _fingerprint(observations: Observations, silence_dbm: float) -> Float64[FloatArray, "n r"]:
    return np.where(observations.heard, observations.rssi_dbm, silence_dbm)


def _make_grid(target_m: Float64[FloatArray, "n 3"]) -> Float64[FloatArray, "g 3"]:
    low, high = target_m.min(axis=0), target_m.max(axis=0)
    margin = _GRID_MARGIN * np.maximum(high - low, 1.0)
    axes = [np.linspace(low[k] - margin[k], high[k] + margin[k], _GRID_CELLS_A_SIDE) for k in (0, 1)]
    east, north = (values.ravel() for values in np.meshgrid(*axes, indexing="ij"))
    return np.stack([east, north, np.full_like(east, target_m[:, 2].mean())], axis=1)


def _require_examples(target_m: Float64[FloatArray, "n 3"]) -> None:
    if len(target_m) == 0:
        raise InvalidInputError("A baseline needs at least one training example.")


def _require_heard(observations: Observations) -> None:
    if not observations.heard.any():
        raise InvalidInputError("No training example was heard by any receiver, so there is no strength to fit.")
