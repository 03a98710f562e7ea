"""Backup and restore on both databases, and from one to the other."""

from __future__ import annotations

import hashlib
import io
import tarfile
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import orjson
import pytest

from heimdall.domain.audit import AuditAction, AuditSubject
from heimdall.domain.datasets import DatasetStatus
from heimdall.domain.errors import ConflictError, HeimdallError, UnavailableError
from heimdall.domain.events import EventType
from heimdall.domain.jobs import Checkpoint, JobStatus
from heimdall.domain.ports import AuditQuery, JobQuery
from heimdall.services.audit import record
from heimdall.services.backups import BackupService, DamagedError
from heimdall.services.restores import BackupInvalidError, RestoreService
from heimdall.storage.archive import SqlArchive
from heimdall.storage.artifacts import FsspecArtifacts, open_artifacts
from heimdall.storage.database import SqlStore
from heimdall.storage.schema import HEAD_REVISION
from tests.contract.samples import NOW, a_dataset, a_job, a_metric, a_model, claim


class StandingClock:
    def __init__(self) -> None:
        self.time = NOW + timedelta(hours=1)

    def now(self) -> datetime:
        return self.time


@dataclass
class Instance:
    """One database and one folder of artifacts."""

    store: SqlStore
    artifacts: FsspecArtifacts
    clock: StandingClock
    backups: BackupService
    restores: RestoreService

    def put(self, key: str, content: bytes) -> str:
        with self.artifacts.write(key) as target:
            target.write(content)
        return hashlib.sha256(content).hexdigest()

    def files(self) -> dict[str, bytes]:
        found = {}
        for key in self.artifacts.find(""):
            with self.artifacts.open(key) as source:
                found[key] = source.read()
        return found

    def rows(self) -> dict[str, Any]:
        with self.store.read(settled=True) as tx:
            jobs = tx.jobs.find(JobQuery()).items
            return {
                "jobs": jobs,
                "metrics": [tx.metrics.find(job.id) for job in jobs],
                "logs": [tx.logs.find(job.id) for job in jobs],
                "events": tx.events.read_page().events,
                "datasets": tx.datasets.find_all(),
                "audit": tx.audit.find(AuditQuery()),
                "models": [tx.models.get(model.id) for model in tx.models.find_all()],
            }


@pytest.fixture
def make_instance(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Callable[..., Instance]]:
    opened: list[Instance] = []

    def make(kind: str, artifacts_url: str | None = None) -> Instance:
        name = f"{kind}-{len(opened)}"
        url = str(request.getfixturevalue("create_postgres_database")()) if kind == "postgresql" else f"sqlite:///{tmp_path / name}.sqlite"
        store, clock = SqlStore(url, busy_timeout_s=5), StandingClock()
        store.migrate()
        artifacts = open_artifacts(artifacts_url or str(tmp_path / f"{name}-files"), cache_dir=tmp_path / f"{name}-cache")
        archive = SqlArchive(store)
        backups = BackupService(store=store, archive=archive, artifacts=artifacts, clock=clock)
        instance = Instance(store, artifacts, clock, backups, RestoreService(archive=archive, artifacts=artifacts, clock=clock))
        opened.append(instance)
        return instance

    yield make
    for instance in opened:
        instance.artifacts.close()
        instance.store.close()


def fill(instance: Instance) -> None:
    """A running job with a checkpoint, a completed one with its model, a building import, and files that nobody needs."""
    running, done = a_job(name="läuft"), a_job(name="done", status=JobStatus.COMPLETED, best_val_loss=0.1, resume_is_exact=True)
    digest = instance.put(f"checkpoints/{running.id}/a1-s7-b0.safetensors", b"weights")
    model = a_model(training_job_id=done.id, sha256=instance.put("models/m1/model.onnx", b"network"), onnx_path="models/m1/model.onnx")
    model = model.evolve(id="m1", samples_key="models/m1/samples.safetensors")
    instance.put("models/m1/samples.safetensors", b"samples")
    instance.put("incoming/ds-2/0.csv", b"a,b\n")
    instance.put("incoming/nobody/0.csv", b"waste")
    with instance.store.write() as tx:
        tx.datasets.add(a_dataset(id="ds-2", status=DatasetStatus.BUILDING, content_hash=None))
        for job in (running, done):
            tx.jobs.add(job.evolve(model_id="m1") if job is done else job, idempotency_key=job.name)
        tx.models.add(model)
        record(tx, AuditAction.CREATE, AuditSubject.JOB, running.id, now=NOW, name=running.name)
    held = claim(instance.store, running)
    with instance.store.write() as tx:
        job = tx.jobs.get(running.id)
        pointer = Checkpoint(
            key=f"checkpoints/{running.id}/a1-s7-b0.safetensors", sha256=digest, size_bytes=7, epoch=2, step=7, attempt=held.attempt,
            created_at=NOW,
        )  # fmt: skip
        tx.jobs.save(job.evolve(checkpoint=pointer, version=job.version + 1), expected_version=job.version)
        for epoch in (1, 2):
            tx.metrics.put(a_metric(running.id, epoch, non_finite={"val_loss": "nan"}))
            tx.events.append(running.id, seq=epoch, type=EventType.PROGRESS, payload={"epoch": epoch, "text": "é\u2028"}, now=NOW)
        tx.logs.append(running.id, ["one", "two\nlines"], now=NOW)
        tx.upkeep.bury("models/old", now=NOW)


BOTH = ["sqlite", pytest.param("postgresql", marks=pytest.mark.scaled)]


@pytest.mark.parametrize("source", BOTH)
@pytest.mark.parametrize("target", BOTH)
def test_what_is_restored_is_what_was_saved(make_instance: Callable[..., Instance], tmp_path: Path, source: str, target: str) -> None:
    old, new = make_instance(source), make_instance(target)
    fill(old)
    _, manifest = old.backups.write(tmp_path / "b.tar")
    assert manifest.rows == {"audit": 1, "datasets": 1, "events": 2, "jobs": 2, "logs": 2, "metrics": 2, "models": 1}
    new.restores.restore(tmp_path / "b.tar")
    assert new.rows() == old.rows()
    assert new.files() == {key: content for key, content in old.files().items() if "nobody" not in key}
    with new.store.write() as tx:
        assert tx.upkeep.list_buried() == []
        tx.events.append("next", seq=1, type=EventType.UPDATED, payload={}, now=NOW)
    with new.store.read(settled=True) as tx:
        assert tx.events.last_position() == 3
        # Columns that are not the entity's came along: a repeated create finds its job.
        assert tx.jobs.find_idempotent("done") is not None


def test_an_object_store_is_saved_and_restored_alike(make_instance: Callable[..., Instance], tmp_path: Path) -> None:
    old, new = make_instance("sqlite", "memory://backup-old"), make_instance("sqlite", "memory://backup-new")
    fill(old)
    old.backups.write(tmp_path / "b.tar")
    new.restores.restore(tmp_path / "b.tar")
    assert new.rows() == old.rows()
    assert set(new.files()) == {key for key in old.files() if "nobody" not in key}


@pytest.mark.parametrize("kind", BOTH)
def test_an_instance_that_is_not_empty_is_left_alone_unless_told(make_instance: Callable[..., Instance], tmp_path: Path, kind: str) -> None:
    old, new = make_instance("sqlite"), make_instance(kind)
    fill(old)
    old.backups.write(tmp_path / "b.tar")
    with new.store.write() as tx:
        tx.datasets.add(a_dataset(id="mine"))
        tx.events.append("mine", seq=1, type=EventType.UPDATED, payload={}, now=NOW)
        record(tx, AuditAction.CREATE, AuditSubject.DATASET, "mine", now=NOW)
    new.put("models/mine/model.onnx", b"mine")
    before = (new.rows(), new.files())
    with pytest.raises(ConflictError) as caught:
        new.restores.restore(tmp_path / "b.tar")
    assert caught.value.code == "not_empty"
    assert (new.rows(), new.files()) == before
    new.restores.restore(tmp_path / "b.tar", is_replacing=True)
    # What was done here cannot be taken back, and what was done there comes once, however often it is restored.
    old.backups.write(tmp_path / "c.tar")
    new.restores.restore(tmp_path / "c.tar", is_replacing=True)
    assert [entry.subject_id for entry in new.rows()["audit"]] == [old.rows()["audit"][0].subject_id, "mine"]
    assert new.rows() | {"audit": None} == old.rows() | {"audit": None}
    assert "models/mine/model.onnx" not in new.files()


def test_an_instance_whose_worker_lives_is_left_alone(make_instance: Callable[..., Instance], tmp_path: Path) -> None:
    old = make_instance("sqlite")
    fill(old)
    old.backups.write(tmp_path / "b.tar")
    old.clock.time = NOW
    with pytest.raises(ConflictError, match="Stop every worker") as caught:
        old.restores.restore(tmp_path / "b.tar", is_replacing=True)
    assert caught.value.code == "in_use"


@pytest.mark.parametrize("fault", ["missing", "changed"])
def test_a_damaged_file_is_named_and_left_out_only_on_demand(make_instance: Callable[..., Instance], tmp_path: Path, fault: str) -> None:
    old, new = make_instance("sqlite"), make_instance("sqlite")
    fill(old)
    old.artifacts.delete("models/m1/model.onnx")
    if fault == "changed":
        old.put("models/m1/model.onnx", b"netwotk")
    with pytest.raises(DamagedError, match="models/m1/model"):
        old.backups.write(tmp_path / "b.tar")
    assert list(tmp_path.glob("*b.tar*")) == []
    _, manifest = old.backups.write(tmp_path / "b.tar", skip_damaged=True)
    assert [item.key for item in manifest.left_out] == ["models/m1/model.onnx"]
    new.restores.restore(tmp_path / "b.tar")
    assert "models/m1/model.onnx" not in new.files()


def test_files_stay_while_they_are_copied_and_are_free_afterwards(make_instance: Callable[..., Instance], tmp_path: Path) -> None:
    old = make_instance("sqlite")
    fill(old)
    seen = []

    def look(_count: int) -> None:
        with old.store.read() as tx:
            seen.append(tx.upkeep.is_held(old.clock.now()))
        # A copy that takes longer than the hold prolongs it.
        old.clock.time += timedelta(minutes=5)

    old.backups.write(tmp_path / "b.tar", progress=look)
    assert len(seen) > 4
    assert all(seen)
    with old.store.read() as tx:
        assert not tx.upkeep.is_held(old.clock.now())


def rewrite(source: Path, target: Path, change: Callable[[str, bytes], bytes | None]) -> None:
    """Copy a tar, each member's content as ``change`` gives it."""
    with tarfile.open(source) as old, tarfile.open(target, "w") as new:
        for member in old:
            handle = old.extractfile(member)
            assert handle is not None
            content = change(member.name, handle.read())
            if content is not None:
                member.size = len(content)
                new.addfile(member, io.BytesIO(content))


def drop(part: str) -> Callable[[str, bytes], bytes | None]:
    return lambda name, content: None if part in name else content


def flip(part: str) -> Callable[[str, bytes], bytes | None]:
    return lambda name, content: content[:-1] + bytes([content[-1] ^ 1]) if part in name else content


def forge_format(name: str, content: bytes) -> bytes:
    return content.replace(b"0.1", b"9.9") if name == "manifest.json" else content


@pytest.mark.parametrize("change", [drop("model.onnx"), drop("jobs"), drop("manifest"), flip("model.onnx"), flip("events"), forge_format])
def test_a_backup_that_is_not_whole_touches_nothing(
    make_instance: Callable[..., Instance], tmp_path: Path, change: Callable[[str, bytes], bytes | None]
) -> None:
    old, new = make_instance("sqlite"), make_instance("sqlite")
    fill(old)
    old.backups.write(tmp_path / "b.tar")
    rewrite(tmp_path / "b.tar", tmp_path / "bad.tar", change)
    with pytest.raises(BackupInvalidError):
        new.restores.restore(tmp_path / "bad.tar")
    assert new.files() == {}
    assert not any(new.rows().values())


def test_a_backup_that_was_cut_off_anywhere_is_refused(make_instance: Callable[..., Instance], tmp_path: Path) -> None:
    old, new = make_instance("sqlite"), make_instance("sqlite")
    fill(old)
    old.backups.write(tmp_path / "b.tar")
    whole = (tmp_path / "b.tar").read_bytes()
    end = whole.index(b"manifest.json")
    for size in (0, 100, 512, 5000, end, end + 700):
        (tmp_path / "cut.tar").write_bytes(whole[:size])
        with pytest.raises(BackupInvalidError):
            new.restores.verify(tmp_path / "cut.tar")


def forge(source: Path, target: Path, members: Mapping[str, bytes] | None = None, **changes: Any) -> None:
    """Write the backup anew with other members and another manifest, and with hashes that fit."""
    from heimdall.domain.canonical import hash_canonical

    others = members or {}

    def change(name: str, content: bytes) -> bytes:
        if name != "manifest.json":
            return others.get(name, content)
        document = orjson.loads(content)["manifest"] | changes
        for file in document["tables"]:
            if (other := others.get("rows/" + file["name"])) is not None:
                file |= {"size_bytes": len(other), "sha256": hashlib.sha256(other).hexdigest()}
        return orjson.dumps({"manifest": document, "sha256": hash_canonical(document)})

    rewrite(source, target, change)


def test_a_backup_of_another_time_says_so(make_instance: Callable[..., Instance], tmp_path: Path) -> None:
    old, new = make_instance("sqlite"), make_instance("sqlite")
    fill(old)
    old.backups.write(tmp_path / "b.tar")
    for changes, kind, words in (
        ({"format": 2}, BackupInvalidError, "newer"),
        ({"revision": "9999"}, UnavailableError, "newer Heimdall"),
        ({"artifacts": [{"name": "../evil", "size_bytes": 0, "sha256": "0" * 64}]}, BackupInvalidError, "evil"),
    ):
        forge(tmp_path / "b.tar", tmp_path / "odd.tar", **changes)
        with pytest.raises(kind, match=words):
            new.restores.restore(tmp_path / "odd.tar")
    assert not any(new.rows().values())
    assert new.files() == {}


def test_a_swap_that_fails_leaves_rows_and_files_as_they_were(
    make_instance: Callable[..., Instance], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    old, new = make_instance("sqlite"), make_instance("sqlite")
    fill(old)
    old.backups.write(tmp_path / "b.tar")

    def refuse(*_: object) -> None:
        raise UnavailableError("away")

    monkeypatch.setattr(SqlArchive, "_replace", refuse)
    with pytest.raises(HeimdallError):
        new.restores.restore(tmp_path / "b.tar")
    assert new.files() == {}
    assert not any(new.rows().values())


def test_a_backup_of_an_older_schema_is_brought_to_this_one(make_instance: Callable[..., Instance], tmp_path: Path) -> None:
    old, new = make_instance("sqlite"), make_instance("sqlite")
    fill(old)
    old.backups.write(tmp_path / "b.tar")
    assert HEAD_REVISION == "0008", "what schema 0006 lacks is left out below; 0008 saved no more than 0007"
    with tarfile.open(tmp_path / "b.tar") as saved:
        handle = saved.extractfile("rows/jobs.jsonl")
        assert handle is not None
        columns, *rows = (orjson.loads(line) for line in handle)
    at = columns.index("silent_since")
    jobs = b"".join(orjson.dumps(row[:at] + row[at + 1 :]) + b"\n" for row in (columns, *rows))
    forge(tmp_path / "b.tar", tmp_path / "first.tar", {"rows/jobs.jsonl": jobs}, revision="0006")
    new.restores.restore(tmp_path / "first.tar")
    assert new.rows() == old.rows()


def test_a_target_that_is_there_is_not_overwritten(make_instance: Callable[..., Instance], tmp_path: Path) -> None:
    old = make_instance("sqlite")
    (tmp_path / "b.tar").write_bytes(b"mine")
    with pytest.raises(ConflictError):
        old.backups.write(tmp_path / "b.tar")
    assert (tmp_path / "b.tar").read_bytes() == b"mine"
    written, _ = old.backups.write(tmp_path)
    assert written.name == "heimdall-20260102-040405.tar"
