"""Entities for the contract suites of stores, with every field that a test does not name."""

from __future__ import annotations

import uuid
from datetime import UTC, datetime, timedelta
from typing import Any

from heimdall.domain.datasets import Dataset, DatasetKind, DatasetStatus
from heimdall.domain.jobs import Claim, Job, TrainingJobConfig
from heimdall.domain.metrics import TrainingMetric
from heimdall.domain.models import FinalMetrics, TrainedModelDetail, Verification
from heimdall.domain.ports import ProgressUpdate, Store

NOW = datetime(2026, 1, 2, 3, 4, 5, 678901, tzinfo=UTC)


def a_job(**changes: Any) -> Job:
    name = changes.pop("name", "first light")
    config = TrainingJobConfig(job_name=name, dataset_id=changes.get("dataset_id", "ds-1"), epochs=10)
    values = {"id": str(uuid.uuid4()), "name": name, "created_at": NOW, "config": config, "total_epochs": 10, "dataset_id": "ds-1"}
    return Job(**(values | changes))


def a_dataset(**changes: Any) -> Dataset:
    values = {
        "id": "ds-1", "name": "Alps", "status": DatasetStatus.READY, "kind": DatasetKind.SYNTHETIC,
        "created_at": NOW, "config_hash": "c" * 64, "content_hash": "a" * 64,
    }  # fmt: skip
    return Dataset(**(values | changes))


def a_model(**changes: Any) -> TrainedModelDetail:
    values = {
        "id": str(uuid.uuid4()), "name": "net", "version": 1, "architecture": "deepsets-s", "created_at": NOW,
        "onnx_path": "models/x/model.onnx", "final_metrics": FinalMetrics(val_loss=0.5), "sha256": "b" * 64, "size_bytes": 10,
        "onnx_opset": 18, "verification": Verification(status="verified"), "description": "long text", "training_config": {"epochs": 3},
    }  # fmt: skip
    return TrainedModelDetail(**(values | changes))


def a_metric(job_id: str, epoch: int, **changes: Any) -> TrainingMetric:
    return TrainingMetric(**({"job_id": job_id, "epoch": epoch, "timestamp": NOW, "attempt": 1, "train_loss": 1.0 / epoch} | changes))


def add(store: Store, job: Job, **more: Any) -> Job:
    with store.write() as tx:
        tx.jobs.add(job, **more)
    return job


def claim(store: Store, job: Job, worker_id: str = "w1", *, lease_until: datetime | None = None) -> Claim:
    with store.write() as tx:
        taken = tx.jobs.claim(job.id, worker_id=worker_id, lease_until=lease_until or NOW + timedelta(seconds=10), now=NOW)
    assert taken is not None
    return Claim(job_id=job.id, worker_id=worker_id, attempt=taken.attempt)


def an_update(**changes: Any) -> ProgressUpdate:
    values = {
        "current_epoch": 3, "progress_percent": 30.0, "estimated_completion": NOW, "best_epoch": 2, "best_val_loss": 0.25,
        "best_val_error_median_m": 120.5,
    }  # fmt: skip
    return ProgressUpdate(**(values | changes))
