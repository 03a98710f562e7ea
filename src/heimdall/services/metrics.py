"""Metrics of a job for charts and for export."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from typing import Any, Final

import orjson

from heimdall.domain.errors import HeimdallError
from heimdall.domain.metrics import VALUE_FIELDS, RawColumns
from heimdall.domain.ports import Store, Transaction
from heimdall.domain.summaries import Overview
from heimdall.services.thinning import choose_epochs, choose_width

MIN_POINTS: Final = 10
MAX_POINTS: Final = 100_000
"""Limits of ``max_points``."""

_CSV_COLUMNS: Final = ("epoch", "timestamp", "attempt", *VALUE_FIELDS)
_CSV_EPOCHS: Final = 2000
_MAX_PLAIN_ROWS: Final = 10_000
"""A view that had to read more rows than this writes the summaries that it missed."""
_EPOCHS_PER_WRITE: Final = 2048
"""Few enough that a worker's epoch waits some ten milliseconds at most."""


class MetricReading:
    """A job's metrics as they are at one moment.

    Parameters
    ----------
    tx
        The transaction that sees the moment.
    job_id
        The job. NotFoundError where there is none.
    """

    def __init__(self, tx: Transaction, job_id: str) -> None:
        self._tx = tx
        self._job_id = job_id
        self.version = tx.jobs.read_version(job_id)
        """A number that grows whenever the job's rows change."""
        self.unsummarized: tuple[int, int] | None = None
        """First and last epoch of a range that a view had to read row by row, for want of summaries."""

    def iterate(
        self, *, series: Sequence[str] = VALUE_FIELDS, since_epoch: int = 0, until_epoch: int | None = None, max_points: int | None = None
    ) -> Iterator[RawColumns]:
        """Yield rows with ``since_epoch < epoch <= until_epoch`` in order, some thousands at a time, column by column.

        Parameters
        ----------
        series
            The series that each row carries, and the only ones that thinning looks at.
        since_epoch, until_epoch
            The range; the whole run by default.
        max_points
            Thin to about so many rows: every series keeps the minimum and maximum of each bucket and marks where values
            are missing, the run its first and last epoch. Never more rows, unless the global extremes of all series
            alone are more (28 at most). None returns every row.
        """
        rows = self._tx.metrics
        bounds = None if max_points is None else rows.find_bounds(self._job_id, since_epoch=since_epoch, until_epoch=until_epoch)
        if max_points is None or bounds is None or bounds[1] - bounds[0] < max_points:
            yield from rows.iterate_columns(self._job_id, series=series, since_epoch=since_epoch, until_epoch=until_epoch)
            return
        first, last = bounds

        def look(max_width: int) -> Overview:
            return rows.overview(self._job_id, series=series, since_epoch=first - 1, until_epoch=last, max_width=max_width)

        finest = choose_width(first, last, max_points)
        # Where each series has extremes of its own, as noise has, four times this width is the answer. Where this one does not fit,
        # nothing finer does, and a few times as many summaries need not be read.
        coarse = max(finest, choose_width(first, last, max(2, max_points // len(series))) // 4)
        overview = look(coarse)
        if not overview.bodies and len(overview.rows) <= max_points:
            yield from rows.iterate_columns(self._job_id, series=series, since_epoch=since_epoch, until_epoch=until_epoch)
        else:
            tried = coarse if overview.bodies else finest
            epochs, width = choose_epochs(overview, series, first, last, max_points, tried)
            if width == tried > finest:
                epochs, _ = choose_epochs(look(finest), series, first, last, max_points, finest)
            yield rows.list_columns(self._job_id, epochs, series=series)
        if len(overview.rows) > _MAX_PLAIN_ROWS:
            self.unsummarized = bounds


class MetricService:
    """Reads metrics: the whole run, a range of it, or as many rows as a chart can show."""

    def __init__(self, *, store: Store) -> None:
        self._store = store

    @contextmanager
    def open(self, job_id: str) -> Iterator[MetricReading]:
        """Show the job's metrics of one moment within the block, which should be short: a transaction is open. NotFoundError."""
        with self._store.read() as tx:
            reading = MetricReading(tx, job_id)
            yield reading
        if reading.unsummarized is not None:
            # What cannot be written now is looked for again by the next view.
            with suppress(HeimdallError):
                self._summarize(job_id, *reading.unsummarized)

    def iterate(
        self,
        job_id: str,
        *,
        series: Sequence[str] = VALUE_FIELDS,
        since_epoch: int = 0,
        until_epoch: int | None = None,
        max_points: int | None = None,
    ) -> Iterator[RawColumns]:
        """Yield what :meth:`MetricReading.iterate` does, in a transaction of its own: the caller takes it in one go. NotFoundError."""
        with self.open(job_id) as reading:
            yield from reading.iterate(series=series, since_epoch=since_epoch, until_epoch=until_epoch, max_points=max_points)

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
                chunks = list(tx.metrics.iterate_columns(job_id, since_epoch=since, until_epoch=since + _CSV_EPOCHS))
            since += _CSV_EPOCHS
            yield "".join(_write_csv_row(row) for columns in chunks for row in zip(*columns, strict=True)).encode()

    def _summarize(self, job_id: str, first: int, last: int) -> None:
        for since in range(first - 1, last, _EPOCHS_PER_WRITE):
            with self._store.write() as tx:
                tx.jobs.get(job_id, lock=True)
                tx.metrics.summarize(job_id, since_epoch=since, until_epoch=min(last, since + _EPOCHS_PER_WRITE))


def _write_csv_row(row: tuple[Any, ...]) -> str:
    epoch, instant, attempt, *values, non_finite = row
    kinds = orjson.loads(non_finite) if non_finite else {}
    texts = (kinds.get(name) or _write_number(value) for name, value in zip(VALUE_FIELDS, values, strict=True))
    return ",".join((str(epoch), instant, str(attempt), *texts)) + "\r\n"


def _write_number(value: float | None) -> str:
    return "" if value is None else repr(value)
