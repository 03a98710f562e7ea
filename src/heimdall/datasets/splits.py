"""Which examples are held out: whole groups, shuffled once by the data set's own seed."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from heimdall.datasets.storage import DatasetArrays
from heimdall.domain.errors import InvalidInputError
from heimdall.domain.jobs import count_folds

Indices = npt.NDArray[np.int64]


def make_split(arrays: DatasetArrays, validation_split: float, fold: int) -> tuple[Indices, Indices]:
    """Divide a data set into training and validation examples; no group is on both sides.

    The groups are shuffled by the split's seed and cut into ``floor(1 / validation_split)`` folds, so folds of
    different jobs are the same examples.

    Parameters
    ----------
    arrays
        The data set.
    validation_split
        Share of the groups held out.
    fold
        Which fold is held out, from 0.

    Returns
    -------
    tuple
        Row numbers to train on and to validate on, each ascending.

    Raises
    ------
    InvalidInputError
        Where there is no such fold, or there are fewer groups than folds.
    """
    return split_groups(arrays.group, seed=arrays.manifest.split.seed, validation_split=validation_split, fold=fold)


def split_groups(group: npt.NDArray[np.int32], *, seed: int, validation_split: float, fold: int) -> tuple[Indices, Indices]:
    """Divide rows by their group number [N]; see :func:`make_split`."""
    num_folds = count_folds(validation_split)
    if not 0 <= fold < num_folds:
        raise InvalidInputError(
            f"Fold {fold} does not exist: a validation split of {validation_split:g} makes {num_folds} folds, 0 to {num_folds - 1}.",
            field="validation_fold",
        )
    groups = np.unique(group)
    if len(groups) < num_folds:
        raise InvalidInputError(
            f"The data set has {len(groups)} group(s), too few for {num_folds} folds; hold out a larger share or import it grouped finer.",
            field="validation_split",
        )
    held_out = np.array_split(np.random.default_rng(seed).permutation(groups), num_folds)[fold]
    is_held_out = np.isin(group, held_out)
    return np.flatnonzero(~is_held_out), np.flatnonzero(is_held_out)
