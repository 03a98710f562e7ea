"""Positions from times of arrival where the receivers' own errors are known from training examples.

A classical solver takes every receiver as equal and radio waves as travelling at the speed of light in vacuum. Over 200 km of air that is
20-40 m wrong, and a receiver's cable or clock another 40 m; both are learned here from places that are known, few numbers each.
Legend of shapes: n examples, r receivers, g places to start from.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Final

import numpy as np
from jaxtyping import Bool, Float64

from heimdall.domain.errors import InvalidInputError
from heimdall.rf.shapes import BoolArray, FloatArray, IntArray

Weigh = Callable[[FloatArray], FloatArray]

FREEDOM: Final = 4.0
"""Degrees of freedom of the Student distribution of an arrival's error."""
SCALE_HEIGHT_M: Final = 7350.0
"""Of the refractive index of air (ITU-R P.453-14, eq. 8)."""
NUM_STEPS: Final = 10
NUM_TIME_STEPS: Final = 3
NUM_STARTS: Final = 256
LEAST_DISTANCE_M: Final = 1.0

_EQUATOR_M: Final = 6_378_137.0
_ECCENTRICITY_SQUARED: Final = 6.69437999014e-3
_FIT_STEPS: Final = 60
_FIRST_SIGMA_M: Final = 30.0
_LEAST_SIGMA_M: Final = 0.3
_LEAST_SHARE: Final = 0.5
"""Of the error that all share, at least each receiver's: the likelihood has no bound where one receiver alone tells the time."""
_SHRINKAGE: Final = 20.0
"""Examples that a receiver's own figure must outweigh: below, it is drawn to what all receivers share."""
_PRIOR_WIDTH: Final = 2.0
"""Of the prior, in standard deviations of the training places: wide, it only decides where times do not."""
_MAX_JUDGED: Final = 1000
_FLOORS_M: Final = np.concatenate([[0.0], np.geomspace(1.0, 300.0, 16)])
_STRETCHES: Final = np.geomspace(0.5, 3.0, 11)


@dataclass(frozen=True)
class Arrivals:
    """Examples as dense tables with one column a receiver."""

    arrival_m: Float64[FloatArray, "n r"]
    """Times c, with any common offset; not looked at where not heard."""
    heard: Bool[BoolArray, "n r"]
    receiver_m: Float64[FloatArray, "n r 3"]
    noise: Float64[FloatArray, "n r"]
    """Noise over signal, a ratio of powers; 0 where strengths say nothing about it."""
    altitude_m: Float64[FloatArray, " n"]
    """Of the transmitter above the ellipsoid; not a number where it was not reported."""

    def __len__(self) -> int:
        return len(self.heard)


@dataclass(frozen=True)
class Earth:
    """The ellipsoid about a frame's origin, with one radius for each direction."""

    east_m: float
    north_m: float

    @classmethod
    def at(cls, latitude_deg: float) -> Earth:
        """Return the radii of curvature, prime vertical and meridian (WGS 84)."""
        root = 1 - _ECCENTRICITY_SQUARED * np.sin(np.radians(latitude_deg)) ** 2
        return cls(float(_EQUATOR_M / np.sqrt(root)), float(_EQUATOR_M * (1 - _ECCENTRICITY_SQUARED) / root**1.5))

    @property
    def mean_m(self) -> float:
        """Gaussian mean radius."""
        return float(np.sqrt(self.east_m * self.north_m))


@dataclass(frozen=True)
class Located:
    """Places and how sure they are."""

    position_m: Float64[FloatArray, "n 2"]
    covariance_m2: Float64[FloatArray, "n 2 2"]
    misfit: Float64[FloatArray, " n"]
    """Root mean square of what is left of the arrivals, in their standard deviations."""


@dataclass(frozen=True)
class ArrivalLaw:
    """How times of arrival come about: receivers' offsets and errors, the air, and where transmitters are met."""

    earth: Earth
    bias_m: Float64[FloatArray, " r"]
    sigma_m: Float64[FloatArray, " r"]
    noise_sigma_m: float
    """Further error at a signal as strong as the noise; it falls with the root of their ratio."""
    refractivity: float
    """Of the air at height 0: its refractive index minus 1. ITU-R P.453: 315e-6 on average."""
    altitude_m: float
    """Of a transmitter that reports none."""
    mean_m: Float64[FloatArray, " 2"]
    precision_m2: Float64[FloatArray, "2 2"]
    """Inverse covariance of the prior."""
    start_m: Float64[FloatArray, "g 2"]
    start_blur_m: float
    stretch: float = 1.0
    floor_m: float = 0.0
    """Errors that no receiver makes, such as that of the reported place: covariance = stretch² C + floor² I."""

    @classmethod
    def fit(cls, arrivals: Arrivals, target_m: Float64[FloatArray, "n 3"], earth: Earth, *, like: ArrivalLaw | None = None) -> ArrivalLaw:
        """Learn from examples whose places [n, 3] are known.

        Parameters
        ----------
        arrivals, target_m
            Training examples and their places.
        earth
            Of the frame.
        like
            A law whose prior and starts are kept.

        Raises
        ------
        InvalidInputError
            Where no example was heard by two receivers.
        """
        if not (arrivals.heard.sum(axis=1) >= 2).any():
            raise InvalidInputError("Times of arrival need examples that two receivers heard.")
        height = _height(target_m, earth)
        altitude = float(height.mean())
        known = np.where(np.isfinite(arrivals.altitude_m), arrivals.altitude_m, height)
        bias, sigma, noise_sigma, refractivity = _fit_errors(arrivals, target_m, air_share(arrivals.receiver_m, known, earth))
        law = like or cls._around(target_m, earth)
        law = replace(law, bias_m=bias, sigma_m=sigma, noise_sigma_m=noise_sigma, refractivity=refractivity, altitude_m=altitude)
        law = replace(law, stretch=1.0, floor_m=0.0)
        return law._with_spread(arrivals, target_m)

    @classmethod
    def _around(cls, target_m: FloatArray, earth: Earth) -> ArrivalLaw:
        place = target_m[:, :2]
        covariance = np.atleast_2d(np.cov(place.T)) if len(place) > 2 else np.eye(2) * 1e6
        prior = _PRIOR_WIDTH**2 * (covariance + np.eye(2) * (1.0 + 0.01 * np.trace(covariance)))
        start = place[np.unique(np.linspace(0, len(place) - 1, NUM_STARTS).astype(int))]
        blur = float(np.sqrt(np.trace(covariance) / len(start))) + 1.0
        empty = np.zeros(0)
        return cls(earth, empty, empty, 0.0, 0.0, 0.0, place.mean(axis=0), np.linalg.inv(prior), start, blur)

    def _with_spread(self, arrivals: Arrivals, target_m: FloatArray) -> ArrivalLaw:
        """Choose stretch and floor by the Student likelihood of the training places' own errors."""
        rows = np.unique(np.linspace(0, len(arrivals) - 1, _MAX_JUDGED).astype(int))
        found = self.locate(_take(arrivals, rows))
        error = target_m[rows, :2] - found.position_m
        best, best_score = self, -np.inf
        for stretch in _STRETCHES:
            for floor_m in _FLOORS_M:
                covariance = stretch**2 * found.covariance_m2 + floor_m**2 * np.eye(2)
                square = np.einsum("ni,nij,nj->n", error, np.linalg.inv(covariance), error)
                score = float((-0.5 * np.log(np.linalg.det(covariance)) - (FREEDOM + 2) / 2 * np.log1p(square / FREEDOM)).mean())
                if score > best_score:
                    best, best_score = replace(self, stretch=float(stretch), floor_m=float(floor_m)), score
        return best

    def locate(self, arrivals: Arrivals) -> Located:
        """Return the most probable places: Levenberg-Marquardt from the best training place and from among those that heard."""
        problem = _Problem.of(self, arrivals)
        starts = (problem.best_start(), problem.centre())
        answers = [problem.descend(start) for start in starts]
        better = answers[1][1].cost < answers[0][1].cost
        place = np.where(better[:, None], answers[1][0], answers[0][0])
        at = problem.linearize(place)
        covariance = self.stretch**2 * np.linalg.inv(at.normal) + self.floor_m**2 * np.eye(2)
        return Located(place, covariance, at.misfit)

    def predict(self, arrivals: Arrivals) -> Float64[FloatArray, "n 2"]:
        """Return east and north in m, [n, 2]."""
        return self.locate(arrivals).position_m


def air_share(receiver_m: FloatArray, altitude_m: FloatArray, earth: Earth) -> Float64[FloatArray, "n r"]:
    """Return the mean refractivity along each path as a share of that at height 0, for an exponential atmosphere."""
    low = _height(receiver_m, earth) / SCALE_HEIGHT_M
    rise = altitude_m[:, None] / SCALE_HEIGHT_M - low
    safe = np.where(np.abs(rise) < 1e-3, 1.0, rise)
    return np.asarray(np.exp(-low) * np.where(np.abs(rise) < 1e-3, 1 - rise / 2, -np.expm1(-safe) / safe), np.float64)


def _height(place_m: FloatArray, earth: Earth) -> FloatArray:
    """Return heights above the ellipsoid of places [..., 3] in the frame."""
    mean = earth.mean_m
    flat = place_m[..., 0] ** 2 * mean / earth.east_m + place_m[..., 1] ** 2 * mean / earth.north_m
    return np.asarray(np.sqrt((mean + place_m[..., 2]) ** 2 + flat) - mean, np.float64)


def _take(arrivals: Arrivals, rows: IntArray) -> Arrivals:
    return Arrivals(
        arrivals.arrival_m[rows], arrivals.heard[rows], arrivals.receiver_m[rows], arrivals.noise[rows], arrivals.altitude_m[rows]
    )


def _fit_errors(arrivals: Arrivals, target_m: FloatArray, air: FloatArray) -> tuple[FloatArray, FloatArray, float, float]:
    """Return bias and error of each receiver, error at a noise ratio of 1, and refractivity, by reweighted least squares."""
    heard, num_heard = arrivals.heard, arrivals.heard.sum(axis=1, keepdims=True)
    distance = np.linalg.norm(target_m[:, None] - arrivals.receiver_m, axis=2)
    late = np.where(heard, arrivals.arrival_m - distance, 0.0)
    path = air * distance
    count = heard.sum(axis=0)
    bias, sigma = np.zeros(heard.shape[1]), np.full(heard.shape[1], _FIRST_SIGMA_M)
    refractivity, noise_variance, shared = 0.0, 0.0, _FIRST_SIGMA_M**2
    for _ in range(_FIT_STEPS):
        variance = sigma**2 + noise_variance * arrivals.noise
        expected = bias + refractivity * path
        left, weight = _centre(late - expected, heard, variance, _student)
        slope = np.where(heard, path - _mean(path, weight), 0.0)
        refractivity += float((weight * left * slope).sum() / max((weight * slope**2).sum(), 1e-300))
        left, weight = _centre(late - bias - refractivity * path, heard, variance, _student)
        robust = weight * variance
        own = (weight * (left + bias * heard)).sum(axis=0)
        bias = own / (weight.sum(axis=0) + _SHRINKAGE / sigma**2)
        freedom = 1 - 1 / np.maximum(num_heard, 2)
        square = np.where(heard, robust * left**2 / freedom, 0.0)
        # Weights that know noise but not the receiver: with its own error in them, the smallest would draw all weight to itself.
        sharp = np.where(heard, 1 / np.square(shared + noise_variance * arrivals.noise), 0.0)
        noise_variance = max(
            0.0, float((sharp * (square - sigma**2) * arrivals.noise).sum() / max((sharp * arrivals.noise**2).sum(), 1e-300))
        )
        rest = sharp * (square - noise_variance * arrivals.noise)
        shared = max(float(rest.sum() / max(sharp.sum(), 1e-300)), _LEAST_SIGMA_M**2)
        own_variance = np.maximum(rest.sum(axis=0) / np.maximum(sharp.sum(axis=0), 1e-300), _LEAST_SIGMA_M**2)
        sigma = np.sqrt(np.maximum((count * own_variance + _SHRINKAGE * shared) / (count + _SHRINKAGE), _LEAST_SHARE**2 * shared))
    return bias, sigma, float(np.sqrt(noise_variance)), refractivity


def _mean(value: FloatArray, weight: FloatArray) -> FloatArray:
    return np.asarray((value * weight).sum(axis=1, keepdims=True) / np.maximum(weight.sum(axis=1, keepdims=True), 1e-300))


def _centre(value: FloatArray, heard: BoolArray, variance: FloatArray, weigh: Weigh) -> tuple[FloatArray, FloatArray]:
    """Return values less the time that fits them, and their weights; the two depend on each other."""
    weight = np.where(heard, 1 / variance, 0.0)
    left = value
    for _ in range(NUM_TIME_STEPS):
        left = np.where(heard, value - _mean(value, weight), 0.0)
        weight = np.where(heard, weigh(left**2 / variance) / variance, 0.0)
    return left, weight


def _student(square: FloatArray) -> FloatArray:
    """Weights that make the fitted deviations those of the bulk, not of the outliers."""
    return (FREEDOM + 1) / (FREEDOM + square)


def _soft_l1(square: FloatArray) -> FloatArray:
    """Weights of a place's search: convex in the residuals, so that no two receivers can outvote three with a far place."""
    return np.asarray(1 / np.sqrt(1 + square))


def _soft_cost(left: FloatArray, variance: FloatArray) -> FloatArray:
    return np.asarray((np.sqrt(1 + left**2 / variance) - 1).sum(axis=1))


@dataclass(frozen=True)
class _At:
    """The problem at places [n, 2]."""

    cost: FloatArray
    normal: FloatArray
    gradient: FloatArray
    misfit: FloatArray


@dataclass(frozen=True)
class _Problem:
    """What does not depend on the place."""

    law: ArrivalLaw
    heard: BoolArray
    receiver_m: FloatArray
    arrival_m: FloatArray
    variance_m2: FloatArray
    air: FloatArray
    altitude_m: FloatArray

    @classmethod
    def of(cls, law: ArrivalLaw, arrivals: Arrivals) -> _Problem:
        altitude = np.where(np.isfinite(arrivals.altitude_m), arrivals.altitude_m, law.altitude_m)
        air = 1 + law.refractivity * air_share(arrivals.receiver_m, altitude, law.earth)
        variance = law.sigma_m**2 + law.noise_sigma_m**2 * arrivals.noise
        arrival = np.where(arrivals.heard, arrivals.arrival_m - law.bias_m, 0.0)
        return cls(law, arrivals.heard, arrivals.receiver_m, arrival, variance, air, altitude)

    def best_start(self) -> FloatArray:
        """Return the training place that fits best, errors widened by the distance between such places."""
        law = self.law
        variance = self.variance_m2 + law.start_blur_m**2
        cost = np.empty((len(self.heard), len(law.start_m)))
        for column, place in enumerate(law.start_m):
            cost[:, column] = self._cost(np.tile(place, (len(self.heard), 1)), variance)
        return np.asarray(law.start_m[cost.argmin(axis=1)], np.float64)

    def centre(self) -> FloatArray:
        """Return the middle of the receivers that heard."""
        weight = self.heard / np.maximum(self.heard.sum(axis=1, keepdims=True), 1)
        return np.asarray(np.einsum("nr,nrk->nk", weight, self.receiver_m[..., :2]), np.float64)

    def _offset(self, place: FloatArray) -> tuple[FloatArray, FloatArray, FloatArray]:
        """Return offsets [n, r, 3], distances [n, r] and the fall of the ground [n, 2] towards east and north."""
        earth = self.law.earth
        mean = earth.mean_m
        bend = np.array([mean / earth.east_m, mean / earth.north_m])
        centre = np.sqrt(np.maximum((mean + self.altitude_m) ** 2 - (place**2 * bend).sum(axis=1), LEAST_DISTANCE_M))
        offset = np.concatenate([place, (centre - mean)[:, None]], axis=1)[:, None] - self.receiver_m
        distance = np.maximum(np.sqrt(np.square(offset).sum(axis=2)), LEAST_DISTANCE_M)
        return offset, distance, -place * bend / centre[:, None]

    def _cost(self, place: FloatArray, variance: FloatArray) -> FloatArray:
        _, distance, _ = self._offset(place)
        left, _ = _centre(self.arrival_m - distance * self.air, self.heard, variance, _soft_l1)
        return np.asarray(_soft_cost(left, variance) + self._prior(place)[0])

    def _prior(self, place: FloatArray) -> tuple[FloatArray, FloatArray]:
        pull = (self.law.mean_m - place) @ self.law.precision_m2
        return 0.5 * (pull * (self.law.mean_m - place)).sum(axis=1), pull

    def linearize(self, place: FloatArray) -> _At:
        offset, distance, fall = self._offset(place)
        left, weight = _centre(self.arrival_m - distance * self.air, self.heard, self.variance_m2, _soft_l1)
        slope = (offset[..., :2] + offset[..., 2:] * fall[:, None]) * (self.air / distance)[..., None]
        slope = slope - (weight[..., None] * slope).sum(axis=1, keepdims=True) / np.maximum(weight.sum(axis=1), 1e-300)[:, None, None]
        prior, pull = self._prior(place)
        normal = np.einsum("nri,nr,nrj->nij", slope, weight, slope) + self.law.precision_m2
        gradient = np.einsum("nri,nr,nr->ni", slope, weight, left) + pull
        num_heard = np.maximum(self.heard.sum(axis=1), 1)
        misfit = np.sqrt((left**2 / self.variance_m2).sum(axis=1) / num_heard)
        return _At(_soft_cost(left, self.variance_m2) + prior, normal, gradient, misfit)

    def descend(self, place: FloatArray) -> tuple[FloatArray, _At]:
        damping = np.full(len(place), 1e-3)
        at = self.linearize(place)
        for _ in range(NUM_STEPS):
            scale = damping * np.trace(at.normal, axis1=1, axis2=2) / 2
            step = np.linalg.solve(at.normal + scale[:, None, None] * np.eye(2), at.gradient[..., None])[..., 0]
            there = self.linearize(place + step)
            good = there.cost < at.cost
            place = np.where(good[:, None], place + step, place)
            at = _At(
                *(
                    np.where(good.reshape(-1, *(1,) * (new.ndim - 1)), new, old)
                    for new, old in zip(vars(there).values(), vars(at).values(), strict=True)
                )
            )
            damping = np.clip(np.where(good, damping / 8, damping * 6), 1e-9, 1e9)
        return place, at
