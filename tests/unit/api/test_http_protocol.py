"""Whoever knocks: what a client may send and how long it may take, before anything knows who it is. Raw sockets, a real server."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import httpx
import psutil
import pytest

from heimdall.api.http_protocol import MAX_HEAD_BYTES, MAX_HEADERS, Connections, Patience
from tests.instance import find_free_port, wait_until
from tests.serving import Served, make_container, receive, serve

GET = b"GET /health/live HTTP/1.1\r\nHost: 127.0.0.1\r\n"
CHUNKED = b"POST /api/v1/training/jobs HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\n"


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    with serve(make_container(tmp_path_factory.mktemp("doors"))) as running:
        yield running


@pytest.fixture
def hasty(served: Served) -> Iterator[Served]:
    """Deadlines that a test can wait for."""
    state = connections(served)
    state.patience = Patience(head_s=0.3, body_s=0.5, body_bytes=100)
    yield served
    state.patience = Patience()


def connections(served: Served) -> Connections:
    state = served.server.server_state
    assert isinstance(state, Connections)
    return state


def knock(served: Served) -> socket.socket:
    return socket.create_connection(("127.0.0.1", served.port), timeout=10)


def read_all(client: socket.socket) -> bytes:
    """Return what comes until the server closes."""
    said = b""
    while piece := client.recv(65536):
        said += piece
    return said


def read_problem(client: socket.socket) -> tuple[int, dict[str, Any]]:
    """Return status and body of the last answer before the server closes."""
    head, _, body = read_all(client).rpartition(b"\r\n\r\n")
    head = head[head.rindex(b"HTTP/1.1 ") :]
    assert b"connection: close" in head.lower()
    assert b"x-content-type-options: nosniff" in head.lower()
    assert b"content-type: application/json" in head.lower()
    return int(head.split()[1]), dict(json.loads(body))


def is_over(client: socket.socket) -> bool:
    """Return whether the server ended the connection without a word."""
    try:
        return client.recv(1) == b""
    except ConnectionError:
        return True


def pour(client: socket.socket, piece: bytes, times: int) -> None:
    """Send on and on until the server ends it."""
    with contextlib.suppress(OSError):
        for _ in range(times):
            client.sendall(piece)


@pytest.mark.parametrize(
    ("request_bytes", "status", "code"),
    [
        (GET + b"X: " + b"a" * 100_000, 431, "head_too_large"),
        (GET + b"X: " + b"a" * 100_000 + b"\r\n\r\n", 431, "head_too_large"),
        (GET + b"X: " + b"a" * (MAX_HEAD_BYTES + 1) + b"\r\n\r\n", 431, "head_too_large"),
        (GET + b"a" * 100_000, 431, "head_too_large"),
        (GET + b"".join(b"X-%d: a\r\n" % number for number in range(MAX_HEADERS)) + b"\r\n", 431, "head_too_large"),
        (b"\r\n" * 50_000, 431, "head_too_large"),
        (b"GET /" + b"a" * 70_000 + b" HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n", 414, "url_too_long"),
        (b"GET /" + b"a" * 20_000 + b" HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n", 414, "url_too_long"),
        (b"GET /" + b"a" * 100_000, 414, "url_too_long"),
        (b"NONSENSE\r\n\r\n", 400, "bad_request"),
        (b"GET noslash HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n", 400, "bad_request"),
        (CHUNKED + b"2;" + b"x" * 300_000, 431, "head_too_large"),
        (CHUNKED + b"2\r\n{}\r\n0\r\n" + b"".join(b"T%d: x\r\n" % number for number in range(60_000)), 431, "head_too_large"),
        (CHUNKED + b"2\r\n{}\r\n0\r\nT: " + b"x" * 600_000, 431, "head_too_large"),
        (CHUNKED + b"nonsense\r\n", 400, "bad_request"),
    ],
)
def test_what_is_beyond_the_bounds_is_refused_in_words(served: Served, request_bytes: bytes, status: int, code: str) -> None:
    with knock(served) as client:
        client.sendall(request_bytes)
        answered, problem = read_problem(client)
    assert (answered, problem["code"]) == (status, code)
    assert problem["detail"].endswith(".")


def test_the_bounds_hold_for_the_second_request_too(served: Served) -> None:
    with knock(served) as client:
        client.sendall(GET + b"\r\n")
        assert client.recv(65536).startswith(b"HTTP/1.1 200")
        client.sendall(GET + b"X: " + b"a" * 100_000)
        assert read_problem(client)[0] == 431
    with knock(served) as client:  # both at once: the first is answered, and then the connection ends
        client.sendall(GET + b"\r\n" + GET + b"X: " + b"a" * 100_000 + b"\r\n\r\n")
        said = read_all(client)
        assert said.startswith(b"HTTP/1.1 200")


def test_a_head_within_the_bounds_is_served_however_it_comes(served: Served) -> None:
    head = GET + b"".join(b"X-%d: %b\r\n" % (number, b"a" * 300) for number in range(190)) + b"Connection: close\r\n\r\n"
    assert 55_000 < len(head) < MAX_HEAD_BYTES
    for size in (len(head), 1000, 7):
        with knock(served) as client:
            for at in range(0, len(head), size):
                client.sendall(head[at : at + size])
            assert read_all(client).startswith(b"HTTP/1.1 200"), size
    with knock(served) as client:  # a body behind it does not count
        body = b'{"job_name": "' + b"a" * 100_000 + b'"}'
        client.sendall(GET.replace(b"GET /health/live", b"POST /api/v1/training/jobs") + b"Connection: close\r\n")
        client.sendall(b"Content-Type: application/json\r\nContent-Length: %d\r\n\r\n" % len(body) + body)
        assert read_all(client).startswith(b"HTTP/1.1 422")


def test_many_small_chunks_are_a_body_as_any(served: Served) -> None:
    with knock(served) as client:
        client.sendall(CHUNKED.replace(b"\r\n\r\n", b"\r\nConnection: close\r\n\r\n"))
        client.sendall(b"".join(b"1\r\n%c\r\n" % letter for letter in b'{"epochs": 3' + b" " * 40_000 + b"}") + b"0\r\n\r\n")
        assert read_all(client).startswith(b"HTTP/1.1 422")


def test_a_trailer_is_no_header(served: Served) -> None:
    with knock(served) as client:
        client.sendall(CHUNKED + b"2\r\n{}\r\n")
        client.sendall(b"0\r\nX-Request-Id: from-a-trailer\r\n\r\n")
        assert b"from-a-trailer" not in client.recv(65536)


def test_a_head_in_drops_and_one_that_stops_are_ended_in_words(hasty: Served) -> None:
    with knock(hasty) as stopped, knock(hasty) as dripping, knock(hasty) as silent, knock(hasty) as kept:
        stopped.sendall(GET + b"X: ")
        kept.sendall(GET + b"\r\n")
        assert kept.recv(65536).startswith(b"HTTP/1.1 200")
        kept.sendall(b"GET /")
        dripping.sendall(GET)
        dripping.settimeout(0.1)
        end = time.monotonic() + 10
        said = b""
        while not said and time.monotonic() < end:
            with contextlib.suppress(TimeoutError):
                dripping.sendall(b"G")
                said = dripping.recv(65536)
        assert said.startswith(b"HTTP/1.1 408")
        for client in (stopped, kept):
            status, problem = read_problem(client)
            assert (status, problem["code"]) == (408, "too_slow")
        assert read_all(silent) == b"", "who said nothing is told nothing"


def test_a_body_that_stops_or_drips_is_ended_in_words(hasty: Served) -> None:
    head = b"POST /api/v1/training/%b HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: 100000\r\nContent-Type: %b\r\n\r\n"
    upload = head % (b"models/import", b"multipart/form-data; boundary=x") + b"--x\r\n"
    for request_bytes in (head % (b"jobs", b"application/json") + b"{", upload):
        with knock(hasty) as client:
            client.sendall(request_bytes)
            status, problem = read_problem(client)
            assert (status, problem["code"]) == (408, "too_slow")
    with knock(hasty) as client:
        client.sendall(upload)
        client.settimeout(0.05)
        said, end = b"", time.monotonic() + 10
        while not said and time.monotonic() < end:
            with contextlib.suppress(TimeoutError):
                client.sendall(b"a")
                said = client.recv(65536)
        assert said.startswith(b"HTTP/1.1 408")


def test_a_slow_body_that_moves_is_taken(hasty: Served) -> None:
    connections(hasty).patience = replace(connections(hasty).patience, body_s=1.5)
    body = json.dumps({"job_name": "slow", "dataset_id": "none"}).encode() + b" " * 2000
    with knock(hasty) as client:
        client.sendall(b"POST /api/v1/training/jobs HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: application/json\r\nConnection: close\r\n")
        client.sendall(b"Content-Length: %d\r\n\r\n" % len(body))
        started_at = time.monotonic()
        pause = threading.Event()
        for at in range(0, len(body), 50):
            client.sendall(body[at : at + 50])
            pause.wait(0.1)
        assert time.monotonic() - started_at > 2 * connections(hasty).patience.body_s
        assert read_all(client).startswith((b"HTTP/1.1 404", b"HTTP/1.1 422"))


def test_a_socket_knows_no_deadline(hasty: Served) -> None:
    with hasty.socket("/ws/training") as client:
        receive(client)
        with knock(hasty) as other:
            other.sendall(GET)
            read_problem(other)  # deadlines have passed
        client.send('{"event": "ping"}')
        assert receive(client)["event"] == "pong"


def test_where_descriptors_run_out_the_longest_waiting_goes_and_a_request_is_served(served: Served) -> None:
    state = connections(served)
    wait_until(lambda: len(state.connections) <= 1, 10, lambda: str(state.connections))
    before = state.max_open
    state.max_open = 12
    try:
        with contextlib.ExitStack() as stack:
            sockets = [stack.enter_context(served.socket("/ws/training")) for _ in range(3)]
            for client in sockets:
                receive(client)
            halves = [stack.enter_context(knock(served)) for _ in range(40)]
            for client in halves:
                with contextlib.suppress(OSError):
                    client.sendall(GET)
            for _ in range(5):
                assert httpx.get(f"{served.url}/health/ready").status_code == 200
            assert len(state.connections) <= 12
            assert is_over(halves[0])
            sockets += [stack.enter_context(served.socket("/ws/training")) for _ in range(9)]
            for client in sockets[3:]:
                receive(client)
            with knock(served) as client:
                client.sendall(GET + b"\r\n")
                status, problem = read_problem(client)
            assert (status, problem["code"]) == (503, "too_many_connections")
            for client in sockets:
                client.send('{"event": "ping"}')
                assert receive(client)["event"] == "pong"
    finally:
        state.max_open = before
    assert httpx.get(f"{served.url}/health/live").status_code == 200


@pytest.fixture
def process(tmp_path: Path) -> Iterator[tuple[psutil.Process, int]]:
    """A server of its own with few descriptors."""
    port = find_free_port()
    environment = {**os.environ, "HEIMDALL_DATA_DIR": str(tmp_path), "HEIMDALL_PORT": str(port), "HEIMDALL_HOST": "127.0.0.1"}
    log_path = tmp_path / "log"
    with log_path.open("wb") as log:
        started = subprocess.Popen(
            ["sh", "-c", 'ulimit -n 256; exec "$0" -m heimdall.api', sys.executable], env=environment, stderr=log, start_new_session=True
        )

    def answers() -> bool:
        assert started.poll() is None, log_path.read_text()
        with contextlib.suppress(httpx.TransportError):
            return httpx.get(f"http://127.0.0.1:{port}/health/ready").status_code == 200
        return False

    try:
        wait_until(answers, 30, log_path.read_text)
        yield psutil.Process(started.pid), port
        started.send_signal(signal.SIGTERM)
        assert started.wait(15) == 0
    finally:
        started.kill()
        started.wait()
    lines = log_path.read_text().splitlines()
    assert [line for line in lines if "error" in line] == []
    assert sum("warning" in line for line in lines) <= 1, "a crowd is reported once"


def test_no_crowd_and_no_flood_takes_the_server(process: tuple[psutil.Process, int]) -> None:
    server, port = process
    before_mb = server.memory_info().rss / 1e6
    with socket.create_connection(("127.0.0.1", port), timeout=10) as client:
        client.sendall(GET)
        pour(client, b"X: " + b"a" * 1_000_000 + b"\r\n", 200)
    assert server.memory_info().rss / 1e6 - before_mb < 30
    with contextlib.ExitStack() as stack:
        for _ in range(600):
            client = stack.enter_context(socket.create_connection(("127.0.0.1", port), timeout=10))
            with contextlib.suppress(OSError):
                client.sendall(GET + b"X: ")
        started_at = time.monotonic()
        assert httpx.get(f"http://127.0.0.1:{port}/api/v1/training/jobs", timeout=10).status_code == 200
        assert time.monotonic() - started_at < 5
        assert server.num_fds() < 256 - 30
