"""Files by key. ``FsspecArtifacts(url)`` picks the kind: a folder of this machine, or an object store through fsspec."""

from __future__ import annotations

import errno
import os
import re
import shutil
import uuid
from abc import ABC, abstractmethod
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from datetime import datetime
from pathlib import Path
from typing import BinaryIO, Final

from heimdall.domain.errors import HeimdallError, InvalidInputError, NotFoundError, StorageFullError, UnavailableError
from heimdall.storage.scratch import Workbench

_KEY: Final = re.compile(r"[A-Za-z0-9_-][A-Za-z0-9._-]*(/[A-Za-z0-9_-][A-Za-z0-9._-]*)*")
_MAX_KEY: Final = 512
_FULL: Final = frozenset({errno.ENOSPC, errno.EDQUOT})

SCRATCH: Final = "scratch"
"""The one name at the root that is no key."""


def check_key(key: str) -> str:
    """Return ``key``. InvalidInputError where it could leave the store: absolute, ``..``, hidden names, other letters."""
    if len(key) > _MAX_KEY or not _KEY.fullmatch(key) or key.split("/", 1)[0] == SCRATCH:
        raise InvalidInputError("This is no artifact key: names of letters, digits, '.', '_' and '-', parted by '/'.")
    return key


def check_prefix(prefix: str) -> str:
    """Return ``prefix`` without its trailing slash; the empty prefix means everything."""
    return check_key(prefix.rstrip("/")) if prefix.rstrip("/") else ""


def no_such_artifact(key: str) -> NotFoundError:
    """Return the error of a key that is not there."""
    return NotFoundError(f"The file '{key}' is not in the store of artifacts; it was deleted, or another machine keeps it.")


def translate_os_error(error: OSError) -> HeimdallError:
    """Return what an error of the file system means to a person."""
    if error.errno in _FULL:
        return StorageFullError("The disk that holds the artifacts is full; nothing was kept. Free some space, then try again.")
    return UnavailableError(f"The store of artifacts cannot be used: {error.strerror or error}. Check its folder or URL, then try again.")


@contextmanager
def translated_os_errors() -> Iterator[None]:
    """Map OSError into the one exception tree."""
    try:
        yield
    except OSError as error:
        raise translate_os_error(error) from error


@contextmanager
def translated_full_disk() -> Iterator[None]:
    """Map only a full disk: around code of the caller, whose other errors are its own."""
    try:
        yield
    except OSError as error:
        if error.errno not in _FULL:
            raise
        raise translate_os_error(error) from error


def open_artifacts(url: str, *, cache_dir: Path | None = None) -> FsspecArtifacts:
    """Return the store that fits the URL; opens nothing before first use.

    Parameters
    ----------
    url
        A folder (path or ``file://``), or any URL fsspec knows (``s3://bucket/prefix``, ``memory://``).
    cache_dir
        Where files of a remote store are kept for ``local``; a folder below the system's temporary one by default.
    """
    if "://" not in url or url.startswith("file://"):
        from heimdall.storage.artifact_folder import FolderArtifacts

        return FolderArtifacts(url)
    from heimdall.storage.artifact_remote import RemoteArtifacts

    return RemoteArtifacts(url, cache_dir=cache_dir)


class FsspecArtifacts(ABC):
    """What both kinds of ``ArtifactStore`` share."""

    _bench: Workbench

    @abstractmethod
    def put(self, key: str, source: Path) -> None:
        """Store a file atomically; the source may be moved away. StorageFullError leaves nothing."""

    @abstractmethod
    def open(self, key: str) -> BinaryIO:
        """Open for reading. NotFoundError."""

    @abstractmethod
    def local(self, key: str) -> AbstractContextManager[Path]:
        """Give a local path of the file or folder for reading, for as long as the context lives."""

    @abstractmethod
    def put_folder(self, key: str, source: Path) -> None:
        """Store a folder: visible as a whole or not at all. A folder already there is replaced."""

    @abstractmethod
    def size(self, key: str) -> int:
        """Return the size of a file or the sum of a folder. NotFoundError."""

    @abstractmethod
    def exists(self, key: str) -> bool:
        """Return whether the key is there."""

    @abstractmethod
    def delete(self, key: str) -> None:
        """Remove a file or folder; a key that is not there is no error."""

    @abstractmethod
    def find(self, prefix: str) -> list[str]:
        """Return the keys of files below a prefix (a folder's key, or the empty text for all), sorted."""

    @abstractmethod
    def modified_at(self, key: str) -> datetime:
        """Return when the file, or the newest file of the folder, was written. NotFoundError."""

    @abstractmethod
    def ping(self) -> None:
        """Raise UnavailableError where nothing can be written."""

    @contextmanager
    def write(self, key: str) -> Iterator[BinaryIO]:
        """Write a file atomically: it appears on a clean exit, or not at all."""
        check_key(key)
        with translated_os_errors():
            temporary = self._bench.new_path()
        try:
            with translated_full_disk(), temporary.open("xb") as stream:
                yield stream
                stream.flush()
                os.fsync(stream.fileno())
            self.put(key, temporary)
        finally:
            temporary.unlink(missing_ok=True)

    @contextmanager
    def scratch(self) -> Iterator[Path]:
        """Give a fresh folder on the same file system, removed at the end."""
        with translated_os_errors():
            folder = self._bench.new_path()
            folder.mkdir()
        try:
            with translated_full_disk():
                yield folder
        finally:
            shutil.rmtree(folder, ignore_errors=True)

    def sweep_stale(self, older_than_s: float = 0.0) -> int:
        """Remove what processes that died left unfinished; returns how many. What a living process uses is never touched."""
        with translated_os_errors():
            return self._bench.sweep(older_than_s)

    def free_bytes(self) -> int:
        """Return the bytes free where files are written first."""
        with translated_os_errors():
            self._bench.root.mkdir(parents=True, exist_ok=True)
            return shutil.disk_usage(self._bench.root).free

    def close(self) -> None:
        """Give the scratch folder back."""
        self._bench.close()


def new_token() -> str:
    """Return a short unique name for a temporary file."""
    return uuid.uuid4().hex
