"""The second phase of every deletion: files whose row is gone go, then their tombstone."""

from __future__ import annotations

import logging

from heimdall.domain.datasets import DatasetStatus
from heimdall.domain.errors import HeimdallError, NotFoundError
from heimdall.domain.ports import ArtifactStore, Clock, Store, Transaction

DATASETS = "datasets"
INCOMING = "incoming"
MODELS = "models"
CHECKPOINTS = "checkpoints"

logger = logging.getLogger(__name__)


def dataset_folder(dataset_id: str) -> str:
    """Return the artifact folder of a data set's arrays."""
    return f"{DATASETS}/{dataset_id}"


def incoming_folder(dataset_id: str) -> str:
    """Return the artifact folder of the files that an import is built from."""
    return f"{INCOMING}/{dataset_id}"


def model_folder(model_id: str) -> str:
    """Return the artifact folder of a model."""
    return f"{MODELS}/{model_id}"


def checkpoint_folder(job_id: str) -> str:
    """Return the artifact folder of a job's checkpoints."""
    return f"{CHECKPOINTS}/{job_id}"


class Disposal:
    """Removes what transactions buried. Safe to run in several processes at once."""

    def __init__(self, *, store: Store, artifacts: ArtifactStore, clock: Clock) -> None:
        self._store = store
        self._artifacts = artifacts
        self._clock = clock

    def collect(self, *, limit: int = 100) -> int:
        """Remove buried files, unless a backup needs every file to stay; returns how many keys are done.

        Whatever the dependencies refuse stays buried for the next call: nothing is raised after a deletion was committed.
        """
        try:
            with self._store.read() as tx:
                if tx.upkeep.is_held(self._clock.now()):
                    return 0
                keys = tx.upkeep.list_buried(limit=limit)
                alive = {key for key in keys if _lives_again(tx, key)}
            gone = [key for key in keys if key in alive or self._remove(key)]
            if gone:
                with self._store.write() as tx:
                    tx.upkeep.forget(*gone)
        except HeimdallError as error:
            logger.warning("disposal_hindered", extra={"reason": error.detail})
            return 0
        return len(gone)

    def _remove(self, key: str) -> bool:
        try:
            self._artifacts.delete(key)
        except HeimdallError as error:
            logger.warning("files_left", extra={"key": key, "reason": error.detail})
            return False
        return True


def _lives_again(tx: Transaction, key: str) -> bool:
    """Say whether a data set took this key anew: the demo's id is always the same."""
    top, _, dataset_id = key.partition("/")
    if top not in (DATASETS, INCOMING):
        return False
    try:
        status = tx.datasets.get(dataset_id).status
    except NotFoundError:
        return False
    return status is DatasetStatus.BUILDING or (top == DATASETS and status is DatasetStatus.READY)
