"""A backup: one tar file with every row of one moment and every artifact that those rows point to, hashed.

Consistent while jobs run: a hold keeps every file in its place, then one read transaction gives the rows, then the
files, which never change once a row points to them, are copied and compared with the hashes that the rows know.
"""

from __future__ import annotations

import hashlib
import io
import os
import tarfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from pathlib import Path
from typing import BinaryIO, Final

import orjson

import heimdall
from heimdall.domain.backups import BackupFile, BackupManifest, LeftOut, RowArchive
from heimdall.domain.base import new_id
from heimdall.domain.canonical import hash_canonical
from heimdall.domain.datasets import DatasetStatus
from heimdall.domain.errors import ConflictError, HeimdallError, InvalidInputError, NotFoundError, StorageFullError
from heimdall.domain.ports import ArtifactStore, Clock, JobQuery, Store, Transaction
from heimdall.services.disposal import dataset_folder, incoming_folder

ROWS: Final = "rows/"
ARTIFACTS: Final = "artifacts/"
MANIFEST: Final = "manifest.json"
_HOLD: Final = timedelta(minutes=10)
_PROLONG_AFTER: Final = timedelta(minutes=1)

Progress = Callable[[int], None]


class DamagedError(HeimdallError):
    """A file that a row points to is missing or changed, so that a backup would not be whole."""

    code = "artifact_damaged"


@dataclass(frozen=True)
class NeededFile:
    """An artifact that a row points to, with its hash where the row knows it."""

    key: str
    sha256: str | None = None


@dataclass
class NeededFiles:
    """What a moment's rows point to."""

    files: list[NeededFile] = field(default_factory=list)
    datasets: dict[str, str | None] = field(default_factory=dict)


def list_needed(tx: Transaction) -> NeededFiles:
    """Return every artifact that the rows of this moment point to."""
    needed = NeededFiles()
    for dataset in tx.datasets.find_all():
        if dataset.status is DatasetStatus.READY:
            needed.datasets[dataset.id] = dataset.content_hash
        elif dataset.status is DatasetStatus.BUILDING:
            needed.datasets[dataset.id] = None
    for listed in tx.models.find_all():
        model = tx.models.get(listed.id)
        needed.files.append(NeededFile(model.onnx_path, model.sha256))
        needed.files += [NeededFile(key) for key in (model.samples_key, model.evaluation_key) if key is not None]
    cursor = None
    while True:
        page = tx.jobs.find(JobQuery(limit=200, cursor=cursor))
        newest = [job.checkpoint for job in page.items if job.checkpoint is not None]
        pointers = [*newest, *(checkpoint.previous for checkpoint in newest if checkpoint.previous is not None)]
        needed.files += [NeededFile(pointer.key, pointer.sha256) for pointer in pointers]
        if (cursor := page.next_cursor) is None:
            return needed


class BackupService:
    """Writes backups."""

    def __init__(self, *, store: Store, archive: RowArchive, artifacts: ArtifactStore, clock: Clock) -> None:
        self._store = store
        self._archive = archive
        self._artifacts = artifacts
        self._clock = clock

    def write(self, target: Path, *, skip_damaged: bool = False, progress: Progress | None = None) -> tuple[Path, BackupManifest]:
        """Write a backup; the file appears when it is whole and on the disk.

        Parameters
        ----------
        target
            A file that is not there yet, or a folder that gets a file named by the time.
        skip_damaged
            Leave out, and name, what is missing or does not hash to what its row says, instead of refusing.
        progress
            Told the bytes as they are copied.

        Raises
        ------
        ConflictError
            The file is there already.
        DamagedError
            An artifact is missing or changed; nothing is kept.
        StorageFullError
            No room; nothing is kept.
        """
        now = self._clock.now()
        if target.is_dir():
            target = target / f"heimdall-{now:%Y%m%d-%H%M%S}.tar"
        if target.exists():
            raise ConflictError(f"{target} is there already. Choose another name.", field="PATH")
        partial = target.with_name(f".{target.name}.{new_id()[:8]}.partial")
        try:
            with self._held() as prolong, self._artifacts.scratch() as scratch, _open_for_me(partial) as stream:

                def watch(count: int) -> None:
                    prolong()
                    if progress is not None:
                        progress(count)

                with tarfile.open(fileobj=stream, mode="w", format=tarfile.PAX_FORMAT) as tar:
                    manifest = self._fill(_Writer(tar, self._artifacts, watch), scratch, now, skip_damaged=skip_damaged)
                stream.flush()
                os.fsync(stream.fileno())
            partial.rename(target)
        except OSError as error:
            raise StorageFullError(f"{target} cannot be written: {error.strerror or error}. Nothing was kept.") from error
        finally:
            partial.unlink(missing_ok=True)
        return target, manifest

    def _fill(self, writer: _Writer, scratch: Path, now: datetime, *, skip_damaged: bool) -> BackupManifest:
        with self._archive.snapshot() as snapshot:
            dump = snapshot.dump(scratch)
            needed = list_needed(snapshot.tx)
        # The read is over: what is held cannot change, and a long read would keep the database from tidying up.
        tables = writer.add_rows(scratch)
        for dataset_id, content_hash in needed.datasets.items():
            writer.add_dataset(dataset_id, content_hash)
        for file in needed.files:
            writer.add_artifact(file)
        if writer.left_out and not skip_damaged:
            raise DamagedError(
                f"No backup was written, because it would not be whole: {_describe_left_out(writer.left_out)}. "
                "See 'heimdall fsck --deep', or leave them out with --skip-damaged."
            )
        manifest = BackupManifest(
            heimdall_version=heimdall.__version__,
            created_at=now,
            revision=dump.revision,
            rows=dump.rows,
            tables=tables,
            artifacts=tuple(writer.saved),
            left_out=tuple(writer.left_out),
        )
        writer.add_manifest(manifest)
        return manifest

    @contextmanager
    def _held(self) -> Iterator[Callable[[], None]]:
        """Keep every file in its place; the callable is to be called now and then."""
        holder = f"backup-{new_id()}"
        since = self._clock.now()

        def prolong() -> None:
            nonlocal since
            now = self._clock.now()
            if now - since >= _PROLONG_AFTER:
                self._hold(holder, now)
                since = now

        self._hold(holder, since)
        try:
            yield prolong
        finally:
            with self._store.write() as tx:
                tx.upkeep.release(holder)

    def _hold(self, holder: str, now: datetime) -> None:
        with self._store.write() as tx:
            tx.upkeep.hold(holder, until=now + _HOLD)


class _Writer:
    """One backup on its way into a tar file."""

    def __init__(self, tar: tarfile.TarFile, artifacts: ArtifactStore, watch: Progress) -> None:
        self._tar = tar
        self._artifacts = artifacts
        self._watch = watch
        self.saved: list[BackupFile] = []
        self.left_out: list[LeftOut] = []

    def add_rows(self, folder: Path) -> tuple[BackupFile, ...]:
        """Add the dump's files."""
        added = []
        for path in sorted(folder.glob("*.jsonl")):
            with path.open("rb") as source:
                added.append(self._add(ROWS, path.name, source, path.stat().st_size))
        return tuple(added)

    def add_artifact(self, file: NeededFile) -> None:
        """Add one artifact, or note why not."""
        try:
            with self._artifacts.open(file.key) as source:
                saved = self._add(ARTIFACTS, file.key, source, self._artifacts.size(file.key))
        except NotFoundError:
            self.left_out.append(LeftOut(key=file.key, reason="it is missing"))
            return
        if file.sha256 is not None and saved.sha256 != file.sha256:
            self.left_out.append(LeftOut(key=file.key, reason="its bytes are not those that were written"))
        else:
            self.saved.append(saved)

    def add_dataset(self, dataset_id: str, content_hash: str | None) -> None:
        """Add the files of a data set: the arrays of a ready one, or what an unfinished one is built from."""
        if content_hash is None:
            for key in self._artifacts.find(incoming_folder(dataset_id)):
                self.add_artifact(NeededFile(key))
            return
        folder = dataset_folder(dataset_id)
        if reason := find_dataset_fault(self._artifacts, folder, content_hash):
            self.left_out.append(LeftOut(key=folder, reason=reason))
            return
        for key in self._artifacts.find(folder):
            self.add_artifact(NeededFile(key))

    def add_manifest(self, manifest: BackupManifest) -> None:
        """Add the manifest, which ends the file."""
        document = manifest.model_dump(mode="json")
        content = orjson.dumps({"manifest": document, "sha256": hash_canonical(document)}, option=orjson.OPT_INDENT_2)
        self._add("", MANIFEST, io.BytesIO(content), len(content))

    def _add(self, top: str, name: str, source: BinaryIO, size: int) -> BackupFile:
        info = tarfile.TarInfo(top + name)
        info.size = size
        info.mode = 0o600
        hashing = _HashingReader(source, self._watch)
        self._tar.addfile(info, hashing)
        return BackupFile(name=name, size_bytes=size, sha256=hashing.digest.hexdigest())


class _HashingReader:
    """Passes bytes on, and hashes and counts them."""

    def __init__(self, source: BinaryIO, watch: Progress) -> None:
        self._source = source
        self._watch = watch
        self.digest = hashlib.sha256()

    def read(self, size: int = -1, /) -> bytes:
        """Read."""
        data = self._source.read(size)
        self.digest.update(data)
        self._watch(len(data))
        return data


def find_dataset_fault(artifacts: ArtifactStore, folder: str, content_hash: str) -> str | None:
    """Read every byte of a stored data set and say what is wrong with it, if anything is."""
    from heimdall.datasets.storage import verify_dataset

    try:
        with artifacts.local(folder) as path:
            is_right = verify_dataset(path) == content_hash
    except NotFoundError:
        return "it is missing"
    except InvalidInputError as error:
        return error.detail
    return None if is_right else "its content is not the one that was written"


def _describe_left_out(left_out: list[LeftOut]) -> str:
    shown = "; ".join(f"{item.key}: {item.reason}" for item in left_out[:3])
    more = f"; and {len(left_out) - 3} more" if len(left_out) > 3 else ""
    return f"{shown}{more}"


def _open_for_me(path: Path) -> BinaryIO:
    """Open a new file that only its owner may read: a backup holds everything."""
    return os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb")
