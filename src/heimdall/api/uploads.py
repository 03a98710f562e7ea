"""Receives multipart uploads: straight into scratch files, counted while they stream, under names the server makes."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO, Final, TypeVar

from pydantic import BaseModel, ValidationError
from python_multipart.exceptions import FormParserError
from python_multipart.multipart import MultipartParser, parse_options_header
from starlette.concurrency import run_in_threadpool

from heimdall.api.bodies import check_declared_length, media_type, too_large
from heimdall.api.deps import services
from heimdall.api.errors import invalid_body
from heimdall.domain.errors import InvalidInputError, StorageFullError, UnsupportedMediaError

if TYPE_CHECKING:
    from python_multipart.multipart import MultipartCallbacks
    from starlette.requests import Request

M = TypeVar("M", bound=BaseModel)

_BYTES_PER_MB: Final = 1_000_000
_FRAMING_BYTES: Final = 64 * 1024
"""Room for boundaries, headers and fields beside the files."""
_MAX_FIELD_BYTES: Final = 64 * 1024
_MAX_FIELDS: Final = 100
_FLUSH_BYTES: Final = 1 << 20
_SPACE: Final = b" \t\r\n"

UPLOAD_SCHEMA: Final[dict[str, Any]] = {
    "requestBody": {
        "required": True,
        "content": {
            "multipart/form-data": {
                "schema": {"type": "object", "required": ["file"], "properties": {"file": {"type": "string", "format": "binary"}}}
            }
        },
    }
}


@dataclass
class UploadedFile:
    """One file: where it lies, and the name the sender gave, which is text and nothing else."""

    name: str
    path: Path
    size_bytes: int = 0
    head: bytes = b""


@dataclass
class Upload:
    """What came with one multipart request."""

    fields: dict[str, str] = field(default_factory=dict)
    files: list[UploadedFile] = field(default_factory=list)


@asynccontextmanager
async def receive_multipart(request: Request, *, max_files: int) -> AsyncIterator[Upload]:
    """Give the request's fields and files, which are gone when the context ends.

    Raises
    ------
    UnsupportedMediaError
        The body is not multipart.
    TooLargeError
        It is longer than the settings' ``max_upload_mb``.
    InvalidInputError
        It is malformed or cut off, has too many parts, or a file is not named ``file``.
    """
    if media_type(request) != "multipart/form-data":
        raise UnsupportedMediaError("Send the file as multipart/form-data, in a part named 'file'.")
    container = services(request)
    max_bytes = container.settings.max_upload_mb * _BYTES_PER_MB
    check_declared_length(request, max_bytes + _FRAMING_BYTES)
    scratch = container.artifacts.scratch()
    folder = await run_in_threadpool(scratch.__enter__)
    try:
        receiver = _Receiver(folder, _read_boundary(request), max_files)
        try:
            length = 0
            async for chunk in request.stream():
                length += len(chunk)
                if length > max_bytes + _FRAMING_BYTES:
                    raise too_large(max_bytes)
                receiver.parse(chunk)
                if receiver.num_waiting >= _FLUSH_BYTES:
                    await run_in_threadpool(receiver.flush)
            await run_in_threadpool(receiver.flush)
        finally:
            receiver.close()
        receiver.check_end()
        yield receiver.upload
    finally:
        await run_in_threadpool(scratch.__exit__, None, None, None)


@asynccontextmanager
async def receive_bundle(request: Request) -> AsyncIterator[Path]:
    """Give the path of the one uploaded ``.heimdall`` file. UnsupportedMediaError where it is not JSON by its first byte."""
    async with receive_multipart(request, max_files=1) as upload:
        if not upload.files:
            raise InvalidInputError("No file came with the request. Send it as a part named 'file'.", field="file")
        bundle = upload.files[0]
        if bundle.size_bytes == 0:
            raise InvalidInputError("The file is empty.", field="file")
        if not bundle.head.removeprefix(b"\xef\xbb\xbf").lstrip(_SPACE).startswith(b"{"):
            raise UnsupportedMediaError("This is not a .heimdall file: it does not begin as JSON.", field="file")
        yield bundle.path


def read_fields(upload: Upload, model: type[M]) -> M:
    """Return the form's fields as ``model``; text is read as the numbers it spells. InvalidInputError naming the field."""
    given = {name: text for name, text in upload.fields.items() if text != ""}
    try:
        return model.model_validate(given)
    except ValidationError as error:
        raise invalid_body(error, model) from error


def _read_boundary(request: Request) -> bytes:
    _, options = parse_options_header(request.headers["content-type"])
    boundary = options.get(b"boundary")
    if not boundary:
        raise InvalidInputError("The Content-Type of the upload names no boundary.")
    return boundary


class _Receiver:
    """Turns the parser's callbacks into fields and files; writing waits for :meth:`flush`, which may block."""

    def __init__(self, folder: Path, boundary: bytes, max_files: int) -> None:
        self.upload = Upload()
        self.num_waiting = 0
        self._folder = folder
        self._max_files = max_files
        self._waiting: list[tuple[BinaryIO, bytes]] = []
        self._opened: list[BinaryIO] = []
        self._header_name = b""
        self._header_value = b""
        self._disposition = b""
        self._field = ""
        self._text = bytearray()
        self._file: UploadedFile | None = None
        self._is_complete = False
        callbacks: MultipartCallbacks = {
            "on_part_begin": self._begin_part,
            "on_part_data": self._take_data,
            "on_part_end": self._end_part,
            "on_header_field": self._take_header_name,
            "on_header_value": self._take_header_value,
            "on_header_end": self._end_header,
            "on_headers_finished": self._start_content,
            "on_end": self._finish,
        }
        try:
            self._parser = MultipartParser(boundary, callbacks)
        except FormParserError as error:
            raise InvalidInputError(f"The upload is not valid multipart data: {error}.") from error

    def parse(self, chunk: bytes) -> None:
        """Take the next bytes of the body."""
        try:
            self._parser.write(chunk)
        except FormParserError as error:
            raise InvalidInputError(f"The upload is not valid multipart data: {error}.") from error

    def flush(self) -> None:
        """Write what waits. StorageFullError where the disk is full."""
        waiting, self._waiting, self.num_waiting = self._waiting, [], 0
        try:
            for target, data in waiting:
                target.write(data)
        except OSError as error:
            raise StorageFullError(f"The upload cannot be stored: {error.strerror}. Free some space, then send it again.") from error

    def close(self) -> None:
        """Close every file."""
        for target in self._opened:
            target.close()

    def check_end(self) -> None:
        """Refuse a body that stopped before its closing boundary."""
        if not self._is_complete:
            raise InvalidInputError("The upload ended before its last part was complete. Send it again.")

    def _begin_part(self) -> None:
        self._disposition, self._text, self._file = b"", bytearray(), None

    def _take_header_name(self, data: bytes, start: int, end: int) -> None:
        self._header_name += data[start:end]

    def _take_header_value(self, data: bytes, start: int, end: int) -> None:
        self._header_value += data[start:end]

    def _end_header(self) -> None:
        if self._header_name.lower() == b"content-disposition":
            self._disposition = self._header_value
        self._header_name, self._header_value = b"", b""

    def _start_content(self) -> None:
        _, options = parse_options_header(self._disposition)
        self._field = options.get(b"name", b"").decode("utf-8", "replace")
        if b"filename" not in options:
            if len(self.upload.fields) >= _MAX_FIELDS:
                raise InvalidInputError(f"The upload has more than {_MAX_FIELDS} fields.")
            return
        if self._field != "file":
            raise InvalidInputError(f"Send files as parts named 'file', not '{self._field[:50]}'.", field="file")
        if len(self.upload.files) >= self._max_files:
            raise InvalidInputError(f"Send at most {self._max_files} file{'s' if self._max_files > 1 else ''}.", field="file")
        path = self._folder / f"upload-{len(self.upload.files)}"
        self._file = UploadedFile(options[b"filename"].decode("utf-8", "replace").replace("\0", "")[:255], path)
        self._opened.append(path.open("wb"))
        self.upload.files.append(self._file)

    def _take_data(self, data: bytes, start: int, end: int) -> None:
        piece = data[start:end]
        if self._file is None:
            self._text += piece
            if len(self._text) > _MAX_FIELD_BYTES:
                raise InvalidInputError(f"The field '{self._field[:50]}' is too long.", field=self._field[:50])
            return
        self._file.size_bytes += len(piece)
        if len(self._file.head) < 64:
            self._file.head += piece[:64]
        self._waiting.append((self._opened[-1], piece))
        self.num_waiting += len(piece)

    def _end_part(self) -> None:
        if self._file is not None:
            return
        try:
            text = self._text.decode()
        except UnicodeDecodeError as error:
            raise InvalidInputError(f"The field '{self._field[:50]}' is not UTF-8 text.", field=self._field[:50]) from error
        if self._field in self.upload.fields:
            raise InvalidInputError(f"The field '{self._field[:50]}' came twice.", field=self._field[:50])
        if "\0" in text:
            raise InvalidInputError(f"The field '{self._field[:50]}' holds a NUL character. Remove it.", field=self._field[:50])
        self.upload.fields[self._field] = text

    def _finish(self) -> None:
        self._is_complete = True
