"""Unpacks an archive of somebody else: names stay text, sizes are counted while bytes come, and nothing leaves the folder.

A member ``a/b/x.wav`` lies here as ``000007.wav``: members of one stem in one folder share their number, as the halves of a SigMF
recording must.
"""

from __future__ import annotations

import tarfile
import zipfile
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import IO, ClassVar, Final, Self

from heimdall.datasets.importers.sources import SourceFile
from heimdall.domain.errors import InvalidInputError, StorageFullError

MAX_MEMBERS: Final = 500_000
MAX_GROWTH: Final = 50
"""Times its size that an archive may unpack to, beyond some slack: samples hold noise, which hardly gets smaller."""
GROWTH_SLACK_BYTES: Final = 64_000_000
MAX_NAME_CHARS: Final = 400
_BLOCK_BYTES: Final = 1 << 20
_SUFFIXES: Final = (".sigmf-meta", ".sigmf-data", ".sigmf-collection", ".json", ".wav", ".u8", ".cu8", ".bin", ".raw", ".iq")
"""What is taken; other members, such as a read-me, are passed over."""
_RECORDINGS: Final = (".sigmf-meta", ".wav", ".u8", ".cu8", ".bin", ".raw", ".iq")

Progress = Callable[[float], None]


@dataclass(frozen=True)
class Member:
    """One file of an archive: its name there, with forward slashes, and where it lies here."""

    name: str
    path: Path


class Unpacked:
    """The files of one archive, by their names in it."""

    def __init__(self, archive: str, members: dict[str, Member], num_skipped: int) -> None:
        self.archive = archive
        self.members = members
        self.num_skipped = num_skipped
        self._asked: set[Path] = set()

    def find_beside(self, member: Member, name: str) -> Path | None:
        """Return where the file called ``name`` in the folder of ``member`` lies; None where the archive has none."""
        found = self.members.get(str(PurePosixPath(member.name).parent / name))
        if found is None:
            return None
        self._asked.add(found.path.with_suffix(""))
        return found.path

    def count_unasked(self) -> int:
        """Return how many recordings nothing asked for: no collection or list names them."""
        recordings = {member.path.with_suffix("") for name, member in self.members.items() if name.lower().endswith(_RECORDINGS)}
        return len(recordings - self._asked)

    def list_suffix(self, suffix: str) -> list[Member]:
        """Return the members whose names end so, in order of their names."""
        return [self.members[name] for name in sorted(self.members) if name.lower().endswith(suffix)]


def unpack(source: SourceFile, folder: Path, progress: Progress) -> Unpacked:
    """Unpack a tar (also compressed) or zip into an existing folder of its own.

    Raises
    ------
    InvalidInputError
        Where it is neither, damaged, too large, or holds names or links that point elsewhere.
    StorageFullError
        Where the disk is full.
    """
    size = max(1, source.path.stat().st_size)
    budget = MAX_GROWTH * size + GROWTH_SLACK_BYTES
    members: dict[str, Member] = {}
    stems: dict[str, int] = {}
    num_skipped, num_bytes = 0, 0
    with _reading(source) as entries:
        for count, (raw_name, open_entry) in enumerate(entries, 1):
            if count > MAX_MEMBERS:
                raise InvalidInputError(f"'{source.name}' holds more than {MAX_MEMBERS:,} files; import it in parts.")
            name = _check_name(raw_name, source.name)
            suffix = next((suffix for suffix in _SUFFIXES if name.lower().endswith(suffix)), None)
            if suffix is None or any(part.startswith("._") or part == "__MACOSX" for part in name.split("/")):
                num_skipped += 1
                continue
            if name in members:
                raise InvalidInputError(f"'{source.name}' holds '{_shorten(name)}' twice. Pack it anew with each file once.")
            stem = name[: -len(suffix)]
            path = folder / f"{stems.setdefault(stem, len(stems)):06d}{suffix}"
            if path.exists():
                raise InvalidInputError(
                    f"'{source.name}' holds '{_shorten(name)}' twice, in small and capital letters. Rename one of them."
                )
            with open_entry() as entry:
                num_bytes += _copy(entry, path, budget - num_bytes, source.name)
            members[name] = Member(name, path)
            progress(min(1.0, num_bytes / (2 * size)))
    if not members:
        raise InvalidInputError(
            f"'{source.name}' holds no recording. Pack .sigmf-collection, .sigmf-meta and .sigmf-data files, or recordings.json with "
            "the .wav and .u8 files that it names."
        )
    return Unpacked(source.name, members, num_skipped)


Entry = tuple[str, Callable[[], IO[bytes]]]


@contextmanager
def _reading(source: SourceFile) -> Iterator[Iterator[Entry]]:
    """Give the entries of an archive; whatever its reader says against it becomes one sentence."""
    try:
        if zipfile.is_zipfile(source.path):
            with zipfile.ZipFile(source.path) as archive:
                yield _iterate_zip(archive, source.name)
        else:
            with tarfile.open(source.path, "r:*", tarinfo=_make_header()) as archive:
                yield _iterate_tar(archive, source.name)
    except tarfile.ReadError as error:
        if "could not be opened" not in str(error):
            raise InvalidInputError(f"'{source.name}' is cut off ({_first_line(error)}). Pack and send it again.") from error
        raise InvalidInputError(
            f"'{source.name}' is no tar or zip. Pack the recordings as .tar, .tar.gz or .zip; if it is one, it was cut off: send it again."
        ) from error
    except (zipfile.BadZipFile, tarfile.TarError, zlib.error, EOFError, NotImplementedError, RuntimeError, ValueError) as error:
        raise InvalidInputError(
            f"'{source.name}' cannot be unpacked as tar or zip ({_first_line(error)}). It may be cut off: pack and send it again."
        ) from error
    except OSError as error:
        if error.errno is not None:
            raise StorageFullError(
                f"'{source.name}' cannot be unpacked: {error.strerror}. Free some disk space and import it again."
            ) from error
        raise InvalidInputError(f"'{source.name}' is damaged: {error}. Pack and send it again.") from error


def _iterate_zip(archive: zipfile.ZipFile, name: str) -> Iterator[Entry]:
    for info in archive.infolist():
        if info.is_dir():
            continue
        if info.flag_bits & 1:
            raise InvalidInputError(f"'{name}' is locked with a password. Pack it without one.")
        if info.external_attr >> 16 & 0o170000 == 0o120000:
            raise InvalidInputError(f"'{name}' holds the link '{_shorten(info.filename)}'. Pack the files themselves.")
        yield info.filename, lambda info=info: archive.open(info)  # type: ignore[misc]


class _Header(tarfile.TarInfo):
    """One block of a tar's heads. The library takes any end for the end, also the middle of a head; a whole archive ends with zeros."""

    has_ended: ClassVar[bool]

    @classmethod
    def frombuf(cls, buf: bytes | bytearray, encoding: str, errors: str) -> Self:
        cls.has_ended = len(buf) == tarfile.BLOCKSIZE and not any(buf)
        return super().frombuf(buf, encoding, errors)


def _make_header() -> type[_Header]:
    """Return a class of its own for one archive: the library reads heads by a method of the class."""
    return type("_HeaderOfOne", (_Header,), {"has_ended": False})


def _iterate_tar(archive: tarfile.TarFile, name: str) -> Iterator[Entry]:
    for info in archive:
        if info.isdir():
            continue
        if not info.isreg():
            raise InvalidInputError(f"'{name}' holds the link or device '{_shorten(info.name)}'. Pack the files themselves.")
        content = archive.extractfile(info)
        assert content is not None
        yield info.name, lambda content=content: content  # type: ignore[misc]
        archive.members = []  # type: ignore[attr-defined]  # else a long archive is remembered whole
    if not archive.tarinfo.has_ended:  # type: ignore[attr-defined]
        raise InvalidInputError(f"'{name}' is cut off: the end of the archive is missing. Pack and send it again.")


def _check_name(raw: str, archive: str) -> str:
    """Return a member's name without a leading ``./``. InvalidInputError where it points out of the archive."""
    name = raw.removeprefix("./")
    parts = name.split("/")
    is_odd = len(name) > MAX_NAME_CHARS or "\\" in name or ":" in parts[0] or not name.isprintable()
    if is_odd or any(part in ("", ".", "..") for part in parts):
        raise InvalidInputError(
            f"'{archive}' holds the name '{_shorten(raw)}', which does not stay within the archive. Pack the folder from inside, "
            "with plain names."
        )
    return name


def _copy(source: IO[bytes], target: Path, budget: int, archive: str) -> int:
    done = 0
    with target.open("xb") as file:
        while block := source.read(_BLOCK_BYTES):
            done += len(block)
            if done > budget:
                raise InvalidInputError(
                    f"'{archive}' unpacks to more than {MAX_GROWTH} times its size, as no recordings do. Pack them without other files."
                )
            file.write(block)
    return done


def _first_line(error: Exception) -> str:
    return next(iter(str(error).splitlines()), "")[:100].rstrip(":") or type(error).__name__


def _shorten(name: str) -> str:
    shown = "".join(letter if letter.isprintable() else "?" for letter in name)
    return shown if len(shown) <= 80 else f"{shown[:77]}..."
