"""Rows written fast are the rows that pydantic writes."""

from __future__ import annotations

import math
from datetime import UTC, datetime, timedelta, timezone

import orjson
import pytest

from heimdall.api.metric_rows import write_metrics
from heimdall.domain.metrics import TrainingMetric


@pytest.mark.parametrize(
    "instant",
    [
        datetime(2026, 3, 1, tzinfo=UTC),
        datetime(2026, 3, 1, 1, 2, 3, 456, tzinfo=UTC),
        datetime(2026, 3, 1, 1, 2, 3, 456, tzinfo=timezone(timedelta(hours=2))),
    ],
)
def test_the_text_is_the_same(instant: datetime) -> None:
    row = TrainingMetric(job_id="j", epoch=1, timestamp=instant, attempt=1, val_loss=math.nan, train_loss=0.1, grad_norm=1e-300)
    expected = [row.model_dump(mode="json")] * 3
    assert orjson.loads(write_metrics([row] * 3)) == expected
    moved = TrainingMetric.model_construct(**{**row.__dict__, "timestamp": instant})
    assert orjson.loads(write_metrics([moved])) == expected[:1]


def test_no_rows_and_very_many_are_arrays() -> None:
    assert write_metrics([]) == b"[]"
    row = TrainingMetric(job_id="j", epoch=1, timestamp=datetime(2026, 3, 1, tzinfo=UTC), attempt=1)
    assert len(orjson.loads(write_metrics([row] * 12_001))) == 12_001
