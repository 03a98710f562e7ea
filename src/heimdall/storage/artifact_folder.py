"""Artifacts in a folder of this machine: durable before visible."""

from __future__ import annotations

import errno
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import BinaryIO, Final
from urllib.parse import unquote, urlsplit

from heimdall.storage.artifacts import (
    SCRATCH,
    FsspecArtifacts,
    check_key,
    check_prefix,
    no_such_artifact,
    translated_os_errors,
)
from heimdall.storage.scratch import Workbench

_RENAME_TRIES: Final = 5


class FolderArtifacts(FsspecArtifacts):
    """Files below one folder. A file is complete and fsynced under a temporary name before it gets its own."""

    def __init__(self, url: str) -> None:
        path = unquote(urlsplit(url).path) if url.startswith("file://") else url
        self.root = Path(path).absolute()
        self._bench = Workbench(self.root / SCRATCH)

    def _path(self, key: str) -> Path:
        return self.root / check_key(key)

    def put(self, key: str, source: Path) -> None:
        """Store a file atomically; the source is moved where it lies on the same file system. StorageFullError leaves nothing."""
        target = self._path(key)
        with translated_os_errors():
            try:
                _sync(source)
                self._rename(source, target)
            except OSError as error:
                if error.errno != errno.EXDEV:
                    raise
                self._copy_in(source, target)

    def _copy_in(self, source: Path, target: Path) -> None:
        temporary = self._bench.new_path()
        try:
            shutil.copyfile(source, temporary)
            _sync(temporary)
            self._rename(temporary, target)
        finally:
            temporary.unlink(missing_ok=True)

    def put_folder(self, key: str, source: Path) -> None:
        """Store a folder: visible as a whole or not at all. A folder already there is replaced."""
        target = self._path(key)
        with translated_os_errors():
            try:
                _sync_tree(source)
                self._swap_in(source, target)
            except OSError as error:
                if error.errno != errno.EXDEV:
                    raise
                self._copy_folder_in(source, target)

    def _copy_folder_in(self, source: Path, target: Path) -> None:
        staged = self._bench.new_path()
        try:
            for item in [source, *sorted(source.rglob("*"))]:
                copy = staged / item.relative_to(source)
                if item.is_dir():
                    copy.mkdir()
                else:
                    shutil.copyfile(item, copy)
            _sync_tree(staged)
            self._swap_in(staged, target)
        finally:
            shutil.rmtree(staged, ignore_errors=True)

    def _swap_in(self, staged: Path, target: Path) -> None:
        old = self._bench.new_path()
        is_replaced = target.exists()
        if is_replaced:
            target.rename(old)
        try:
            self._rename(staged, target)
        except OSError:
            if is_replaced:
                old.rename(target)
            raise
        shutil.rmtree(old, ignore_errors=True)

    def _rename(self, source: Path, target: Path) -> None:
        """Give the final name. A folder that another thread just tidied away is made again."""
        for tries_left in reversed(range(_RENAME_TRIES)):
            _make_durable_folder(target.parent)
            try:
                os.replace(source, target)
            except FileNotFoundError:
                if tries_left and source.exists():
                    continue
                raise
            break
        _sync(target.parent)

    def open(self, key: str) -> BinaryIO:
        """Open for reading. NotFoundError."""
        path = self._path(key)
        with translated_os_errors():
            if not path.is_file():
                raise no_such_artifact(key)
            return path.open("rb")

    @contextmanager
    def local(self, key: str) -> Iterator[Path]:
        """Give the path itself."""
        path = self._path(key)
        if not path.exists():
            raise no_such_artifact(key)
        yield path

    def size(self, key: str) -> int:
        """Return the size of a file or the sum of a folder. NotFoundError."""
        path = self._path(key)
        with translated_os_errors():
            if path.is_dir():
                return sum(item.stat().st_size for item in path.rglob("*") if item.is_file())
            if not path.exists():
                raise no_such_artifact(key)
            return path.stat().st_size

    def exists(self, key: str) -> bool:
        """Return whether the key is there."""
        return self._path(key).exists()

    def delete(self, key: str) -> None:
        """Remove a file or folder; a key that is not there is no error."""
        path = self._path(key)
        with translated_os_errors():
            if path.is_dir():
                # Out of sight at once and as a whole; what a kill leaves is swept later.
                gone = self._bench.new_path()
                with suppress(FileNotFoundError):
                    path.rename(gone)
                shutil.rmtree(gone, ignore_errors=True)
            else:
                path.unlink(missing_ok=True)
            self._tidy(path.parent)

    def _tidy(self, folder: Path) -> None:
        """Remove folders that became empty."""
        while folder != self.root and folder.is_relative_to(self.root):
            try:
                folder.rmdir()
            except OSError:
                return
            folder = folder.parent

    def find(self, prefix: str) -> list[str]:
        """Return the keys of files below a prefix (a folder's key, or the empty text for all), sorted."""
        start = self.root / check_prefix(prefix)
        keys = [item.relative_to(self.root).as_posix() for item in start.rglob("*") if item.is_file()]
        return sorted(key for key in keys if not key.startswith(f"{SCRATCH}/"))

    def modified_at(self, key: str) -> datetime:
        """Return when the file, or the newest file of the folder, was written. NotFoundError."""
        path = self._path(key)
        with translated_os_errors():
            files = [path] if path.is_file() else [item for item in path.rglob("*") if item.is_file()]
            # The change of the inode counts too: a file that was moved here keeps the time it was written elsewhere.
            times = [max(status.st_mtime, status.st_ctime) for status in (item.stat() for item in files)]
        if not times:
            raise no_such_artifact(key)
        return datetime.fromtimestamp(max(times), UTC)

    def ping(self) -> None:
        """Raise UnavailableError where nothing can be written."""
        with translated_os_errors():
            probe = self._bench.new_path()
            try:
                probe.write_bytes(b"ping")
            finally:
                probe.unlink(missing_ok=True)


def _sync(path: Path) -> None:
    fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)


def _sync_tree(folder: Path) -> None:
    for parent, _, names in os.walk(folder):
        for name in names:
            _sync(Path(parent, name))
        _sync(Path(parent))


def _make_durable_folder(folder: Path) -> None:
    """Create a folder so that it survives a power cut: each new level is fsynced in its parent."""
    if folder.is_dir():
        return
    _make_durable_folder(folder.parent)
    folder.mkdir(exist_ok=True)
    _sync(folder.parent)
