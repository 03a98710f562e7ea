"""Where the files of a job's attempts lie, and the removal of those that no row points to."""

from __future__ import annotations

import uuid
from typing import Final

from heimdall.domain.jobs import Checkpoint, Job, JobStatus
from heimdall.domain.ports import ArtifactStore
from heimdall.services.disposal import checkpoint_folder, model_folder

_MODEL_IDS: Final = uuid.UUID("5d3c2f3e-6a2b-4a53-9a55-0f5f0d3f8c11")
"""Namespace of model ids: one id per attempt, so that a repeated finish is the same finish."""


def name_model(job_id: str, attempt: int) -> str:
    """Return the id of the model that an attempt makes."""
    return str(uuid.uuid5(_MODEL_IDS, f"{job_id}:{attempt}"))


def discard_model(artifacts: ArtifactStore, job_id: str, attempt: int) -> None:
    """Remove the model files of an attempt that ended between storing them and its row."""
    if attempt > 0:
        artifacts.delete(model_folder(name_model(job_id, attempt)))


def name_checkpoint(job_id: str, attempt: int, step: int, batch: int, sha256: str) -> str:
    """Return the key of a checkpoint: other bytes get another key, so that no file that a row points to is ever written over.

    A pause right after an epoch saves the same step twice, and the two differ in their seconds.
    """
    return f"{checkpoint_folder(job_id)}/a{attempt}-s{step}-b{batch}-{sha256[:12]}.safetensors"


def tidy_checkpoints(artifacts: ArtifactStore, job_id: str, newest: Checkpoint | None, *, attempt: int) -> None:
    """Keep the checkpoint that the job points to and the one before; remove the others that this or an earlier attempt wrote.

    A worker that was frozen here may wake up when a later attempt has files of its own: those are never touched.
    """
    kept = {pointer.key for pointer in (newest, newest.previous if newest else None) if pointer is not None}
    for key in artifacts.find(checkpoint_folder(job_id)):
        if key not in kept and _attempt_of(key) <= attempt:
            artifacts.delete(key)


def _attempt_of(key: str) -> int:
    number = key.rpartition("/")[2].partition("-")[0].removeprefix("a")
    return int(number) if number.isdigit() else 0


def discard_unfinished(artifacts: ArtifactStore, job: Job, *, is_held: bool) -> None:
    """Remove what the last attempt of a job that no longer runs left without a row; older checkpoints stay while a backup holds them."""
    if job.status is JobStatus.RUNNING:
        return
    if not is_held:
        tidy_checkpoints(artifacts, job.id, job.checkpoint, attempt=job.attempt)
    if job.status is not JobStatus.COMPLETED:
        discard_model(artifacts, job.id, job.attempt)
