"""A worker's entry lives as long as its process, however that ends."""

import socket
import subprocess
import sys
from pathlib import Path

from heimdall.storage.presence import FolderRegistry

HOST = socket.gethostname()
ENTER = (
    "import sys\nfrom pathlib import Path\nfrom heimdall.storage.presence import FolderRegistry\n"
    "registry = FolderRegistry(Path(sys.argv[1]))\n"
    "registry.enter(sys.argv[2])\nprint('in', flush=True)\nsys.stdin.readline()\n"
)


def test_a_killed_worker_is_gone_and_a_living_one_is_not(tmp_path: Path) -> None:
    worker_id = f"{HOST}:1:abc"
    command = [sys.executable, "-c", ENTER, str(tmp_path), worker_id]
    process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    assert process.stdout is not None
    assert process.stdout.readline() == b"in\n"
    registry = FolderRegistry(tmp_path)
    assert not registry.is_gone(worker_id)
    process.kill()
    process.communicate()
    assert registry.is_gone(worker_id)


def test_workers_of_other_machines_and_unknown_ones_are_not_judged(tmp_path: Path) -> None:
    registry = FolderRegistry(tmp_path)
    assert not registry.is_gone("elsewhere:1:abc")
    assert not registry.is_gone(f"{HOST}:1:never")


def test_signing_out_leaves_nothing(tmp_path: Path) -> None:
    registry = FolderRegistry(tmp_path)
    registry.enter(f"{HOST}:1:abc")
    assert not registry.is_gone(f"{HOST}:1:abc")
    registry.close()
    assert list(tmp_path.iterdir()) == []


def test_a_folder_that_cannot_be_made_leaves_the_lease_to_decide(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    registry = FolderRegistry(tmp_path / "file" / "workers")
    registry.enter(f"{HOST}:1:abc")
    assert not registry.is_gone(f"{HOST}:1:abc")
