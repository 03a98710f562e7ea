"""Path loss over terrain: the Irregular Terrain Model (Longley-Rice), point to point, by the itmlogic package.

itmlogic 1.2 takes the last but one point of a profile for the receiver's ground in its line-of-sight branch (``qlrpfl``:
``pfl[np+1]``), where the model's own code has the last one (``pfl[np+2]``). So the preparation of a path is done here, with
itmlogic's subroutines for everything else.

References
----------
Hufford, "The ITS Irregular Terrain Model, version 1.2.2: the algorithm", NTIA 1999, sections 41 to 48 (itm.pdf).
Oughton et al. 2020, "itmlogic: The Irregular Terrain Model by Longley and Rice", JOSS 5(51) 2266.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from itmlogic.lrprop import lrprop
from itmlogic.preparatory_subroutines.dlthx import dlthx
from itmlogic.preparatory_subroutines.qlrps import qlrps
from itmlogic.preparatory_subroutines.zlsq1 import zlsq1
from itmlogic.statistics.avar import avar
from jaxtyping import Float, Float64

from heimdall.domain.datasets import CoordinateFrame
from heimdall.rf.propagation import free_space_loss_db
from heimdall.rf.shapes import AnyFloatArray, FloatArray
from heimdall.rf.terrain import Terrain

SURFACE_REFRACTIVITY_N: Final = 301.0
"""N-units, continental temperate, reduced to sea level (itm.pdf, table of climates)."""
PERMITTIVITY: Final = 15.0
CONDUCTIVITY_S_M: Final = 0.005
"""Average ground (itm.pdf, table of ground constants)."""

_CONTINENTAL_TEMPERATE: Final = 5
_VERTICAL: Final = 1
_SINGLE_MESSAGE: Final = 12
_MIN_DISTANCE_M: Final = 1_000.0
_MAX_BLOCK_POINTS: Final = 2_000_000

Properties = dict[str, Any]


@dataclass(frozen=True)
class LongleyRicePathLoss:
    """Median loss over a user's terrain; a ``PathLossModel``.

    Antennas stand ``transmitter_height_m`` and ``receiver_height_m`` above the ground that the terrain says, whatever altitude
    a position carries. Paths shorter than 1 km, for which the model is not made, have the loss of free space.
    """

    terrain: Terrain
    frame: CoordinateFrame
    frequency_mhz: float
    transmitter_height_m: float = 2.0
    receiver_height_m: float = 15.0
    num_points: int = 90
    """Of a profile, ends included; the spacing follows the length."""
    gradient_step_m: float = 250.0

    def path_loss_db(self, transmitter_m: Float64[FloatArray, "n 3"], receiver_m: Float64[FloatArray, "r 3"]) -> Float64[FloatArray, "n r"]:
        """Return the loss in dB of every path.

        Raises
        ------
        InvalidInputError
            Where the terrain does not cover a path.
        """
        result = np.empty((len(transmitter_m), len(receiver_m)))
        step = max(1, _MAX_BLOCK_POINTS // self.num_points)
        for column, receiver in enumerate(receiver_m):
            for start in range(0, len(transmitter_m), step):
                rows = slice(start, start + step)
                result[rows, column] = self._losses_to(receiver, transmitter_m[rows])
        return result

    def _losses_to(self, receiver_m: FloatArray, transmitter_m: FloatArray) -> FloatArray:
        ends = np.broadcast_to(receiver_m, transmitter_m.shape)
        profiles = self.terrain.profiles_m(self.frame, transmitter_m, ends, self.num_points)
        distances = np.sqrt(np.square(transmitter_m - receiver_m).sum(axis=1))
        heights = (self.transmitter_height_m, self.receiver_height_m)
        return np.array(
            [
                point_to_point_loss_db(profile, distance, heights, self.frequency_mhz)
                for profile, distance in zip(profiles, distances.tolist(), strict=True)
            ]
        )


def point_to_point_loss_db(
    profile_m: Float[AnyFloatArray, " p"], distance_m: float, heights_m: tuple[float, float], frequency_mhz: float
) -> float:
    """Return the median loss in dB over one profile.

    Parameters
    ----------
    profile_m
        [p] ground from transmitter to receiver, evenly spaced, ends included, m.
    distance_m
        Between the ends.
    heights_m
        Of the two antennas above the ground.
    frequency_mhz
        20 to 20 000.
    """
    if distance_m < _MIN_DISTANCE_M:
        return free_space_loss_db(max(distance_m, 10.0), frequency_mhz)
    prop = prepare_path(profile_m, distance_m, heights_m, frequency_mhz)
    excess_db, _ = avar(0.0, 0.0, 0.0, lrprop(0, prop))
    return free_space_loss_db(distance_m, frequency_mhz) + float(excess_db)


def prepare_path(
    profile_m: Float[AnyFloatArray, " p"], distance_m: float, heights_m: tuple[float, float], frequency_mhz: float
) -> Properties:
    """Return the model's properties of a path: horizons, effective heights, roughness (itm.pdf, section 43)."""
    ground = np.asarray(profile_m, np.float64)
    last = len(ground) - 1
    spacing_m = distance_m / last
    distance_m = last * spacing_m  # as the model has it: its counts of points are sensitive to the last bit
    pfl: list[Any] = [last, spacing_m, *ground.tolist()]
    wave_number, curvature, refractivity, impedance = qlrps(
        frequency_mhz, float(ground.mean()), SURFACE_REFRACTIVITY_N, _VERTICAL, PERMITTIVITY, CONDUCTIVITY_S_M
    )
    take_off, horizon = find_horizons(ground, distance_m, heights_m, curvature)
    low = min(15 * heights_m[0], 0.1 * horizon[0])
    high = distance_m - min(15 * heights_m[1], 0.1 * horizon[1])
    prop: Properties = {
        "hg": list(heights_m), "wn": wave_number, "gme": curvature, "ens": refractivity, "zgnd": impedance, "kwx": 0, "lvar": 5,
        "klim": _CONTINENTAL_TEMPERATE, "klimx": 0, "mdvar": _SINGLE_MESSAGE, "mdvarx": _SINGLE_MESSAGE, "mdp": -1, "ptx": 0,
        "dist": distance_m, "dh": dlthx(pfl, low, high), "the": list(take_off), "dl": list(horizon), "pfl": pfl,
    }  # fmt: skip
    if horizon[0] + horizon[1] >= 1.5 * distance_m:
        fitted = zlsq1(pfl, low, high)
        prop["he"] = _effective_heights(ground, heights_m, fitted)
        _smooth_horizons(prop)
    else:
        at_start, _ = zlsq1(pfl, low, 0.9 * horizon[0])
        _, at_end = zlsq1(pfl, distance_m - 0.9 * horizon[1], high)
        prop["he"] = _effective_heights(ground, heights_m, (at_start, at_end))
    return prop


def find_horizons(
    ground_m: Float64[FloatArray, " p"], distance_m: float, heights_m: tuple[float, float], curvature_1_m: float
) -> tuple[tuple[float, float], tuple[float, float]]:
    """Return take-off angles (rad) and distances (m) of both ends' horizons (itm.pdf, section 48).

    The highest angle over a curved Earth and the first point that has it; on a clear path each end is the other's horizon.
    """
    last = len(ground_m) - 1
    along = np.arange(1, last) * (distance_m / last)
    start, end = float(ground_m[0] + heights_m[0]), float(ground_m[-1] + heights_m[1])
    bend = 0.5 * curvature_1_m
    direct = (end - start) / distance_m
    found = []
    for near, s, z, clear in ((start, along, ground_m[1:-1], direct), (end, along, ground_m[-2:0:-1], -direct)):
        angle = (z - near) / s - bend * s
        top = int(np.argmax(angle)) if last > 1 else 0
        is_hidden = last > 1 and angle[top] > clear - bend * distance_m
        found.append((float(angle[top]), float(s[top])) if is_hidden else (clear - bend * distance_m, distance_m))
    (angle_a, distance_a), (angle_b, distance_b) = found
    return (angle_a, angle_b), (distance_a, distance_b)


def _effective_heights(ground: FloatArray, heights_m: tuple[float, float], fitted: tuple[float, float]) -> list[float]:
    return [heights_m[0] + max(float(ground[0]) - fitted[0], 0.0), heights_m[1] + max(float(ground[-1]) - fitted[1], 0.0)]


def _smooth_horizons(prop: Properties) -> None:
    """Replace the horizons of a clear path by those of a smooth Earth of its roughness (itm.pdf, section 43)."""
    he, gme, dh, dist = prop["he"], prop["gme"], prop["dh"], prop["dist"]

    def horizon(height: float) -> float:
        return math.sqrt(2 * height / gme) * math.exp(-0.07 * math.sqrt(dh / max(height, 5.0)))

    prop["dl"] = [horizon(height) for height in he]
    total = sum(prop["dl"])
    if total <= dist:
        he[:] = [height * (dist / total) ** 2 for height in he]
        prop["dl"] = [horizon(height) for height in he]
    for index in (0, 1):
        smooth = math.sqrt(2 * he[index] / gme)
        prop["the"][index] = (0.65 * dh * (smooth / prop["dl"][index] - 1) - 2 * he[index]) / smooth
