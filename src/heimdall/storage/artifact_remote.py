"""Artifacts in an object store, through fsspec, with a local cache of what is read as files."""

from __future__ import annotations

import hashlib
import os
import shutil
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, BinaryIO, Final, cast

import fsspec

from heimdall.domain.errors import InvalidInputError
from heimdall.storage.artifacts import (
    SCRATCH,
    FsspecArtifacts,
    check_key,
    check_prefix,
    new_token,
    no_such_artifact,
    translated_os_errors,
)
from heimdall.storage.scratch import Workbench

COMPLETE: Final = ".complete"
"""Empty object written last into a folder: a folder without it does not exist yet. No key can name it."""

_CACHE_LIFE_S: Final = 7 * 24 * 3600.0


class RemoteArtifacts(FsspecArtifacts):
    """Objects below one URL. An object appears when its upload is complete, as object stores promise."""

    def __init__(self, url: str, *, cache_dir: Path | None = None) -> None:
        try:
            self._fs, root = cast("tuple[Any, str]", fsspec.core.url_to_fs(url))
        except (ImportError, ValueError) as error:
            raise InvalidInputError(f"The artifacts URL cannot be used: {error}.", field="artifacts_url") from error
        self._root = root.rstrip("/")
        identity = hashlib.sha256(url.encode()).hexdigest()[:16]
        self._cache = (cache_dir or Path(tempfile.gettempdir()) / f"heimdall-artifacts-{os.getuid()}") / identity
        self._bench = Workbench(self._cache / SCRATCH)

    def _path(self, key: str) -> str:
        return f"{self._root}/{check_key(key)}"

    def put(self, key: str, source: Path) -> None:
        """Store a file; readers see it when the upload is complete."""
        target = self._path(key)
        with translated_os_errors():
            self._upload(source, target)
            self._fs.invalidate_cache()

    def _upload(self, source: Path, target: str) -> None:
        self._fs.makedirs(target.rsplit("/", 1)[0], exist_ok=True)
        self._fs.put_file(str(source), target)

    def put_folder(self, key: str, source: Path) -> None:
        """Store a folder: it exists once its last object, the mark of completeness, does. A folder already there is replaced."""
        target = self._path(key)
        with translated_os_errors():
            self._remove(target)
            try:
                for item in sorted(source.rglob("*")):
                    if item.is_file():
                        self._upload(item, f"{target}/{item.relative_to(source).as_posix()}")
                self._fs.pipe_file(f"{target}/{COMPLETE}", b"")
            except OSError:
                self._remove(target)
                raise
            self._fs.invalidate_cache()

    def open(self, key: str) -> BinaryIO:
        """Open for reading. NotFoundError."""
        path = self._path(key)
        with translated_os_errors():
            if not self._fs.isfile(path):
                raise no_such_artifact(key)
            return cast("BinaryIO", self._fs.open(path, "rb"))

    @contextmanager
    def local(self, key: str) -> Iterator[Path]:
        """Give the file or folder from the cache, downloaded at first use of this content."""
        path = self._path(key)
        with translated_os_errors():
            cached = self._cache / self._content_name(key, path)
            if not cached.exists():
                self._download(path, cached)
            os.utime(cached)
        yield cached

    def _content_name(self, key: str, path: str) -> str:
        """Return a name that changes with the content behind the key."""
        if self._fs.isfile(path):
            mark = path
        elif self._fs.exists(f"{path}/{COMPLETE}"):
            mark = f"{path}/{COMPLETE}"
        else:
            raise no_such_artifact(key)
        return hashlib.sha256(f"{key}\n{self._fs.ukey(mark)}".encode()).hexdigest()

    def _download(self, path: str, cached: Path) -> None:
        staged = self._bench.new_path()
        try:
            if self._fs.isfile(path):
                self._fs.get_file(path, str(staged))
            else:
                staged.mkdir()
                for item in self._files(path):
                    target = staged / item.removeprefix(path + "/")
                    target.parent.mkdir(parents=True, exist_ok=True)
                    self._fs.get_file(item, str(target))
            try:
                staged.rename(cached)
            except OSError:
                # Another process was faster with the same content.
                if not cached.exists():
                    raise
        finally:
            if staged.is_dir():
                shutil.rmtree(staged, ignore_errors=True)
            else:
                staged.unlink(missing_ok=True)

    def _files(self, path: str) -> list[str]:
        found = cast("list[str]", self._fs.find(path))
        return sorted(item for item in found if item.rsplit("/", 1)[-1] != COMPLETE)

    def size(self, key: str) -> int:
        """Return the size of a file or the sum of a folder. NotFoundError."""
        path = self._path(key)
        with translated_os_errors():
            if self._fs.isfile(path):
                return int(self._fs.size(path))
            files = self._files(path) if self._fs.exists(path) else []
            if not files:
                raise no_such_artifact(key)
            return sum(int(self._fs.size(item)) for item in files)

    def exists(self, key: str) -> bool:
        """Return whether the key is there: a file, or a folder that is complete."""
        path = self._path(key)
        with translated_os_errors():
            return bool(self._fs.isfile(path)) or bool(self._fs.exists(f"{path}/{COMPLETE}"))

    def delete(self, key: str) -> None:
        """Remove a file or folder; a key that is not there is no error."""
        path = self._path(key)
        with translated_os_errors():
            self._remove(path)
            self._fs.invalidate_cache()

    def _remove(self, path: str) -> None:
        self._fs.invalidate_cache()
        if self._fs.exists(f"{path}/{COMPLETE}"):
            self._fs.rm_file(f"{path}/{COMPLETE}")
        if self._fs.exists(path):
            self._fs.rm(path, recursive=True)

    def find(self, prefix: str) -> list[str]:
        """Return the keys of files below a prefix (a folder's key, or the empty text for all), sorted."""
        start = f"{self._root}/{check_prefix(prefix)}".rstrip("/")
        with translated_os_errors():
            files = self._files(start) if not start or self._fs.exists(start) else []
        base = len(self._root) + 1
        return sorted(item[base:] for item in files)

    def modified_at(self, key: str) -> datetime:
        """Return when the object, or the newest of the folder, was written. NotFoundError."""
        path = self._path(key)
        with translated_os_errors():
            files = [path] if self._fs.isfile(path) else self._files(path) if self._fs.exists(path) else []
            times = [cast("datetime", self._fs.modified(item)) for item in files]
        if not times:
            raise no_such_artifact(key)
        newest = max(times)
        return newest if newest.tzinfo else newest.replace(tzinfo=UTC)

    def ping(self) -> None:
        """Raise UnavailableError where nothing can be written."""
        path = f"{self._root}/.ping-{new_token()}"
        with translated_os_errors():
            self._fs.pipe_file(path, b"ping")
            self._fs.rm_file(path)

    def sweep_stale(self, older_than_s: float = 0.0) -> int:
        """Remove what dead processes left, and cached files that nobody used for a week."""
        count = super().sweep_stale(older_than_s)
        oldest = time.time() - max(older_than_s, _CACHE_LIFE_S)
        for item in self._cache.iterdir():
            if item.name == SCRATCH or item.stat().st_mtime > oldest:
                continue
            if item.is_dir():
                shutil.rmtree(item, ignore_errors=True)
            else:
                item.unlink(missing_ok=True)
            count += 1
        return count
