from __future__ import annotations

import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from heimdall.cli.instance import DataFolderLock, RunningInstance, claim_port, find_running, make_browser_url, probe_ready
from heimdall.domain.errors import ConflictError, InvalidInputError, UnavailableError


def test_lock_is_given_back_and_the_folder_is_private(tmp_path: Path) -> None:
    folder = tmp_path / "deep" / "data"
    lock = DataFolderLock(folder)
    lock.write_holder("http://127.0.0.1:9")
    with pytest.raises(ConflictError, match="at http://127"):
        DataFolderLock(folder)
    lock.release()
    DataFolderLock(folder).release()
    assert folder.stat().st_mode & 0o077 == 0


def test_holder_that_said_nothing_yet_is_just_starting(tmp_path: Path) -> None:
    lock = DataFolderLock(tmp_path)
    with pytest.raises(ConflictError, match="just starting"):
        DataFolderLock(tmp_path)
    lock.release()


def test_folder_that_cannot_be_is_said(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(UnavailableError, match="--data-dir"):
        DataFolderLock(tmp_path / "file" / "data")


def test_free_port_is_found_and_a_taken_one_refused() -> None:
    port = claim_port("127.0.0.1", 0)
    with socket.create_server(("127.0.0.1", port)), pytest.raises(ConflictError, match=f"--port {port + 1}"):
        claim_port("127.0.0.1", port)


def test_host_that_is_no_address_is_named() -> None:
    with pytest.raises(InvalidInputError) as caught:
        claim_port("192.0.2.77", 0)
    assert caught.value.field in ("host", "port")


@pytest.mark.parametrize(
    ("host", "url"),
    [("127.0.0.1", "http://127.0.0.1:8"), ("0.0.0.0", "http://127.0.0.1:8"), ("::", "http://[::1]:8"), ("::1", "http://[::1]:8")],
)
def test_url_for_the_browser_is_one_that_it_can_open(host: str, url: str) -> None:
    assert make_browser_url(host, 8) == url


def test_silence_is_not_readiness() -> None:
    assert probe_ready("127.0.0.1", 1) is None
    with socket.create_server(("127.0.0.1", 0)) as mute:
        assert probe_ready("127.0.0.1", mute.getsockname()[1], timeout_s=0.05) is None


def test_running_instance_is_found_by_its_folder_and_a_dead_ones_note_is_not_believed(tmp_path: Path) -> None:
    assert find_running(tmp_path) is None
    lock = DataFolderLock(tmp_path)
    lock.write_holder("http://127.0.0.1:9")
    assert find_running(tmp_path) == RunningInstance(os.getpid(), "http://127.0.0.1:9")
    ended = subprocess.Popen([sys.executable, "-c", ""])
    ended.wait()
    (tmp_path / "heimdall.lock").write_text((tmp_path / "heimdall.lock").read_text().replace(str(os.getpid()), str(ended.pid)))
    assert find_running(tmp_path) is None
    lock.release()
