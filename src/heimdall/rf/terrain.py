"""Heights of the ground on a grid, and profiles along a path."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float, Float64

from heimdall.domain.datasets import CoordinateFrame
from heimdall.domain.errors import InvalidInputError
from heimdall.rf.geodesy import enu_to_geodetic
from heimdall.rf.shapes import AnyFloatArray, BoolArray, FloatArray


@dataclass(frozen=True)
class Terrain:
    """Elevations above mean sea level on a grid of latitude and longitude.

    The first node lies at the north-west corner; rows go south, columns east. Cells without data hold NaN.
    """

    name: str
    """Where the heights come from."""
    north_deg: float
    west_deg: float
    spacing_deg: tuple[float, float]
    """Of latitude and longitude, positive."""
    elevation_m: Float[AnyFloatArray, "rows columns"]

    def covers(self, latitude_deg: Float[AnyFloatArray, "*n"], longitude_deg: Float[AnyFloatArray, "*n"]) -> Bool[BoolArray, "*n"]:
        """Say which points lie on the grid; heights there may still be missing."""
        row, column = self._place(latitude_deg, longitude_deg)
        rows, columns = self.elevation_m.shape
        return np.asarray((row >= 0) & (row <= rows - 1) & (column >= 0) & (column <= columns - 1), bool)

    def elevations_m(
        self, latitude_deg: Float[AnyFloatArray, "*n"], longitude_deg: Float[AnyFloatArray, "*n"]
    ) -> Float64[FloatArray, "*n"]:
        """Return heights between the nodes (bilinear).

        Raises
        ------
        InvalidInputError
            Where a point lies off the grid or its height is missing: flat ground is never assumed.
        """
        row, column = self._place(latitude_deg, longitude_deg)
        if not self.covers(latitude_deg, longitude_deg).all():
            raise self._missing("does not cover")
        top = np.minimum(row.astype(np.int64), self.elevation_m.shape[0] - 2)
        left = np.minimum(column.astype(np.int64), self.elevation_m.shape[1] - 2)
        down, right = row - top, column - left
        heights = self.elevation_m
        north = heights[top, left] * (1 - right) + heights[top, left + 1] * right
        south = heights[top + 1, left] * (1 - right) + heights[top + 1, left + 1] * right
        result = np.asarray(north * (1 - down) + south * down, np.float64)
        if np.isnan(result).any():
            raise self._missing("has holes in")
        return result

    def profiles_m(
        self, frame: CoordinateFrame, start_m: Float[AnyFloatArray, "n 3"], end_m: Float[AnyFloatArray, "n 3"], num_points: int
    ) -> Float64[FloatArray, "n p"]:
        """Return the ground under the straight line between two points, evenly spaced, ends included, [n, p] m.

        The line is a chord in space, so the points below it lie on the geodesic.
        """
        share = np.linspace(0, 1, num_points)[None, :, None]
        line = np.asarray(start_m, np.float64)[:, None] * (1 - share) + np.asarray(end_m, np.float64)[:, None] * share
        latitude, longitude, _ = enu_to_geodetic(frame, line)
        return self.elevations_m(latitude, longitude)

    def _place(self, latitude_deg: AnyFloatArray, longitude_deg: AnyFloatArray) -> tuple[FloatArray, FloatArray]:
        row = (self.north_deg - np.asarray(latitude_deg, np.float64)) / self.spacing_deg[0]
        column = (np.asarray(longitude_deg, np.float64) - self.west_deg) / self.spacing_deg[1]
        return row, column

    def _missing(self, what: str) -> InvalidInputError:
        rows, columns = self.elevation_m.shape
        south, east = self.north_deg - (rows - 1) * self.spacing_deg[0], self.west_deg + (columns - 1) * self.spacing_deg[1]
        return InvalidInputError(
            f"The terrain '{self.name}' ({south:.2f} to {self.north_deg:.2f} N, {self.west_deg:.2f} to {east:.2f} E) {what} this region. "
            "Add tiles for it, or choose log-distance.",
            field="propagation",
        )
