"""From the paths of ``heimdall dataset import`` to the files to send."""

from __future__ import annotations

from pathlib import Path
from typing import Final

from heimdall.domain.errors import InvalidInputError

_PATTERNS: Final[dict[str, tuple[str, ...]]] = {
    "powder": ("single_tx_*.csv", "location_coordinates.json"),
    "locards": ("set_*.csv", "sensors.csv"),
    "rssi-csv": ("*.csv",),
    "rssi-parquet": ("*.parquet",),
    "recordings": ("*.tar*",),
}
"""What to take from a folder, by kind; every pattern must find something."""


def split_name(words: list[Path]) -> tuple[list[Path], str]:
    """Return the paths and the name of ``PATH... [NAME]``.

    The last of several words is the name where it is no file and does not look like one; else the first path gives it.
    """
    last = words[-1]
    if len(words) > 1 and not last.exists() and not last.suffix and len(last.parts) == 1:
        return words[:-1], str(last)
    return words, words[0].resolve().stem


def list_source_files(kind: str, paths: list[Path]) -> list[Path]:
    """Return the files meant, in order, each once.

    Raises
    ------
    InvalidInputError
        A path is not there, a folder lacks what the kind needs, or two files have one name.
    """
    found: list[Path] = []
    for path in paths:
        if path.is_dir():
            found.extend(_list_folder(kind, path))
        elif path.is_file():
            found.append(path)
        else:
            raise InvalidInputError(f"There is no file or folder {path}.", field="path")
    unique = list(dict.fromkeys(file.resolve() for file in found))
    names = [file.name for file in unique]
    doubled = next((name for name in names if names.count(name) > 1), None)
    if doubled:
        raise InvalidInputError(f"Two files are called {doubled}. Give them different names.", field="path")
    return unique


def _list_folder(kind: str, folder: Path) -> list[Path]:
    files: list[Path] = []
    for pattern in _PATTERNS[kind]:
        matches = sorted(file for file in folder.glob(pattern) if file.is_file())
        if not matches:
            wanted = " and ".join(_PATTERNS[kind])
            raise InvalidInputError(f"{folder} has no {pattern}; '{kind}' needs {wanted}. Or name the files themselves.", field="path")
        files.extend(matches)
    return files
