"""Classical methods on the same split, so that the network's number has something to stand beside."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Final

import numpy as np
import numpy.typing as npt

from heimdall.datasets.observations import SOLVER_NAMES, SOLVERS, predict_baseline
from heimdall.datasets.storage import DatasetArrays
from heimdall.domain.errors import InvalidInputError
from heimdall.domain.models import Baseline
from heimdall.rf.accuracy import horizontal_errors, summarize_errors

MAX_TRAIN_ROWS: Final = 20_000
MAX_VAL_ROWS: Final = 5_000
"""More rows are thinned evenly: a yardstick must not take longer than the training."""

Rows = npt.NDArray[np.int64]

logger = logging.getLogger(__name__)


def measure_baselines(
    arrays: DatasetArrays, train_rows: Rows, val_rows: Rows, *, check_in: Callable[[], None] = lambda: None
) -> tuple[Baseline, ...]:
    """Fit every classical solver on training rows and score it on validation rows.

    Parameters
    ----------
    arrays
        The data set.
    train_rows, val_rows
        The network's own split; evenly thinned where it is large, and ``num_examples`` says to how many.
    check_in
        Called before each solver; it ends the work by raising.

    Returns
    -------
    tuple of Baseline
        One for each solver; one that does not apply to this data set carries the reason and no numbers.
    """
    train, val = _thin(train_rows, MAX_TRAIN_ROWS), _thin(val_rows, MAX_VAL_ROWS)
    results = []
    for solver_id in SOLVERS:
        check_in()
        logger.info("measuring_baseline", extra={"method": SOLVER_NAMES[solver_id], "examples": len(val)})
        results.append(_measure(solver_id, arrays, train, val))
    return tuple(results)


def _measure(solver_id: str, arrays: DatasetArrays, train: Rows, val: Rows) -> Baseline:
    name = SOLVER_NAMES[solver_id]
    try:
        predicted_m = predict_baseline(solver_id, arrays, train, val)
        errors = summarize_errors(horizontal_errors(predicted_m, np.asarray(arrays.target[val])))
    except (InvalidInputError, ValueError) as error:
        return Baseline(id=solver_id, name=name, reason=str(error))
    return Baseline(
        id=solver_id,
        name=name,
        error_median_m=errors.median_m,
        error_p68_m=errors.p68_m,
        error_p95_m=errors.p95_m,
        num_examples=errors.num_examples,
    )


def _thin(rows: Rows, limit: int) -> Rows:
    if len(rows) <= limit:
        return rows
    return rows[np.linspace(0, len(rows) - 1, limit).astype(np.int64)]
