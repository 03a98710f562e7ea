"""The process: what it loads, how it listens, and that it ends well."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import httpx
import pytest
from pydantic import SecretStr
from websockets.exceptions import ConnectionClosed

from heimdall.api.server import bind, run_server
from heimdall.domain.errors import InvalidInputError, UnavailableError
from heimdall.settings import Settings
from tests.instance import find_free_port, wait_until
from tests.serving import Served, make_container, receive, serve


def test_every_accepted_socket_sends_at_once(tmp_path: Path) -> None:
    with serve(make_container(tmp_path)) as served:
        served.client.get("/health/live")
        with served.socket("/ws/training") as client:
            receive(client)
            transports = [connection.transport for connection in served.server.server_state.connections]
            assert len(transports) >= 2
            for transport in transports:
                accepted: socket.socket = transport.get_extra_info("socket")
                assert accepted.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)


def test_a_port_in_use_says_what_to_do() -> None:
    first = bind("127.0.0.1", 0)
    try:
        with pytest.raises(UnavailableError, match="--port"):
            bind("127.0.0.1", first.getsockname()[1])
    finally:
        first.close()


def test_a_host_that_is_none_says_so() -> None:
    with pytest.raises(InvalidInputError, match="not an address"):
        bind("no such host", 0)


def test_listening_to_everyone_needs_a_token(tmp_path: Path) -> None:
    with pytest.raises(InvalidInputError, match="HEIMDALL_TOKEN"):
        run_server(Settings(data_dir=tmp_path, host="0.0.0.0", port=0))


def test_a_short_token_is_refused_to_everyone_and_warned_of_here(tmp_path: Path) -> None:
    with pytest.raises(InvalidInputError, match="shorter than 16"):
        run_server(Settings(data_dir=tmp_path, host="0.0.0.0", port=0, token=SecretStr("abc")))
    with bind("127.0.0.1", 0) as taken:  # so that it ends at once, after the warning
        environment = {**os.environ, "HEIMDALL_DATA_DIR": str(tmp_path), "HEIMDALL_TOKEN": "abc", "HEIMDALL_HOST": "127.0.0.1"}
        environment["HEIMDALL_PORT"] = str(taken.getsockname()[1])
        ended = subprocess.run([sys.executable, "-m", "heimdall.api"], env=environment, capture_output=True, text=True, check=False)
    assert "warning: token is short" in ended.stderr
    assert "openssl rand -hex 32" in ended.stderr
    assert "abc" not in ended.stderr


def test_a_database_that_is_away_at_the_start_is_one_sentence(tmp_path: Path) -> None:
    environment = {**os.environ, "HEIMDALL_DATA_DIR": str(tmp_path), "HEIMDALL_HOST": "127.0.0.1", "HEIMDALL_PORT": str(find_free_port())}
    environment["HEIMDALL_DATABASE_URL"] = "postgresql://nobody@127.0.0.1:1/none"
    ended = subprocess.run([sys.executable, "-m", "heimdall.api"], env=environment, capture_output=True, text=True, timeout=120)
    assert ended.returncode == 2
    assert ended.stderr.startswith("heimdall: The database does not answer.")
    assert "Traceback" not in ended.stderr


def test_the_process_loads_nothing_heavy_serves_and_ends_on_a_signal(tmp_path: Path) -> None:
    port = find_free_port()
    environment = {**os.environ, "HEIMDALL_DATA_DIR": str(tmp_path), "HEIMDALL_PORT": str(port), "HEIMDALL_HOST": "127.0.0.1"}
    log_path = tmp_path / "log"
    with log_path.open("wb") as log:
        process = subprocess.Popen([sys.executable, "-m", "heimdall.api"], env=environment, stderr=log)
    try:
        url = f"http://127.0.0.1:{port}"

        def answers() -> bool:
            assert process.poll() is None, log_path.read_text()
            try:
                return httpx.get(f"{url}/health/ready").status_code == 200
            except httpx.TransportError:
                return False

        wait_until(answers, 30, log_path.read_text)
        assert httpx.get(f"{url}/api/v1/training/jobs").json()["total"] == 0
        assert httpx.get(f"{url}/openapi.json").status_code == 200
        mapped = Path(f"/proc/{process.pid}/maps")
        if mapped.exists():
            libraries = mapped.read_text()
            for heavy in ("libtorch", "onnxruntime", "pyarrow", "scipy", "_multiarray_umath"):
                assert heavy not in libraries
        process.send_signal(signal.SIGTERM)
        assert process.wait(15) == 0
    finally:
        process.kill()
        process.wait()
    lines = log_path.read_text().splitlines()
    assert "listening" in lines[0]
    assert "stopped" in lines[-1]
    assert "GET" not in log_path.read_text()


def test_a_stop_is_heard_however_rarely_the_idle_server_looks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("heimdall.api.server._TICK_S", 3600.0)
    served = Served(make_container(tmp_path))
    served.start()
    assert served.client.get("/health/live").status_code == 200
    started_at = time.monotonic()
    served.stop()
    assert time.monotonic() - started_at < 60


def test_stopping_closes_the_sockets_and_does_not_wait_for_them(tmp_path: Path) -> None:
    served = Served(make_container(tmp_path))
    served.start()
    with served.socket("/ws/training") as client:
        receive(client)
        started_at = time.monotonic()
        served.server.should_exit = True
        with pytest.raises(ConnectionClosed) as caught:
            client.recv(timeout=10)
        assert caught.value.rcvd is not None
        assert caught.value.rcvd.code in (1001, 1012)
    served.stop()
    assert time.monotonic() - started_at < 8
