from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest
from websockets.sync.server import ServerConnection, serve

from heimdall.cli.client import NoServerError, ServerClient
from heimdall.cli.follow import JobFollower
from heimdall.cli.progress import CAUSE_WORDS
from heimdall.domain.errors import NotFoundError
from heimdall.domain.events import RequeueCause
from tests.unit.cli.fakes import FakeServer, FakeSocket, connected, frame, make_job

NUM_EVENTS = 250


@contextmanager
def socket_server(handler: Callable[[ServerConnection, int], None]) -> Iterator[str]:
    """A real WebSocket server; the handler gets the connection and its ``since``."""

    def handle(connection: ServerConnection) -> None:
        assert connection.request is not None
        handler(connection, int(parse_qs(urlsplit(connection.request.path).query)["since"][0]))

    with serve(handle, "127.0.0.1", 0) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.socket.getsockname()[1]}"
        finally:
            server.shutdown()
            thread.join()


def read_all(client: ServerClient, **options: Any) -> list[dict[str, Any]]:
    return list(JobFollower(client, "j", wait=lambda _: None, **options).frames())


def numbers(frames: list[dict[str, Any]]) -> list[int]:
    return [item["seq"] for item in frames if item.get("seq") is not None]


def test_connection_cut_a_hundred_times_loses_and_doubles_nothing() -> None:
    log = [frame("training_progress", seq, epoch=seq) for seq in range(1, NUM_EVENTS)] + [frame("training_completed", NUM_EVENTS)]
    num_cuts = 0

    def handler(connection: ServerConnection, since: int) -> None:
        nonlocal num_cuts
        connection.send(json.dumps(connected(make_job(last_seq=NUM_EVENTS))))
        piece = log[since : since + 1 + num_cuts % 4]
        for item in piece:
            connection.send(json.dumps(item))
        if piece[-1]["event"] != "training_completed":
            num_cuts += 1
            if num_cuts % 2:
                connection.socket.close()  # pulled plug: no close frame
            else:
                connection.close(4408)

    with socket_server(handler) as url, ServerClient(url) as client:
        frames = read_all(client)
    assert num_cuts >= 90
    assert numbers(frames) == list(range(1, NUM_EVENTS + 1))


def test_doubled_frames_are_dropped_and_a_gap_is_asked_for_again() -> None:
    job = make_job(last_seq=4)
    with_gap = [connected(job), frame("training_started", 1), frame("training_started", 1), frame("training_progress", 3, epoch=2)]
    rest = [connected(job), *(frame("training_progress", seq, epoch=seq) for seq in (2, 3)), frame("training_completed", 4)]
    server = FakeServer(sockets=[FakeSocket(with_gap), FakeSocket(rest)])
    with server:
        assert numbers(read_all(server)) == [1, 2, 3, 4]
    assert server.socket_paths == ["/ws/training/j?since=0", "/ws/training/j?since=1"]


def test_ticks_pass_through_without_a_number() -> None:
    tick = frame("training_progress", None, batch=3, total_batches=9)
    server = FakeServer(sockets=[FakeSocket([connected(make_job()), tick, frame("training_failed", 1)])])
    with server:
        assert read_all(server)[1] == tick


def test_final_job_without_news_ends_at_once() -> None:
    server = FakeServer(sockets=[FakeSocket([connected(make_job(status="completed", last_seq=7))])])
    with server:
        assert [item["event"] for item in read_all(server, since=7)] == ["connected"]


def test_unknown_job_is_said() -> None:
    with socket_server(lambda connection, _: connection.close(4404)) as url, ServerClient(url) as client, pytest.raises(NotFoundError):
        read_all(client)


def test_server_that_stays_away_is_given_up_with_the_way_back() -> None:
    told: list[bool] = []
    with ServerClient("http://127.0.0.1:1") as client, pytest.raises(NoServerError, match="heimdall job watch j"):
        read_all(client, patience_s=0.0, on_connection=told.append)
    assert told == [False]


def test_loss_and_return_of_the_connection_are_told() -> None:
    told: list[bool] = []
    job = make_job(last_seq=1)
    server = FakeServer(sockets=[ConnectionRefusedError(), FakeSocket([connected(job), frame("training_completed", 1)])])
    with server:
        read_all(server, on_connection=told.append)
    assert told == [False, True]


def test_every_cause_of_a_requeue_has_words() -> None:
    assert CAUSE_WORDS.keys() == set(RequeueCause)
