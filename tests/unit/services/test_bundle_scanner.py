"""The streaming scanner: equal to json.loads, whatever the layout, and bounded whatever the file says."""

from __future__ import annotations

import base64
import codecs
import hashlib
import io
import json
import math
import tracemalloc
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from heimdall.domain.errors import BundleError, HeimdallError, UnsupportedMediaError
from heimdall.services.bundle_scanner import BundleScanner, ScanLimits, ScanResult


class ShortReads(io.BytesIO):
    """Gives at most ``size`` bytes a read, however many are asked for."""

    def __init__(self, data: bytes, size: int) -> None:
        super().__init__(data)
        self._size = size

    def read(self, size: int | None = -1, /) -> bytes:
        return super().read(self._size if size is None or size < 0 else min(size, self._size))


def scan(data: bytes, *, read_bytes: int = 1 << 20, limits: ScanLimits | None = None) -> tuple[ScanResult, bytes]:
    target = io.BytesIO()
    result = BundleScanner(ShortReads(data, read_bytes), target, limits=limits, read_bytes=read_bytes).scan()
    return result, target.getvalue()


def same(left: Any, right: Any) -> bool:
    """Equality where NaN equals NaN and 1 does not equal 1.0 or true."""
    return repr(left) == repr(right)


texts = st.text(alphabet=st.characters(exclude_categories=["Cs"]))
numbers = st.integers(-(10**30), 10**30) | st.floats(allow_nan=True, allow_infinity=True)
values = st.recursive(
    st.none() | st.booleans() | numbers | texts,
    lambda inner: st.lists(inner, max_size=5) | st.dictionaries(texts, inner, max_size=5),
    max_leaves=20,
)


@settings(deadline=None)
@given(
    value=st.dictionaries(texts, values, max_size=5),
    read_bytes=st.integers(1, 40),
    indent=st.none() | st.integers(0, 3),
    ascii=st.booleans(),
)
def test_it_reads_what_json_loads_reads_whatever_the_boundaries_and_the_layout(
    value: Any, read_bytes: int, indent: int | None, ascii: bool
) -> None:
    data = json.dumps(value, indent=indent, ensure_ascii=ascii).encode()

    result, diverted = scan(data, read_bytes=read_bytes)

    assert same(result.document, json.loads(data))
    assert diverted == b""


@settings(deadline=None)
@given(
    data=st.text(alphabet='{}[]",:\\u0123dDnNtrueInfity-+.eE \n\t/b').map(lambda text: b"{" + text.encode()), read_bytes=st.integers(1, 9)
)
@example(data=b'{"a":1', read_bytes=1)
@example(data=b'{"a":-Infinity}', read_bytes=2)
@example(data=b'{"a":01}', read_bytes=2)
@example(data=b'{"a":1.}', read_bytes=2)
@example(data=b'{"a":1,}', read_bytes=2)
@example(data=b'{"a":"\\ud800"}', read_bytes=3)
@example(data=b'{"":"\\ud83d\\ude00"}', read_bytes=5)
@example(data=b'{"a":"\\\n"}', read_bytes=5)
def test_it_refuses_what_json_loads_refuses(data: bytes, read_bytes: int) -> None:
    try:
        expected = json.loads(data, object_pairs_hook=_refuse_duplicates, parse_float=_refuse_overflow)
        json.dumps(expected, ensure_ascii=False).encode()
    except ValueError:
        with pytest.raises(BundleError) as caught:
            scan(data, read_bytes=read_bytes)
        assert caught.value.code == "bundle_json"
    else:
        assert same(scan(data, read_bytes=read_bytes)[0].document, expected)


def _refuse_duplicates(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    if len({name for name, _ in pairs}) < len(pairs):
        raise ValueError("duplicate")
    return dict(pairs)


def _refuse_overflow(text: str) -> float:
    if math.isinf(float(text)):
        raise ValueError("too large for a double")
    return float(text)


@settings(deadline=None)
@given(
    network=st.binary(max_size=200),
    read_bytes=st.integers(1, 30),
    indent=st.none() | st.integers(0, 2),
    is_first=st.booleans(),
    spelling=st.sampled_from(["plain", "slashes", "unicode", "lines"]),
)
def test_the_network_is_diverted_whatever_the_order_the_spelling_and_the_boundaries(
    network: bytes, read_bytes: int, indent: int | None, is_first: bool, spelling: str
) -> None:
    text = base64.b64encode(network).decode()
    other = {"name": "x", "onnx_model_base64_": "not this", "deeper": {"onnx_model_base64": "nor this"}}
    field = {"onnx_model_base64": "@"}
    document = {"onnx_model_base64": "nor that", "model": {**field, **other} if is_first else {**other, **field}}
    spelt = {
        "plain": text,
        "slashes": text.replace("/", "\\/"),
        "unicode": "".join(f"\\u{ord(letter):04x}" for letter in text),
        "lines": "\\r\\n".join(text[start : start + 8] for start in range(0, len(text), 8)),
    }[spelling]
    data = json.dumps(document, indent=indent).replace("@", spelt).encode()

    result, diverted = scan(data, read_bytes=read_bytes)

    assert diverted == network
    assert result.diverted_sha256 == hashlib.sha256(network).hexdigest()
    assert result.diverted_bytes == len(network)
    assert result.document["model"]["onnx_model_base64"] is None
    assert result.document["model"]["deeper"] == {"onnx_model_base64": "nor this"}


def test_an_escaped_key_is_the_same_key() -> None:
    result, diverted = scan(b'{"mo\\u0064el": {"onnx\\u005fmodel_base64": "AAEC"}}')

    assert diverted == b"\x00\x01\x02"
    assert result.document == {"model": {"onnx_model_base64": None}}


@pytest.mark.parametrize("value", ["null", "7", "{}", '["AAEC"]'])
def test_a_network_that_is_no_text_is_left_to_the_schema(value: str) -> None:
    result, diverted = scan(f'{{"model": {{"onnx_model_base64": {value}}}}}'.encode())

    assert result.diverted_sha256 is None
    assert diverted == b""
    assert result.document["model"]["onnx_model_base64"] == json.loads(value)


@pytest.mark.parametrize("mark", [b"", codecs.BOM_UTF8])
@pytest.mark.parametrize("read_bytes", [1, 2, 100])
def test_a_byte_order_mark_is_no_reason_to_refuse(mark: bytes, read_bytes: int) -> None:
    assert scan(mark + b' {"a": "\xc3\xa8"}', read_bytes=read_bytes)[0].document == {"a": "è"}


@pytest.mark.parametrize(
    ("data", "path", "words"),
    [
        (b'{"model": {"onnx_model_base64": "AAEC*AAA"}}', "$.model.onnx_model_base64", "base64"),
        (b'{"model": {"onnx_model_base64": "AAE"}}', "$.model.onnx_model_base64", "base64"),
        (b'{"model": {"onnx_model_base64": "AA==AAEC"}}', "$.model.onnx_model_base64", "base64"),
        (b'{"model": {"onnx_model_base64": "AA\\"EC"}}', "$.model.onnx_model_base64", "base64"),
        (b'{"model": {"onnx_model_base64": "AAEC\\\\/"}}', "$.model.onnx_model_base64", "base64"),
        (b'{"model": {"onnx_model_base64": "AAEC', "$.model.onnx_model_base64", "cut off"),
        (b'{"model": {"a": [1, {"b": ', "$.model.a[1].b", "cut off"),
        (b'{"model": {"a": 1}, "model": {"a": 1}}', "$.model", "twice"),
        (b'{"model": {"onnx_model_base64": "AAEC", "onnx_model_base64": "AAEC"}}', "$.model.onnx_model_base64", "twice"),
        (b'{"a": 1e999}', "$.a", "too large"),
        (b'{"a": ' + b"9" * 350 + b"}", "$.a", "too large"),
        (b'{"a": ' + b"9" * 5000 + b"}", "$.a", "characters"),
        (b'{"a": "\xff"}', "$.a", "UTF-8"),
        (b'{"a": "\xed\xa0\x80"}', "$.a", "UTF-8"),
        (b'{"a": "\\udc00"}', "$.a", "surrogate"),
        (b'{"a": "\\x"}', "$.a", "backslash"),
        (b'{"a": "\x01"}', "$.a", "control"),
        (b'{"a": 1} x', "$", "follows"),
        (b"{'a': 1}", "$", "double quotes"),
        (b'{"a": 1 "b": 2}', "$", "comma"),
        (b'{"a": tru}', "$.a", "value"),
    ],
)
@pytest.mark.parametrize("read_bytes", [1, 7, 1 << 20])
def test_a_fault_is_named_with_its_json_path(data: bytes, path: str, words: str, read_bytes: int) -> None:
    with pytest.raises(BundleError) as caught:
        scan(data, read_bytes=read_bytes)

    assert caught.value.code == "bundle_json"
    assert (caught.value.field or "").startswith(path)
    assert words in caught.value.detail


@pytest.mark.parametrize(
    "data", [b"", b"PK\x03\x04zip", b"\x89PNG\r\n", b"<html>", b"  \n", codecs.BOM_UTF16_LE + '{"a":1}'.encode("utf-16-le")]
)
def test_what_is_not_json_at_all_is_another_kind_of_file(data: bytes) -> None:
    with pytest.raises(UnsupportedMediaError):
        scan(data)


@pytest.mark.parametrize("opening", [b"[", b'{"a":'])
def test_a_million_nested_levels_end_at_the_limit(opening: bytes) -> None:
    with pytest.raises(BundleError, match="deeper than 32") as caught:
        scan(b'{"x":' + opening * 1_000_000)
    assert len(caught.value.field or "") <= 500


def test_thirty_two_levels_are_read() -> None:
    assert scan(b"[" * 32 + b"]" * 32)[0].document is not None


def test_millions_of_small_values_end_at_the_limit_before_they_fill_the_memory() -> None:
    data = b'{"a": [' + b"{}," * 3_000_000
    limits = ScanLimits(max_values=30_000)
    tracemalloc.start()
    with pytest.raises(BundleError, match="more than 30000 values"):
        scan(data, limits=limits)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 20e6  # the copy of the data in the test's own reader is half of it


def test_text_beside_the_network_is_bounded() -> None:
    limits = ScanLimits(max_text_bytes=10_000)
    data = b'{"a": "' + b"x" * 30_000 + b'"}'
    with pytest.raises(BundleError, match="beside the network"):
        scan(data, limits=limits, read_bytes=1000)


def test_whitespace_counts_as_text() -> None:
    with pytest.raises(BundleError, match="beside the network"):
        scan(b"{" + b" " * 30_000 + b"}", limits=ScanLimits(max_text_bytes=10_000), read_bytes=1000)


def test_a_network_far_beyond_the_text_limit_is_read_in_constant_memory() -> None:
    network = bytes(range(256)) * 100_000  # 25.6 MB
    data = b'{"model": {"onnx_model_base64": "' + base64.b64encode(network) + b'"}}'

    class Sink(io.RawIOBase):
        written = 0

        def writable(self) -> bool:
            return True

        def write(self, data: Any, /) -> int:
            self.written += len(data)
            return len(data)

    sink = Sink()
    tracemalloc.start()
    result = BundleScanner(io.BytesIO(data), sink, limits=ScanLimits(max_text_bytes=100_000)).scan()  # type: ignore[arg-type]
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()

    assert sink.written == len(network)
    assert result.diverted_sha256 == hashlib.sha256(network).hexdigest()
    assert peak < 10e6


@settings(deadline=None)
@given(cut=st.integers(0, 200))
def test_a_file_cut_off_anywhere_is_refused(cut: int) -> None:
    data = json.dumps({"model": {"onnx_model_base64": "AAECAwQF", "inputs": [1.5, None, True, "è\n"]}, "b": {"c": -1e-7}}).encode()
    with pytest.raises(HeimdallError) as caught:
        scan(data[: min(cut, len(data) - 1)])
    assert isinstance(caught.value, BundleError | UnsupportedMediaError)
