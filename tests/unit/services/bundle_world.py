"""A small world for bundle tests: a store and artifacts of their own, a real network, a clock that stands still."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from safetensors.numpy import save

from heimdall.domain.datasets import CoordinateFrame, Feature, Receiver
from heimdall.domain.models import (
    Baseline,
    Examination,
    ExportOptions,
    FinalMetrics,
    Normalization,
    OnCheck,
    Performance,
    TensorSpec,
    TrainedModelDetail,
    Verification,
)
from heimdall.domain.ports import ModelVerifier
from heimdall.services.bundles import BundleService
from heimdall.services.models import ModelService
from heimdall.storage.artifacts import FsspecArtifacts, open_artifacts
from heimdall.storage.memory import MemoryStore
from tests.unit.verification import networks

NOW = datetime(2026, 3, 4, 5, 6, 7, tzinfo=UTC)
MAX_BYTES = 50_000_000


class StandingClock:
    def now(self) -> datetime:
        return NOW


class TrustingVerifier:
    """Looks at nothing: for tests of what lies around the verification."""

    def __init__(self) -> None:
        self.calls: list[tuple[bytes, bytes | None]] = []

    def examine(self, onnx_path: Path, samples_path: Path | None, on_check: OnCheck | None = None) -> Examination:
        self.calls.append((onnx_path.read_bytes(), samples_path.read_bytes() if samples_path else None))
        return Examination(verification=Verification(status="unverified"), onnx_opset=18)


@dataclass
class World:
    """One instance of Heimdall, as far as models go."""

    root: Path
    store: MemoryStore
    artifacts: FsspecArtifacts
    verifier: ModelVerifier
    bundles: BundleService
    models: ModelService

    def files(self) -> list[str]:
        return self.artifacts.find("")

    def leftovers(self) -> list[Path]:
        """Files of the artifact folder that are no artifacts."""
        known = {self.root / key for key in self.files()}
        return [
            path
            for path in self.root.rglob("*")
            if path.is_file() and path not in known and path.stat().st_size and "lock" not in path.name
        ]

    def write_bundle(self, model_id: str, path: Path, **options: Any) -> Path:
        path.write_bytes(b"".join(self.bundles.export(model_id, ExportOptions(**options))[1]))
        return path


def make_world(root: Path, verifier: ModelVerifier | None = None) -> World:
    store, artifacts = MemoryStore(), open_artifacts(str(root))
    used = verifier or TrustingVerifier()
    bundles = BundleService(store=store, artifacts=artifacts, verifier=used, clock=StandingClock(), max_bytes=MAX_BYTES)
    return World(root, store, artifacts, used, bundles, ModelService(store=store, artifacts=artifacts, clock=StandingClock()))


def add_model(world: World, *, model_id: str = "model-1", num_samples: int = 10, **changes: Any) -> TrainedModelDetail:
    """Store a model as the end of a training does: network, samples and row."""
    network = networks.make_network()
    data = network.SerializeToString()
    folder = f"models/{model_id}"
    with world.artifacts.write(f"{folder}/model.onnx") as target:
        target.write(data)
    if num_samples:
        with world.artifacts.write(f"{folder}/samples.safetensors") as target:
            target.write(save(networks.make_samples(network, num_samples)))
    model = TrainedModelDetail(
        id=model_id,
        name="Demo model",
        version=3,
        architecture="deepsets-s",
        created_at=NOW,
        training_job_id="job-1",
        onnx_path=f"{folder}/model.onnx",
        parameters_count=58_000,
        final_metrics=FinalMetrics(train_loss=0.5, val_loss=0.625, train_accuracy=0.75, val_accuracy=0.5, val_error_median_m=134.25),
        sha256=hashlib.sha256(data).hexdigest(),
        size_bytes=len(data),
        onnx_opset=18,
        dataset_id="dataset-1",
        dataset_name="Autumn walk",
        verification=Verification(status="verified", matched=10, total=10),
        baselines=(Baseline(id="knn", name="kNN", error_median_m=133.0, num_examples=900),),
        accuracy_radius_m=200.0,
        best_epoch=17,
        inputs=(TensorSpec(name="features", dtype="float32", shape=("batch", "receivers", 2), unit="", meaning="receiver tokens"),),
        outputs=(
            TensorSpec(name="position_enu_m", dtype="float32", shape=("batch", 2), unit="m", meaning="east, north"),
            TensorSpec(name="covariance_m2", dtype="float32", shape=("batch", 2, 2), unit="m^2", meaning="of the position"),
        ),
        receivers=(
            Receiver(id="a", name="Alpha", latitude=45.0, longitude=7.5, altitude_m=300.0),
            Receiver(id="bus", name="Bus", is_moving=True),
        ),
        features=(Feature(name="heard", unit="", meaning="1 where heard"), Feature(name="rssi_dbm", unit="dBm", meaning="power")),
        coordinate_frame=CoordinateFrame(latitude=45.0, longitude=8.0, altitude_m=200.0),
        training_config={"job_name": "Demo model", "epochs": 50, "batch_size": 64, "learning_rate": 0.002, "optimizer": "adamw", "seed": 7}
        | {"validation_split": 0.2, "dataset_id": "dataset-1"},
        performance=Performance(
            training_duration_seconds=20.5, inference_latency_ms=0.12, onnx_speedup_factor=3.5, parity_max_abs_diff=2e-6
        ),
        normalization=Normalization(feature_names=("heard", "rssi_dbm"), feature_means=(0.5, -80.0), feature_stds=(0.5, 10.0)),
        samples_key=f"{folder}/samples.safetensors" if num_samples else None,
        heimdall_version="0.1.0",
    ).evolve(**changes)
    with world.store.write() as tx:
        tx.models.add(model)
    return model


def read_json(path: Path) -> dict[str, Any]:
    document: dict[str, Any] = json.loads(path.read_bytes())
    return document
