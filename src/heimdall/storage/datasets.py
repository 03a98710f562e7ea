"""Data set rows in SQL: the entity as one document, columns for what is looked up."""

from __future__ import annotations

from typing import Any

from sqlalchemy import Connection, delete, func, insert, select, update

from heimdall.domain.datasets import Dataset, DatasetStatus
from heimdall.domain.errors import ConflictError, NotFoundError
from heimdall.domain.jobs import ACTIVE_STATUSES
from heimdall.storage.column_types import clean_text
from heimdall.storage.tables import datasets, jobs


def no_such_dataset(dataset_id: str) -> NotFoundError:
    """Return the error of an unknown data set."""
    return NotFoundError(f"There is no data set '{clean_text(dataset_id)}'. Look at the list of data sets.", field="dataset_id")


def dataset_in_use(num_jobs: int) -> ConflictError:
    """Return the error of a data set that cannot go yet."""
    return ConflictError(f"{num_jobs} active job(s) use this data set. Cancel them or wait for their end, then delete it.", code="in_use")


def dataset_changed(current: Dataset) -> ConflictError:
    """Return the error of a compare-and-set that came too late."""
    return ConflictError(f"Data set {current.id} was changed meanwhile (now {current.status}); read it again, then repeat the change.")


def check_dataset_version(dataset: Dataset, expected_version: int) -> None:
    """Raise ValueError, a bug of the caller, where a save would not raise the version."""
    if dataset.version <= expected_version:
        raise ValueError("A saved data set carries a higher version than the one it replaces.")


class SqlDatasets:
    """``DatasetRepository`` on one connection."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    def add(self, dataset: Dataset) -> None:
        """Store a new row."""
        self._connection.execute(insert(datasets).values(_to_row(dataset)))

    def get(self, dataset_id: str, *, lock: bool = False) -> Dataset:
        """Return the data set. NotFoundError."""
        statement = select(datasets.c.document).where(datasets.c.id == dataset_id)
        if lock:
            statement = statement.with_for_update()
        document = self._connection.execute(statement).scalar_one_or_none()
        if document is None:
            raise no_such_dataset(dataset_id)
        return Dataset.model_validate(document)

    def save(self, dataset: Dataset, *, expected_version: int) -> None:
        """Compare-and-set on ``version``. ConflictError where someone else changed it first."""
        check_dataset_version(dataset, expected_version)
        statement = update(datasets).where(datasets.c.id == dataset.id, datasets.c.version == expected_version)
        if self._connection.execute(statement.values(_to_row(dataset))).rowcount != 1:
            raise dataset_changed(self.get(dataset.id))

    def find_all(self) -> list[Dataset]:
        """Return all, newest first."""
        statement = select(datasets.c.document).order_by(datasets.c.created_at.desc(), datasets.c.id.desc())
        return [Dataset.model_validate(document) for document in self._connection.execute(statement).scalars()]

    def delete(self, dataset_id: str) -> None:
        """Remove the row. ConflictError while active jobs use it."""
        self.get(dataset_id, lock=True)
        active = sorted(status.value for status in ACTIVE_STATUSES)
        users = select(func.count()).select_from(jobs).where(jobs.c.dataset_id == dataset_id, jobs.c.status.in_(active))
        if num_jobs := self._connection.execute(users).scalar_one():
            raise dataset_in_use(num_jobs)
        self._connection.execute(delete(datasets).where(datasets.c.id == dataset_id))

    def find_by_content(self, content_hash: str) -> Dataset | None:
        """Return a ready data set with the same content, the oldest if several."""
        statement = (
            select(datasets.c.document)
            .where(datasets.c.content_hash == content_hash, datasets.c.status == DatasetStatus.READY.value)
            .order_by(datasets.c.created_at, datasets.c.id)
            .limit(1)
        )
        document = self._connection.execute(statement).scalar_one_or_none()
        return None if document is None else Dataset.model_validate(document)


def _to_row(dataset: Dataset) -> dict[str, Any]:
    return {
        "id": dataset.id,
        "name": dataset.name,
        "name_folded": clean_text(dataset.name).casefold(),
        "status": dataset.status.value,
        "created_at": dataset.created_at,
        "content_hash": dataset.content_hash,
        "version": dataset.version,
        "document": dataset.model_dump(mode="json"),
    }
