"""Radio map: for every receiver, how probable each reported strength is at each place; and the position that all reports together tell.

A log-distance law with a noise floor (``strength``) carries each receiver far from where it was measured; a Gaussian process over its
shadowing (``shadow_field``) bends it where it was. The map is kept as tables over place and strength, so a posterior is a product of
matrices: quick here, and exact inside an exported network.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Final

import numpy as np
from jaxtyping import Float64
from scipy.spatial.distance import cdist
from scipy.special import ndtr

from heimdall.domain.errors import InvalidInputError
from heimdall.rf.geodesy import slant_ranges
from heimdall.rf.observations import Observations
from heimdall.rf.place_posterior import Posterior, SquareGrid, locate, make_square_grid
from heimdall.rf.shadow_field import Places, Readings, gather_places, predict_field, score_field
from heimdall.rf.shapes import FloatArray, IntArray
from heimdall.rf.strength import StrengthLaw, decades, fit_strength_law, log_density

STRENGTH_STEPS_DB: Final = np.concatenate([np.arange(-6.0, 6.0), np.arange(6.0, 24.0, 2.0), np.arange(24.0, 78.0, 4.0)])
"""dB above the floor; densities between two steps are interpolated."""

DISTANCE_STEPS: Final = np.linspace(np.log10(0.02), np.log10(500.0), 100)
"""Decades of a kilometre; for receivers that move."""

OUTLIER_LOG_DENSITY: Final = float(np.log(1e-3 / 80))
"""Nats per dB: one report in a thousand may be anything over 80 dB, so that no receiver rules a place out alone."""

TEMPER: Final = 0.6
"""Power of the likelihood. Receivers share the transmitter's surroundings, so their reports are worth less than independent ones."""

_PRIOR_LENGTHS: Final = 2.0
_PRIOR_ELSEWHERE: Final = 0.3
_SCORED_RECEIVERS: Final = 4
_BLOCK_ROWS: Final = 128
_THRESHOLD_PERCENTILE: Final = 2.0


@dataclass(frozen=True)
class RadioMap:
    """Log-densities by receiver, strength and place. The last strength step stands for silence, nats."""

    grid: SquareGrid
    law: StrengthLaw
    log_prior: Float64[FloatArray, " g"]
    """Transmitters are found where they were found before, within twice the correlation length, and a little everywhere."""
    has_field: bool
    """False where the training examples show no shadowing that neighbours share."""
    fixed: IntArray
    moving: IntArray
    """[f], [m] known receivers by kind."""
    place_table: Float64[FloatArray, "f s g"]
    distance_table: Float64[FloatArray, "m s d"]

    @classmethod
    def fit(cls, observations: Observations, target_m: Float64[FloatArray, "n 3"], *, like: RadioMap | None = None) -> RadioMap:
        """Fit law, shadowing and silence of every receiver.

        Parameters
        ----------
        observations
            Training examples.
        target_m
            [n, 3] their positions, m.
        like
            Another map, whose grid and laws (five numbers a receiver) are taken over; only the shadowing is fitted anew.

        Raises
        ------
        InvalidInputError
            Where nothing was heard.
        """
        if not observations.heard.any():
            raise InvalidInputError("No training example was heard by any receiver, so there is no strength to map.")
        law = like.law if like else fit_strength_law(observations, target_m)
        if like:
            law = replace(law, is_known=np.asarray(law.is_known & observations.heard.any(axis=0), bool))
        fixed = np.flatnonzero(law.is_known & ~observations.is_moving)
        moving = np.flatnonzero(law.is_known & observations.is_moving)
        sites = np.array([_find_site(observations, int(receiver)) for receiver in fixed]).reshape(-1, 3)
        grid = like.grid if like else make_square_grid(target_m, sites)
        places = gather_places(target_m, grid.points_m)
        readings = [_read(law, observations, target_m, places, int(receiver)) for receiver in fixed]
        has_field = like.has_field if like else _show_field(readings, places)
        place_table = np.zeros((len(fixed), len(STRENGTH_STEPS_DB) + 1, len(grid.points_m)))
        for row, receiver in enumerate(fixed):
            expected = _expect(law, int(receiver), decades(slant_ranges(grid.points_m, sites[None, row : row + 1])[:, 0]))
            mean, variance = predict_field(readings[row], places, has_field=has_field)
            place_table[row] = _tabulate(law, observations, int(receiver), expected + mean, np.sqrt(variance))
        distance_table = np.zeros((len(moving), len(STRENGTH_STEPS_DB) + 1, len(DISTANCE_STEPS)))
        for row, receiver in enumerate(moving):
            expected = _expect(law, int(receiver), DISTANCE_STEPS)
            spread = np.full(len(expected), law.spread_db[receiver])
            distance_table[row] = _tabulate(law, observations, int(receiver), expected, spread)
        return cls(grid, law, _tell_prior(places, grid), has_field, fixed, moving, place_table, distance_table)

    def log_likelihood(self, observations: Observations) -> Float64[FloatArray, "n g"]:
        """Return the log-likelihood of every grid point for every example, nats, not tempered."""
        weight = _weigh(self.law, observations, self.fixed)
        score: FloatArray = weight.reshape(len(weight), -1) @ self.place_table.reshape(-1, self.place_table.shape[-1])
        for row, receiver in enumerate(self.moving):
            rows = np.flatnonzero(observations.present[:, receiver])
            if len(rows) == 0:
                continue
            by_distance = _weigh(self.law, observations.rows(rows), self.moving[row : row + 1])[:, 0] @ self.distance_table[row]
            distance = decades(slant_ranges(self.grid.points_m, observations.receiver_m[rows, receiver][None]).T)
            score[rows] += _interpolate(by_distance, distance)
        return score

    def posterior(self, observations: Observations) -> Posterior:
        """Return position and covariance of every example."""
        parts = [
            locate(self.grid, self.log_prior + TEMPER * self.log_likelihood(observations.rows(slice(start, start + _BLOCK_ROWS))))
            for start in range(0, len(observations), _BLOCK_ROWS)
        ]
        return Posterior(np.concatenate([part.position_m for part in parts]), np.concatenate([part.covariance_m2 for part in parts]))

    def predict(self, observations: Observations) -> Float64[FloatArray, "n 2"]:
        """Return the most probable places, [n, 2] m."""
        return self.posterior(observations).position_m


def _expect(law: StrengthLaw, receiver: int, distance: FloatArray) -> FloatArray:
    return np.asarray(law.offset_dbm[receiver] + law.slope_db[receiver] * distance, np.float64)


def _read(law: StrengthLaw, observations: Observations, target_m: FloatArray, places: Places, receiver: int) -> Readings:
    heard = observations.heard[:, receiver]
    distance = slant_ranges(target_m[heard], observations.receiver_m[heard, receiver][:, None])[:, 0]
    return Readings(
        place=places.of_example[heard],
        law_dbm=_expect(law, receiver, decades(distance)),
        reported_dbm=observations.rssi_dbm[heard, receiver],
        floor_dbm=float(law.floor_dbm[receiver]),
        jitter_db=float(law.jitter_db[receiver]),
        spread_db=float(law.spread_db[receiver]),
    )


def _find_site(observations: Observations, receiver: int) -> FloatArray:
    return np.asarray(observations.receiver_m[observations.present[:, receiver], receiver].mean(axis=0), np.float64)


def _tell_prior(places: Places, grid: SquareGrid) -> FloatArray:
    distance_m = cdist(grid.points_m[:, :2], places.centre_m)
    found = np.exp(-0.5 * np.square(distance_m / (_PRIOR_LENGTHS * places.length_m))).sum(axis=1)
    return np.asarray(np.log(found / found.mean() + _PRIOR_ELSEWHERE), np.float64)


def _show_field(readings: list[Readings], places: Places) -> bool:
    """Say whether shadowing shared by neighbours predicts places left out, judged on the receivers heard most."""
    judged = sorted(readings, key=lambda reading: len(reading.place), reverse=True)[:_SCORED_RECEIVERS]
    gain = sum(score_field(one, places, has_field=True) - score_field(one, places, has_field=False) for one in judged)
    return gain > 0


def _tabulate(law: StrengthLaw, observations: Observations, receiver: int, mean_dbm: FloatArray, spread_db: FloatArray) -> FloatArray:
    """Return [s, p] log-densities at places with this mean and deviation of the signal; silence last."""
    floor = float(law.floor_dbm[receiver])
    steps = (floor + STRENGTH_STEPS_DB)[:, None]
    means = np.arange(floor - 60, max(floor + 90, float(mean_dbm.max())) + 2.5, 2.5)
    spreads = np.linspace(spread_db.min(), spread_db.max() + 1e-6, 5)
    sheets = np.stack([log_density(steps, means[None], spread, floor, float(law.jitter_db[receiver])) for spread in spreads])
    density = _read_off(sheets, (mean_dbm - means[0]) / 2.5, (spread_db - spreads[0]) / (spreads[1] - spreads[0]))
    heard, present = observations.heard[:, receiver], observations.present[:, receiver]
    threshold = float(np.percentile(observations.rssi_dbm[heard, receiver], _THRESHOLD_PERCENTILE))
    outage = 1 - (heard.sum() + 1) / (present.sum() + 2)
    below = ndtr((threshold - mean_dbm) / spread_db) if floor < threshold - 6 else np.zeros_like(mean_dbm)
    silence = np.log(outage + (1 - outage) * below)
    return np.concatenate([np.logaddexp(density, OUTLIER_LOG_DENSITY), silence[None]])


def _read_off(sheets: Float64[FloatArray, "v s m"], mean: FloatArray, spread: FloatArray) -> Float64[FloatArray, "s p"]:
    """Interpolate between five spreads and steps of the mean, both given in steps."""
    column = np.clip(mean.astype(np.int64), 0, sheets.shape[2] - 2)
    sheet = np.clip(spread.astype(np.int64), 0, sheets.shape[0] - 2)
    across, along = np.clip(mean - column, 0, 1), np.clip(spread - sheet, 0, 1)
    corners = [
        ((1 - along) * (1 - across), sheets[sheet, :, column]),
        ((1 - along) * across, sheets[sheet, :, column + 1]),
        (along * (1 - across), sheets[sheet + 1, :, column]),
        (along * across, sheets[sheet + 1, :, column + 1]),
    ]
    return np.asarray(sum(weight * values.T for weight, values in corners), np.float64)


def _weigh(law: StrengthLaw, observations: Observations, receivers: IntArray) -> Float64[FloatArray, "n f s"]:
    """Return each report as shares of the two nearest strength steps; silence has the last step, absence none at all."""
    above = observations.rssi_dbm[:, receivers] - law.floor_dbm[receivers]
    heard = observations.heard[:, receivers]
    silent = observations.present[:, receivers] & ~heard
    steps = STRENGTH_STEPS_DB
    lower = np.clip(np.searchsorted(steps, above, side="right") - 1, 0, len(steps) - 2)
    share = np.clip((above - steps[lower]) / (steps[lower + 1] - steps[lower]), 0, 1)
    weight = np.zeros((*above.shape, len(steps) + 1))
    np.put_along_axis(weight, lower[..., None], ((1 - share) * heard)[..., None], axis=2)
    np.put_along_axis(weight, lower[..., None] + 1, (share * heard)[..., None], axis=2)
    weight[..., -1] = silent
    return weight


def _interpolate(by_distance: Float64[FloatArray, "n d"], distance: Float64[FloatArray, "n g"]) -> Float64[FloatArray, "n g"]:
    step = DISTANCE_STEPS[1] - DISTANCE_STEPS[0]
    place = np.clip((distance - DISTANCE_STEPS[0]) / step, 0, len(DISTANCE_STEPS) - 1 - 1e-9)
    lower = place.astype(np.int64)
    share = place - lower
    below, above = np.take_along_axis(by_distance, lower, axis=1), np.take_along_axis(by_distance, lower + 1, axis=1)
    return np.asarray((1 - share) * below + share * above, np.float64)
