"""What a job's sink costs the training: epochs and checkpoints made durable against none, in turns within one run.

Run: ``.venv/bin/python -m bench.training_logging [--pairs 30] [--epochs 4] [--examples 5000]``. Blocks of epochs with and without, wall
time, as a user has it; the first epoch of a block is not counted, because what the block before handed over is written during it.
Checkpoints keep their default distance, so that not every block has one: the ratio over all epochs has each at its share. The
thread that writes shares the interpreter with the loop. The copy of the run for a checkpoint is made in both (``bench.training_profile``).
Figure wanted: throughput ratio of at least 0.99.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import torch

from bench.reporting import print_table, summarize
from bench.serving import make_job, make_sink
from bench.training_overhead import make_request
from bench.training_profile import DurableSink, Ledger
from heimdall.domain.training import CheckpointFile, EpochReport
from heimdall.training import loop
from tests.serving import make_container


class SwitchedSink(DurableSink):
    """Hands epochs and checkpoints to a worker's own sink while it is on, and to nobody else."""

    is_on = False

    def report_epoch(self, report: EpochReport) -> None:
        if self.is_on:
            super().report_epoch(report)

    def is_checkpoint_wanted(self) -> bool:
        return self.is_on and super().is_checkpoint_wanted()

    def save_checkpoint(self, write: Callable[[], CheckpointFile]) -> None:
        if self.is_on:
            super().save_checkpoint(write)


def compare(num_pairs: int, epochs_a_block: int, num_examples: int) -> dict[str, dict[str, float]]:
    """Return s of an epoch with and without, and the ratio of throughput of each pair of blocks."""
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        container = make_container(folder / "store")
        _, claim = make_job(container)
        request = make_request(folder, epochs=2 * (num_pairs + 1) * epochs_a_block, num_examples=num_examples)
        real = make_sink(container, claim)
        sink = SwitchedSink(real, claim, Ledger())
        attempt = loop._Attempt(loop.prepare_run(request), sink, loop._now, time.monotonic)

        def take_block(*, is_on: bool) -> float:
            sink.is_on = is_on
            attempt._train_epoch()
            began = time.perf_counter()
            for _ in range(epochs_a_block - 1):
                attempt._train_epoch()
            return (time.perf_counter() - began) / (epochs_a_block - 1)

        with loop.deterministic(), real.writing():
            take_block(is_on=False)
            pairs = []
            for number in range(num_pairs):
                order = (True, False) if number % 2 else (False, True)
                taken_s = {is_on: take_block(is_on=is_on) for is_on in order}
                pairs.append((taken_s[True], taken_s[False]))
        container.close()
    return {
        "with, s an epoch": summarize([pair[0] for pair in pairs]),
        "without, s an epoch": summarize([pair[1] for pair in pairs]),
        "ratio of throughput, with over without, pairs": summarize([pair[1] / pair[0] for pair in pairs]),
        "ratio of throughput, with over without, all epochs": {"median": sum(pair[1] for pair in pairs) / sum(pair[0] for pair in pairs)},
    }


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--pairs", type=int, default=30)
    parser.add_argument("--epochs", type=int, default=4, help="in a block, of which the first is not counted")
    parser.add_argument("--examples", type=int, default=5000)
    options = parser.parse_args()
    print_table("training with and without a job's sink", compare(options.pairs, options.epochs, options.examples))


if __name__ == "__main__":
    main()
