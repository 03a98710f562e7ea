"""From log-densities over a square grid to a position and its covariance.

The position is the most probable *place*, not the mean: a likelihood of strengths has several hills, and the mean of two hills is a
valley. It maximizes the chance to be right within a few grid steps; the covariance is the second moment about it over all hills.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Final

import numpy as np
from jaxtyping import Float64

from heimdall.rf.shapes import FloatArray

MAX_STEPS_A_SIDE: Final = 64
BLUR_STEPS: Final = 1.5
"""Deviation of the window in which probability is gathered, grid steps."""
REFINE_STEPS: Final = 2.0
"""Deviation of the window of the mean shift (Fukunaga and Hostetler 1975) that frees the answer from the grid."""
NUM_SHIFTS: Final = 4

_MARGIN: Final = 0.1
_MAX_GROWTH: Final = 1.0
"""How far receivers outside may stretch the box, in its own extents: a transmitter is near them, but a far one makes the grid coarse."""


@dataclass(frozen=True)
class Posterior:
    """Positions [n, 2] m and covariances [n, 2, 2] m²."""

    position_m: Float64[FloatArray, "n 2"]
    covariance_m2: Float64[FloatArray, "n 2 2"]


@dataclass(frozen=True)
class SquareGrid:
    """Points of equal distance on the east-north plane, east first."""

    origin_m: tuple[float, float]
    step_m: float
    num_east: int
    num_north: int
    up_m: float

    @cached_property
    def points_m(self) -> Float64[FloatArray, "g 3"]:
        """All points, north fastest."""
        east = self.origin_m[0] + self.step_m * np.arange(self.num_east)
        north = self.origin_m[1] + self.step_m * np.arange(self.num_north)
        east, north = (values.ravel() for values in np.meshgrid(east, north, indexing="ij"))
        return np.stack([east, north, np.full_like(east, self.up_m)], axis=1)

    def blur(self) -> tuple[FloatArray, FloatArray]:
        """Return the window along east [e, e] and north [n, n]; their product gathers probability about each point."""
        east, north = (np.subtract.outer(np.arange(count), np.arange(count)) for count in (self.num_east, self.num_north))
        return np.exp(-0.5 * np.square(east / BLUR_STEPS)), np.exp(-0.5 * np.square(north / BLUR_STEPS))


def make_square_grid(target_m: Float64[FloatArray, "n 3"], site_m: Float64[FloatArray, "r 3"]) -> SquareGrid:
    """Return a grid over the box of training positions and receivers and a margin, at most 64 points a side."""
    low, high = target_m[:, :2].min(axis=0), target_m[:, :2].max(axis=0)
    reach = _MAX_GROWTH * np.maximum(high - low, 1.0)
    sites = np.clip(site_m[:, :2], low - reach, high + reach)
    low, high = np.minimum(low, sites.min(axis=0, initial=np.inf)), np.maximum(high, sites.max(axis=0, initial=-np.inf))
    extent = np.maximum(high - low, 1.0)
    margin = _MARGIN * float(extent.max())
    step = (float(extent.max()) + 2 * margin) / (MAX_STEPS_A_SIDE - 1)
    count = np.ceil((extent + 2 * margin) / step - 1e-9).astype(int) + 1
    origin = (low + high) / 2 - step * (count - 1) / 2
    return SquareGrid((float(origin[0]), float(origin[1])), step, int(count[0]), int(count[1]), float(target_m[:, 2].mean()))


def locate(grid: SquareGrid, log_density: Float64[FloatArray, "n g"]) -> Posterior:
    """Return the most probable places and the second moments about them.

    Parameters
    ----------
    grid
        Where the densities stand.
    log_density
        [n, g] nats up to a constant of the example.
    """
    points = grid.points_m[:, :2]
    weight = np.exp(log_density - log_density.max(axis=1, keepdims=True))
    weight /= weight.sum(axis=1, keepdims=True)
    along_east, along_north = grid.blur()
    gathered = along_east @ weight.reshape(-1, grid.num_east, grid.num_north) @ along_north
    position = points[gathered.reshape(len(weight), -1).argmax(axis=1)]
    width = REFINE_STEPS * grid.step_m
    for _ in range(NUM_SHIFTS):
        near = weight * np.exp(-0.5 * np.square((points - position[:, None]) / width).sum(axis=2))
        position = near @ points / near.sum(axis=1, keepdims=True)
    offset = points - position[:, None]
    covariance = np.einsum("ng,ngi,ngj->nij", weight, offset, offset) + np.eye(2) * grid.step_m**2 / 12
    return Posterior(position, covariance)
