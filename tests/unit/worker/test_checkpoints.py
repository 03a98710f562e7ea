"""Which checkpoint an attempt goes on from, on real files."""

import hashlib
from contextlib import ExitStack
from datetime import UTC, datetime
from pathlib import Path

import pytest

from heimdall.domain.errors import CheckpointDamagedError
from heimdall.domain.jobs import Checkpoint, CheckpointFilePointer
from heimdall.storage.artifact_folder import FolderArtifacts
from heimdall.worker.checkpoints import FoundCheckpoint, find_checkpoint

CONTENTS = {1: b"weights of epoch 1" * 10, 2: b"weights of epoch 2" * 10}


@pytest.fixture
def artifacts(tmp_path: Path) -> FolderArtifacts:
    store = FolderArtifacts(str(tmp_path / "artifacts"))
    for epoch, content in CONTENTS.items():
        with store.write(f"checkpoints/j/a1-s{epoch}-b0.safetensors") as stream:
            stream.write(content)
    return store


def point_to(epoch: int) -> CheckpointFilePointer:
    content = CONTENTS[epoch]
    return CheckpointFilePointer(
        key=f"checkpoints/j/a1-s{epoch}-b0.safetensors",
        sha256=hashlib.sha256(content).hexdigest(),
        size_bytes=len(content),
        epoch=epoch,
        step=epoch,
        attempt=1,
        created_at=datetime(2026, 1, 1, tzinfo=UTC),
    )


NEWEST = Checkpoint(**point_to(2).model_dump(), previous=point_to(1))


def find(artifacts: FolderArtifacts, newest: Checkpoint = NEWEST) -> FoundCheckpoint:
    with ExitStack() as stack:
        return find_checkpoint(artifacts, newest, stack)


def test_a_good_newest_is_taken_without_a_word(artifacts: FolderArtifacts) -> None:
    assert find(artifacts) == FoundCheckpoint(NEWEST, artifacts.root / NEWEST.key)


@pytest.mark.parametrize("harm", ["flipped", "torn", "gone"])
def test_a_damaged_newest_falls_back_to_the_one_before_and_says_why(artifacts: FolderArtifacts, harm: str) -> None:
    path = artifacts.root / NEWEST.key
    content = path.read_bytes()
    if harm == "gone":
        path.unlink()
    else:
        path.write_bytes(content[:-1] + bytes([content[-1] ^ 1]) if harm == "flipped" else content[:50])
    found = find(artifacts)
    assert found.pointer == Checkpoint(**point_to(1).model_dump())
    assert found.path.read_bytes() == CONTENTS[1]
    assert found.damage is not None
    assert found.damage.startswith("The checkpoint of epoch 2 (step 2) is ")


def test_none_good_fails_loudly_and_names_both(artifacts: FolderArtifacts) -> None:
    for epoch in CONTENTS:
        (artifacts.root / point_to(epoch).key).write_bytes(b"")
    with pytest.raises(CheckpointDamagedError, match=r"epoch 2 .*epoch 1 .*no older one"):
        find(artifacts)
    with pytest.raises(CheckpointDamagedError, match="epoch 2"):
        find(artifacts, NEWEST.evolve(previous=None))
