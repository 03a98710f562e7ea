"""What the product's loop costs over a hand-written one: same data, same network, same optimizer, step by step in turns.

Run: ``.venv/bin/python -m bench.training_overhead [--pairs 30]``. Processor time of this process, so neighbours disturb less.
The hand-written loop reports nothing, cannot be paused and keeps no figures; the product's does all of it, into a sink that keeps nothing.
Figure wanted: throughput ratio of at least 0.99.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Protocol

import torch

from bench.reporting import print_table, summarize
from heimdall.datasets.build import build_synthetic
from heimdall.domain.datasets import Dataset, DatasetKind, DatasetStatus, SyntheticDatasetConfig
from heimdall.domain.jobs import PendingAction, TrainingJobConfig
from heimdall.domain.training import CheckpointFile, Position, TrainingRequest
from heimdall.training.data import shuffle_rows
from heimdall.training.loop import train
from heimdall.training.losses import gaussian_nll
from heimdall.training.preparation import Run, prepare_run


class HandWritten:
    """The least that trains: gather, predict, likelihood, backward, clip, step, schedule."""

    def __init__(self, run: Run) -> None:
        self._run = run
        self._epoch = 0
        self._parameters = list(run.state.model.parameters())

    def steps(self) -> Iterator[None]:
        """Train an epoch, a step each time that the next one is asked for."""
        run, state = self._run, self._run.state
        self._epoch += 1
        order = shuffle_rows(run.train_rows, seed=0, epoch=self._epoch)
        state.model.train()
        for index in range(run.num_batches):
            batch = run.examples.take(order[run.batch_borders[index] : run.batch_borders[index + 1]])
            predicted = state.model(batch.features_BRF, batch.mask_BR, batch.receiver_BR)
            loss = gaussian_nll(predicted, batch.target_B2, scale_km=state.model.scale_km).mean()
            state.optimizer.zero_grad(set_to_none=True)
            loss.backward()
            torch.nn.utils.clip_grad_norm_(self._parameters, 1.0)
            state.optimizer.param_groups[0]["lr"] = state.learning_rate.at(state.step)
            state.optimizer.step()
            state.step += 1
            yield


class Loop(Protocol):
    """A loop beside the product's."""

    def steps(self) -> Iterator[None]:
        """Train an epoch, a step each time that the next one is asked for."""


class Stopwatch:
    """A sink that has every other loop do a step after each of the product's, and keeps what each spent in an epoch.

    In turns by the step and not by the epoch, because a neighbour's minute or the processor's clock then falls on all alike.
    """

    def __init__(self, others: Mapping[str, Loop]) -> None:
        self._others = others
        self._steps: dict[str, Iterator[None]] = {}
        self._is_behind_steps = False
        self._went_on_s = 0.0
        self._spent_s: dict[str, float] = {}
        self.rounds: list[dict[str, float]] = []
        """Processor seconds of each epoch's steps but the first: ``ours`` and the others' names."""

    def report_device(self, device: object, *, resume_is_exact: bool | None) -> None:
        """Nobody asks here."""

    def note_phase(self, phase: object) -> None:
        """Nobody watches."""

    def report_tick(self, look: Callable[[], Position]) -> None:
        """Take the time of the step that ended, and have the others do one; later ticks are of the validation."""
        stopped_s = time.process_time()
        position = look()
        batch, total_batches = position.batch, position.total_batches
        if self._is_behind_steps:  # the first tick of the validation: what the last steps left to write is written
            self._add("ours", stopped_s - self._went_on_s, batch)
            self._steps, self._is_behind_steps = {}, False
            return
        if batch == 1:  # the first step of an epoch has the shuffling in it, and no beginning that could be seen from here
            self._spent_s = dict.fromkeys(("ours", *self._others), 0.0)
            self._steps = {name: other.steps() for name, other in self._others.items()}
        if not self._steps:
            return
        self._add("ours", stopped_s - self._went_on_s, batch)
        for name in self._order(batch):
            went_on_s = time.process_time()
            next(self._steps[name])
            self._add(name, time.process_time() - went_on_s, batch)
        if batch == total_batches:
            for steps in self._steps.values():
                next(steps, None)  # what a loop does behind its last step
            self._is_behind_steps = True
        self._went_on_s = time.process_time()

    def _add(self, name: str, seconds: float, batch: int) -> None:
        if batch > 1:
            self._spent_s[name] += seconds

    def _order(self, batch: int) -> list[str]:
        """Return the loops that train, another one first each time."""
        names = list(self._steps)
        return names[batch % len(names) :] + names[: batch % len(names)]

    def report_epoch(self, report: object) -> None:
        """Close the round."""
        self.rounds.append(self._spent_s)

    def is_checkpoint_wanted(self) -> bool:
        """Want each that the configuration has."""
        return True

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
        stopwatch = Stopwatch({"hand-written": HandWritten(prepare_run(request))})
        train(request, stopwatch)
    rounds = stopwatch.rounds[1:]
    rows = {f"{name}, s of processor an epoch": summarize([spent_s[name] for spent_s in rounds]) for name in rounds[0]}
    ratios = [spent_s["hand-written"] / spent_s["ours"] for spent_s in rounds]
    rows["ratio of throughput, ours over hand-written"] = summarize(ratios)
    print_table("training loop against a hand-written one", rows)


if __name__ == "__main__":
    main()
