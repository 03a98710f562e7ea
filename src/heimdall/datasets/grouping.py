"""Which examples belong together when some are held out: location cells, days, sessions."""

from __future__ import annotations

from typing import Final

import numpy as np
import numpy.typing as npt

from heimdall.domain.datasets import Split

SESSION_GAP_S: Final = 600.0
"""s without an example, after which a new session begins."""

LEAKY_GROUP_SIZE: Final = 1.5
"""Examples a group on average, below which holding out groups is hardly more than holding out rows."""

_SECONDS_PER_DAY: Final = 86_400.0
Groups = npt.NDArray[np.int32]


def group_by_cell(position_m: npt.NDArray[np.float64], cell_m: float) -> Groups:
    """Return numbers of the square cells of the east-north plane that hold examples.

    Parameters
    ----------
    position_m
        [N, 2] east, north.
    cell_m
        Edge of a cell; cells begin at the frame's origin.

    Returns
    -------
    ndarray
        [N] 0 to number of cells - 1, ordered by east, then north.
    """
    cells = np.floor(position_m / cell_m).astype(np.int64)
    return _number(cells)


def group_by_day(time_s: npt.NDArray[np.float64]) -> Groups:
    """Return numbers for the days of [N] unix times, by date as written in the source."""
    return _number(np.floor(time_s / _SECONDS_PER_DAY).astype(np.int64)[:, None])


def group_by_session(time_s: npt.NDArray[np.float64], gap_s: float = SESSION_GAP_S) -> Groups:
    """Return numbers for the stretches of time without a gap longer than ``gap_s``, [N] for [N] unix times in any order."""
    order = np.argsort(time_s, kind="stable")
    sessions = np.empty(len(time_s), np.int32)
    sessions[order] = np.concatenate([[0], np.cumsum(np.diff(time_s[order]) > gap_s)]) if len(time_s) else 0
    return sessions


def describe_split(column: str, group: Groups, *, seed: int, cell_m: float) -> Split:
    """Return the split of a grouping, and admit it where the groups are so small that neighbours may leak."""
    num_groups = len(np.unique(group))
    is_leaky = column == "row" or len(group) < LEAKY_GROUP_SIZE * num_groups
    return Split.model_validate(
        {"column": column, "num_groups": num_groups, "seed": seed, "cell_m": cell_m if column == "cell" else None, "is_leaky": is_leaky}
    )


def _number(keys: npt.NDArray[np.int64]) -> Groups:
    _, inverse = np.unique(keys, axis=0, return_inverse=True)
    return inverse.reshape(-1).astype(np.int32)
