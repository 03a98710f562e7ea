"""Regressions put into the hot paths on purpose: a budget that does not see them is none."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any
from unittest.mock import patch

import torch

from heimdall.api.frames import write_event
from heimdall.api.subscribers import Delivery, Frame
from heimdall.storage.metrics import SqlMetrics
from heimdall.training.data import Batch, Examples
from tests.budget.counting import Cost, Work, measure

SHARES = (0.03, 0.20)
"""Of a path's bytecodes that are added to it: noise, and what must be seen."""


def count_seeded(paths: dict[str, Work], plain: dict[str, Cost]) -> dict[str, dict[str, Cost]]:
    """Return the cost of each path with a few bytecodes more, with a fifth more, and of some after a mistake in the product."""
    found: dict[str, dict[str, Cost]] = {name: {} for name in paths}
    for name, work in paths.items():
        for share in SHARES:
            found[name][f"{share:.0%}"] = measure(_burden(work, int(share * plain[name]["bytecodes"])), times=1)
    for name, mistake in MISTAKES.items():
        with mistake():
            found[name]["mistake"] = measure(paths[name], times=1)
    return found


def _burden(work: Work, num_bytecodes: int) -> Work:
    def burdened() -> None:
        work()
        for _ in range(num_bytecodes // 3):  # next, store, jump
            pass

    return burdened


def _read_again() -> Any:
    put = SqlMetrics.put

    def put_after_a_look(self: SqlMetrics, metric: Any) -> None:
        self.list_epochs(metric.job_id, [metric.epoch])
        put(self, metric)

    return patch.object(SqlMetrics, "put", put_after_a_look)


def _write_for_each_socket() -> Any:
    return patch.object(Delivery, "job_frame", property(lambda self: Frame(write_event(self.event, self.event.seq))))


def _gather_row_by_row() -> Any:
    take = Examples.take

    def take_rows(self: Examples, rows: Any) -> Any:
        batches = [take(self, row[None]) for row in rows]
        return Batch(*(None if column[0] is None else torch.cat(column) for column in zip(*batches, strict=True)))

    return patch.object(Examples, "take", take_rows)


MISTAKES: dict[str, Callable[[], Any]] = {
    "epoch transaction": _read_again,
    "event encode and fan-out": _write_for_each_socket,
    "batch collation": _gather_row_by_row,
    "training step": _gather_row_by_row,
}
