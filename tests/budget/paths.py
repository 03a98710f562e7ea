"""The paths that every epoch and every look at the page go through, each as a piece of work that can be repeated."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from datetime import UTC, datetime, timedelta
from itertools import count
from pathlib import Path

import httpx
import torch

from bench.reads import FIVE, fill_jobs, fill_run
from bench.serving import make_job
from heimdall.api.app import create_app
from heimdall.api.subscribers import Delivery, Subscriber
from heimdall.bootstrap import Container
from heimdall.domain.events import EventType, StoredEvent
from heimdall.domain.metrics import VALUE_FIELDS
from heimdall.training.checkpoints import CheckpointMemory, freeze_checkpoint
from heimdall.training.devices import deterministic
from heimdall.training.loop import _Attempt
from heimdall.training.preparation import prepare_run
from heimdall.training.steps import Stepper
from heimdall.worker.slate import open_slate
from tests.budget.counting import DATABASE, Work
from tests.serving import make_container, make_report
from tests.unit.training.lab import Lab, MemorySink, write_dataset

NUM_EPOCHS = 10
NUM_CHECKPOINTS = 10
NUM_SOCKETS = 100
NUM_EVENTS = 10


@contextmanager
def all_paths(folder: Path) -> Iterator[dict[str, Work]]:
    """Yield each path under its name, over a data folder of its own."""
    with DATABASE:
        lab = Lab(folder, write_dataset(folder / "examples", num_examples=400))
        with closing(make_container(folder / "data")) as container, closing(make_container(folder / "checkpoints")) as apart:
            yield {
                "epoch transaction": record_epochs(container),
                "epoch kept from a kill": keep_epochs(container),
                "checkpoint": save_checkpoints(apart, lab),
                "chart view of a run": read_view(container),
                "first page of jobs": read_page(container),
                "event encode and fan-out": fan_out(container),
                **train_batches(lab),
            }


def record_epochs(container: Container) -> Work:
    """Return the work of a worker that makes ten epochs durable."""
    _, claim = make_job(container)
    epochs = count(1)

    def work() -> None:
        for epoch in (next(epochs) for _ in range(NUM_EPOCHS)):
            values = {name: 1.0 / (epoch + position) for position, name in enumerate(VALUE_FIELDS)}
            container.attempts.record_epochs(claim, [make_report(claim, epoch, 100_000, **values)])

    return work


def keep_epochs(container: Container) -> Work:
    """Return the work of a training process that puts a hundred epochs out of reach of a kill."""
    _, claim = make_job(container)
    slate = open_slate()
    reports = [make_report(claim, epoch, 100, **dict.fromkeys(VALUE_FIELDS, 1.0 / epoch)) for epoch in range(1, 101)]

    def work() -> None:
        for report in reports:
            slate.note(report)

    return work


def save_checkpoints(container: Container, lab: Lab) -> Work:
    """Return the copying, writing and making durable of ten checkpoints."""
    with container.store.write() as tx:  # of 64 changes one folds all before it: in some countings, not in others
        tx.connection.exec_driver_sql("DROP TRIGGER job_changes_folded")
    _, claim = make_job(container)
    run = prepare_run(request := lab.request())
    Stepper(run)(torch.from_numpy(run.fit_rows[:32]))
    run.state.keep_best_weights()
    memory = CheckpointMemory()

    def work() -> None:
        for _ in range(NUM_CHECKPOINTS):
            run.state.step += 1  # else it would be the same file
            container.attempts.save_checkpoint(claim, freeze_checkpoint(run.state, run.identity, memory).write(request.work_dir))

    return work


def read_view(container: Container) -> Work:
    """Return the reading of a chart of 3 000 epochs of noise."""
    job_id = fill_run(container, 3_000)
    return _ask(container, f"/api/v1/training/jobs/{job_id}/metrics?max_points=800&{FIVE}")


def read_page(container: Container) -> Work:
    """Return the reading of the list's first page with a thousand jobs behind it."""
    fill_jobs(container, 1_000)
    return _ask(container, "/api/v1/training/jobs")


def fan_out(container: Container) -> Work:
    """Return the writing of ten events and their handing to a hundred sockets that keep up."""
    payload = {name: random.Random(1).random() for name in VALUE_FIELDS}
    instant = datetime(2026, 3, 1, tzinfo=UTC)
    wire: list[bytes] = []

    async def hand_out() -> None:
        subscribers = [Subscriber("job", max_events=1000, write=_keep(wire)) for _ in range(NUM_SOCKETS)]
        for subscriber in subscribers:
            subscriber.go_live()
        await asyncio.gather(*(subscriber.wait() for subscriber in subscribers))
        tasks = [asyncio.ensure_future(subscriber.wait()) for subscriber in subscribers]
        await asyncio.sleep(0)
        for seq in range(1, NUM_EVENTS + 1):
            event = StoredEvent(
                position=seq,
                seq=seq,
                job_id="job",
                type=EventType.PROGRESS,
                payload=payload | {"epoch": seq},
                created_at=instant + timedelta(seconds=seq),
            )
            delivery = Delivery(event)
            for subscriber in subscribers:
                assert subscriber.offer_event(delivery)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    def work() -> None:
        wire.clear()
        asyncio.run(hand_out())
        assert len(wire) == NUM_EVENTS * NUM_SOCKETS

    return work


def train_batches(lab: Lab) -> dict[str, Work]:
    """Return the gathering of batches, and one epoch's steps: gather, predict, step, look at the controls, tell the progress."""
    run = prepare_run(lab.request())
    attempt = _Attempt(run, MemorySink(), lambda: datetime.now(UTC), lambda: 0.0)
    torch.set_num_threads(1)

    def collate() -> None:
        for rows in torch.from_numpy(run.fit_rows).split(32):
            run.examples.take(rows)

    def train() -> None:
        attempt._state.batch = 0
        with deterministic():
            attempt._train_batches()

    return {"batch collation": collate, "training step": train}


def _keep(wire: list[bytes]) -> Callable[[bytes], bool]:
    def write(frame: bytes) -> bool:
        wire.append(frame)
        return True

    return write


def _ask(container: Container, path: str) -> Work:
    app = create_app(container)

    async def ask() -> None:
        async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url=f"http://127.0.0.1:{container.settings.port}") as client:
            answer = await client.get(path)
            assert answer.status_code == 200, answer.text

    return lambda: asyncio.run(ask())
