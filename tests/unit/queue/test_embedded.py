import os
import socket
import stat
import threading
import time
from pathlib import Path

import pytest
from celery import Celery
from kombu import Connection, Consumer
from kombu.message import Message

from heimdall.queue.celery_app import make_celery
from heimdall.queue.celery_queue import CeleryQueue
from heimdall.queue.embedded import Bell, Channel, ring_bells


def files_of(folder: Path) -> list[Path]:
    return [path for path in folder.rglob("*") if path.is_file()]


@pytest.fixture
def celery(tmp_path: Path) -> Celery:
    return make_celery(None, tmp_path)


def drain(connection: Connection, count: int, deadline_s: float = 10.0) -> None:
    deadline = time.monotonic() + deadline_s
    for _ in range(count):
        while True:
            assert time.monotonic() < deadline, "no message came"
            try:
                connection.drain_events(timeout=0.5)
                break
            except TimeoutError:
                continue


def test_every_message_reaches_exactly_one_of_several_consumers(celery: Celery, tmp_path: Path) -> None:
    queue = CeleryQueue(celery)
    seen: list[str] = []
    num_messages, stop = 60, threading.Event()

    def consume() -> None:
        def take(_body: object, message: Message) -> None:
            seen.append(message.headers["id"])
            message.ack()

        with celery.connection_for_read() as connection, Consumer(connection, celery.amqp.queues["heimdall.cpu"], callbacks=[take]):
            while not stop.is_set():
                try:
                    connection.drain_events(timeout=0.2)
                except TimeoutError:
                    continue

    threads = [threading.Thread(target=consume) for _ in range(3)]
    for thread in threads:
        thread.start()
    for number in range(num_messages):
        queue.enqueue_job(str(number), needs_gpu=False)
    deadline = time.monotonic() + 20
    while len(seen) < num_messages and time.monotonic() < deadline:
        threading.Event().wait(0.02)
    stop.set()
    for thread in threads:
        thread.join()
    assert len(seen) == num_messages
    assert len(set(seen)) == num_messages
    assert files_of(tmp_path) == []


def test_a_waiting_consumer_is_woken_by_the_bell_long_before_its_next_look(celery: Celery) -> None:
    queue = CeleryQueue(celery)
    queue.enqueue_job("warm-up", needs_gpu=False)
    arrived: list[float] = []

    def take(_body: object, message: Message) -> None:
        arrived.append(time.monotonic())
        message.ack()

    delays = []
    with celery.connection_for_read() as connection, Consumer(connection, celery.amqp.queues["heimdall.cpu"], callbacks=[take]):
        drain(connection, 1)
        for _ in range(5):
            sent: list[float] = []
            # Sent 0.1 s into the wait: only a bell brings it before the look at 0.5 s.
            timer = threading.Timer(0.1, lambda sent=sent: (sent.append(time.monotonic()), queue.enqueue_job("job", needs_gpu=False)))
            timer.start()
            drain(connection, 1)
            timer.join()
            delays.append(arrived[-1] - sent[0])
    assert min(delays) < 0.1


def test_messages_and_folders_are_private(celery: Celery, tmp_path: Path) -> None:
    os.umask(0o022)
    CeleryQueue(celery).enqueue_job("job", needs_gpu=False)
    broker = tmp_path / "broker"
    modes = {stat.S_IMODE(path.stat().st_mode) for path in [broker, *broker.rglob("*")] if path.is_dir()}
    assert modes == {0o700}
    assert {stat.S_IMODE(path.stat().st_mode) for path in files_of(broker)} == {0o600}


def test_a_file_that_is_no_message_is_removed_and_does_not_stop_the_others(celery: Celery, tmp_path: Path) -> None:
    queue = CeleryQueue(celery)
    folder = tmp_path / "broker" / "queues" / "heimdall.cpu"
    folder.mkdir(parents=True)
    (folder / "00000000000000000001-broken").write_bytes(b"{half a mess")
    queue.enqueue_job("job", needs_gpu=False)
    taken: list[str] = []

    def take(_body: object, message: Message) -> None:
        taken.append(message.headers["task"])
        message.ack()

    with celery.connection_for_read() as connection, Consumer(connection, celery.amqp.queues["heimdall.cpu"], callbacks=[take]):
        drain(connection, 1)
    assert taken == ["heimdall.run_job"]
    assert files_of(tmp_path) == []


def test_an_empty_folder_times_out_as_celery_expects(celery: Celery) -> None:
    with (
        celery.connection_for_read() as connection,
        Consumer(connection, celery.amqp.queues["heimdall.cpu"], callbacks=[print]),
        pytest.raises(socket.timeout),
    ):
        connection.drain_events(timeout=0.05)


def test_an_idle_consumer_looks_once_for_each_time_it_is_asked(celery: Celery, monkeypatch: pytest.MonkeyPatch) -> None:
    looks: list[str] = []
    get = Channel._get
    monkeypatch.setattr(Channel, "_get", lambda channel, queue, timeout=None: (looks.append(queue), get(channel, queue))[1])
    with celery.connection_for_read() as connection, Consumer(connection, celery.amqp.queues["heimdall.cpu"], callbacks=[print]):
        for _ in range(3):
            with pytest.raises(socket.timeout):
                connection.drain_events(timeout=0.01)
    assert looks == 3 * ["heimdall.cpu"]


def test_the_bell_of_a_dead_worker_is_taken_down(tmp_path: Path) -> None:
    dead = tmp_path / "1-dead.bell"
    os.mkfifo(dead)
    live = Bell(tmp_path)
    ring_bells(tmp_path)
    assert not dead.exists()
    started = time.monotonic()
    live.wait(5)
    assert time.monotonic() - started < 1
    live.close()
    assert list(tmp_path.iterdir()) == []


def test_a_bell_that_nobody_hears_blocks_no_sender(tmp_path: Path) -> None:
    bell = Bell(tmp_path)
    for _ in range(70_000):  # a FIFO holds 65 536 bytes
        ring_bells(tmp_path)
    bell.wait(1)
    bell.close()


def test_without_fifos_the_consumer_still_gets_its_messages(celery: Celery, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise PermissionError(1, "Operation not permitted")

    def take(_body: object, message: Message) -> None:
        message.ack()

    monkeypatch.setattr(os, "mkfifo", refuse)
    queue = CeleryQueue(celery)
    with celery.connection_for_read() as connection, Consumer(connection, celery.amqp.queues["heimdall.cpu"], callbacks=[take]):
        timer = threading.Timer(0.05, lambda: queue.enqueue_job("job", needs_gpu=False))
        timer.start()
        drain(connection, 1, deadline_s=5)
        timer.join()


def test_connection_names_a_host_so_that_no_library_complains(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    connection = make_celery(None, tmp_path, is_worker=True).connection_for_read()
    assert connection.clone().info()["hostname"] == "localhost"
    assert not caplog.records
