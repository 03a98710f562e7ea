"""What the training rows say about units: normalization of the features, and the frame the network predicts in."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from heimdall.datasets.manifest import HEARD_ONLY_FEATURES
from heimdall.datasets.normalization import fit_normalization
from heimdall.datasets.storage import DatasetArrays
from heimdall.training.architectures.localizer import Scaling

_MIN_SCALE_M = 1.0


def fit_scaling(arrays: DatasetArrays, rows: npt.NDArray[np.int64]) -> Scaling:
    """Fit features and target on the training rows alone.

    Parameters
    ----------
    arrays
        The data set.
    rows
        Training rows; no other row is looked at.

    Returns
    -------
    Scaling
        ``target_scale_m`` is the root mean square of the two axes' deviations, one length for both.

    Raises
    ------
    InvalidInputError
        Where there are no rows.
    """
    normalization = fit_normalization(arrays, rows)
    target = np.asarray(arrays.target[rows], dtype=np.float64)
    mean_2 = target.mean(axis=0)
    scale_m = float(np.sqrt(np.square(target - mean_2).mean()))
    return Scaling(
        feature_means=normalization.feature_means,
        feature_stds=normalization.feature_stds,
        heard_column=arrays.feature_index("heard") if arrays.has_feature("heard") else None,
        heard_only=tuple(name in HEARD_ONLY_FEATURES for name in arrays.feature_names),
        target_mean_m=(float(mean_2[0]), float(mean_2[1])),
        target_scale_m=max(scale_m, _MIN_SCALE_M),
    )
