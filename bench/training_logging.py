"""What a job's sink costs the training: epochs and checkpoints made durable against none, an epoch of each in turns.

Run: ``.venv/bin/python -m bench.training_logging [--pairs 150] [--examples 5000]``. Wall time, as a user has it, from the end of one epoch
to the end of the next: what an epoch hands over is written while the next one trains, and the thread that writes shares the interpreter
with the loop. Only each other epoch is handed over, so checkpoints keep twice their default distance: as many epochs have one as in a job.
The mean is the figure, since the median of pairs knows no checkpoint; its standard error stands beside it.
Figure wanted: throughput ratio of at least 0.99.
"""

from __future__ import annotations

import argparse
import math
import statistics
import tempfile
import time
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path

import torch

from bench.reporting import print_table, summarize
from bench.serving import make_job, make_sink
from bench.training_overhead import make_request
from bench.training_profile import DurableSink, Ledger
from heimdall.domain.training import CheckpointFile, EpochReport
from heimdall.settings import Settings
from heimdall.training import loop
from tests.serving import make_container

_WARM_UP = 2
"""Epochs that fill caches, not counted."""


class SwitchedSink(DurableSink):
    """Hands epochs and checkpoints to a worker's own sink while it is on, and to nobody else; notes when an epoch ended."""

    def __init__(self, *arguments: object) -> None:
        super().__init__(*arguments)
        self.is_on = False
        self.ends: list[float] = []

    def is_checkpoint_wanted(self) -> bool:
        self.ends.append(time.perf_counter())  # the first that the loop asks at the end of an epoch
        return self.is_on and super().is_checkpoint_wanted()

    def report_epoch(self, report: EpochReport) -> None:
        if self.is_on:
            super().report_epoch(report)

    def save_checkpoint(self, write: Callable[[], CheckpointFile]) -> None:
        if self.is_on:
            super().save_checkpoint(write)


def compare(num_pairs: int, num_examples: int) -> dict[str, dict[str, float]]:
    """Return s of an epoch with and without, and the ratio of throughput: of each pair and over all of them."""
    torch.set_num_threads(1)
    # Which of a pair comes first changes, so that what grows or shrinks with time meets both alike.
    turns = [False] * _WARM_UP + [is_on for number in range(num_pairs) for is_on in ((True, False) if number % 2 else (False, True))]
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        container = make_container(folder / "store", checkpoint_gap_s=2 * Settings().checkpoint_gap_s)
        _, claim = make_job(container)
        request = make_request(folder, epochs=len(turns) + 2, num_examples=num_examples)
        real = make_sink(container, claim)
        sink = SwitchedSink(real, claim, Ledger())
        attempt = loop._Attempt(loop.prepare_run(request), sink, loop._now, time.monotonic)
        with loop.deterministic(), real.writing():
            for sink.is_on in turns:
                attempt._train_epoch()
            sink.is_on = False
            attempt._train_epoch()
        container.close()
    taken_s: dict[bool, list[float]] = {True: [], False: []}
    for is_on, (began, ended) in list(zip(turns, pairwise(sink.ends), strict=True))[_WARM_UP:]:
        taken_s[is_on].append(ended - began)
    with_s, without_s = taken_s[True], taken_s[False]
    return {
        "with, s an epoch": summarize(with_s),
        "without, s an epoch": summarize(without_s),
        "ratio of throughput, with over without, pairs": summarize([off / on for on, off in zip(with_s, without_s, strict=True)]),
        "ratio of throughput, with over without, all": divide(without_s, with_s),
    }


def divide(above: list[float], below: list[float]) -> dict[str, float]:
    """Return the ratio of two means that were taken in pairs, and one standard error to either side."""
    mean = statistics.mean(below)
    ratio = statistics.mean(above) / mean
    error = statistics.stdev([one - ratio * other for one, other in zip(above, below, strict=True)]) / math.sqrt(len(above)) / mean
    return {"min": ratio - error, "median": ratio, "max": ratio + error, "n": len(above)}


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--pairs", type=int, default=150)
    parser.add_argument("--examples", type=int, default=5000)
    options = parser.parse_args()
    print_table("training with and without a job's sink", compare(options.pairs, options.examples))


if __name__ == "__main__":
    main()
