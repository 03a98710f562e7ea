"""One suite for every broker a job can be queued on: the folder, RabbitMQ and Redis for real."""

import json
import os
import socket as sockets
import time
import uuid
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from celery import Celery

from heimdall.domain.errors import StorageFullError, UnavailableError
from heimdall.domain.ports import JobQueue
from heimdall.queue.celery_app import make_celery
from heimdall.queue.celery_queue import CeleryQueue
from heimdall.queue.memory import MemoryQueue
from heimdall.queue.names import QUEUE_KINDS, QueueNames

AMQP_URL = os.environ.get("HEIMDALL_TEST_BROKER_URL", "amqp://guest:guest@127.0.0.1:5672//")
REDIS_URL = os.environ.get("HEIMDALL_TEST_REDIS_URL", "redis://127.0.0.1:6379/9")


def require_broker(url: str) -> None:
    address = urlsplit(url)
    try:
        sockets.create_connection((address.hostname, address.port or 5672), timeout=1).close()
    except OSError as error:
        if os.environ.get("CI"):
            raise
        pytest.skip(f"no broker at {address.hostname}:{address.port} ({error})")


@dataclass
class Bench:
    """A sender and a way to take the oldest message of a queue off again: (task, arguments) or None."""

    queue: JobQueue
    take: Callable[[str], tuple[str, list[str]] | None]


def take_message(celery: Celery, name: str) -> tuple[str, list[str]] | None:
    with celery.connection_for_read() as connection:
        queue = celery.amqp.queues[name](connection.default_channel)
        queue.declare()
        deadline = time.monotonic() + 5
        while time.monotonic() < deadline:
            message = queue.get(no_ack=True)
            if message is not None:
                return message.headers["task"], json.loads(message.body)[0]
            if celery.conf.broker_url.startswith("heimdall"):
                return None
    return None


@pytest.fixture(params=["folder", pytest.param("amqp", marks=pytest.mark.scaled), pytest.param("redis", marks=pytest.mark.scaled)])
def bench(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Bench]:
    url = {"folder": None, "amqp": AMQP_URL, "redis": REDIS_URL}[request.param]
    if url is not None:
        require_broker(url)
    prefix = f"test-{uuid.uuid4().hex[:10]}"
    celery = make_celery(url, tmp_path, prefix=prefix)
    yield Bench(CeleryQueue(celery), lambda kind: take_message(celery, QueueNames(prefix).of(kind)))
    if url is not None:
        with celery.connection_for_write() as connection:
            for kind in QUEUE_KINDS:
                celery.amqp.queues[QueueNames(prefix).of(kind)](connection.channel()).delete()
            if request.param == "amqp":
                connection.channel().exchange_delete(prefix)
    celery.close()


def test_each_message_arrives_on_the_queue_of_its_kind(bench: Bench) -> None:
    bench.queue.enqueue_job("job-c", needs_gpu=False)
    bench.queue.enqueue_job("job-g", needs_gpu=True)
    bench.queue.enqueue_dataset("set-1")

    assert bench.take("gpu") == ("heimdall.run_job", ["job-g"])
    assert bench.take("dataset") == ("heimdall.build_dataset", ["set-1"])
    assert bench.take("cpu") == ("heimdall.run_job", ["job-c"])


def test_messages_arrive_in_the_order_they_were_sent(bench: Bench) -> None:
    for number in range(5):
        bench.queue.enqueue_job(f"job-{number}", needs_gpu=False)
    assert [bench.take("cpu") for _ in range(5)] == [("heimdall.run_job", [f"job-{number}"]) for number in range(5)]


def test_a_broker_that_is_there_answers_the_ping(bench: Bench) -> None:
    bench.queue.ping()


def test_a_prepared_queue_sends_as_any_other(bench: Bench) -> None:
    bench.queue.prepare()
    bench.queue.prepare()
    bench.queue.enqueue_dataset("set-1")
    assert bench.take("dataset") == ("heimdall.build_dataset", ["set-1"])


@pytest.mark.parametrize("scheme", ["amqp", "redis"])
def test_a_refused_connection_is_unavailable_at_once(scheme: str, tmp_path: Path) -> None:
    with sockets.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        queue = CeleryQueue(make_celery(f"{scheme}://127.0.0.1:{unused.getsockname()[1]}/", tmp_path))
        started = time.monotonic()
        with pytest.raises(UnavailableError, match="broker does not answer"):
            queue.enqueue_job("job", needs_gpu=False)
        with pytest.raises(UnavailableError, match="broker does not answer"):
            queue.ping()
        assert time.monotonic() - started < 2.5
    queue.close()


@pytest.mark.parametrize("scheme", ["amqp", "redis"])
def test_a_broker_that_accepts_and_stays_silent_is_unavailable_within_two_seconds(scheme: str, tmp_path: Path) -> None:
    with sockets.create_server(("127.0.0.1", 0)) as silent:
        queue = CeleryQueue(make_celery(f"{scheme}://127.0.0.1:{silent.getsockname()[1]}/", tmp_path))
        for call in (lambda: queue.enqueue_job("job", needs_gpu=False), queue.ping):
            started = time.monotonic()
            with pytest.raises(UnavailableError, match="broker does not answer"):
                call()
            assert time.monotonic() - started < 2.5
    queue.close()


@pytest.mark.scaled
def test_a_broker_that_refuses_is_unavailable_and_says_what_to_look_at(tmp_path: Path) -> None:
    require_broker(AMQP_URL)
    address = urlsplit(AMQP_URL)
    # RabbitMQ answers 530 for a virtual host that is not there, as it does for one that the user may not enter.
    queue = CeleryQueue(make_celery(f"amqp://{address.netloc}/nobody-made-this", tmp_path))
    for call in (lambda: queue.enqueue_job("job", needs_gpu=False), queue.ping):
        with pytest.raises(UnavailableError, match=r"broker refuses .*530.*rights"):
            call()
    queue.close()


def test_the_memory_queue_keeps_what_was_sent_and_can_be_away() -> None:
    queue = MemoryQueue()
    queue.enqueue_job("job", needs_gpu=True)
    queue.enqueue_dataset("set")
    queue.is_away = True
    with pytest.raises(UnavailableError):
        queue.enqueue_job("other", needs_gpu=False)
    assert (list(queue.jobs), list(queue.datasets)) == ([("job", True)], ["set"])


def test_a_full_disk_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    queue = CeleryQueue(make_celery(None, tmp_path))

    def fail(*_: object, **__: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("heimdall.queue.embedded.json.dump", fail)
    with pytest.raises(StorageFullError, match="disk is full"):
        queue.enqueue_job("job", needs_gpu=False)
    assert [path for path in tmp_path.rglob("*") if path.is_file()] == []
