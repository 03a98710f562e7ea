"""Metric rows in SQL, clustered by job and epoch."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import datetime
from typing import Any, Final

import orjson
from sqlalchemy import Connection, Select, Text, delete, insert, literal, select, type_coerce

from heimdall.domain.metrics import VALUE_FIELDS, TrainingMetric
from heimdall.storage.column_types import encode_json
from heimdall.storage.dialects import Dialect
from heimdall.storage.driver import DriverStatement, instant_value
from heimdall.storage.events import MAX_INTEGER, bounded
from heimdall.storage.tables import metrics

_NAMES: Final = [column.name for column in metrics.c]
_PUT: Final = DriverStatement(
    f"INSERT INTO metrics ({', '.join(_NAMES)}) VALUES ({', '.join(f':{name}' for name in _NAMES)})"
    f" ON CONFLICT (job_id, epoch) DO UPDATE SET {', '.join(f'{name} = excluded.{name}' for name in _NAMES[2:])}"
    " WHERE metrics.attempt <= excluded.attempt"
)
_FIELDS: Final = tuple(TrainingMetric.model_fields)
_FIELD_SET: Final = set(_FIELDS)
_RANGE: Final = "FROM metrics WHERE job_id = :job AND epoch > :since AND epoch <= :until ORDER BY epoch"
_FIND: Final = DriverStatement(f"SELECT {', '.join(_FIELDS)} {_RANGE}")
_FIND_SOME: Final = DriverStatement(f"SELECT {', '.join(_FIELDS)} {_RANGE} LIMIT :most")
_FIND_COLUMNS: Final = DriverStatement(f"SELECT epoch, {', '.join(VALUE_FIELDS)} {_RANGE}")
# Plain text, as the driver gives it.
_ENTITY: Final = select(*(type_coerce(metrics.c[name], Text) if name == "non_finite" else metrics.c[name] for name in _FIELDS))


class SqlMetrics:
    """``MetricRepository`` on one connection."""

    def __init__(self, connection: Connection, dialect: Dialect) -> None:
        self._connection = connection
        self._dialect = dialect

    def put(self, metric: TrainingMetric) -> None:
        """Insert, or replace the row of the same job and epoch: the later attempt wins."""
        row = dict(metric.__dict__)
        row["timestamp"] = instant_value(self._dialect, metric.timestamp)
        row["non_finite"] = encode_json(metric.non_finite) if metric.non_finite else None
        _PUT.run(self._connection, self._dialect, row)

    def find(self, job_id: str, *, since_epoch: int = 0, until_epoch: int | None = None) -> list[TrainingMetric]:
        """Return rows with ``since_epoch < epoch <= until_epoch`` in order."""
        return [_metric(row) for row in _FIND.fetch_all(self._connection, self._dialect, _range(job_id, since_epoch, until_epoch))]

    def list_epochs(self, job_id: str, epochs: Sequence[int]) -> list[TrainingMetric]:
        """Return the named epochs in order."""
        statement = _ENTITY.where(
            metrics.c.job_id == job_id, metrics.c.epoch.in_([epoch for epoch in epochs if 0 < epoch <= MAX_INTEGER])
        ).order_by(metrics.c.epoch)
        return [_metric(row) for row in self._connection.execute(statement)]

    def columns(self, job_id: str, *, since_epoch: int = 0, until_epoch: int | None = None) -> dict[str, list[Any]]:
        """Return ``epoch`` and every value field as equally long columns, None for null; made for thinning."""
        names = ("epoch", *VALUE_FIELDS)
        rows = _FIND_COLUMNS.fetch_all(self._connection, self._dialect, _range(job_id, since_epoch, until_epoch))
        if not rows:
            return {name: [] for name in names}
        return {name: list(column) for name, column in zip(names, zip(*rows, strict=True), strict=True)}

    def iterate(self, job_id: str, *, chunk: int = 2000) -> Iterator[TrainingMetric]:
        """Yield every row in order without holding all of them."""
        since = 0
        while True:
            rows = _FIND_SOME.fetch_all(self._connection, self._dialect, _range(job_id, since, None) | {"most": chunk})
            for row in rows:
                yield _metric(row)
            if len(rows) < chunk:
                return
            since = rows[-1][1]

    def copy(self, source_job_id: str, target_job_id: str, *, until_epoch: int) -> int:
        """Copy rows to another job (continue); returns how many."""
        source: Select[Any] = select(literal(target_job_id), *(metrics.c[name] for name in _NAMES[1:])).where(
            metrics.c.job_id == source_job_id, metrics.c.epoch <= bounded(until_epoch, MAX_INTEGER)
        )
        statement = insert(metrics).from_select(_NAMES, source).execution_options(preserve_rowcount=True)
        return self._connection.execute(statement).rowcount

    def delete_after(self, job_id: str, epoch: int) -> int:
        """Remove rows beyond ``epoch`` (never needed by resume, which overwrites; for repair)."""
        return self._connection.execute(delete(metrics).where(metrics.c.job_id == job_id, metrics.c.epoch > epoch)).rowcount


def _range(job_id: str, since_epoch: int, until_epoch: int | None) -> dict[str, Any]:
    until = MAX_INTEGER if until_epoch is None else bounded(until_epoch, MAX_INTEGER)
    return {"job": job_id, "since": bounded(since_epoch, MAX_INTEGER), "until": until}


def _metric(row: Sequence[Any]) -> TrainingMetric:
    """Build from a row that passed validation on its way in: what ``model_construct`` does, without its loop over fields."""
    values = dict(zip(_FIELDS, row, strict=True))
    if isinstance(values["timestamp"], str):
        values["timestamp"] = datetime.fromisoformat(values["timestamp"])
    non_finite = values["non_finite"]
    values["non_finite"] = orjson.loads(non_finite) if non_finite else {}
    metric = TrainingMetric.__new__(TrainingMetric)
    object.__setattr__(metric, "__dict__", values)
    object.__setattr__(metric, "__pydantic_fields_set__", _FIELD_SET)
    object.__setattr__(metric, "__pydantic_extra__", None)
    object.__setattr__(metric, "__pydantic_private__", None)
    return metric
