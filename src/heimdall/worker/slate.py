"""The epochs that a training process has reported, where a kill of it cannot take them: memory that its worker holds too.

An epoch is durable some milliseconds after the loop reported it (:mod:`heimdall.worker.scribe`). A process that is killed meanwhile leaves
it here, and the worker writes it in its place. One slot for each epoch that can be reported and not yet stored, written over in turns.
"""

from __future__ import annotations

import mmap
import os
import struct
import tempfile
import zlib
from contextlib import suppress
from functools import cache
from typing import IO, Final

import orjson
from pydantic import TypeAdapter, ValidationError

from heimdall.domain.training import EpochReport
from heimdall.worker.scribe import MAX_EPOCHS, MAX_WAITING

NUM_SLOTS: Final = MAX_WAITING + MAX_EPOCHS + 1
"""Those that wait, those in the transaction that runs, and the one for which the loop waits."""
SLOT_BYTES: Final = 2048
"""Three times what a report takes."""
_HEAD: Final = struct.Struct("<II")
"""Length and CRC-32 of the text that follows."""


class Slate:
    """One slate, written by one training process and read by its worker when that process is gone.

    Parameters
    ----------
    fd
        Of a file of ``NUM_SLOTS * SLOT_BYTES`` bytes; the slate's own from now on.
    """

    def __init__(self, fd: int) -> None:
        self.fd = fd
        try:
            # Not written by system calls: each would hand the interpreter to the thread that writes the database.
            self._content = mmap.mmap(fd, NUM_SLOTS * SLOT_BYTES)
        except OSError:
            os.close(fd)
            raise

    def note(self, report: EpochReport) -> None:
        """Keep a report: a copy in memory, 2 microseconds in warm caches. One that does not fit is not kept."""
        text = orjson.dumps(report, default=vars)
        if len(text) <= SLOT_BYTES - _HEAD.size:
            start = SLOT_BYTES * (report.metric.epoch % NUM_SLOTS)
            self._content[start : start + _HEAD.size + len(text)] = _HEAD.pack(len(text), zlib.crc32(text)) + text

    def read(self) -> list[EpochReport]:
        """Return what is kept, by epoch. A slot that was being written when the process was killed is left out."""
        found = [_read_slot(self._content[start : start + SLOT_BYTES]) for start in range(0, NUM_SLOTS * SLOT_BYTES, SLOT_BYTES)]
        return sorted((report for report in found if report is not None), key=lambda report: report.metric.epoch)

    def close(self) -> None:
        """Let go of it."""
        self._content.close()
        os.close(self.fd)


def open_slate() -> Slate:
    """Return an empty slate that has no name: it is gone with the last process that holds it. OSError where there is no room for it."""
    with _open_nameless() as file:
        file.write(bytes(NUM_SLOTS * SLOT_BYTES))  # where there is no room, it must be found now, not at a touch of the memory
        file.flush()
        return Slate(os.dup(file.fileno()))


def _open_nameless() -> IO[bytes]:
    with suppress(AttributeError, OSError):  # another system than Linux, or a sandbox that forbids it
        return os.fdopen(os.memfd_create("heimdall-epochs"), "wb")
    return tempfile.TemporaryFile()


@cache
def _make_reader() -> TypeAdapter[EpochReport]:
    """Build it where it is needed: a worker reads a slate when a child has ended, not when it starts."""
    return TypeAdapter(EpochReport)


def _read_slot(slot: bytes) -> EpochReport | None:
    length, checksum = _HEAD.unpack_from(slot)
    text = slot[_HEAD.size : _HEAD.size + length]
    if not length or zlib.crc32(text) != checksum:
        return None
    try:
        return _make_reader().validate_json(text)
    except ValidationError:
        return None
