"""``Store`` in memory, for tests: the same promises, kept with copies instead of a database."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cached_property

from heimdall.domain.datasets import Dataset, DatasetStatus
from heimdall.domain.errors import ConflictError, LockedError, UnavailableError
from heimdall.domain.jobs import ACTIVE_STATUSES
from heimdall.domain.models import TrainedModel, TrainedModelDetail
from heimdall.storage.datasets import check_dataset_version, dataset_changed, dataset_in_use, no_such_dataset
from heimdall.storage.faults import BUSY_MESSAGE, CONFLICT_MESSAGE
from heimdall.storage.memory_jobs import MemoryJobs
from heimdall.storage.memory_series import MemoryAudit, MemoryEvents, MemoryLogs, MemoryMetrics
from heimdall.storage.memory_state import MemoryState
from heimdall.storage.memory_upkeep import MemoryUpkeep
from heimdall.storage.models import SUMMARY_FIELDS, no_such_model


class MemoryDatasets:
    """``DatasetRepository`` of one transaction's state."""

    def __init__(self, state: MemoryState) -> None:
        self._state = state

    def add(self, dataset: Dataset) -> None:
        """Store a new row."""
        if dataset.id in self._state.datasets:
            raise ConflictError(CONFLICT_MESSAGE)
        self._state.datasets[dataset.id] = dataset

    def get(self, dataset_id: str, *, lock: bool = False) -> Dataset:
        """Return the data set. NotFoundError."""
        dataset = self._state.datasets.get(dataset_id)
        if dataset is None:
            raise no_such_dataset(dataset_id)
        return dataset

    def save(self, dataset: Dataset, *, expected_version: int) -> None:
        """Compare-and-set on ``version``. ConflictError where someone else changed it first."""
        check_dataset_version(dataset, expected_version)
        current = self.get(dataset.id)
        if current.version != expected_version:
            raise dataset_changed(current)
        self._state.datasets[dataset.id] = dataset

    def find_all(self) -> list[Dataset]:
        """Return all, newest first."""
        return sorted(self._state.datasets.values(), key=lambda dataset: (dataset.created_at, dataset.id), reverse=True)

    def delete(self, dataset_id: str) -> None:
        """Remove the row. ConflictError while active jobs use it."""
        self.get(dataset_id)
        users = [row for row in self._state.jobs.values() if row.job.dataset_id == dataset_id and row.job.status in ACTIVE_STATUSES]
        if users:
            raise dataset_in_use(len(users))
        del self._state.datasets[dataset_id]

    def find_by_content(self, content_hash: str) -> Dataset | None:
        """Return a ready data set with the same content, the oldest if several."""
        same = [item for item in self.find_all() if item.content_hash == content_hash and item.status is DatasetStatus.READY]
        return same[-1] if same else None


class MemoryModels:
    """``ModelRepository`` of one transaction's state."""

    def __init__(self, state: MemoryState) -> None:
        self._state = state

    def add(self, model: TrainedModelDetail) -> None:
        """Store a new row. ConflictError where name and version, or the bundle, are already here."""
        is_known = model.bundle_hash is not None and self.find_by_bundle_hash(model.bundle_hash)
        if model.id in self._state.models or is_known:
            raise ConflictError(CONFLICT_MESSAGE)
        self._check_free(model.id, model.name, model.version)
        self._state.models[model.id] = model

    def get(self, model_id: str, *, lock: bool = False) -> TrainedModelDetail:
        """Return one with all its detail. NotFoundError."""
        model = self._state.models.get(model_id)
        if model is None:
            raise no_such_model(model_id)
        return model

    def find_all(self) -> list[TrainedModel]:
        """Return all, newest first, without detail."""
        found = sorted(self._state.models.values(), key=lambda model: (model.created_at, model.id), reverse=True)
        return [TrainedModel.model_validate({name: getattr(model, name) for name in SUMMARY_FIELDS}) for model in found]

    def rename(self, model_id: str, *, name: str, version: int) -> None:
        """Change name and version. NotFoundError; ConflictError where another model has them."""
        model = self.get(model_id)
        self._check_free(model_id, name, version)
        self._state.models[model_id] = model.evolve(name=name, version=version)

    def delete(self, model_id: str) -> None:
        """Remove the row; jobs keep their history. NotFoundError."""
        self.get(model_id)
        del self._state.models[model_id]

    def next_version(self, name: str) -> int:
        """Return 1 + the highest version under this name."""
        return 1 + max((model.version for model in self._state.models.values() if model.name == name), default=0)

    def find_by_bundle_hash(self, bundle_hash: str) -> TrainedModelDetail | None:
        """Return the model that the same bundle content became."""
        return next((model for model in self._state.models.values() if model.bundle_hash == bundle_hash), None)

    def _check_free(self, model_id: str, name: str, version: int) -> None:
        if any(model.id != model_id and (model.name, model.version) == (name, version) for model in self._state.models.values()):
            raise ConflictError(CONFLICT_MESSAGE)


class MemoryTransaction:
    """All repositories on one copy of the state."""

    def __init__(self, state: MemoryState) -> None:
        self._state = state

    @cached_property
    def jobs(self) -> MemoryJobs:
        """Jobs."""
        return MemoryJobs(self._state)

    @cached_property
    def metrics(self) -> MemoryMetrics:
        """Metric rows."""
        return MemoryMetrics(self._state)

    @cached_property
    def events(self) -> MemoryEvents:
        """The event log."""
        return MemoryEvents(self._state)

    @cached_property
    def logs(self) -> MemoryLogs:
        """Text logs."""
        return MemoryLogs(self._state)

    @cached_property
    def audit(self) -> MemoryAudit:
        """The audit log."""
        return MemoryAudit(self._state)

    @cached_property
    def datasets(self) -> MemoryDatasets:
        """Data sets."""
        return MemoryDatasets(self._state)

    @cached_property
    def models(self) -> MemoryModels:
        """Models."""
        return MemoryModels(self._state)

    @cached_property
    def upkeep(self) -> MemoryUpkeep:
        """Tombstones and holds."""
        return MemoryUpkeep(self._state)


class MemoryStore:
    """``Store`` without a database. ``is_away`` makes every call raise UnavailableError, to test callers."""

    def __init__(self, busy_timeout_s: float = 10.0) -> None:
        self.is_away = False
        self.busy_timeout_s = busy_timeout_s
        self._state = MemoryState()
        self._turn = threading.Lock()
        self._mine = threading.local()

    @contextmanager
    def write(self) -> Iterator[MemoryTransaction]:
        """Open a write transaction: committed on a clean exit, dropped on any exception."""
        self.ping()
        if getattr(self._mine, "is_writing", False):
            raise RuntimeError("This thread already has a write transaction open; a second one would wait for the first forever.")
        if not self._turn.acquire(timeout=self.busy_timeout_s):
            raise LockedError(BUSY_MESSAGE)
        self._mine.is_writing = True
        try:
            state = self._state.copy()
            yield MemoryTransaction(state)
            self._state = state
        finally:
            self._mine.is_writing = False
            self._turn.release()

    @contextmanager
    def read(self, *, settled: bool = False) -> Iterator[MemoryTransaction]:
        """Open a consistent read: all of it sees the same moment. Nothing written in it survives."""
        self.ping()
        yield MemoryTransaction(self._state.copy())

    def ping(self) -> None:
        """Raise UnavailableError where a test switched the store off."""
        if self.is_away:
            raise UnavailableError("The store was switched off by a test.")

    def check_write(self, patience_s: float) -> None:
        """Take the turn of a writer. LockedError where another does not give it back in time."""
        self.ping()
        if not self._turn.acquire(timeout=patience_s):
            raise LockedError(BUSY_MESSAGE)
        self._turn.release()

    def migrate(self) -> None:
        """Do nothing: there is one schema."""

    def close(self) -> None:
        """Do nothing: there are no connections."""
