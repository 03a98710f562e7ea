"""A data set's rows as the classical solvers and their judges want them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

import numpy as np
import numpy.typing as npt

from heimdall.datasets.storage import DatasetArrays
from heimdall.domain.errors import InvalidInputError
from heimdall.rf.observations import Observations, gather_observations
from heimdall.rf.radio_map import RadioMap
from heimdall.rf.solvers import Centroid, LogDistanceMl, NearestNeighbours, Solver

Indices = npt.NDArray[np.int64]

SOLVERS: Final[dict[str, Callable[[Observations, npt.NDArray[np.float64]], Solver]]] = {
    "centroid": Centroid.fit,
    "log-distance-ml": LogDistanceMl.fit,
    "knn": NearestNeighbours.fit,
    "radio-map": RadioMap.fit,
}
"""The baselines by id, in the order they are shown."""

SOLVER_NAMES: Final = {
    "centroid": "Training centroid",
    "log-distance-ml": "Log-distance maximum likelihood",
    "knn": "kNN-5 on RSSI",
    "radio-map": "Radio map, grid posterior",
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


def targets(arrays: DatasetArrays, rows: Indices) -> npt.NDArray[np.float64]:
    """Return positions [n, 3], east north up in m."""
    return np.column_stack([arrays.target[rows], arrays.target_up[rows]])


def predict_baseline(solver_id: str, arrays: DatasetArrays, train: Indices, rows: Indices) -> npt.NDArray[np.float64]:
    """Fit a baseline on training rows and predict others.

    Parameters
    ----------
    solver_id
        A key of ``SOLVERS``.
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
    fitted = SOLVERS[solver_id](observe(arrays, train), targets(arrays, train))
    return fitted.predict(observe(arrays, rows))
