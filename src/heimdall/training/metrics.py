"""What is measured after an epoch. The formulas of errors live in ``rf.accuracy``; here they meet tensors.

Legend: V validation examples, B examples of a batch.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from heimdall.rf.accuracy import CHI2_68, share_within, summarize_errors
from heimdall.training.architectures.localizer import Localizer
from heimdall.training.calibration import to_nominal
from heimdall.training.data import Batch, Examples
from heimdall.training.losses import prediction_nll, squared_mahalanobis

VALIDATION_BATCH: Final = 1024
"""Examples at a time without gradients: fixed, so that the figures do not depend on the job's batch size."""

FloatArray = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Evaluation:
    """Predictions for V examples, in metres."""

    position_V2: FloatArray
    covariance_V22: FloatArray
    error_V: FloatArray
    """Horizontal error, m."""
    nll_V: FloatArray
    """Nats, positions in km."""
    mahalanobis_V: FloatArray
    """Squared, in the units of the model's own ellipses: at most 2.279 inside that of 68 %."""


@dataclass(frozen=True)
class Summary:
    """The figures of an epoch. A percentile of errors that are not all finite is NaN, not a made-up number."""

    nll: float
    accuracy: float
    error_median_m: float
    error_p68_m: float
    error_p95_m: float
    coverage_68: float

    @property
    def loss(self) -> float:
        """The validation loss is the likelihood itself."""
        return self.nll


def is_located(position_B2: Tensor, target_B2: Tensor, *, radius_m: float, scale_m: float) -> Tensor:
    """Return bool [B]: the scaled prediction lies within the radius."""
    offset_B2 = position_B2 - target_B2
    return offset_B2.square().sum(dim=1) <= (radius_m / scale_m) ** 2


@torch.no_grad()
def evaluate(model: Localizer, examples: Examples, rows_V: npt.NDArray[np.int64], before_batch: Callable[[], None]) -> Evaluation:
    """Predict for all rows with dropout off and in full precision, as the exported network will.

    Parameters
    ----------
    model
        Left in evaluation mode.
    examples
        The data set.
    rows_V
        Which rows.
    before_batch
        Called before each batch; it ends the evaluation by raising.
    """
    model.eval()
    parts: list[tuple[Tensor, ...]] = []
    rows = torch.from_numpy(rows_V).to(examples.rows_device)
    for start in range(0, len(rows_V), VALIDATION_BATCH):
        before_batch()
        parts.append(_predict(model, examples.take(rows[start : start + VALIDATION_BATCH])))
    position, covariance, error, nll, mahalanobis = (torch.cat(columns).double().cpu().numpy() for columns in zip(*parts, strict=True))
    return Evaluation(position, covariance, error, nll, to_nominal(mahalanobis, model.ellipse_radii))


def summarize(evaluation: Evaluation, radius_m: float) -> Summary:
    """Return the figures of an evaluation.

    Parameters
    ----------
    evaluation
        At least one example.
    radius_m
        m, an example within it counts as located.
    """
    error_V = evaluation.error_V
    is_finite = bool(np.isfinite(error_V).all())
    errors = summarize_errors(error_V) if is_finite else None
    return Summary(
        nll=float(evaluation.nll_V.mean()),
        accuracy=share_within(error_V, radius_m),
        error_median_m=errors.median_m if errors else float("nan"),
        error_p68_m=errors.p68_m if errors else float("nan"),
        error_p95_m=errors.p95_m if errors else float("nan"),
        coverage_68=float(np.mean(evaluation.mahalanobis_V <= CHI2_68)) if is_finite else float("nan"),
    )


def _predict(model: Localizer, batch: Batch) -> tuple[Tensor, ...]:
    scaled = model(*batch.inputs)
    position_B2, covariance_B22 = model.to_metres(scaled)
    error_B = torch.linalg.vector_norm(scaled.position_B2 - batch.target_B2, dim=1) * model.target_scale
    nll_B = prediction_nll(scaled, batch.target_B2, scale_km=model.scale_km)
    return position_B2, covariance_B22, error_B, nll_B, squared_mahalanobis(scaled, batch.target_B2)
