"""The campaign's own RabbitMQ node: it keeps quorum queues over SIGKILL, a loss is noticed, nothing of it is left behind."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest
from kombu.connection import Connection

from chaos import rabbit
from chaos.rabbit import RabbitServer
from chaos.servers import MissingServerError
from tests.conftest import skip_or_fail


def test_a_machine_without_rabbitmq_is_told_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rabbit, "_PACKAGED", str(tmp_path / "nothing"))
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(MissingServerError, match="rabbitmq-server is not installed"):
        RabbitServer(tmp_path, "chaos")


@pytest.fixture
def server(tmp_path: Path) -> Iterator[RabbitServer]:
    try:
        server = RabbitServer(tmp_path, "chaos")
    except MissingServerError as error:
        skip_or_fail(str(error))
    try:
        server.node.launch()
        server.node.wait_ready()
        yield server
    finally:
        server.close()


@pytest.mark.scaled
def test_confirmed_messages_survive_sigkill_and_their_loss_is_noticed(server: RabbitServer, tmp_path: Path) -> None:
    expected = server.leave_canaries()
    server.node.write_tables()
    server.node.end(is_killed=True)
    server.node.launch()
    server.node.wait_ready()
    server.check_canaries(expected)
    with pytest.raises(AssertionError, match="20 of 20 confirmed messages"):
        server.check_canaries(expected)
    with Connection(f"amqp://guest:guest@127.0.0.1:{server.node.port}//") as connection:
        connection.channel().queue_delete("chaos.canary")
    with pytest.raises(AssertionError, match=r"queues did not survive .*chaos\.canary"):
        server.check_canaries(expected)

    server.node.end(is_killed=False)
    assert _list_processes_of(tmp_path) == ["epmd"]
    server.close()
    assert _list_processes_of(tmp_path) == []


def _list_processes_of(folder: Path) -> list[str]:
    """Return the names of the living processes whose home is the node's folder."""
    found = []
    for process in psutil.process_iter(["environ", "name", "status"]):
        environment = process.info["environ"] or {}
        is_mine = environment.get("HOME") == str(folder / "rabbitmq") and process.pid != os.getpid()
        if is_mine and process.info["status"] != psutil.STATUS_ZOMBIE:
            found.append(process.info["name"])
    return found
