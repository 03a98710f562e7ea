"""Where a transmitter stands among the receivers that heard it: what the geometry alone does to an error."""

from __future__ import annotations

from typing import Final

import numpy as np
from jaxtyping import Bool, Float, Float64

from heimdall.rf.shapes import AnyFloatArray, BoolArray, FloatArray

_FLAT: Final = 1e-9
"""A determinant below this share of the squared trace: all receivers stand in one line with the transmitter."""


def horizontal_dilution(
    transmitter_m: Float[AnyFloatArray, "n 3"], receiver_m: Float[AnyFloatArray, "n r 3"], heard: Bool[BoolArray, "n r"]
) -> Float64[FloatArray, " n"]:
    """Return the horizontal dilution of precision of time differences, [n], without unit.

    Equal, independent range errors of 1 m at the receivers that heard give a position error of this many metres (root mean square,
    east and north together), the time of emission being unknown: ``sqrt(trace(H^-1))`` with ``H`` the scatter of the unit vectors
    towards the receivers around their mean (Kaplan and Hegarty, Understanding GPS, chapter 7, the clock eliminated). The height is
    taken as known.

    Returns
    -------
    array
        Infinite where fewer than three receivers heard or all of them lie in one direction.
    """
    difference = np.asarray(receiver_m, np.float64) - np.asarray(transmitter_m, np.float64)[:, None]
    distance = np.maximum(np.linalg.norm(difference, axis=-1), 1.0)
    weight = heard.astype(np.float64)
    number = np.maximum(weight.sum(axis=1), 1.0)
    unit = difference[..., :2] / distance[..., None]
    centred = (unit - (np.einsum("nr,nrk->nk", weight, unit) / number[:, None])[:, None]) * weight[..., None]
    scatter = np.einsum("nrj,nrk->njk", centred, centred)
    trace, determinant = np.trace(scatter, axis1=1, axis2=2), np.linalg.det(scatter)
    is_known = (weight.sum(axis=1) >= 3) & (determinant > _FLAT * np.maximum(trace, 1e-12) ** 2)
    return np.sqrt(np.where(is_known, trace / np.where(is_known, determinant, 1.0), np.inf))


def is_inside_hull(
    point_m: Float[AnyFloatArray, "n 2"], receiver_m: Float[AnyFloatArray, "n r 2"], heard: Bool[BoolArray, "n r"]
) -> Bool[BoolArray, " n"]:
    """Return whether each point lies inside the convex hull of the receivers that heard it, [n].

    Outside, a half-plane holds all of them: seen from the point, the widest gap between neighbouring directions is pi or more.
    """
    difference = np.asarray(receiver_m, np.float64) - np.asarray(point_m, np.float64)[:, None]
    angle = np.where(heard, np.arctan2(difference[..., 1], difference[..., 0]), np.inf)
    ordered = np.sort(angle, axis=1)
    num_heard = heard.sum(axis=1)
    with np.errstate(invalid="ignore"):
        gaps = np.diff(ordered, axis=1)
    widest = np.where(np.isfinite(gaps), gaps, 0.0).max(axis=1, initial=0.0)
    last = ordered[np.arange(len(ordered)), np.maximum(num_heard - 1, 0)]
    with np.errstate(invalid="ignore"):
        around = np.where(num_heard > 0, ordered[:, 0] + 2 * np.pi - last, 2 * np.pi)
    return np.asarray((num_heard >= 3) & (np.maximum(widest, around) < np.pi))
