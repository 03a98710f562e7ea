"""POWDER July straight through ``train()``: five folds over 200 m cells, seeds, errors pooled; best and last epoch's weights.

Run: ``.venv/bin/python -m bench.powder_reference --data ../shared/data/powder [--seeds 0 1 2] [--folds 0 1 2 3 4]``

The best epoch is chosen on the validation fold, as in the product, so its figures are a little too good; the last epoch's are not
chosen at all when early stopping is off (the default here). Both stand in ``docs/results.md``. One thread a process: run it twice with
different seeds to use two processors.
"""

from __future__ import annotations

import argparse
import json
import statistics
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import torch

from heimdall.datasets.build import build_import
from heimdall.datasets.importers.sources import SourceFile
from heimdall.domain.datasets import Dataset, DatasetKind, DatasetStatus, ImportDatasetConfig
from heimdall.domain.jobs import Checkpoint, DeviceInfo, PendingAction, TrainingJobConfig
from heimdall.domain.training import CheckpointFile, EpochReport, TrainingRequest
from heimdall.rf.accuracy import CHI2_68
from heimdall.training.loop import train
from heimdall.training.metrics import Evaluation, evaluate
from heimdall.training.preparation import prepare_run

SOURCES = ("single_tx_july.csv", "location_coordinates.json")


@dataclass
class KeepLast:
    """A sink that keeps the epochs' reports and the last checkpoint."""

    reports: list[EpochReport] = field(default_factory=list)
    checkpoint: CheckpointFile | None = None

    def report_device(self, device: DeviceInfo, *, resume_is_exact: bool | None) -> None:
        """Nobody asks here."""

    def note_phase(self, phase: object) -> None:
        """Nobody watches."""

    def report_tick(self, look: object) -> None:
        """Nobody watches."""

    def report_epoch(self, report: EpochReport) -> None:
        """Keep it."""
        self.reports.append(report)

    def is_checkpoint_wanted(self) -> bool:
        """Want each that the configuration has."""
        return True

    def save_checkpoint(self, write: Callable[[], CheckpointFile]) -> None:
        """Keep the newest only."""
        checkpoint = write()
        if self.checkpoint:
            self.checkpoint.path.unlink()
        self.checkpoint = checkpoint

    def requested_action(self) -> PendingAction | None:
        """Nothing is asked for."""
        return None


def import_powder(source: Path, folder: Path) -> Dataset:
    """Build the data set as the product's importer does, with its defaults."""
    folder.mkdir()
    built = build_import(
        ImportDatasetConfig(kind="powder", name="POWDER July"),
        [SourceFile(name, source / name) for name in SOURCES],
        folder,
        lambda share: None,
    )
    return Dataset(
        id="powder",
        name="POWDER July",
        status=DatasetStatus.READY,
        kind=DatasetKind.POWDER,
        created_at=datetime.now(UTC),
        config_hash="",
        content_hash=built.content_hash,
        accuracy_radius_m=built.manifest.accuracy_radius_m,
    )


def train_fold(
    dataset: Dataset, dataset_dir: Path, work_dir: Path, config: TrainingJobConfig
) -> tuple[dict[str, Evaluation], dict[str, Any]]:
    """Train one fold and evaluate the best and the last epoch's weights on the held-out cells."""
    sink = KeepLast()
    outcome = train(
        TrainingRequest(job_id="bench", attempt=1, config=config, dataset=dataset, dataset_dir=dataset_dir, work_dir=work_dir), sink
    )
    assert outcome.model is not None
    assert sink.checkpoint is not None
    checkpoint = Checkpoint(key="", sha256=sink.checkpoint.sha256, size_bytes=0, epoch=0, step=0, attempt=1, created_at=datetime.now(UTC))
    run = prepare_run(
        TrainingRequest("bench", 1, config, dataset, dataset_dir, work_dir, checkpoint=checkpoint, checkpoint_path=sink.checkpoint.path)
    )
    last = evaluate(run.state.model, run.examples, run.val_rows, before_batch=lambda: None)
    run.state.model.load_state_dict(run.state.best_weights)
    best = evaluate(run.state.model, run.examples, run.val_rows, before_batch=lambda: None)
    facts = {
        "best_epoch": outcome.model.best_epoch,
        "epochs": len(sink.reports),
        "train_seconds": outcome.model.performance.training_duration_seconds,
        "best_val_loss": round(outcome.model.final_metrics.val_loss or float("nan"), 3),
        "baselines": {line.id: (line.error_median_m, line.error_p68_m) for line in outcome.model.baselines},
    }
    return {"best": best, "last": last}, facts


def pool(parts: list[Evaluation]) -> dict[str, float]:
    """Pool the held-out examples of all folds."""
    error = np.concatenate([part.error_V for part in parts])
    inside = np.concatenate([part.mahalanobis_V <= CHI2_68 for part in parts])
    nll = np.concatenate([part.nll_V for part in parts])
    median, p68, p95 = np.percentile(error, [50, 68, 95])
    figures = {"median_m": median, "p68_m": p68, "p95_m": p95, "coverage_68": inside.mean(), "nll": nll.mean(), "num_examples": len(error)}
    return {name: round(float(value), 3) for name, value in figures.items()}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, default=Path("../shared/data/powder"))
    parser.add_argument("--architecture", default="deepsets-s")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--folds", type=int, nargs="+", default=list(range(5)))
    parser.add_argument("--epochs", type=int, default=50)
    parser.add_argument("--patience", type=int, default=0)
    options = parser.parse_args()
    torch.set_num_threads(1)
    tables: dict[str, list[dict[str, float]]] = {"best": [], "last": []}
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        dataset = import_powder(options.data, folder / "data")
        for seed in options.seeds:
            started_s = time.process_time()
            parts: dict[str, list[Evaluation]] = {"best": [], "last": []}
            all_facts = []
            for fold in options.folds:
                config = TrainingJobConfig(
                    job_name="bench",
                    dataset_id="powder",
                    model_architecture=options.architecture,
                    epochs=options.epochs,
                    early_stopping_patience=options.patience,
                    checkpoint_every_n_epochs=options.epochs,
                    validation_fold=fold,
                    seed=seed,
                    device="cpu",
                )
                work_dir = folder / f"s{seed}-f{fold}"
                work_dir.mkdir()
                evaluations, facts = train_fold(dataset, folder / "data", work_dir, config)
                all_facts.append(facts)
                for kind, part in evaluations.items():
                    parts[kind].append(part)
            for kind, evaluated in parts.items():
                tables[kind].append(pool(evaluated))
            cpu_s = (time.process_time() - started_s) / len(options.folds)
            print(
                json.dumps({"seed": seed, **{kind: rows[-1] for kind, rows in tables.items()}, "cpu_s_per_fold": round(cpu_s, 1)}),
                flush=True,
            )
            print(json.dumps({"seed": seed, "folds": all_facts}), flush=True)
    medians = {kind: {key: statistics.median(row[key] for row in rows) for key in rows[0]} for kind, rows in tables.items()}
    print(json.dumps({"architecture": options.architecture, "median_of_seeds": medians}))


if __name__ == "__main__":
    main()
