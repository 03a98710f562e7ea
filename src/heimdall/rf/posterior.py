"""Where a transmitter may be, as a density on a grid: strengths, times of arrival and silence together. The yardstick.

Given the model that made the data, this is Bayes-optimal up to the grid. Nuisances are integrated: the time of transmission in
closed form, power and the part of shadowing that all receivers share over nodes.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

import numpy as np
from jaxtyping import Bool, Float64
from scipy.special import log_ndtr

from heimdall.rf.bounds import StrengthErrors
from heimdall.rf.shapes import BoolArray, FloatArray

LossMap = Callable[[Float64[FloatArray, "g 3"]], Float64[FloatArray, "g r"]]
"""Median loss in dB from every point to every receiver: a power law, or a model over terrain."""

_SIDE: Final = 48
_MAX_LEVELS: Final = 7
_MASS_KEPT: Final = 0.9995
_CELLS_PER_SIGMA: Final = 2.0
_POWER_NODES: Final = 25
_POWER_SPAN: Final = 3.5


@dataclass(frozen=True)
class Heard:
    """One example: r receivers."""

    heard: Bool[BoolArray, " r"]
    rssi_dbm: Float64[FloatArray, " r"]
    arrival_m: Float64[FloatArray, " r"]
    """Time of arrival times c, with any common offset."""
    arrival_sigma_m: Float64[FloatArray, " r"]
    """Of all independent errors together; infinite where times tell nothing."""


@dataclass(frozen=True)
class StrengthModel:
    """How strengths come about. Power and threshold in dBm."""

    loss: LossMap
    errors: StrengthErrors
    power_dbm: float
    """Mean; its spread is ``errors.power_sigma_db``, finite."""
    threshold_dbm: float
    """Below it a receiver hears nothing."""


@dataclass(frozen=True)
class Posterior:
    """A density over cells and its moments."""

    east_m: Float64[FloatArray, " e"]
    north_m: Float64[FloatArray, " n"]
    probability: Float64[FloatArray, "e n"]
    """Of each cell of the last grid; sums to 1."""
    mean_m: Float64[FloatArray, " 2"]
    covariance_m2: Float64[FloatArray, "2 2"]


def locate_on_grid(
    example: Heard,
    receiver_m: Float64[FloatArray, "r 3"],
    region_m: tuple[FloatArray, FloatArray],
    up_m: float,
    strength: StrengthModel | None = None,
) -> Posterior:
    """Return the posterior of one example under a flat prior over a box.

    Parameters
    ----------
    example
        What was measured.
    receiver_m
        [r, 3] east, north, up.
    region_m
        South-west and north-east corner (east, north).
    up_m
        Known height of the transmitter in the frame.
    strength
        How strengths and silence count; None: not at all.

    Notes
    -----
    Grids zoom in on the box of nearly all the mass until a standard deviation spans two cells. While cells are wider than the errors of
    arrival, those are widened by half a cell, so that a narrow ridge is not missed between nodes.
    """
    low, high = (np.asarray(corner, np.float64).copy() for corner in region_m)
    for level in range(_MAX_LEVELS):
        axes = [low[k] + (np.arange(_SIDE) + 0.5) * (high[k] - low[k]) / _SIDE for k in (0, 1)]
        cell_m = (high - low) / _SIDE
        east, north = np.meshgrid(*axes, indexing="ij")
        grid = np.stack([east.ravel(), north.ravel(), np.full(east.size, up_m)], axis=1)
        score = arrival_log_likelihood(example, receiver_m, grid, blur_m=0.5 * float(cell_m.max()))
        if strength is not None:
            score = score + strength_log_likelihood(example, strength, grid)
        probability = np.exp(score - score.max())
        probability /= probability.sum()
        mean = probability @ grid[:, :2]
        centred = grid[:, :2] - mean
        covariance = (centred * probability[:, None]).T @ centred
        spread = np.sqrt(np.diag(covariance))
        if level == _MAX_LEVELS - 1 or (spread > _CELLS_PER_SIGMA * cell_m).all():
            break
        box = _box_of_mass(probability.reshape(_SIDE, _SIDE), low, cell_m)
        if (box[1] - box[0] > 0.8 * (high - low)).all():
            break
        low, high = box
    covariance += np.diag(cell_m**2 / 12)
    return Posterior(axes[0], axes[1], probability.reshape(_SIDE, _SIDE), mean, covariance)


def arrival_log_likelihood(
    example: Heard, receiver_m: Float64[FloatArray, "r 3"], grid_m: Float64[FloatArray, "g 3"], *, blur_m: float = 0.0
) -> Float64[FloatArray, " g"]:
    """Return the log-likelihood of times of arrival at every point, the time of transmission integrated with a flat prior."""
    used = example.heard & np.isfinite(example.arrival_sigma_m)
    if used.sum() < 2:
        return np.zeros(len(grid_m))
    weight = 1 / (np.square(example.arrival_sigma_m[used]) + blur_m**2)
    offset = grid_m[:, None] - receiver_m[None, used]
    error = example.arrival_m[used] - np.sqrt(np.einsum("grk,grk->gr", offset, offset))
    error -= (error @ weight / weight.sum())[:, None]
    return np.asarray(-0.5 * np.square(error) @ weight, np.float64)


def strength_log_likelihood(example: Heard, model: StrengthModel, grid_m: Float64[FloatArray, "g 3"]) -> Float64[FloatArray, " g"]:
    """Return the log-likelihood of strengths, and of silence where nothing was heard, at every point."""
    loss = model.loss(grid_m)
    own_db = model.errors.sigma_db * np.sqrt(1 - model.errors.correlation)
    shared_db = np.sqrt(model.errors.correlation * model.errors.sigma_db**2 + model.errors.power_sigma_db**2)
    node = np.linspace(-_POWER_SPAN, _POWER_SPAN, _POWER_NODES)
    score = np.empty((_POWER_NODES, len(grid_m)))
    heard, silent = example.heard, ~example.heard
    for index, level_dbm in enumerate(model.power_dbm + shared_db * node):
        expected = level_dbm - loss
        score[index] = -0.5 * (node[index] ** 2 + np.square((example.rssi_dbm[heard] - expected[:, heard]) / own_db).sum(axis=1))
        if silent.any():
            score[index] += log_ndtr((model.threshold_dbm - expected[:, silent]) / own_db).sum(axis=1)
    top = score.max(axis=0)
    return np.asarray(top + np.log(np.exp(score - top).sum(axis=0)), np.float64)


def _box_of_mass(probability: FloatArray, low: FloatArray, cell_m: FloatArray) -> tuple[FloatArray, FloatArray]:
    """Return the box of the most probable cells that hold nearly all, with one cell around it."""
    ordered = np.sort(probability.ravel())[::-1]
    limit = ordered[np.searchsorted(np.cumsum(ordered), _MASS_KEPT)] if ordered[0] < _MASS_KEPT else ordered[0]
    cells = np.argwhere(probability >= limit)
    return low + (cells.min(axis=0) - 1) * cell_m, low + (cells.max(axis=0) + 2) * cell_m
