"""The files that a data set is built from: hashed when they come, kept among the artifacts under numbers until it is built."""

from __future__ import annotations

import contextlib
import hashlib
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from heimdall.domain.datasets import Dataset
from heimdall.domain.errors import InvalidInputError
from heimdall.services.disposal import incoming_folder

if TYPE_CHECKING:
    from heimdall.datasets.importers.sources import SourceFile
    from heimdall.domain.ports import ArtifactStore

_SUFFIXES: Final = {"rssi-parquet": "parquet", "recordings": "archive", "synthetic": "voice"}
_HASH_BLOCK_BYTES: Final = 1 << 20
_MAX_NAME: Final = 255


def describe_source(name: str, path: Path) -> dict[str, Any]:
    """Return what is kept of a file in the data set's config. InvalidInputError where it is empty."""
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while block := file.read(_HASH_BLOCK_BYTES):
            digest.update(block)
        size = file.tell()
    shown = "".join(letter for letter in name if letter.isprintable())[:_MAX_NAME] or "unnamed"
    if size == 0:
        raise InvalidInputError(f"The file '{shown}' is empty.", field="file")
    return {"name": shown, "sha256": digest.hexdigest(), "size_bytes": size}


def incoming_key(dataset_id: str, number: int, kind: str) -> str:
    """Return where the file of this number lies."""
    return f"{incoming_folder(dataset_id)}/{number}.{_SUFFIXES.get(kind, 'csv')}"


def options_of(dataset: Dataset) -> dict[str, Any]:
    """Return a data set's config without its files."""
    return {key: value for key, value in dataset.config.items() if key != "sources"}


@contextlib.contextmanager
def local_sources(artifacts: ArtifactStore, dataset: Dataset) -> Iterator[list[SourceFile]]:
    """Give the files of a data set that is being built; none where it needed none. NotFoundError where they are gone."""
    from heimdall.datasets.importers.sources import SourceFile

    with contextlib.ExitStack() as stack:
        yield [
            SourceFile(source["name"], stack.enter_context(artifacts.local(incoming_key(dataset.id, number, dataset.kind))))
            for number, source in enumerate(dataset.config.get("sources", []))
        ]
