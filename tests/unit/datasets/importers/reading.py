"""Runs an importer on text, as the service does on files."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from heimdall.datasets.build import BuiltDataset, build_import
from heimdall.datasets.importers.sources import SourceFile
from heimdall.datasets.storage import DatasetArrays, open_dataset
from heimdall.domain.datasets import ImportDatasetConfig


def read(tmp_path: Path, kind: str, *contents: str | bytes | Path, **options: object) -> tuple[DatasetArrays, BuiltDataset]:
    """Import files given by content or path; returns the open arrays and what was built."""
    files = []
    for number, content in enumerate(contents):
        path = content if isinstance(content, Path) else tmp_path / f"source-{number}"
        if isinstance(content, str):
            path.write_text(content, encoding="utf-8")
        elif isinstance(content, bytes):
            path.write_bytes(content)
        files.append(SourceFile(f"file{number}", path))
    target = tmp_path / f"built-{len(list(tmp_path.iterdir()))}"
    target.mkdir()
    config = ImportDatasetConfig.model_validate({"kind": kind, "name": "test", **options})
    built = build_import(config, files, target, lambda share: None)
    return open_dataset(target), built


def csv_text(header: Sequence[str], rows: Sequence[Sequence[object]]) -> str:
    """Return a CSV file; a cell that holds a comma is quoted."""
    lines = [",".join(f'"{cell}"' if "," in str(cell) else str(cell) for cell in row) for row in [header, *rows]]
    return "\n".join(lines) + "\n"
