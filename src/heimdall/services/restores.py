"""Restoring a backup: everything is verified before anything is touched, and the rows are swapped in one transaction.

Files come first: keys are made once and never used for other content, so files beside old rows harm nobody, and
a crash before the swap leaves the old state whole.
"""

from __future__ import annotations

import hashlib
import shutil
import tarfile
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import IO, Final

import orjson
from pydantic import ValidationError

from heimdall.domain.backups import BackupFile, BackupManifest, RowArchive
from heimdall.domain.canonical import hash_canonical
from heimdall.domain.errors import ConflictError, HeimdallError, InvalidInputError, UnavailableError
from heimdall.domain.ports import ArtifactStore, Clock
from heimdall.services.backups import ARTIFACTS, MANIFEST, ROWS, Progress
from heimdall.services.disposal import DATASETS

_BLOCK_BYTES: Final = 1 << 20
_MAX_MANIFEST_BYTES: Final = 1 << 30


class BackupInvalidError(InvalidInputError):
    """The file is no whole backup."""

    code = "backup_invalid"


class RestoreService:
    """Verifies and restores backups."""

    def __init__(self, *, archive: RowArchive, artifacts: ArtifactStore, clock: Clock) -> None:
        self._archive = archive
        self._artifacts = artifacts
        self._clock = clock

    def verify(self, path: Path, progress: Progress | None = None) -> BackupManifest:
        """Read the whole file and compare every byte with its manifest.

        Raises
        ------
        BackupInvalidError
            Cut off, changed, or no backup at all.
        """
        with _opened(path) as tar:
            found: dict[str, BackupFile] = {}
            manifest: BackupManifest | None = None
            for member, source in _read_members(tar):
                if member.name == MANIFEST:
                    manifest = _parse_manifest(source.read(_MAX_MANIFEST_BYTES))
                else:
                    found[member.name] = _hash(member, source, progress)
        if manifest is None:
            raise BackupInvalidError(f"{path} has no manifest: it was cut off, or is no backup. Use another one.", field="PATH")
        for top, files in ((ROWS, manifest.tables), (ARTIFACTS, manifest.artifacts)):
            for file in files:
                if found.get(top + file.name) != file.evolve(name=top + file.name):
                    raise BackupInvalidError(
                        f"{path} is damaged: '{file.name}' is missing or does not hash to what the manifest says. Use another one.",
                        field="PATH",
                    )
        return manifest

    def restore(self, path: Path, *, is_replacing: bool = False, progress: Progress | None = None) -> BackupManifest:
        """Put a backup in the place of everything here. Nothing changes unless all of it can.

        Parameters
        ----------
        path
            The backup.
        is_replacing
            Whether an instance that is not empty may be replaced.
        progress
            Told the bytes as they are verified and copied, each twice.

        Raises
        ------
        BackupInvalidError
            The file is no whole backup.
        ConflictError
            Codes ``not_empty`` and ``in_use``.
        StorageFullError
            No room; the rows are as they were.
        """
        manifest = self.verify(path, progress)
        self._check_target(is_replacing=is_replacing)
        with self._artifacts.scratch() as scratch, ExitStack() as stack:
            rows = scratch / "rows"
            rows.mkdir()
            staging = scratch / "staging"
            staging.mkdir()
            files = self._extract(path, manifest, scratch, rows, progress)
            swap = stack.enter_context(self._archive.staged(rows, manifest.revision, staging))
            before = set(self._artifacts.find(""))
            try:
                self._put(files, scratch)
                swap()
            except HeimdallError:
                self._take_back(before)
                raise
        wanted = {file.name for file in manifest.artifacts}
        # From here on the backup is the truth; what belongs to nobody any more goes, and a crash leaves it to fsck.
        for key in set(self._artifacts.find("")) - wanted:
            self._artifacts.delete(key)
        return manifest

    def _check_target(self, *, is_replacing: bool) -> None:
        if not is_replacing and not (self._archive.is_empty() and not self._artifacts.find("")):
            raise ConflictError(
                "This instance is not empty. Restore into another data folder with --data-dir, or replace everything here with --replace.",
                code="not_empty",
            )
        worker = self._archive.find_living_claim(self._clock.now())
        if worker is not None:
            raise ConflictError(f"A worker ({worker}) trains a job here. Stop every worker and server first.", code="in_use")

    def _extract(self, path: Path, manifest: BackupManifest, scratch: Path, rows: Path, progress: Progress | None) -> dict[str, Path]:
        """Write the members into scratch files; hashes are compared again, since the file was read twice."""
        targets = {ROWS + file.name: (file, rows / file.name) for file in manifest.tables if "/" not in file.name}
        targets |= {ARTIFACTS + file.name: (file, scratch / f"a{number}") for number, file in enumerate(manifest.artifacts)}
        with _opened(path) as tar:
            for member, source in _read_members(tar):
                if member.name in targets:
                    file, target = targets[member.name]
                    with target.open("wb") as stream:
                        if _hash(member, source, progress, stream.write).sha256 != file.sha256:
                            raise BackupInvalidError(f"{path} changed while it was read. Start again.", field="PATH")
        return {name.removeprefix(ARTIFACTS): target for name, (_, target) in targets.items() if name.startswith(ARTIFACTS)}

    def _put(self, files: dict[str, Path], scratch: Path) -> None:
        """Store the artifacts; a data set's files together, because it is there as a whole or not at all."""
        folders: dict[str, dict[str, Path]] = {}
        for key, path in files.items():
            top, _, rest = key.partition("/")
            owner, _, name = rest.partition("/")
            if top == DATASETS and name:
                folders.setdefault(f"{top}/{owner}", {})[name] = path
            else:
                self._artifacts.put(key, path)
        for number, (key, members) in enumerate(folders.items()):
            folder = scratch / f"d{number}"
            for name, path in members.items():
                target = (folder / name).resolve()
                if not target.is_relative_to(folder.resolve()):
                    raise BackupInvalidError(f"The backup names a file outside its data set: '{name[:100]}'. Use another one.")
                target.parent.mkdir(parents=True, exist_ok=True)
                shutil.move(path, target)
            self._artifacts.put_folder(key, folder)

    def _take_back(self, before: set[str]) -> None:
        with suppress(UnavailableError):
            for key in set(self._artifacts.find("")) - before:
                self._artifacts.delete(key)


@contextmanager
def _opened(path: Path) -> Iterator[tarfile.TarFile]:
    try:
        with tarfile.open(path, mode="r:") as tar:
            yield tar
    except FileNotFoundError as error:
        raise BackupInvalidError(f"There is no file {path}.", field="PATH") from error
    except (tarfile.TarError, EOFError) as error:
        raise BackupInvalidError(f"{path} is no backup, or it was cut off ({error}). Use another one.", field="PATH") from error


def _read_members(tar: tarfile.TarFile) -> Iterator[tuple[tarfile.TarInfo, IO[bytes]]]:
    """Yield the regular files, once each; nothing is ever written under a name of the archive."""
    seen = set()
    for member in tar:
        source = tar.extractfile(member) if member.isreg() else None
        if source is None or member.name in seen:
            raise BackupInvalidError(f"The backup holds '{member.name[:100]}' twice, or as something else than a file. Use another one.")
        seen.add(member.name)
        yield member, source


def _hash(
    member: tarfile.TarInfo, source: IO[bytes], progress: Progress | None, write: Callable[[bytes], object] | None = None
) -> BackupFile:
    digest = hashlib.sha256()
    while data := source.read(_BLOCK_BYTES):
        digest.update(data)
        if write is not None:
            write(data)
        if progress is not None:
            progress(len(data))
    return BackupFile(name=member.name, size_bytes=member.size, sha256=digest.hexdigest())


def _parse_manifest(content: bytes) -> BackupManifest:
    try:
        outer = orjson.loads(content)
        document, stated = outer["manifest"], outer["sha256"]
        if hash_canonical(document) != stated:
            raise BackupInvalidError("The backup's manifest was changed after it was written. Use another one.", field="PATH")
        if document.get("format") != 1:
            raise BackupInvalidError(
                f"The backup has format {document.get('format')}, this Heimdall reads 1. Restore it with a newer one.", field="PATH"
            )
        return BackupManifest.model_validate(document)
    except (ValueError, KeyError, TypeError, AttributeError, ValidationError) as error:
        raise BackupInvalidError("The backup's manifest cannot be read. Use another one.", field="PATH") from error
