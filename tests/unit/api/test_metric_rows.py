"""Rows written fast are the rows that pydantic writes."""

from __future__ import annotations

import math
from datetime import UTC, datetime

import orjson

from heimdall.api.metric_rows import write_rows
from heimdall.domain.base import format_instant
from heimdall.domain.metrics import VALUE_FIELDS, RawColumns, TrainingMetric


def as_raw(*rows: TrainingMetric) -> RawColumns:
    kinds = [orjson.dumps(row.non_finite).decode() if row.non_finite else None for row in rows]
    head = ([row.epoch for row in rows], [format_instant(row.timestamp) for row in rows], [row.attempt for row in rows])
    return [*head, *([getattr(row, name) for row in rows] for name in VALUE_FIELDS), kinds]


def test_the_values_are_the_same() -> None:
    row = TrainingMetric(
        job_id="j", epoch=1, timestamp=datetime(2026, 3, 1, 1, 2, 3, 456, tzinfo=UTC), attempt=1, val_loss=math.nan, grad_norm=1e-300
    )
    plain = row.evolve(epoch=2, val_loss=0.1, non_finite={})
    expected = [row.model_dump(mode="json"), plain.model_dump(mode="json")]
    assert orjson.loads(write_rows("j", VALUE_FIELDS, [as_raw(row, plain)])) == expected
    assert orjson.loads(write_rows("j", VALUE_FIELDS, [as_raw(row), [], as_raw(plain)])) == expected


def test_only_the_named_series_are_written() -> None:
    columns = [(7,), ("2026-03-01T00:00:00.000000Z",), (2,), (0.25,), (None,)]
    (written,) = orjson.loads(write_rows("j", ("val_loss",), [columns]))
    assert written == {
        "job_id": "j", "epoch": 7, "timestamp": "2026-03-01T00:00:00.000000Z", "attempt": 2, "val_loss": 0.25, "non_finite": {}
    }  # fmt: skip


def test_no_rows_are_an_empty_array() -> None:
    assert write_rows("j", VALUE_FIELDS, []) == b"[]"
    assert write_rows("j", VALUE_FIELDS, [[]]) == b"[]"
