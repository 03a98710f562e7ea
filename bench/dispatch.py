"""From enqueue to the first line of the task, and what an idle worker costs, for every transport a job could be queued on.

Run: ``python -m bench.dispatch [--messages 60] [--idle-s 10] [--transports folder redis]``. ``folder`` is the embedded broker; nothing else
is needed for it, ``filesystem`` and ``sqlalchemy`` (the library's own, for comparison); RabbitMQ and Redis are taken from
``HEIMDALL_TEST_BROKER_URL`` and ``HEIMDALL_TEST_REDIS_URL`` and left out where they do not answer.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import random
import statistics
import subprocess
import sys
import tempfile
import time
import uuid
from pathlib import Path

import psutil
from celery import Celery

from bench.reporting import print_table, summarize
from heimdall.queue.celery_app import make_celery
from heimdall.queue.names import QUEUE_KINDS, RUN_JOB, QueueNames

AMQP_URL = os.environ.get("HEIMDALL_TEST_BROKER_URL", "amqp://guest:guest@127.0.0.1:5672//")
REDIS_URL = os.environ.get("HEIMDALL_TEST_REDIS_URL", "redis://127.0.0.1:6379/9")
TRANSPORTS = ("folder", "filesystem 1.0", "filesystem 0.1", "filesystem 0.05", "sqlalchemy", "redis", "rabbitmq")


def build(transport: str, folder: Path, prefix: str, *, is_worker: bool) -> Celery:
    if transport in ("redis", "rabbitmq"):
        return make_celery(REDIS_URL if transport == "redis" else AMQP_URL, folder, prefix=prefix, is_worker=is_worker)
    celery = make_celery(None, folder, prefix=prefix, is_worker=is_worker)
    if transport.startswith("filesystem"):
        paths = {name: folder / name for name in ("queue", "control", "processed")}
        for path in paths.values():
            path.mkdir(exist_ok=True)
        celery.conf.broker_url = "filesystem://"
        celery.conf.broker_transport_options = {
            "data_folder_in": str(paths["queue"]),
            "data_folder_out": str(paths["queue"]),
            "control_folder": str(paths["control"]),
            "processed_folder": str(paths["processed"]),
            "polling_interval": float(transport.split()[1]),
        }
    elif transport == "sqlalchemy":
        celery.conf.broker_url = f"sqla+sqlite:///{folder / 'broker.sqlite'}"
        celery.conf.broker_transport_options = {}
    return celery


def serve(transport: str, folder: Path, prefix: str) -> None:
    """Be the worker: note the time of every start."""
    celery = build(transport, folder, prefix, is_worker=True)
    starts = (folder / "starts").open("a", buffering=1)

    @celery.task(name=RUN_JOB)
    def run(job_id: str) -> None:
        starts.write(f"{job_id} {time.time()}\n")

    queues = [QueueNames(prefix).of(kind) for kind in QUEUE_KINDS]
    celery.WorkController(
        hostname="bench", concurrency=4, pool="threads", queues=queues, ready_callback=lambda _: (folder / "ready").touch()
    ).start()


def measure(transport: str, num_messages: int, idle_s: float) -> dict[str, float]:
    prefix = f"bench-{uuid.uuid4().hex[:8]}"
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        command = [sys.executable, "-m", "bench.dispatch", "--serve", transport, "--folder", name, "--prefix", prefix]
        worker = subprocess.Popen(command, stderr=(folder / "errors").open("w"))
        try:
            wait_for(lambda: (folder / "ready").exists(), 20, lambda: (folder / "errors").read_text()[-500:])
            time.sleep(1.5)
            process = psutil.Process(worker.pid)
            before, began = process.cpu_times(), time.monotonic()
            time.sleep(idle_s)
            after, took_s = process.cpu_times(), time.monotonic() - began
            idle_percent = 100 * (after.user + after.system - before.user - before.system) / took_s
            delays_ms, send_ms = send(build(transport, folder, prefix, is_worker=False), prefix, folder, num_messages)
            return {
                **summarize(delays_ms),
                "send_ms": statistics.median(send_ms),
                "idle_percent": idle_percent,
                "rss_mb": process.memory_info().rss / 1e6,
            }
        finally:
            worker.kill()
            worker.wait()
            clean_up(transport, folder, prefix)


def send(celery: Celery, prefix: str, folder: Path, num_messages: int) -> tuple[list[float], list[float]]:
    chance = random.Random(0)
    sent: dict[str, float] = {}
    send_ms = []
    queue = QueueNames(prefix).of("cpu")
    for number in range(-3, num_messages):  # the first three open connections
        sent[str(number)] = time.time()
        celery.send_task(RUN_JOB, args=[str(number)], queue=queue)
        send_ms.append(1000 * (time.time() - sent[str(number)]))
        time.sleep(chance.uniform(0.05, 0.25))
    path = folder / "starts"
    wait_for(lambda: len(path.read_text().splitlines()) >= num_messages + 3, 20, lambda: path.read_text()[-200:])
    started = {line.split()[0]: float(line.split()[1]) for line in path.read_text().splitlines()}
    return [1000 * (started[str(number)] - sent[str(number)]) for number in range(num_messages)], send_ms[3:]


def wait_for(condition: object, timeout_s: float, explain: object) -> None:
    deadline = time.monotonic() + timeout_s
    while not condition():  # type: ignore[operator]
        if time.monotonic() > deadline:
            raise SystemExit(f"gave up waiting: {explain()}")  # type: ignore[operator]
        time.sleep(0.05)


def clean_up(transport: str, folder: Path, prefix: str) -> None:
    if transport not in ("redis", "rabbitmq"):
        return
    with build(transport, folder, prefix, is_worker=False).connection_for_write() as connection:
        for kind in QUEUE_KINDS:
            with contextlib.suppress(connection.channel_errors):
                connection.channel().queue_delete(QueueNames(prefix).of(kind))
        if transport == "rabbitmq":
            connection.channel().exchange_delete(prefix)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--messages", type=int, default=60)
    parser.add_argument("--idle-s", type=float, default=10.0)
    parser.add_argument("--transports", nargs="*", choices=TRANSPORTS, default=["folder"])
    parser.add_argument("--serve")
    parser.add_argument("--folder")
    parser.add_argument("--prefix")
    options = parser.parse_args()
    if options.serve:
        serve(options.serve, Path(options.folder), options.prefix)
        return
    rows = {}
    for transport in options.transports:
        try:
            rows[transport] = measure(transport, options.messages, options.idle_s)
        except (SystemExit, OSError) as error:
            print(f"{transport} is left out: {error}")
    if rows:
        print_table("click to worker thread, ms", rows)


if __name__ == "__main__":
    main()
