"""Reads a bundle's JSON as a stream: the network's base64 goes into a file, everything else is parsed, within limits.

Written for files nobody trusts: memory is bounded by :class:`ScanLimits` whatever the file says, and the order of
keys, the whitespace and the places where reads happen to end make no difference.
"""

from __future__ import annotations

import binascii
import codecs
import hashlib
import json
import math
import re
from dataclasses import dataclass
from typing import Any, BinaryIO, Final, NoReturn

from heimdall.domain.bundles import ONNX_FIELD
from heimdall.domain.errors import BundleError, UnsupportedMediaError
from heimdall.domain.texts import clean_text

DIVERTED_PATH: Final = ("model", ONNX_FIELD)
READ_BYTES: Final = 1 << 18

_WHITESPACE: Final = re.compile(rb"[ \t\n\r]*")
_NUMBER: Final = re.compile(rb"-?(0|[1-9][0-9]*)(\.[0-9]+)?([eE][+-]?[0-9]+)?")
_NUMBER_BYTES: Final = re.compile(rb"[-+.0-9eE]*")
_TEXT_RUN: Final = re.compile(rb'(?:[^"\\\x00-\x1f]++|\\[\x00-\xff])*+')
_CONSTANTS: Final[dict[bytes, Any]] = {
    b"true": True,
    b"false": False,
    b"null": None,
    b"NaN": math.nan,
    b"Infinity": math.inf,
    b"-Infinity": -math.inf,
}
_BASE64_ESCAPE: Final = re.compile(rb"\\(?:([/nrt])|u00([2-7][0-9a-fA-F]))")


@dataclass(frozen=True)
class ScanLimits:
    """Bounds on what is kept in memory."""

    max_text_bytes: int = 32 * 1024 * 1024
    max_depth: int = 32
    max_values: int = 300_000
    max_number_bytes: int = 400


@dataclass(frozen=True)
class ScanResult:
    """The document without the network, and what was diverted (None where the field was absent or no text)."""

    document: Any
    diverted_sha256: str | None
    diverted_bytes: int


class Base64Sink:
    """Decodes base64 that comes in pieces of any size into a file; strict about alphabet and padding."""

    def __init__(self, target: BinaryIO) -> None:
        self._target = target
        self._rest = b""
        self._is_ended = False
        self._hash = hashlib.sha256()
        self.num_bytes = 0

    def write(self, text: bytes) -> None:
        """Take more base64. ValueError where it is none."""
        if not text:
            return
        data = self._rest + text if self._rest else text
        cut = len(data) - len(data) % 4
        self._rest = data[cut:]
        self._decode(data[:cut])

    def finish(self) -> str:
        """Return the SHA-256 of the decoded bytes. ValueError where the text ends inside a group of four."""
        if self._rest:
            raise ValueError("it ends inside a group of four characters")
        return self._hash.hexdigest()

    def _decode(self, data: bytes) -> None:
        if not data:
            return
        if self._is_ended:
            raise ValueError("characters follow the padding")
        decoded = binascii.a2b_base64(data, strict_mode=True)
        self._is_ended = data.endswith(b"=")
        self._hash.update(decoded)
        self.num_bytes += len(decoded)
        self._target.write(decoded)


class BundleScanner:
    """A JSON parser over a stream, for one use.

    Accepts what ``json.loads`` accepts (NaN and infinities included) except duplicate keys, lone surrogates, numbers
    beyond a double and whatever is over the limits.

    Parameters
    ----------
    source
        Binary file at its beginning; reads may be short.
    target
        Receives the decoded bytes of ``$.model.onnx_model_base64``.
    """

    def __init__(self, source: BinaryIO, target: BinaryIO, *, limits: ScanLimits | None = None, read_bytes: int = READ_BYTES) -> None:
        self._source = source
        self._target = target
        self._limits = limits or ScanLimits()
        self._read_bytes = read_bytes
        self._buffer = b""
        self._position = 0
        self._consumed = 0
        self._diverted_text = 0
        self._num_values = 0
        self._is_at_end = False
        self._path: list[str | int] = []
        self._sink: Base64Sink | None = None
        self._sha256: str | None = None

    def scan(self) -> ScanResult:
        """Read the whole file.

        Raises
        ------
        UnsupportedMediaError
            The file is not JSON at all.
        BundleError
            Code ``bundle_json`` with the JSON path; the message names the byte.
        """
        self._skip_byte_order_mark()
        first = self._peek()
        if first == b"" or first not in b'{["':
            raise UnsupportedMediaError(
                "This file is not a .heimdall bundle: it does not begin as JSON. Choose a file that Heimdall exported."
            )
        document = self._read_value(0)
        if self._peek() != b"":
            self._fail("something follows the end of the JSON value")
        sink = self._sink
        return ScanResult(document, self._sha256, sink.num_bytes if sink else 0)

    # -- the window onto the file ----------------------------------------------------------------------------------

    def _fill(self) -> bool:
        """Append one read to the window; False at the end of the file."""
        if self._is_at_end:
            return False
        data = self._source.read(self._read_bytes)
        if not data:
            self._is_at_end = True
            return False
        if self._position:
            self._consumed += self._position
            self._buffer = self._buffer[self._position :]
            self._position = 0
        self._buffer += data
        kept = self._consumed + len(self._buffer) - self._diverted_text
        if kept > self._limits.max_text_bytes + self._read_bytes:
            self._fail(f"there is more than {self._limits.max_text_bytes // 2**20} MB beside the network")
        return True

    def _peek(self) -> bytes:
        """Skip whitespace and return the next byte, empty at the end of the file."""
        while True:
            match = _WHITESPACE.match(self._buffer, self._position)
            assert match is not None  # the pattern matches the empty text
            self._position = match.end()
            if self._position < len(self._buffer):
                return self._buffer[self._position : self._position + 1]
            if not self._fill():
                return b""

    def _skip_byte_order_mark(self) -> None:
        while len(self._buffer) < len(codecs.BOM_UTF8) and self._fill():
            pass
        if self._buffer.startswith(codecs.BOM_UTF8):
            self._position = len(codecs.BOM_UTF8)

    def _fail(self, reason: str) -> NoReturn:
        place = self._consumed + self._position
        path = "$" + "".join(f"[{part}]" if isinstance(part, int) else f".{clean_text(part, limit=60)}" for part in self._path)
        raise BundleError(f"The bundle is not valid JSON at byte {place}: {reason}.", field=path[:500], code="bundle_json")

    def _fail_truncated(self) -> NoReturn:
        self._fail("the file ends here too early; it was cut off, get it again")

    def _fail_next(self, reason: str) -> NoReturn:
        """Fail for what stands next: the end of the file, or something else than it should."""
        if self._peek() == b"":
            self._fail_truncated()
        self._fail(reason)

    # -- values ----------------------------------------------------------------------------------------------------

    def _read_value(self, depth: int) -> Any:  # noqa: ANN401
        self._num_values += 1
        if self._num_values > self._limits.max_values:
            self._fail(f"it has more than {self._limits.max_values} values")
        first = self._peek()
        if first == b"":
            self._fail_truncated()
        if first in (b"{", b"["):
            if depth >= self._limits.max_depth:
                self._fail(f"it is nested deeper than {self._limits.max_depth} levels")
            self._position += 1
            return self._read_object(depth + 1) if first == b"{" else self._read_array(depth + 1)
        if first == b'"':
            self._position += 1
            return self._read_text()
        return self._read_number_or_constant(first)

    def _read_object(self, depth: int) -> dict[str, Any]:
        found: dict[str, Any] = {}
        if self._peek() == b"}":
            self._position += 1
            return found
        while True:
            if self._peek() != b'"':
                self._fail_next("a key in double quotes should stand here")
            self._position += 1
            name = self._read_text()
            self._path.append(name)
            if name in found:
                self._fail("this key stands twice in one object")
            if self._peek() != b":":
                self._fail_next("a colon should stand here")
            self._position += 1
            found[name] = self._read_member(depth)
            self._path.pop()
            if not self._has_next(b"}"):
                return found

    def _read_member(self, depth: int) -> Any:  # noqa: ANN401
        if depth == 2 and tuple(self._path) == DIVERTED_PATH and self._peek() == b'"':
            self._position += 1
            self._divert()
            return None
        return self._read_value(depth)

    def _read_array(self, depth: int) -> list[Any]:
        found: list[Any] = []
        if self._peek() == b"]":
            self._position += 1
            return found
        while True:
            self._path.append(len(found))
            found.append(self._read_value(depth))
            self._path.pop()
            if not self._has_next(b"]"):
                return found

    def _has_next(self, closing: bytes) -> bool:
        mark = self._peek()
        if mark not in (b",", closing):
            self._fail_next(f"a comma or {closing.decode()} should stand here")
        self._position += 1
        return mark == b","

    def _read_number_or_constant(self, first: bytes) -> Any:  # noqa: ANN401
        if first.isdigit() or (first == b"-" and self._look(2) != b"-I"):
            return self._read_number()
        for word, value in _CONSTANTS.items():
            if word.startswith(first) and self._look(len(word)) == word:
                self._position += len(word)
                return value
        if any(word.startswith(self._look(len(word))) for word in _CONSTANTS):
            self._fail_truncated()
        self._fail("a value should stand here")

    def _look(self, count: int) -> bytes:
        while len(self._buffer) - self._position < count and self._fill():
            pass
        return self._buffer[self._position : self._position + count]

    def _read_number(self) -> int | float:
        text = _NUMBER_BYTES.match(self._look(self._limits.max_number_bytes + 1))
        assert text is not None  # the pattern matches the empty text
        word = text.group()
        if len(word) > self._limits.max_number_bytes:
            self._fail(f"a number has more than {self._limits.max_number_bytes} characters")
        match = _NUMBER.fullmatch(word)
        if match is None:
            self._position += len(word)
            self._fail_next("this is no JSON number")
        self._position += len(word)
        is_whole = match.group(2) is None and match.group(3) is None
        number = float(word)
        if math.isinf(number):
            self._fail("this number is too large for a double")
        return int(word) if is_whole else number

    # -- texts -----------------------------------------------------------------------------------------------------

    def _read_text(self) -> str:
        """Read the rest of a text whose opening quote is taken."""
        raw = bytearray()
        while True:
            run = _TEXT_RUN.match(self._buffer, self._position)
            assert run is not None  # the pattern matches the empty text
            raw += run.group()
            self._position = run.end()
            mark = self._buffer[self._position : self._position + 1]
            if mark == b'"':
                self._position += 1
                return self._decode_text(raw)
            if mark not in (b"", b"\\"):
                self._fail("a control character stands unescaped in a text")
            if not self._fill():
                self._fail_truncated()

    def _decode_text(self, raw: bytearray) -> str:
        try:
            text = raw.decode()
            if "\\" in text:
                text = str(json.loads(f'"{text}"'))
                text.encode()
        except UnicodeDecodeError:
            self._fail("a text is not valid UTF-8")
        except UnicodeEncodeError:
            self._fail("half of a surrogate pair stands alone in a text")
        except json.JSONDecodeError:
            self._fail("a backslash stands before a letter that takes none")
        return text

    # -- the network -----------------------------------------------------------------------------------------------

    def _divert(self) -> None:
        """Decode the rest of the text whose opening quote is taken into the target file."""
        sink = self._sink = Base64Sink(self._target)
        try:
            while True:
                end = self._buffer.find(b'"', self._position)
                stop = end if end >= 0 else self._end_of_whole_escapes()
                piece = self._buffer[self._position : stop]
                sink.write(self._unescape_base64(piece) if b"\\" in piece else piece)
                self._diverted_text += len(piece)
                self._position = stop
                if end >= 0:
                    self._position += 1
                    self._sha256 = sink.finish()
                    return
                if not self._fill():
                    self._fail_truncated()
        except ValueError as error:  # binascii.Error is one
            self._fail(f"the network is not valid base64 ({error})")

    def _end_of_whole_escapes(self) -> int:
        """Return where the window can be cut without dividing an escape (at most six bytes long)."""
        size = len(self._buffer)
        start = self._buffer.find(b"\\", max(self._position, size - 5))
        return size if start < 0 else start

    def _unescape_base64(self, piece: bytes) -> bytes:
        plain = _BASE64_ESCAPE.sub(_replace_escape, piece)
        if b"\\" in plain:
            raise ValueError("a backslash stands in it")
        return plain


def _replace_escape(match: re.Match[bytes]) -> bytes:
    letter, code = match.groups()
    if letter is not None:
        return b"/" if letter == b"/" else b""  # line breaks between the groups are no part of base64
    return bytes([int(code, 16)])
