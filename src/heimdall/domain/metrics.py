"""One row per job and epoch, and what a value that is no number looks like."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, Final

from pydantic import Field, model_validator

from heimdall.domain.base import Entity, Instant

VALUE_FIELDS: Final = (
    "train_loss",
    "val_loss",
    "train_accuracy",
    "val_accuracy",
    "learning_rate",
    "epoch_duration_seconds",
    "val_error_median_m",
    "val_error_p68_m",
    "val_error_p95_m",
    "val_nll",
    "val_coverage_68",
    "grad_norm",
    "samples_per_second",
)
"""The numeric series of a metric row, in the order of storage, CSV and charts."""


RawColumns = list[Sequence[Any]]
"""Rows without objects around them, column by column: epochs, instants as ISO 8601 texts with ``Z``, attempts, the values of
each series that was asked for in their order, then ``non_finite`` as JSON texts or None. No rows are no columns."""


def name_non_finite(value: float) -> str | None:
    """Return ``nan``, ``inf`` or ``-inf`` for a value that is not a finite number, else None."""
    if math.isnan(value):
        return "nan"
    if math.isinf(value):
        return "inf" if value > 0 else "-inf"
    return None


class TrainingMetric(Entity):
    """Measurements of one epoch. Epochs count from 1; a missing number is null, never made up.

    A value that was measured but is not finite is null here and named in ``non_finite``.
    """

    job_id: str
    epoch: int = Field(ge=1)
    timestamp: Instant
    attempt: int = Field(ge=1)
    train_loss: float | None = Field(default=None, description="mean training loss of the epoch")
    val_loss: float | None = Field(default=None, description="mean validation loss after the epoch")
    train_accuracy: float | None = Field(default=None, description="share of training examples within accuracy_radius_m, 0 to 1")
    val_accuracy: float | None = Field(default=None, description="share of validation examples within accuracy_radius_m, 0 to 1")
    learning_rate: float | None = Field(default=None, description="rate of the epoch's last step")
    epoch_duration_seconds: float | None = Field(default=None, description="s, pauses not counted")
    val_error_median_m: float | None = Field(default=None, description="m, median horizontal error")
    val_error_p68_m: float | None = Field(default=None, description="m, 68th percentile of the horizontal error")
    val_error_p95_m: float | None = Field(default=None, description="m, 95th percentile of the horizontal error")
    val_nll: float | None = Field(default=None, description="nats, Gaussian negative log-likelihood in km")
    val_coverage_68: float | None = Field(default=None, description="share of truths inside the 68 % ellipse, 0 to 1")
    grad_norm: float | None = Field(default=None, description="mean L2 norm of the gradient before clipping")
    samples_per_second: float | None = Field(default=None, description="training examples per second")
    non_finite: dict[str, str] = Field(default_factory=dict, description="field name to nan, inf or -inf")

    @model_validator(mode="before")
    @classmethod
    def _name_non_finite(cls, data: Any) -> Any:  # noqa: ANN401
        if not isinstance(data, dict):
            return data
        kinds = {name: kind for name in VALUE_FIELDS if isinstance(value := data.get(name), float) and (kind := name_non_finite(value))}
        if not kinds:
            return data
        return {**data, **dict.fromkeys(kinds), "non_finite": {**data.get("non_finite", {}), **kinds}}
