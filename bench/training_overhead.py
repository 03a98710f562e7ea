"""What the product's loop costs over a hand-written one: same data, same network, same optimizer, epochs interleaved.

Run: ``.venv/bin/python -m bench.training_overhead [--pairs 30]``. Processor time of this process, so neighbours disturb less.
The hand-written loop reports nothing, cannot be paused and keeps no figures; the product's does all of it, into a sink that keeps nothing.
Figure wanted: throughput ratio of at least 0.99.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

import torch

from bench.reporting import print_table, summarize
from heimdall.datasets.build import build_synthetic
from heimdall.domain.datasets import Dataset, DatasetKind, DatasetStatus, SyntheticDatasetConfig
from heimdall.domain.jobs import PendingAction, TrainingJobConfig
from heimdall.domain.training import CheckpointFile, TrainingRequest
from heimdall.training.data import shuffle_rows
from heimdall.training.devices import deterministic
from heimdall.training.loop import train
from heimdall.training.losses import gaussian_nll
from heimdall.training.preparation import Run, prepare_run


class HandWritten:
    """The least that trains: gather, predict, likelihood, backward, clip, step, schedule."""

    def __init__(self, run: Run) -> None:
        self._run = run
        self._epoch = 0

    def train_epoch(self) -> float:
        """Return processor seconds from the end of the first step to the end of the last."""
        run, state = self._run, self._run.state
        self._epoch += 1
        order = shuffle_rows(run.train_rows, seed=0, epoch=self._epoch)
        parameters = list(state.model.parameters())
        state.model.train()
        started_s = 0.0
        with deterministic():
            for index in range(run.num_batches):
                batch = run.examples.take(order[run.batch_borders[index] : run.batch_borders[index + 1]])
                predicted = state.model(batch.features_BRF, batch.mask_BR, batch.receiver_BR)
                loss = gaussian_nll(predicted, batch.target_B2, scale_km=state.model.scale_km).mean()
                state.optimizer.zero_grad(set_to_none=True)
                loss.backward()
                torch.nn.utils.clip_grad_norm_(parameters, 1.0)
                state.optimizer.param_groups[0]["lr"] = state.learning_rate.at(state.step)
                state.optimizer.step()
                state.step += 1
                if index == 0:
                    started_s = time.process_time()
        return time.process_time() - started_s


class Stopwatch:
    """A sink that times the product's epochs and lets the other loop train one after each."""

    def __init__(self, other: HandWritten) -> None:
        self._other = other
        self._first_s = self._last_s = 0.0
        self.pairs: list[tuple[float, float]] = []

    def report_device(self, device: object, *, resume_is_exact: bool | None) -> None:
        """Nobody asks here."""

    def note_phase(self, phase: object) -> None:
        """Nobody watches."""

    def report_tick(self, *, epoch: int, batch: int, total_batches: int, progress_percent: float, estimated_completion: object) -> None:
        """Take the time at the first and the last step; the tick after the last is of the validation."""
        if batch == 1:
            self._first_s = time.process_time()
            self._last_s = 0.0
        elif batch == total_batches and self._last_s == 0.0:
            self._last_s = time.process_time()

    def report_epoch(self, report: object) -> None:
        """Pair the epoch with one of the hand-written loop."""
        self.pairs.append((self._last_s - self._first_s, self._other.train_epoch()))

    def save_checkpoint(self, write: Callable[[], CheckpointFile]) -> None:
        """Written as in a job, and not kept."""
        write().path.unlink()

    def requested_action(self) -> PendingAction | None:
        """Nothing is asked for."""
        return None


def make_request(
    folder: Path, *, epochs: int, num_examples: int = 5000, architecture: str = "deepsets-s", **changes: object
) -> TrainingRequest:
    """Build a data set in ``folder`` and return the request to train on it."""
    for name in ("data", "work"):
        (folder / name).mkdir()
    built = build_synthetic(SyntheticDatasetConfig(name="bench", num_examples=num_examples), folder / "data", lambda share: None)
    dataset = Dataset(
        id="bench",
        name="bench",
        status=DatasetStatus.READY,
        kind=DatasetKind.SYNTHETIC,
        created_at=datetime.now(UTC),
        config_hash="",
        content_hash=built.content_hash,
    )
    given = {"model_architecture": architecture, "epochs": epochs, "early_stopping_patience": 0, "device": "cpu", **changes}
    config = TrainingJobConfig.model_validate({"job_name": "bench", "dataset_id": "bench", **given})
    return TrainingRequest("bench", 1, config, dataset, folder / "data", folder / "work")


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--pairs", type=int, default=30)
    parser.add_argument("--architecture", default="deepsets-s")
    options = parser.parse_args()
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as name:
        request = make_request(Path(name), epochs=options.pairs + 1, architecture=options.architecture)
        stopwatch = Stopwatch(HandWritten(prepare_run(request)))
        train(request, stopwatch)
    pairs = stopwatch.pairs[1:]
    rows = {
        "ours, s of processor an epoch": summarize([own for own, _ in pairs]),
        "hand-written, s of processor an epoch": summarize([other for _, other in pairs]),
        "ratio of throughput, ours over hand-written": summarize([other / own for own, other in pairs]),
    }
    print_table("training loop against a hand-written one", rows)


if __name__ == "__main__":
    main()
