"""Writes ``src/gallery/fixtures.json`` from the engine's own models, so that both sides show the same shapes.

Run from the project's root: ``.venv/bin/python frontend/scripts/make_fixtures.py``. Deterministic: no clock, no randomness.
"""

from __future__ import annotations

import json
import math
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from heimdall.api.schemas import TrainingJob
from heimdall.domain.catalogue import ARCHITECTURES
from heimdall.domain.datasets import Dataset, DatasetPreview, PhysicalLimit, ReachableError, Split, SyntheticDatasetConfig
from heimdall.domain.jobs import Checkpoint, DeviceInfo, TrainingJobConfig
from heimdall.domain.metrics import TrainingMetric
from heimdall.domain.models import Baseline, FinalMetrics, Performance, TensorSpec, TrainedModelDetail, Verification, VerificationCheck

NOW = datetime(2026, 1, 15, 14, 0, tzinfo=UTC)
EPOCH_S = 0.64


def job_id(number: int) -> str:
    return f"00000000-0000-4000-8000-{number:012d}"


def make_metrics(number: int, epochs: int, *, broken: int | None = None, attempts: tuple[int, ...] = ()) -> list[dict[str, Any]]:
    rows = []
    for epoch in range(1, epochs + 1):
        fade = math.exp(-epoch / 9)
        wave = 0.05 * math.sin(epoch * 1.7) * (0.3 + fade)
        loss = 0.38 + 2.1 * fade + wave
        val = 0.47 + 2.0 * fade + 1.6 * wave + 0.004 * max(0, epoch - 24)
        lost = epoch == broken
        rows.append(
            TrainingMetric(
                job_id=job_id(number),
                epoch=epoch,
                timestamp=NOW - timedelta(minutes=20) + timedelta(seconds=EPOCH_S * epoch),
                attempt=1 + sum(epoch > start for start in attempts),
                train_loss=math.nan if lost else loss,
                val_loss=math.nan if lost else val,
                train_accuracy=None if lost else 0.86 * (1 - fade) - wave / 6,
                val_accuracy=None if lost else 0.81 * (1 - fade) - wave / 4,
                learning_rate=0.002 * (0.5 + 0.5 * math.cos(math.pi * epoch / 50)) + 1e-6,
                epoch_duration_seconds=EPOCH_S,
                val_error_median_m=None if lost else 131 + 900 * fade + 60 * wave,
                val_error_p68_m=None if lost else 187 + 1300 * fade + 90 * wave,
                val_error_p95_m=None if lost else 520 + 2600 * fade + 200 * wave,
                val_nll=None if lost else -1.2 + 2 * fade,
                val_coverage_68=None if lost else 0.69 - 0.3 * fade + wave / 8,
                grad_norm=0.8 + 3 * fade + abs(wave),
                samples_per_second=7400 + 300 * math.sin(epoch),
            ).model_dump(mode="json")
        )
    return rows


def make_job(number: int, name: str, status: str, **changes: Any) -> TrainingJob:
    epochs = changes.pop("epochs", 50)
    config = TrainingJobConfig(job_name=name, dataset_id="dataset-powder", epochs=epochs, **changes.pop("config", {}))
    done = changes.pop("current_epoch", 0)
    created = NOW - timedelta(minutes=7 * number)
    return TrainingJob(
        id=job_id(number),
        name=name,
        status=status,
        created_at=created,
        started_at=None if status == "pending" else created + timedelta(seconds=2),
        completed_at=created + timedelta(seconds=2 + done * EPOCH_S) if status in ("completed", "failed", "cancelled") else None,
        config=config,
        current_epoch=done,
        total_epochs=epochs,
        progress_percent=100 * done / epochs,
        dataset_id=config.dataset_id,
        attempt=0 if status == "pending" else changes.pop("attempt", 1),
        last_seq=done + 2,
        version=done + 2,
        checkpoint=Checkpoint(
            key="k", sha256="0" * 64, size_bytes=1_240_000, epoch=done, step=done * 37, attempt=1, created_at=created
        )
        if done
        else None,
        **changes,
    )


TRACEBACK = """Traceback (most recent call last):
  File "heimdall/training/loop.py", line 214, in run_epoch
    check_finite(loss, epoch=epoch, step=step)
heimdall.domain.errors.TrainingError: Loss became NaN at epoch 3, step 118.
"""

LONG_NAME = "A very long name that somebody wrote to say everything about the run: POWDER July, deepsets-s, lr 0.002, batch 128, fold 3 of 5, seed 7, after the cleaning"


def make_jobs() -> list[TrainingJob]:
    best = {"best_epoch": 27, "best_val_loss": 0.4712, "best_val_error_median_m": 134.2}
    return [
        make_job(1, "cells, deepsets-s", "running", current_epoch=31, attempt=3, worker_seen_at=NOW, estimated_completion=NOW + timedelta(seconds=130),
                 device=DeviceInfo(kind="cpu", name="AMD EPYC 7B13", threads=1), resume_is_exact=True, **best),
        make_job(2, "voice NLOS, set-transformer-m", "running", pending_action="pause", current_epoch=12, epochs=100, worker_seen_at=NOW,
                 config={"model_architecture": "set-transformer-m", "batch_size": 64}, best_epoch=12, best_val_loss=0.9, best_val_error_median_m=221.7),
        make_job(3, "waiting for a worker", "pending"),
        make_job(4, LONG_NAME, "paused", current_epoch=31, epochs=100, status_changed_at=NOW - timedelta(minutes=12), **best),
        make_job(5, "first try", "failed", current_epoch=2, config={"learning_rate": 1.0, "batch_size": 64},
                 error_message="Loss became NaN at epoch 3, step 118. Try a learning rate of 0.001 or less.", error_detail=TRACEBACK, best_epoch=2, best_val_loss=3.41),
        make_job(6, "POWDER July, best so far", "completed", current_epoch=50, model_id="model-1", **best),
        make_job(7, "one epoch only", "completed", current_epoch=1, epochs=1, model_id="model-2", best_epoch=1, best_val_loss=2.4, best_val_error_median_m=931.0),
        make_job(8, "stopped by hand", "cancelled", current_epoch=9, best_epoch=9, best_val_loss=1.22, best_val_error_median_m=402.5),
    ]


CHECKS = ("size", "schema", "integrity", "onnx checker", "operators", "load", "samples")


def make_model(number: int, name: str, **changes: Any) -> TrainedModelDetail:
    base: dict[str, Any] = {
        "id": f"model-{number}",
        "name": name,
        "version": number,
        "architecture": "deepsets-s",
        "created_at": NOW - timedelta(hours=number),
        "training_job_id": job_id(6),
        "onnx_path": f"models/model-{number}/model.onnx",
        "parameters_count": 58_373,
        "final_metrics": FinalMetrics(train_loss=0.3912, val_loss=0.4712, train_accuracy=0.862, val_accuracy=0.811, val_error_median_m=134.2,
                                      val_error_p68_m=187.4, val_error_p95_m=521.0, val_nll=-1.2, val_coverage_68=0.69),
        "sha256": "9f2c" * 16,
        "size_bytes": 243_112,
        "onnx_opset": 18,
        "dataset_id": "dataset-powder",
        "dataset_name": "POWDER July",
        "verification": Verification(status="verified", matched=5, total=5, max_abs_diff=2.98e-7, latency_ms=0.21,
                                     checks=tuple(VerificationCheck(name=check, status="passed") for check in CHECKS)),
        "baselines": (
            Baseline(id="knn", name="kNN", error_median_m=133.1, error_p68_m=186.0, error_p95_m=540.0, num_examples=860),
            Baseline(id="log-distance", name="log-distance ML", error_median_m=149.0, error_p68_m=227.0, error_p95_m=610.0, num_examples=860),
            Baseline(id="centroid", name="centroid", error_median_m=402.0, error_p68_m=551.0, error_p95_m=1204.0, num_examples=860),
        ),
        "accuracy_radius_m": 300.0,
        "best_epoch": 27,
        "inputs": (TensorSpec(name="tokens", dtype="float32", shape=("batch", "receivers", 8), unit="dB, m, s", meaning="receiver tokens"),),
        "outputs": (TensorSpec(name="position", dtype="float32", shape=("batch", 2), unit="m", meaning="east and north of the origin"),),
        "performance": Performance(training_duration_seconds=32, inference_latency_ms=0.21, onnx_speedup_factor=4.1, parity_max_abs_diff=2.4e-7),
    }
    return TrainedModelDetail(**{**base, **changes})


REACHABLE = ((1, 0.009, 49_708.0, None), (2, 0.041, 17_230.0, None), (3, 0.056, 1211.8, 10.92), (4, 0.116, 352.9, 28.89), (5, 0.137, 223.5, 50.51),
             (6, 0.195, 145.4, 64.35), (7, 0.444, 75.56, 85.54))


def make_preview() -> DatasetPreview:
    limit = PhysicalLimit(error_median_m=88.28, error_p68_m=156.2, error_p95_m=1125.7, num_examples=3883,
                          assumptions="Cramér-Rao bound of an unbiased estimator with delay errors of 150 ns at 20 dB and clocks of 50 ns.")
    rows = tuple(ReachableError(num_receivers=count, share=share, error_p68_m=p68, timing_needed_ns=needed) for count, share, p68, needed in REACHABLE)
    return DatasetPreview(target_m=30, physical_limit=limit, share_usable=0.948, by_receivers=rows,
                          arrival_sigma_ns={"clock": 50.0, "estimate": 257.07, "total": 261.89},
                          sentences=("±30 m needs 29 ns at every receiver with four receivers; yours have 260 ns and give 76 m to 1.2 km.",
                                     "At best 68 % of the examples can be located within 160 m, half of them within 88 m."))


def main() -> None:
    models = [
        make_model(1, "POWDER July, best so far"),
        make_model(2, "one epoch only", training_job_id=job_id(7), baselines=(), final_metrics=FinalMetrics(train_loss=2.31, val_loss=2.4)),
        make_model(3, LONG_NAME, training_job_id=None, imported_from="bundle-77", final_metrics=FinalMetrics(), baselines=(), dataset_name=None,
                   verification=Verification(status="unverified", checks=(VerificationCheck(name="samples", status="skipped", detail="the file has none"),))),
    ]
    dataset = Dataset(id="dataset-powder", name="POWDER July", description="Measured RSSI", status="ready", kind="powder", created_at=NOW, num_examples=4321,
                      num_receivers=25, config_hash="c", split=Split(column="cell", num_groups=118, cell_m=200), accuracy_radius_m=300, is_demo=True)
    leaky = dataset.evolve(id="dataset-rows", name="My rows", kind="rssi-csv", num_examples=812, split=Split(column="row", num_groups=812, is_leaky=True))
    building = dataset.evolve(id="dataset-building", name="Synthetic 50k", kind="synthetic", status="building")
    simulated = dataset.evolve(id="dataset-synthetic", name="Synthetic 20k", kind="synthetic", num_examples=20_000, num_receivers=7,
                               config=SyntheticDatasetConfig(name="Synthetic 20k").model_dump(mode="json"))
    data = {
        "jobs": [job.model_dump(mode="json") for job in make_jobs()],
        "models": [model.model_dump(mode="json") for model in models],
        "datasets": [one.model_dump(mode="json") for one in (dataset, leaky, building, simulated)],
        "preview": make_preview().model_dump(mode="json"),
        "architectures": [one.model_dump(mode="json") for one in ARCHITECTURES],
        "metrics": {
            job_id(1): make_metrics(1, 31, attempts=(12, 19)),
            job_id(2): make_metrics(2, 12),
            job_id(4): make_metrics(4, 31),
            job_id(5): make_metrics(5, 3, broken=3),
            job_id(6): make_metrics(6, 50, broken=40),
            job_id(7): make_metrics(7, 1),
            job_id(8): make_metrics(8, 9),
        },
    }
    target = Path(__file__).parents[1] / "src/gallery/fixtures.json"
    target.write_text(json.dumps(data, separators=(",", ":"), ensure_ascii=False) + "\n")


if __name__ == "__main__":
    main()
