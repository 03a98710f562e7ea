"""Frames that are encoded once are the frames that the library writes."""

from __future__ import annotations

import json
import logging
import socket
from concurrent.futures import Future
from pathlib import Path

import pytest
from websockets.exceptions import InvalidStatus
from websockets.frames import Frame, Opcode

from heimdall.api.websocket_protocol import FramedWebSocketProtocol, encode_frame, find_frame_writer
from tests.instance import wait_until
from tests.serving import make_container, receive, serve

HANDSHAKE = (
    b"GET /ws/training HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
    b"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n"
)


@pytest.mark.parametrize("length", [0, 1, 125, 126, 127, 65_535, 65_536, 70_000])
def test_a_frame_is_the_one_of_the_library(length: int) -> None:
    payload = b"x" * length
    assert encode_frame(payload) == Frame(Opcode.TEXT, payload).serialize(mask=False)


def test_another_server_offers_no_writer() -> None:
    assert find_frame_writer({"extensions": {}}) is None
    assert find_frame_writer({}) is None


@pytest.mark.parametrize(
    "request_bytes",
    [
        HANDSHAKE + b"X: " + b"a" * 10_000 + b"\r\n\r\n",
        HANDSHAKE + b"".join(b"X-%d: a\r\n" % number for number in range(150)) + b"\r\n",
        HANDSHAKE.replace(b"/training", b"/training?" + b"a" * 9000) + b"\r\n",
    ],
)
def test_a_handshake_beyond_the_bounds_is_refused_in_words_and_leaves_nothing_open(tmp_path: Path, request_bytes: bytes) -> None:
    with serve(make_container(tmp_path)) as served:
        with socket.create_connection(("127.0.0.1", served.port), timeout=10) as client:
            client.sendall(request_bytes)
            said = b""
            while piece := client.recv(65536):
                said += piece
        assert said.startswith(b"HTTP/1.1 431"), said[:100]
        assert json.loads(said.rpartition(b"\r\n\r\n")[2])["code"] == "head_too_large"
        wait_until(lambda: not served.server.server_state.connections, 10, lambda: str(served.server.server_state.connections))


def test_a_server_that_stops_while_a_client_says_goodbye_ends_well(tmp_path: Path) -> None:
    with serve(make_container(tmp_path)) as served, served.socket("/ws/training") as client:
        receive(client)
        (connection,) = (one for one in served.server.server_state.connections if isinstance(one, FramedWebSocketProtocol))
        ended: Future[None] = Future()

        def part_and_stop() -> None:
            try:
                connection.data_received(Frame(Opcode.CLOSE, (1000).to_bytes(2, "big")).serialize(mask=True))
                ended.set_result(connection.shutdown())
            except Exception as error:  # noqa: BLE001  (it is the loop's, and the test's to tell)
                ended.set_exception(error)

        connection.loop.call_soon_threadsafe(part_and_stop)
        ended.result(10)


def test_a_refused_socket_is_no_fault_of_the_server(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    token = "the token of this test"
    with serve(make_container(tmp_path, token=token)) as served:
        own = {"Authorization": f"Bearer {token}"}
        for headers in ({}, {**own, "Origin": "http://evil.example"}, {**own, "Host": "evil.example"}):
            with pytest.raises(InvalidStatus) as refused, served.socket("/ws/training", additional_headers=headers):
                pass
            assert refused.value.response.status_code == 403
            assert json.loads(refused.value.response.body)["detail"].endswith(".")
        with pytest.raises(InvalidStatus), served.socket("/ws/none", additional_headers=own):
            pass
        with served.socket("/ws/training", additional_headers=own) as client:
            receive(client)
    assert [record for record in caplog.records if record.levelno > logging.INFO] == []
