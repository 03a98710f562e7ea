"""A data set's rows as the classical solvers and their judges want them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from heimdall.datasets.storage import DatasetArrays
from heimdall.domain.errors import InvalidInputError
from heimdall.rf.arrival import ArrivalLaw, Arrivals, Earth
from heimdall.rf.constants import SPEED_OF_LIGHT_M_S
from heimdall.rf.observations import Observations, gather_observations
from heimdall.rf.radio_map import RadioMap
from heimdall.rf.solvers import Centroid, LogDistanceMl, NearestNeighbours, Solver

Indices = npt.NDArray[np.int64]

SOLVERS: Final = ("centroid", "log-distance-ml", "knn", "radio-map", "arrival-map")
"""The baselines by id, in the order they are shown."""

_STRENGTH_SOLVERS: Final[dict[str, Callable[[Observations, npt.NDArray[np.float64]], Solver]]] = {
    "centroid": Centroid.fit,
    "log-distance-ml": LogDistanceMl.fit,
    "knn": NearestNeighbours.fit,
    "radio-map": RadioMap.fit,
}

SOLVER_NAMES: Final = {
    "centroid": "Training centroid",
    "log-distance-ml": "Log-distance maximum likelihood",
    "knn": "kNN-5 on RSSI",
    "radio-map": "Radio map, grid posterior",
    "arrival-map": "Times of arrival, robust MAP",
}


def observe(arrays: DatasetArrays, rows: Indices) -> Observations:
    """Return the strengths of some examples by receiver.

    Raises
    ------
    InvalidInputError
        Where the data set has no RSSI.
    """
    if not arrays.has_feature("rssi_dbm"):
        raise InvalidInputError("This data set has no rssi_dbm, which the classical baselines work on.")
    present = np.asarray(arrays.mask[rows])
    rssi = np.asarray(arrays.features[rows, :, arrays.feature_index("rssi_dbm")], np.float64)
    heard = arrays.features[rows, :, arrays.feature_index("heard")] > 0 if arrays.has_feature("heard") else present
    return gather_observations(
        rssi_dbm=rssi,
        heard=heard,
        present=present,
        receiver_index=np.asarray(arrays.receiver_index[rows], np.int64),
        receiver_m=np.asarray(arrays.receiver_enu[rows], np.float64),
        is_moving=np.array([receiver.is_moving for receiver in arrays.receivers]),
    )


def observe_arrivals(arrays: DatasetArrays, rows: Indices) -> Arrivals:
    """Return the times of arrival of some examples by receiver.

    Raises
    ------
    InvalidInputError
        Where the data set has none.
    """
    if not arrays.has_feature("toa_offset_us"):
        raise InvalidInputError("This data set has no toa_offset_us, which solvers of times of arrival work on.")
    present = np.asarray(arrays.mask[rows])
    columns: dict[str, Any] = {
        name: np.asarray(arrays.features[rows, :, arrays.feature_index(name)], np.float64)
        for name in ("heard", "toa_offset_us", "snr_db", "tx_up_km")
        if arrays.has_feature(name)
    }
    heard = present & (columns["heard"] > 0) if "heard" in columns else present
    num_receivers = len(arrays.receivers)
    row, token = np.nonzero(present)
    column = np.asarray(arrays.receiver_index[rows], np.int64)[row, token]

    def sort(values: npt.NDArray[Any], dtype: type = float) -> npt.NDArray[Any]:
        table = np.zeros((len(present), num_receivers, *values.shape[2:]), dtype)
        table[row, column] = values[row, token]
        return table

    altitude = columns["tx_up_km"].max(axis=1, where=present, initial=-np.inf) * 1e3 if "tx_up_km" in columns else None
    return Arrivals(
        arrival_m=sort(columns["toa_offset_us"]) * (SPEED_OF_LIGHT_M_S * 1e-6),
        heard=sort(heard, bool),
        receiver_m=sort(np.asarray(arrays.receiver_enu[rows], np.float64)),
        noise=sort(10 ** (-columns["snr_db"] / 10)) if "snr_db" in columns else np.zeros((len(present), num_receivers)),
        altitude_m=np.full(len(present), np.nan) if altitude is None else np.where(np.isfinite(altitude), altitude, np.nan),
    )


def fit_arrival_law(arrays: DatasetArrays, rows: Indices, *, like: ArrivalLaw | None = None) -> ArrivalLaw:
    """Fit the law of times of arrival on some examples.

    Raises
    ------
    InvalidInputError
        Where the data set has no times of arrival.
    """
    earth = Earth.at(arrays.manifest.frame.latitude)
    return ArrivalLaw.fit(observe_arrivals(arrays, rows), targets(arrays, rows), earth, like=like)


def targets(arrays: DatasetArrays, rows: Indices) -> npt.NDArray[np.float64]:
    """Return positions [n, 3], east north up in m."""
    return np.column_stack([arrays.target[rows], arrays.target_up[rows]])


def predict_baseline(solver_id: str, arrays: DatasetArrays, train: Indices, rows: Indices) -> npt.NDArray[np.float64]:
    """Fit a baseline on training rows and predict others.

    Parameters
    ----------
    solver_id
        One of ``SOLVERS``.
    train, rows
        Row numbers.

    Returns
    -------
    ndarray
        [len(rows), 2] east, north, m.

    Raises
    ------
    InvalidInputError
        Where the data set cannot be used by it; the message says why.
    """
    if solver_id == "arrival-map":
        return fit_arrival_law(arrays, train).predict(observe_arrivals(arrays, rows))
    fitted = _STRENGTH_SOLVERS[solver_id](observe(arrays, train), targets(arrays, train))
    return fitted.predict(observe(arrays, rows))
