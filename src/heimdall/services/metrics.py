"""Metrics of a job for charts and for export."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from heimdall.domain.base import format_instant
from heimdall.domain.jobs import Job
from heimdall.domain.metrics import VALUE_FIELDS, TrainingMetric
from heimdall.domain.ports import Store, Transaction
from heimdall.services.thinning import choose_rows

if TYPE_CHECKING:
    from heimdall.services.thinning import Floats, Indices

MIN_POINTS: Final = 10
MAX_POINTS: Final = 100_000
"""Limits of ``max_points``."""

_CSV_COLUMNS: Final = ("epoch", "timestamp", "attempt", *VALUE_FIELDS)
_CSV_EPOCHS: Final = 2000
_MAX_CACHED_ROWS: Final = 400_000
"""About 45 MB of columns, of the runs looked at last."""


@dataclass(frozen=True)
class _Columns:
    """A run's columns in memory, float64, NaN for null."""

    epochs: Indices
    values: tuple[Floats, ...]


@dataclass(frozen=True)
class _Cached:
    attempt: int
    columns: _Columns


class MetricService:
    """Reads metrics: the whole run, a range of it, or as many rows as a chart can show."""

    def __init__(self, *, store: Store) -> None:
        self._store = store
        self._cache: OrderedDict[str, _Cached] = OrderedDict()
        self._lock = threading.Lock()

    def find(
        self, job_id: str, *, since_epoch: int = 0, until_epoch: int | None = None, max_points: int | None = None
    ) -> list[TrainingMetric]:
        """Return rows with ``since_epoch < epoch <= until_epoch`` in order.

        Parameters
        ----------
        job_id
            The job.
        since_epoch, until_epoch
            The range; the whole run by default.
        max_points
            Thin to about so many rows: every series keeps the minimum and maximum of each bucket, the run its first,
            last and best epoch. Never more rows, unless the global extremes of all series alone are more
            (28 at most). None returns every row.

        Raises
        ------
        NotFoundError
            There is no such job.
        """
        with self._store.read() as tx:
            job = tx.jobs.get(job_id)
            # After a resume rows of the attempt before may still lie beyond the current epoch.
            newest = job.current_epoch if job.attempt <= 1 else job.total_epochs
            last = newest if until_epoch is None else min(until_epoch, newest)
            if max_points is None or last - since_epoch <= max_points:
                return tx.metrics.find(job_id, since_epoch=since_epoch, until_epoch=until_epoch)
            columns = self._load(tx, job)
            epochs = self._choose(columns, since_epoch, until_epoch, max_points)
            return tx.metrics.list_epochs(job_id, epochs)

    def iterate_csv(self, job_id: str) -> Iterator[bytes]:
        """Yield the whole run as CSV: a header, then a row an epoch.

        Each piece is read in its own short transaction, so that a slow reader holds nothing open.
        """
        yield (",".join(_CSV_COLUMNS) + "\r\n").encode()
        since = 0
        with self._store.read() as tx:
            last = tx.jobs.get(job_id).total_epochs
        while since < last:
            with self._store.read() as tx:
                rows = tx.metrics.find(job_id, since_epoch=since, until_epoch=since + _CSV_EPOCHS)
            since += _CSV_EPOCHS
            if rows:
                yield "".join(_write_csv_row(row) for row in rows).encode()

    def _choose(self, columns: _Columns, since_epoch: int, until_epoch: int | None, max_points: int) -> list[int]:
        import numpy as np

        start = int(np.searchsorted(columns.epochs, since_epoch, side="right"))
        stop = len(columns.epochs) if until_epoch is None else int(np.searchsorted(columns.epochs, until_epoch, side="right"))
        epochs = columns.epochs[start:stop]
        if len(epochs) == 0:
            return []
        rows = choose_rows([values[start:stop] for values in columns.values], max_points)
        return [int(epoch) for epoch in epochs[rows]]

    def _load(self, tx: Transaction, job: Job) -> _Columns:
        """Return the run's columns. What can no longer change is remembered, so that a look at a long run reads only its new end."""
        with self._lock:
            cached = self._cache.get(job.id)
        if cached is not None and cached.attempt != job.attempt:
            cached = None
        known = int(cached.columns.epochs[-1]) if cached is not None and len(cached.columns.epochs) else 0
        columns = _to_columns(tx.metrics.columns(job.id, since_epoch=known))
        if cached is not None:
            columns = _join(cached.columns, columns)
        self._remember(job, columns)
        return columns

    def _remember(self, job: Job, columns: _Columns) -> None:
        import numpy as np

        stable_epoch = _find_stable_epoch(job)
        stop = len(columns.epochs) if stable_epoch is None else int(np.searchsorted(columns.epochs, stable_epoch, side="right"))
        stable = _Columns(columns.epochs[:stop], tuple(values[:stop] for values in columns.values))
        with self._lock:
            self._cache.pop(job.id, None)
            if 0 < stop <= _MAX_CACHED_ROWS:
                self._cache[job.id] = _Cached(job.attempt, stable)
            while sum(len(entry.columns.epochs) for entry in self._cache.values()) > _MAX_CACHED_ROWS:
                self._cache.popitem(last=False)


def _find_stable_epoch(job: Job) -> int | None:
    """Return the last epoch whose row cannot change while the job's attempt stays the same; None: all of them."""
    if job.status.is_final:
        return None
    if job.attempt <= 1:
        return job.current_epoch
    # Resume starts at the checkpoint and writes the epochs after it again; those before it stay as they are.
    return job.checkpoint.epoch if job.checkpoint is not None else 0


def _to_columns(raw: dict[str, list[float | None]]) -> _Columns:
    import numpy as np

    epochs = np.array(raw["epoch"], dtype=np.int64)
    return _Columns(epochs, tuple(np.array(raw[name], dtype=np.float64) for name in VALUE_FIELDS))


def _join(first: _Columns, second: _Columns) -> _Columns:
    import numpy as np

    if len(second.epochs) == 0:
        return first
    values = tuple(np.concatenate(pair) for pair in zip(first.values, second.values, strict=True))
    return _Columns(np.concatenate([first.epochs, second.epochs]), values)


def _write_csv_row(row: TrainingMetric) -> str:
    values = (row.non_finite.get(name) or _write_number(getattr(row, name)) for name in VALUE_FIELDS)
    return ",".join((str(row.epoch), format_instant(row.timestamp), str(row.attempt), *values)) + "\r\n"


def _write_number(value: float | None) -> str:
    return "" if value is None else repr(value)
