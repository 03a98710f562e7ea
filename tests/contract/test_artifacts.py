"""What every store of artifacts promises, on a folder and on an object store in memory."""

from __future__ import annotations

import os
import subprocess
import sys
import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest

from heimdall.domain.errors import InvalidInputError, NotFoundError, StorageFullError, UnavailableError
from heimdall.storage.artifacts import FsspecArtifacts, open_artifacts


@pytest.fixture(params=["folder", "memory"])
def artifacts(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[FsspecArtifacts]:
    url = str(tmp_path / "artifacts") if request.param == "folder" else f"memory://{uuid.uuid4().hex}"
    found = open_artifacts(url, cache_dir=tmp_path / "cache")
    yield found
    found.close()


def a_file(folder: Path, content: bytes = b"content") -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / uuid.uuid4().hex
    path.write_bytes(content)
    return path


def a_folder(base: Path, **files: bytes) -> Path:
    folder = base / uuid.uuid4().hex
    for name, content in files.items():
        path = folder / name.replace("__", "/")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
    return folder


def read(artifacts: FsspecArtifacts, key: str) -> bytes:
    with artifacts.open(key) as stream:
        return stream.read()


def leftovers(folder: Path) -> list[Path]:
    return [path for path in folder.rglob("*") if path.is_file() and path.suffix != ".lock"]


def test_a_file_comes_back_by_its_key(artifacts: FsspecArtifacts, tmp_path: Path) -> None:
    artifacts.put("models/a/model.onnx", a_file(tmp_path, b"onnx"))
    assert read(artifacts, "models/a/model.onnx") == b"onnx"
    assert artifacts.size("models/a/model.onnx") == 4
    assert artifacts.exists("models/a/model.onnx")
    with artifacts.local("models/a/model.onnx") as path:
        assert path.read_bytes() == b"onnx"


def test_putting_again_replaces(artifacts: FsspecArtifacts, tmp_path: Path) -> None:
    for content in (b"one", b"three"):
        artifacts.put("k/x", a_file(tmp_path, content))
        with artifacts.local("k/x") as path:
            assert path.read_bytes() == content
    assert artifacts.size("k/x") == 5


def test_a_written_file_appears_only_after_a_clean_exit(artifacts: FsspecArtifacts, tmp_path: Path) -> None:
    with artifacts.write("a/good") as stream:
        stream.write(b"good")
        assert not artifacts.exists("a/good")
    assert read(artifacts, "a/good") == b"good"
    with pytest.raises(ZeroDivisionError), artifacts.write("a/bad") as stream:
        stream.write(b"ba" + bytes([1 // 0]))
    assert artifacts.find("") == ["a/good"]
    assert [path for path in leftovers(tmp_path) if "scratch" in path.parts] == []


def test_a_folder_is_stored_whole_and_replaced_whole(artifacts: FsspecArtifacts, tmp_path: Path) -> None:
    artifacts.put_folder("datasets/d", a_folder(tmp_path, manifest=b"{}", sub__deep=b"12345"))
    assert artifacts.exists("datasets/d")
    assert artifacts.size("datasets/d") == 7
    with artifacts.local("datasets/d") as path:
        assert (path / "sub" / "deep").read_bytes() == b"12345"
    assert artifacts.find("datasets/d") == ["datasets/d/manifest", "datasets/d/sub/deep"]
    artifacts.put_folder("datasets/d", a_folder(tmp_path, manifest=b"[]"))
    assert artifacts.find("datasets/") == ["datasets/d/manifest"]
    with artifacts.local("datasets/d") as path:
        assert sorted(item.name for item in path.iterdir() if not item.name.startswith(".")) == ["manifest"]


def test_what_is_not_there_is_named(artifacts: FsspecArtifacts) -> None:
    assert not artifacts.exists("a/b")
    assert artifacts.find("a") == []
    with pytest.raises(NotFoundError, match="a/b"):
        artifacts.open("a/b")
    with pytest.raises(NotFoundError):
        artifacts.size("a/b")
    with pytest.raises(NotFoundError), artifacts.local("a/b"):
        pass


def test_deleting_is_repeatable(artifacts: FsspecArtifacts, tmp_path: Path) -> None:
    artifacts.put("a/x", a_file(tmp_path))
    artifacts.put_folder("a/d", a_folder(tmp_path, one=b"1"))
    for key in ("a/x", "a/x", "a/d", "a/d", "never"):
        artifacts.delete(key)
    assert artifacts.find("") == []
    assert not artifacts.exists("a/d")
    artifacts.put("a/x", a_file(tmp_path))
    assert artifacts.exists("a/x")


def test_keys_below_a_prefix_are_found_by_whole_names(artifacts: FsspecArtifacts, tmp_path: Path) -> None:
    for key in ("c/1/a", "c/1/b", "c/10/a", "d/a"):
        artifacts.put(key, a_file(tmp_path))
    assert artifacts.find("c/1") == ["c/1/a", "c/1/b"]
    assert artifacts.find("") == ["c/1/a", "c/1/b", "c/10/a", "d/a"]


@pytest.mark.parametrize(
    "key",
    [
        "",
        "/etc/passwd",
        "../x",
        "a/../x",
        "a//b",
        "a/",
        "a/./b",
        ".hidden",
        "a/.b",
        "a b",
        "ä",
        "a\\b",
        "a\x00",
        "scratch/x",
        "a\n",
        "x" * 513,
    ],
)
def test_a_key_that_could_lead_elsewhere_is_refused(artifacts: FsspecArtifacts, key: str, tmp_path: Path) -> None:
    source = a_file(tmp_path)
    for act in (artifacts.open, artifacts.size, artifacts.exists, artifacts.delete):
        with pytest.raises(InvalidInputError):
            act(key)
    with pytest.raises(InvalidInputError):
        artifacts.put(key, source)
    with pytest.raises(InvalidInputError):
        artifacts.put_folder(key, source)
    with pytest.raises(InvalidInputError), artifacts.write(key):
        pass
    with pytest.raises(InvalidInputError), artifacts.local(key):
        pass
    assert source.exists()


def test_scratch_is_fresh_and_goes_away(artifacts: FsspecArtifacts) -> None:
    with artifacts.scratch() as first, artifacts.scratch() as second:
        assert first != second
        (first / "x").write_bytes(b"x")
        artifacts.put("from/scratch", first / "x")
    assert not first.exists()
    assert not second.exists()
    assert read(artifacts, "from/scratch") == b"x"
    assert artifacts.find("") == ["from/scratch"]


def test_sweeping_spares_what_a_living_process_uses(artifacts: FsspecArtifacts) -> None:
    with artifacts.scratch() as folder:
        assert artifacts.sweep_stale(0) == 0
        assert folder.is_dir()


def test_ping_and_free_bytes_answer(artifacts: FsspecArtifacts) -> None:
    artifacts.ping()
    assert artifacts.free_bytes() > 0
    assert artifacts.find("") == []


# The folder kind


def test_what_a_killed_process_left_is_swept(tmp_path: Path) -> None:
    script = (
        "import os, signal, sys\n"
        "from heimdall.storage.artifacts import open_artifacts\n"
        "artifacts = open_artifacts(sys.argv[1])\n"
        "with artifacts.scratch() as folder, artifacts.write('a/b') as stream:\n"
        "    (folder / 'x').write_bytes(b'x')\n"
        "    stream.write(b'half')\n"
        "    stream.flush()\n"
        "    os.kill(os.getpid(), signal.SIGKILL)\n"
    )
    root = tmp_path / "artifacts"
    done = subprocess.run([sys.executable, "-c", script, str(root)], check=False, timeout=60)
    assert done.returncode == -9
    assert len(leftovers(root)) == 2
    artifacts = open_artifacts(str(root))
    assert artifacts.find("") == []
    assert artifacts.sweep_stale(3600) == 0
    assert artifacts.sweep_stale(0) == 1
    assert leftovers(root) == []


def test_a_forked_child_has_its_own_scratch(tmp_path: Path) -> None:
    artifacts = open_artifacts(str(tmp_path / "artifacts"))
    with artifacts.scratch() as mine:
        pid = os.fork()
        if pid == 0:
            with artifacts.scratch() as other:
                os._exit(0 if other.parent != mine.parent else 1)
        assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0
        assert artifacts.sweep_stale(0) == 1
        assert mine.is_dir()
    artifacts.close()


def test_a_folder_that_cannot_be_written_is_reported(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"")
    artifacts = open_artifacts(str(tmp_path / "file" / "artifacts"))
    with pytest.raises(UnavailableError, match="cannot be used"):
        artifacts.ping()


@pytest.fixture
def tiny_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of one megabyte, to run full for real."""
    folder = tmp_path / "tiny"
    folder.mkdir()
    mounted = os.geteuid() == 0 and subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", str(folder)], check=False, capture_output=True
    )
    if not mounted or mounted.returncode != 0:
        pytest.skip("cannot mount a small tmpfs here (needs root and the right to mount)")
    yield folder
    subprocess.run(["umount", "-l", str(folder)], check=True)


def test_a_full_disk_leaves_nothing_and_says_so(tiny_disk: Path, tmp_path: Path) -> None:
    artifacts = open_artifacts(str(tiny_disk / "artifacts"))
    artifacts.put("checkpoints/j/a", a_file(tmp_path, b"kept"))
    big = bytes(2_000_000)

    def write_too_much() -> None:
        with artifacts.write("checkpoints/j/b") as stream:
            stream.write(big)

    with pytest.raises(StorageFullError, match="full"):
        write_too_much()
    with pytest.raises(StorageFullError):
        artifacts.put("checkpoints/j/a", a_file(tmp_path, big))
    with pytest.raises(StorageFullError):
        artifacts.put_folder("datasets/d", a_folder(tmp_path, one=b"1", two=big))
    with pytest.raises(StorageFullError), artifacts.scratch() as folder:
        (folder / "x").write_bytes(big)
    assert artifacts.find("") == ["checkpoints/j/a"]
    assert read(artifacts, "checkpoints/j/a") == b"kept"
    assert [path.name for path in leftovers(tiny_disk)] == ["a"]
    artifacts.put("checkpoints/j/c", a_file(tmp_path, b"fits again"))
    artifacts.close()


# The object store kind


def test_a_half_uploaded_folder_is_not_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    artifacts = open_artifacts(f"memory://{uuid.uuid4().hex}", cache_dir=tmp_path / "cache")
    source = a_folder(tmp_path, a=b"1", b=b"2")
    upload = type(artifacts)._upload  # type: ignore[attr-defined]
    calls: list[str] = []

    def fail_second(self: object, path: Path, target: str) -> None:
        calls.append(target)
        if len(calls) == 2:
            raise OSError(5, "connection lost")
        upload(self, path, target)

    monkeypatch.setattr(type(artifacts), "_upload", fail_second)
    with pytest.raises(UnavailableError, match="connection lost"):
        artifacts.put_folder("datasets/d", source)
    assert not artifacts.exists("datasets/d")
    assert artifacts.find("") == []
    artifacts.put_folder("datasets/d", source)
    assert artifacts.exists("datasets/d")


def test_an_unknown_kind_of_url_is_refused() -> None:
    with pytest.raises(InvalidInputError) as caught:
        open_artifacts("nonsense://x")
    assert caught.value.field == "artifacts_url"
