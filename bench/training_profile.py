"""Where one epoch of a job goes: each part's own time, with durable epochs and checkpoints, as a worker does them.

Run: ``.venv/bin/python -m bench.training_profile [--epochs 10] [--examples 5000 50000] [--architecture deepsets-s] [--write]``. Functions
of the product are wrapped and their own time is taken, without that of wrapped functions that they call. Processor time of the process
says what is worked (the thread that writes included), wall time what the training thread waits for. Wanted: time waiting for data under 2
%, a checkpoint under 1 % of an epoch at the default interval: a copy of the run, and the wait where the one before is not written yet.
"""

from __future__ import annotations

import argparse
import functools
import os
import tempfile
import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any
from unittest.mock import patch

import torch

from bench.reporting import print_table
from bench.sections import FIGURES, introduce, replace_section, tabulate
from bench.serving import make_job, make_sink
from bench.training_overhead import make_request
from heimdall.domain.jobs import Claim
from heimdall.domain.training import CheckpointFile, EpochReport
from heimdall.training import loop, steps
from heimdall.training.architectures.localizer import Localizer
from heimdall.training.data import Examples
from heimdall.training.state import RunState
from heimdall.training.steps import Stepper
from heimdall.worker.sink import JobSink
from tests.serving import make_container

Clock = Callable[[], float]

PAGE = FIGURES.parent / "discussions" / "training-profile.md"


class Ledger:
    """Own time of each part: (wall s, processor s)."""

    def __init__(self, clocks: tuple[Clock, Clock] = (time.perf_counter, time.process_time)) -> None:
        self._clocks = clocks
        self.spent: dict[str, list[float]] = defaultdict(lambda: [0.0, 0.0])
        self._open: list[list[float]] = []
        self._phase = ""

    @contextmanager
    def part(self, name: str, phase: str = "") -> Iterator[None]:
        """Take the time of the block, without that of blocks inside it."""
        before_phase, self._phase = self._phase, phase or self._phase
        began = [clock() for clock in self._clocks]
        self._open.append([0.0, 0.0])
        try:
            yield
        finally:
            inner = self._open.pop()
            took = [clock() - at for clock, at in zip(self._clocks, began, strict=True)]
            own = self.spent[f"{self._phase}: {name}" if self._phase else name]
            for index in (0, 1):
                own[index] += took[index] - inner[index]
                if self._open:
                    self._open[-1][index] += took[index]
            self._phase = before_phase

    def wrap(self, owner: Any, attribute: str, name: str, phase: str = "") -> Any:
        """Return a patch under which calls of this function are taken as a part."""
        function = getattr(owner, attribute)

        @functools.wraps(function)
        def timed(*args: Any, **kwargs: Any) -> Any:
            with self.part(name, phase):
                return function(*args, **kwargs)

        return patch.object(owner, attribute, timed)


class DurableSink:
    """Hands epochs and checkpoints to a worker's own sink, and takes what the training thread spends on it."""

    def __init__(self, sink: JobSink, claim: Claim, ledger: Ledger) -> None:
        self._sink = sink
        self._claim = claim
        self._ledger = ledger

    def note_phase(self, phase: object) -> None:
        """Told to a side thread in a worker."""

    def report_device(self, device: object, *, resume_is_exact: bool | None) -> None:
        """Not of an epoch."""

    def report_tick(self, look: object) -> None:
        """Offered to a side thread in a worker."""

    def report_epoch(self, report: EpochReport) -> None:
        metric = report.metric.evolve(job_id=self._claim.job_id, attempt=self._claim.attempt)
        with self._ledger.part("epoch handed over"):
            self._sink.report_epoch(replace(report, metric=metric))

    def is_checkpoint_wanted(self) -> bool:
        return self._sink.is_checkpoint_wanted()

    def save_checkpoint(self, write: Callable[[], CheckpointFile]) -> None:
        with self._ledger.part("checkpoint: copy of the run, handed over"):
            self._sink.save_checkpoint(write)

    def requested_action(self) -> None:
        """Nothing is asked for."""


def profile(num_epochs: int, num_examples: int, architecture: str) -> dict[str, dict[str, float]]:
    """Train and return ms of each part an epoch, and its share of the whole."""
    torch.set_num_threads(1)
    ledger = Ledger()
    with tempfile.TemporaryDirectory() as name, ExitStack() as stack:
        folder = Path(name)
        container = make_container(folder / "store")
        stack.callback(container.close)
        _, claim = make_job(container)
        request = make_request(folder, epochs=num_epochs, num_examples=num_examples, architecture=architecture)
        for owner, attribute, part, phase in (
            (loop._Attempt, "_train_batches", "the rest of the loop", "steps"),
            (loop, "evaluate", "the rest", "validation"),
            (loop, "summarize", "figures", "validation"),
            (Examples, "take", "wait for data", ""),
            (Localizer, "forward", "network forward", ""),
            (steps, "prediction_nll", "likelihood", ""),
            (Stepper, "_descend", "backward, clip, optimizer", ""),
            (Stepper, "settle", "note the losses", ""),
            (loop._Attempt, "_obey", "look for pause and cancel", ""),
            (loop._Attempt, "_report_tick", "progress", ""),
            (RunState, "keep_best_weights", "copy of the best weights", ""),
            (loop, "freeze_checkpoint", "checkpoint: copy of the run, handed over", ""),
        ):
            stack.enter_context(ledger.wrap(owner, attribute, part, phase))
        sink = make_sink(container, claim)
        attempt = loop._Attempt(loop.prepare_run(request), DurableSink(sink, claim, ledger), loop._now, time.monotonic)
        with loop.deterministic(), sink.writing():
            attempt._train_epoch()  # the first one fills caches
            ledger.spent.clear()
            with ledger.part("between"):
                while not attempt._is_finished():
                    attempt._train_epoch()
    return sum_up(ledger, num_epochs - 1)


def sum_up(ledger: Ledger, num_epochs: int) -> dict[str, dict[str, float]]:
    """Return ms an epoch and shares, the dearest first."""
    totals = [sum(spent[index] for spent in ledger.spent.values()) for index in (0, 1)]
    rows = {
        name: {
            "wall_ms": 1000 * spent[0] / num_epochs,
            "cpu_ms": 1000 * spent[1] / num_epochs,
            "wall_percent": 100 * spent[0] / totals[0],
            "cpu_percent": 100 * spent[1] / totals[1],
        }
        for name, spent in sorted(ledger.spent.items(), key=lambda item: -item[1][1])
    }
    whole = {"wall_ms": 1000 * totals[0] / num_epochs, "cpu_ms": 1000 * totals[1] / num_epochs, "wall_percent": 100.0, "cpu_percent": 100.0}
    return {**rows, "an epoch": whole}


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--epochs", type=int, default=6)
    parser.add_argument("--examples", type=int, nargs="*", default=[5_000, 50_000])
    parser.add_argument("--architecture", default="deepsets-s")
    parser.add_argument("--write", action="store_true", help="write the tables to docs/discussions/training-profile.md")
    options = parser.parse_args()
    load = os.getloadavg()[0]
    lines = [introduce(load, f"`{options.architecture}`, batches of 128, one thread, {options.epochs - 1} epochs.")]
    for num_examples in options.examples:
        rows = profile(options.epochs, num_examples, options.architecture)
        print_table(f"one epoch of {options.architecture}, {num_examples} examples, one thread", rows)
        columns = {"wall_ms": "ms", "wall_percent": "share, %", "cpu_ms": "ms of processor", "cpu_percent": "share of it, %"}
        lines += ["", *tabulate(f"{num_examples} examples", rows, columns)]
    if options.write:
        replace_section(PAGE, "profile", lines)


if __name__ == "__main__":
    main()
