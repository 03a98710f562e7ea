"""The trained models: list, look at, rename, delete."""

from __future__ import annotations

import math
from contextlib import suppress
from typing import TYPE_CHECKING, Any, Final

from heimdall.domain.audit import AuditAction, AuditSubject
from heimdall.domain.errors import ConflictError, InvalidInputError, NotFoundError
from heimdall.domain.events import EventType
from heimdall.domain.jobs import ACTIVE_STATUSES, Job
from heimdall.domain.models import TrainedModel, TrainedModelDetail
from heimdall.domain.ports import ArtifactStore, Clock, JobQuery, Store, Transaction
from heimdall.domain.texts import MAX_NAME_LENGTH, clean_text
from heimdall.services.audit import record
from heimdall.services.disposal import Disposal, model_folder
from heimdall.services.transitions import change_job

if TYPE_CHECKING:
    import numpy as np

DEFAULT_MAX_ROWS: Final = 2000
_PAGE: Final = 200


class ModelService:
    """Use cases around stored models."""

    def __init__(self, *, store: Store, artifacts: ArtifactStore, clock: Clock) -> None:
        self._store = store
        self._artifacts = artifacts
        self._clock = clock
        self._disposal = Disposal(store=store, artifacts=artifacts, clock=clock)

    def find_all(self) -> list[TrainedModel]:
        """Return all models, newest first."""
        with self._store.read() as tx:
            return tx.models.find_all()

    def get(self, model_id: str) -> TrainedModelDetail:
        """Return one with all its detail. NotFoundError."""
        with self._store.read() as tx:
            return tx.models.get(model_id)

    def rename(self, model_id: str, name: str) -> TrainedModelDetail:
        """Give a model another name; it takes the next version under that name.

        Raises
        ------
        NotFoundError
            No such model.
        InvalidInputError
            A name that is empty, longer than 255 characters or has control characters.
        """
        wanted = name.strip()
        if not 1 <= len(wanted) <= MAX_NAME_LENGTH:
            raise InvalidInputError(f"A model name has 1 to {MAX_NAME_LENGTH} characters.", field="name")
        if clean_text(wanted, limit=MAX_NAME_LENGTH) != wanted:
            raise InvalidInputError("A model name must not contain control characters.", field="name")
        with self._store.write() as tx:
            model = tx.models.get(model_id, lock=True)
            if model.name == wanted:
                return model
            version = tx.models.next_version(wanted)
            tx.models.rename(model_id, name=wanted, version=version)
            record(tx, AuditAction.RENAME, AuditSubject.MODEL, model_id, now=self._clock.now(), name=wanted, before=model.name)
        return model.evolve(name=wanted, version=version)

    def delete(self, model_id: str, *, confirm_name: str | None = None) -> None:
        """Remove a model: its row first, then its files, so that a listed model always has them.

        The job that made it stays, and says from then on that it has no model.

        Raises
        ------
        NotFoundError
            No such model.
        ConflictError
            Code ``confirm_name``: the model is in use and ``confirm_name`` is not its name.
        """
        now = self._clock.now()
        with self._store.write() as tx:
            model = tx.models.get(model_id, lock=True)
            maker = _find_maker(tx, model)
            reason = _find_use(tx, model, maker)
            if reason is not None and confirm_name != model.name:
                message = f"The model is in use: {reason}. Repeat its name '{model.name}' to delete it all the same."
                raise ConflictError(message, field="confirm_name", code="confirm_name")
            tx.models.delete(model_id)
            record(tx, AuditAction.DELETE, AuditSubject.MODEL, model_id, now=now, name=model.name)
            if maker is not None:
                change_job(tx, maker, EventType.UPDATED, now=now, reason="model_deleted", model_id=None)
            tx.upkeep.bury(model_folder(model_id), now=now)
        self._disposal.collect()

    def evaluation(self, model_id: str, *, max_rows: int = DEFAULT_MAX_ROWS) -> dict[str, Any]:
        """Return truth and prediction of the validation examples, thinned evenly to at most ``max_rows``.

        Returns
        -------
        dict
            ``total``, ``num_rows`` and equally long columns: ``row``, ``truth_enu_m`` and ``prediction_enu_m`` ([east, north] m),
            ``error_m``, ``covariance_m2`` ([[xx, xy], [xy, yy]]), ``num_heard``; a number that is not finite is null. For all rows,
            ``ellipse_levels`` and ``ellipse_radii``: the share that each ellipse is to hold and its radius in standard deviations of the
            covariance, as calibration found it; null of a model that was trained before they were kept.

        Raises
        ------
        NotFoundError
            No such model, or none of it was measured here (an imported model).
        """
        model = self.get(model_id)
        if model.evaluation_key is None:
            raise NotFoundError("This model has no evaluation: it was imported, and its bundle carries only samples.")
        from safetensors.numpy import load

        with self._artifacts.open(model.evaluation_key) as source:
            tensors = load(source.read())
        ellipses = {name: None if name not in tensors else _to_json(tensors.pop(name)) for name in ("ellipse_levels", "ellipse_radii")}
        total = len(tensors["truth_enu_m"])
        kept = _thin(total, max(1, max_rows))
        columns = {name: _to_json(tensor[kept]) for name, tensor in tensors.items()}
        columns["error_m"] = [
            None if None in (*truth, *found) else math.dist(truth, found)
            for truth, found in zip(columns["truth_enu_m"], columns["prediction_enu_m"], strict=True)
        ]
        return {"total": total, "num_rows": len(kept), "accuracy_radius_m": model.accuracy_radius_m, **ellipses, **columns}


def _thin(total: int, max_rows: int) -> list[int]:
    """Return at most ``max_rows`` indices spread evenly over ``range(total)``."""
    if total <= max_rows:
        return list(range(total))
    return [index * total // max_rows for index in range(max_rows)]


def _to_json(tensor: np.ndarray[Any, Any]) -> list[Any]:
    return [_null_non_finite(value) for value in tensor.tolist()]


def _null_non_finite(value: Any) -> Any:  # noqa: ANN401
    if isinstance(value, list):
        return [_null_non_finite(item) for item in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def _find_maker(tx: Transaction, model: TrainedModelDetail) -> Job | None:
    """Return the job that points to the model, locked."""
    if model.training_job_id is None:
        return None
    with suppress(NotFoundError):
        job = tx.jobs.get(model.training_job_id, lock=True)
        return job if job.model_id == model.id else None
    return None


def _find_use(tx: Transaction, model: TrainedModelDetail, maker: Job | None) -> str | None:
    """Say who needs the model: an active job that goes on from its training, or the job that shows it as its result."""
    if model.training_job_id is None:
        return None
    cursor = None
    while True:
        page = tx.jobs.find(JobQuery(statuses=ACTIVE_STATUSES, limit=_PAGE, cursor=cursor))
        for job in page.items:
            if model.training_job_id in (job.id, job.continued_from):
                return f"the {job.status} job '{job.name}' goes on from its training"
        cursor = page.next_cursor
        if cursor is None:
            return None if maker is None else f"it is the result of the job '{maker.name}'"
