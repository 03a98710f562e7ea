"""Runs in the environment of one product, as a file: logs epochs or fills a store, and says on standard output what it cost.

Only the standard library and the product itself are imported. Lines go both ways: it prints ``ready`` with the run's id, waits for a line,
logs, prints the costs, waits for a line, ends the run and prints ``finished``. Everything that a product prints goes to standard error.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import statistics
import sys
import time
from typing import Any

SERIES = ("train_loss", "val_loss", "train_accuracy", "val_accuracy", "learning_rate")
PROJECT = "bench"


def make_values(epoch: int) -> dict[str, float]:
    """Return the five values of an epoch: a falling curve with a ripple, the same for every product."""
    loss = 2 / math.sqrt(1 + 0.1 * epoch) + 0.05 * math.sin(12.9898 * epoch)
    return dict(zip(SERIES, (loss, 1.1 * loss, 1 / (1 + loss), 0.9 / (1 + loss), 1e-3 * 0.9999**epoch), strict=True))


class Heimdall:
    """A job's own sink: the thread beside training makes each epoch durable, row, progress and event in one transaction."""

    def __init__(self, folder: str, name: str, *, flush: bool, slate_fd: int | None = None) -> None:
        from contextlib import ExitStack
        from pathlib import Path

        from bench.serving import make_job, make_sink
        from heimdall.worker.slate import Slate
        from tests.serving import make_container, make_report

        container = make_container(Path(folder))
        self.run, self._claim = make_job(container)
        self._report = make_report
        self._sink = make_sink(container, self._claim, slate=None if slate_fd is None else Slate(slate_fd))
        self._open = ExitStack()
        self._open.callback(container.close)
        self._open.enter_context(self._sink.writing())

    def log(self, epoch: int, values: dict[str, float]) -> None:
        self._sink.report_epoch(self._report(self._claim, epoch, 1_000_000, **values))

    def finish(self) -> None:
        self._open.close()


class Mlflow:
    """One batch an epoch, straight into the SQLite file that the server reads: faster than over HTTP."""

    def __init__(self, folder: str, name: str, *, flush: bool) -> None:
        import mlflow

        self._mlflow = mlflow
        mlflow.set_tracking_uri(f"sqlite:///{folder}/mlflow.db")
        self.run = mlflow.start_run(run_name=name).info.run_id

    def log(self, epoch: int, values: dict[str, float]) -> None:
        self._mlflow.log_metrics(values, step=epoch)

    def finish(self) -> None:
        self._mlflow.end_run()


class Tensorboard:
    """The writer that torch ships; with ``flush`` each epoch can be read at once, without it after two minutes."""

    def __init__(self, folder: str, name: str, *, flush: bool) -> None:
        from torch.utils.tensorboard import SummaryWriter

        self._writer = SummaryWriter(f"{folder}/logs/{name}")
        self._flush = flush
        self.run = name

    def log(self, epoch: int, values: dict[str, float]) -> None:
        for series, value in values.items():
            self._writer.add_scalar(series, value, epoch)
        if self._flush:
            self._writer.flush()

    def finish(self) -> None:
        self._writer.close()


class Aim:
    """A local repository, without the watching of the machine."""

    def __init__(self, folder: str, name: str, *, flush: bool) -> None:
        from aim import Run

        self._run = Run(repo=folder, experiment=PROJECT, system_tracking_interval=None, capture_terminal_logs=False)
        self.run = self._run.hash

    def log(self, epoch: int, values: dict[str, float]) -> None:
        for series, value in values.items():
            self._run.track(value, name=series, step=epoch)

    def finish(self) -> None:
        self._run.close()


class Trackio:
    """Local: values go to a queue in memory, which a thread empties twice a second."""

    def __init__(self, folder: str, name: str, *, flush: bool) -> None:
        import trackio

        self._trackio = trackio
        trackio.init(project=PROJECT, name=name, embed=False, auto_log_gpu=False, auto_log_cpu=False)
        self.run = name

    def log(self, epoch: int, values: dict[str, float]) -> None:
        self._trackio.log(values, step=epoch)

    def finish(self) -> None:
        self._trackio.finish()


LOGGERS = {"heimdall": Heimdall, "mlflow": Mlflow, "tensorboard": Tensorboard, "aim": Aim, "trackio": Trackio}


def log_epochs(logger: Any, num_epochs: int, gap_s: float, limit_s: float) -> dict[str, Any]:
    """Log until all is logged or the time is over; return what it cost."""
    values = [make_values(epoch) for epoch in range(1, num_epochs + 1)]
    stamps, costs_ms = [], []
    busy_s, began = time.process_time(), time.monotonic()
    for epoch in range(1, num_epochs + 1):
        if gap_s:
            time.sleep(max(0.0, began + epoch * gap_s - time.monotonic()))
        stamps.append(time.monotonic())
        logger.log(epoch, values[epoch - 1])
        costs_ms.append(1000 * (time.monotonic() - stamps[-1]))
        if stamps[-1] - began > limit_s:
            break
    cost = {
        "median_ms": statistics.median(costs_ms),
        "max_ms": max(costs_ms),
        "cpu_ms": 1000 * (time.process_time() - busy_s) / len(stamps),
    }
    return {**cost, "epochs": len(stamps), "began": began, "stamps": stamps if gap_s else []}


def train_pairs(logger: Any, num_pairs: int, steps_per_epoch: int) -> dict[str, Any]:
    """Train a small network in turns with and without a log call an epoch; return the ratios of throughput."""
    import torch
    from torch import nn

    torch.manual_seed(0)
    torch.set_num_threads(1)
    network = nn.Sequential(nn.Linear(64, 256), nn.ReLU(), nn.Linear(256, 256), nn.ReLU(), nn.Linear(256, 2))
    inputs, targets = torch.randn(256, 64), torch.randn(256, 2)
    optimizer = torch.optim.Adam(network.parameters())
    epoch = 0

    def train_block(*, is_logged: bool) -> float:
        nonlocal epoch
        began = time.perf_counter()
        for _ in range(5):
            for _ in range(steps_per_epoch):
                optimizer.zero_grad()
                nn.functional.mse_loss(network(inputs), targets).backward()
                optimizer.step()
            epoch += 1
            if is_logged:
                logger.log(epoch, make_values(epoch))
        return time.perf_counter() - began

    train_block(is_logged=True)
    ratios = []
    for number in range(num_pairs):
        order = (False, True) if number % 2 else (True, False)
        taken_s = {is_logged: train_block(is_logged=is_logged) for is_logged in order}
        ratios.append(taken_s[False] / taken_s[True])
    return {"ratio": statistics.median(ratios), "pairs": num_pairs}


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("product", choices=LOGGERS)
    parser.add_argument("folder")
    parser.add_argument("--name", default="run")
    parser.add_argument("--epochs", type=int, default=100)
    parser.add_argument("--gap-s", type=float, default=0)
    parser.add_argument("--limit-s", type=float, default=60)
    parser.add_argument("--train-pairs", type=int, default=0)
    parser.add_argument("--steps", type=int, default=50)
    parser.add_argument("--slate-fd", type=int, help="ours: where its worker finds what a kill left")
    options = parser.parse_args()
    out = os.fdopen(os.dup(1), "w", buffering=1)
    os.dup2(2, 1)
    sys.path.extend(filter(None, os.environ.get("BENCH_TORCH_SITE", "").split(os.pathsep)))
    own = {} if options.slate_fd is None else {"slate_fd": options.slate_fd}
    logger = LOGGERS[options.product](options.folder, options.name, flush=bool(options.gap_s), **own)
    out.write(json.dumps({"run": logger.run}) + "\n")
    sys.stdin.readline()
    if options.train_pairs:
        found = train_pairs(logger, options.train_pairs, options.steps)
    else:
        found = log_epochs(logger, options.epochs, options.gap_s, options.limit_s)
    out.write(json.dumps(found) + "\n")
    sys.stdin.readline()
    logger.finish()
    out.write(json.dumps({"finished": time.monotonic()}) + "\n")
    out.flush()
    os._exit(0)  # what a product left running ends with it


if __name__ == "__main__":
    main()
