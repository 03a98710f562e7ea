"""Positions from times of arrival: a closed form to start from, then robust nonlinear least squares for many examples at once."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np
from jaxtyping import Bool, Float, Float64

from heimdall.domain.errors import InvalidInputError
from heimdall.rf.shapes import AnyFloatArray, BoolArray, FloatArray

_NUM_STEPS: Final = 30
_LEAST_DISTANCE_M: Final = 1.0
_STEP_TOLERANCE_M: Final = 1e-3
_MAX_START_M: Final = 3e6


@dataclass(frozen=True)
class TdoaEstimate:
    """Positions and how sure they are; n examples."""

    position_m: Float64[FloatArray, "n 2"]
    """East, north."""
    covariance_m2: Float64[FloatArray, "n 2 2"]
    """Inverse of the information at the solution."""
    cost: Float64[FloatArray, " n"]
    """Half the sum of soft-L1 residuals, without unit."""


def solve_tdoa(
    arrival_m: Float[AnyFloatArray, "n r"],
    covariance_m2: Float[AnyFloatArray, "n r r"],
    heard: Bool[BoolArray, "n r"],
    receiver_m: Float[AnyFloatArray, "r 3"],
    up_m: Float[AnyFloatArray, " n"],
) -> TdoaEstimate:
    """Solve for east, north and the unknown time of transmission by soft-L1 least squares from several starts.

    Parameters
    ----------
    arrival_m
        [n, r] times of arrival times c, with any common offset.
    covariance_m2
        [n, r, r] of the errors of arrivals (or of what stands for them), pair correlations included; rows not heard are not looked at.
    heard
        [n, r] at least three in each example.
    receiver_m
        [r, 3] east, north, up.
    up_m
        [n] the transmitter's known height in the frame.

    Raises
    ------
    InvalidInputError
        Where an example has fewer than three receivers.

    References
    ----------
    Start: Chan and Ho 1994, "A simple and efficient estimator for hyperbolic location", IEEE Trans. SP 42(8), section II: positions
    linear in the range to a reference, and that range from a quadratic; both roots are tried. Loss: Triggs et al. 2000, soft-L1.
    """
    if (np.sum(heard, axis=1) < 3).any():
        raise InvalidInputError("A position from times of arrival needs at least three receivers.")
    whitener = _whiteners(covariance_m2, heard)
    best: TdoaEstimate | None = None
    for start_m in _make_starts(np.asarray(arrival_m, np.float64), heard, np.asarray(receiver_m, np.float64), np.asarray(up_m, np.float64)):
        found = _iterate(
            start_m, np.asarray(arrival_m, np.float64), whitener, np.asarray(receiver_m, np.float64), np.asarray(up_m, np.float64)
        )
        best = found if best is None else _take_better(best, found)
    assert best is not None
    return best


def _whiteners(covariance_m2: AnyFloatArray, heard: BoolArray) -> FloatArray:
    """Return L^-1 of each covariance's Cholesky factor, zero where not heard."""
    both = heard[:, :, None] & heard[:, None, :]
    filled = np.where(both, np.asarray(covariance_m2, np.float64), np.eye(heard.shape[1]))
    inverse = np.linalg.inv(np.linalg.cholesky(filled))
    return np.asarray(np.where(both, inverse, 0.0), np.float64)


def _make_starts(arrival_m: FloatArray, heard: BoolArray, receiver_m: FloatArray, up_m: FloatArray) -> list[FloatArray]:
    """Return the centroid of who heard, and both roots of the closed form."""
    weight = heard / heard.sum(axis=1, keepdims=True)
    centroid = weight @ receiver_m[:, :2]
    row = np.arange(len(arrival_m))
    first = np.argmax(heard, axis=1)
    reference, range_0 = receiver_m[first], arrival_m[row, first]
    offset = receiver_m[None] - reference[:, None]
    difference = np.where(heard, arrival_m - range_0[:, None], 0.0)
    design = np.where(heard[..., None], offset[..., :2], 0.0)
    height = (up_m - reference[:, 2])[:, None]
    # With y the position from the reference and R its range: 2 offset.y + 2 difference R = |offset|^2 - difference^2.
    known = np.where(heard, 0.5 * (np.square(offset).sum(axis=2) - np.square(difference)) - offset[..., 2] * height, 0.0)
    inverse = np.linalg.pinv(design)
    constant, slope = np.einsum("nir,nr->ni", inverse, known), -np.einsum("nir,nr->ni", inverse, difference)
    a = np.square(slope).sum(axis=1) - 1
    b = 2 * (constant * slope).sum(axis=1)
    c = np.square(constant).sum(axis=1) + height[:, 0] ** 2
    root = np.sqrt(np.maximum(b**2 - 4 * a * c, 0.0))
    safe = np.where(np.abs(a) < 1e-12, np.copysign(1e-12, a), a)
    starts = [centroid]
    for sign in (-1, 1):
        distance = np.clip((-b + sign * root) / (2 * safe), 0.0, _MAX_START_M)
        starts.append(reference[:, :2] + constant + slope * distance[:, None])
    return starts


def _iterate(start_m: FloatArray, arrival_m: FloatArray, whitener: FloatArray, receiver_m: FloatArray, up_m: FloatArray) -> TdoaEstimate:
    """Levenberg-Marquardt on reweighted residuals; the time is solved for in every step."""
    position = start_m.copy()
    damping = np.full(len(position), 1e-3)
    cost, normal, gradient = _linearize(position, arrival_m, whitener, receiver_m, up_m)
    for _ in range(_NUM_STEPS):
        scale = damping * np.trace(normal, axis1=1, axis2=2) / 2 + 1e-30
        step = np.linalg.solve(normal + scale[:, None, None] * np.eye(2), gradient[..., None])[..., 0]
        tried = _linearize(position + step, arrival_m, whitener, receiver_m, up_m)
        better = tried[0] < cost
        position = np.where(better[:, None], position + step, position)
        cost = np.where(better, tried[0], cost)
        normal = np.where(better[:, None, None], tried[1], normal)
        gradient = np.where(better[:, None], tried[2], gradient)
        damping = np.clip(np.where(better, damping / 5, damping * 4), 1e-9, 1e9)
        if (np.abs(step).max(axis=1) < _STEP_TOLERANCE_M).all():
            break
    ridge = 1e-12 * np.trace(normal, axis1=1, axis2=2)[:, None, None] * np.eye(2) + 1e-30 * np.eye(2)
    return TdoaEstimate(position, np.linalg.inv(normal + ridge), cost)


def _linearize(
    position: FloatArray, arrival_m: FloatArray, whitener: FloatArray, receiver_m: FloatArray, up_m: FloatArray
) -> tuple[FloatArray, FloatArray, FloatArray]:
    """Return cost, normal matrix and right-hand side of the position, the time eliminated."""
    place = np.concatenate([position, up_m[:, None]], axis=1)
    offset = place[:, None] - receiver_m[None]
    distance = np.maximum(np.sqrt(np.square(offset).sum(axis=2)), _LEAST_DISTANCE_M)
    ones = whitener.sum(axis=2)
    residual = np.einsum("nij,nj->ni", whitener, arrival_m - distance)
    weight = np.ones_like(residual)
    for _ in range(3):  # the time that fits and the weights that it gives depend on each other
        time = (weight * ones * residual).sum(axis=1) / np.maximum((weight * ones**2).sum(axis=1), 1e-300)
        left = residual - ones * time[:, None]
        weight = 1 / np.sqrt(1 + np.square(left))
    design = np.einsum("nij,njk->nik", whitener, offset[..., :2] / distance[..., None])
    shared = np.einsum("ni,ni,nik->nk", weight, ones, design) / np.maximum((weight * ones**2).sum(axis=1), 1e-300)[:, None]
    design = design - ones[..., None] * shared[:, None]
    normal = np.einsum("nij,ni,nik->njk", design, weight, design)
    gradient = np.einsum("nij,ni,ni->nj", design, weight, left)
    cost = (np.sqrt(1 + np.square(left)) - 1).sum(axis=1)
    return cost, normal, gradient


def _take_better(a: TdoaEstimate, b: TdoaEstimate) -> TdoaEstimate:
    is_better = b.cost < a.cost
    return TdoaEstimate(
        np.where(is_better[:, None], b.position_m, a.position_m),
        np.where(is_better[:, None, None], b.covariance_m2, a.covariance_m2),
        np.where(is_better, b.cost, a.cost),
    )
