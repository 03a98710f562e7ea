"""Model rows in SQL: what is listed apart from the detail, so that a list never reads the long part."""

from __future__ import annotations

from typing import Any, Final

from sqlalchemy import Connection, delete, func, insert, select, update

from heimdall.domain.errors import NotFoundError
from heimdall.domain.models import TrainedModel, TrainedModelDetail
from heimdall.storage.column_types import clean_text
from heimdall.storage.dialects import Dialect
from heimdall.storage.tables import models

SUMMARY_FIELDS: Final = frozenset(TrainedModel.model_fields)


def no_such_model(model_id: str) -> NotFoundError:
    """Return the error of an unknown model."""
    return NotFoundError(f"There is no model '{clean_text(model_id)}'. Look at the list of models.")


class SqlModels:
    """``ModelRepository`` on one connection."""

    def __init__(self, connection: Connection, dialect: Dialect) -> None:
        self._connection = connection
        self._dialect = dialect

    def add(self, model: TrainedModelDetail) -> None:
        """Store a new row. ConflictError where name and version, or the bundle, are already here."""
        dump = model.model_dump(mode="json")
        row = {
            "id": model.id,
            "name": model.name,
            "version": model.version,
            "created_at": model.created_at,
            "bundle_hash": model.bundle_hash,
            "summary": {name: value for name, value in dump.items() if name in SUMMARY_FIELDS},
            "detail": {name: value for name, value in dump.items() if name not in SUMMARY_FIELDS},
        }
        self._connection.execute(insert(models).values(row))

    def get(self, model_id: str, *, lock: bool = False) -> TrainedModelDetail:
        """Return one with all its detail. NotFoundError."""
        statement = select(models.c.summary, models.c.detail).where(models.c.id == model_id)
        row = self._connection.execute(statement.with_for_update() if lock else statement).first()
        if row is None:
            raise no_such_model(model_id)
        return TrainedModelDetail.model_validate(row.summary | row.detail)

    def find_all(self) -> list[TrainedModel]:
        """Return all, newest first, without detail."""
        statement = select(models.c.summary).order_by(models.c.created_at.desc(), models.c.id.desc())
        return [TrainedModel.model_validate(summary) for summary in self._connection.execute(statement).scalars()]

    def rename(self, model_id: str, *, name: str, version: int) -> None:
        """Change name and version. NotFoundError; ConflictError where another model has them."""
        current = select(models.c.summary).where(models.c.id == model_id).with_for_update()
        summary = self._connection.execute(current).scalar_one_or_none()
        if summary is None:
            raise no_such_model(model_id)
        changed: dict[str, Any] = {"name": name, "version": version, "summary": summary | {"name": name, "version": version}}
        self._connection.execute(update(models).where(models.c.id == model_id).values(changed))

    def delete(self, model_id: str) -> None:
        """Remove the row; jobs keep their history. NotFoundError."""
        if self._connection.execute(delete(models).where(models.c.id == model_id)).rowcount != 1:
            raise no_such_model(model_id)

    def next_version(self, name: str) -> int:
        """Return 1 + the highest version under this name (locks the name until the transaction ends)."""
        self._dialect.lock_name(self._connection, name)
        highest = select(func.coalesce(func.max(models.c.version), 0)).where(models.c.name == name)
        return int(self._connection.execute(highest).scalar_one()) + 1

    def find_by_bundle_hash(self, bundle_hash: str) -> TrainedModelDetail | None:
        """Return the model that the same bundle content became."""
        statement = select(models.c.summary, models.c.detail).where(models.c.bundle_hash == bundle_hash)
        row = self._connection.execute(statement).first()
        return None if row is None else TrainedModelDetail.model_validate(row.summary | row.detail)
