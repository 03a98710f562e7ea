"""Bundles that somebody broke on purpose, for as long as asked: ``python -m tests.fuzz.bundles --minutes 10``.

Two targets. *Files*: a real bundle, changed byte by byte or value by value, is read, checked and stored; it must be refused in
words of the one exception tree, or become one whole model, and leave nothing half done. *Networks*: a real ONNX file, changed,
goes through the verifying child, which must answer, within its limits, and leave no process. What breaks one of these is shrunk
and written beside this file, into ``corpus/``; every file there is tried again first, in each run and in ``make test``.
"""

from __future__ import annotations

import argparse
import copy
import hashlib
import json
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import psutil
from hypothesis import HealthCheck, Phase, given, seed, settings
from hypothesis import strategies as st

from heimdall.domain.errors import HeimdallError, InvalidInputError, TooLargeError, UnsupportedMediaError
from heimdall.verification.sandbox import SandboxVerifier
from tests.unit.services.bundle_world import add_model, make_world
from tests.unit.verification import networks

CORPUS = Path(__file__).parent / "corpus"
KNOWN_CODES = frozenset(
    {"bundle_json", "bundle_schema", "bundle_integrity", "onnx_invalid", "onnx_external_data", "onnx_domain", "onnx_opset", "onnx_load",
     "sample_mismatch", "limits", "unsupported_media", "too_large"}
)  # fmt: skip
_SANDBOX_S = 20.0

_TOKENS = st.sampled_from(
    [b"{", b"}", b"[", b"]", b'"', b"\\", b"\\ud800", b"\\u0000", b"\x00", b"\xff", b"\xed\xa0\x80", b"NaN", b"-Infinity", b"1e999",
     b"9" * 400, b"[" * 40, b'{"a":' * 40, b"null", b"true", b",",
     b":", b" " * 50, b"../../etc/passwd", b"<script>", b"\xe2\x80\xae", b"=", b"AAAA"]
)  # fmt: skip
_VALUES: st.SearchStrategy[Any] = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-(2**70), 2**70),
    st.floats(),
    st.text(max_size=30),
    st.sampled_from(
        ["", "../../../../etc/passwd", "\u0000\u001b[2J", "\u202egnp.exe", "<img src=x onerror=alert(1)>", "x" * 5000, "1e309", "🦊" * 300]
    ),
    st.lists(st.integers(), max_size=3),
    st.dictionaries(st.text(max_size=5), st.integers(), max_size=3),
    st.just([[[[[[[[]]]]]]]]),
    st.just([0] * 5000),
)
BYTE_CHANGES = st.lists(
    st.tuples(
        st.sampled_from(["flip", "insert", "delete", "double", "cut"]), st.floats(0, 1, exclude_max=True), st.integers(0, 255), _TOKENS
    ),
    min_size=1,
    max_size=6,
)
VALUE_CHANGES = st.lists(
    st.tuples(st.sampled_from(["set", "drop", "rename", "double"]), st.floats(0, 1, exclude_max=True), _VALUES), min_size=1, max_size=4
)


def change_bytes(data: bytes, changes: list[tuple[str, float, int, bytes]]) -> bytes:
    for kind, share, number, token in changes:
        place = int(share * len(data))
        if kind == "flip":
            data = data[:place] + bytes([number]) + data[place + 1 :]
        elif kind == "insert":
            data = data[:place] + token + data[place:]
        elif kind == "delete":
            data = data[:place] + data[place + 1 + number :]
        elif kind == "double":
            data = data[:place] + data[place : place + 1 + number] + data[place:]
        else:
            data = data[: max(1, place)]
    return data


def change_values(document: Any, changes: list[tuple[str, float, Any]]) -> bytes:
    """Change a document in places chosen over all its containers; without hashes, so that later checks are reached."""
    document.pop("integrity", None)
    for kind, share, value in changes:
        containers = [found for found in _walk(document) if found]
        if not containers:
            break
        inside = containers[int(share * len(containers))]
        key: Any = (list(inside) if isinstance(inside, dict) else range(len(inside)))[int(share * 7919) % len(inside)]
        if kind == "drop":
            del inside[key]
        elif kind == "rename" and isinstance(inside, dict):
            inside[str(value)[:50]] = inside.pop(key)
        elif kind == "double" and isinstance(inside, list):
            inside.insert(key, copy.deepcopy(inside[key]))
        else:
            # A copy: a value that was put in may itself be changed by the next change.
            inside[key] = copy.deepcopy(value)
    return json.dumps(document).encode("utf-8", "surrogatepass")


def _walk(value: Any) -> list[Any]:
    if not isinstance(value, dict | list):
        return []
    children = value.values() if isinstance(value, dict) else value
    return [value, *(found for child in children for found in _walk(child))]


class Workshop:
    """A real bundle and a real network to break, and the two judges."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        origin = make_world(folder / "origin")
        add_model(origin, num_samples=3)
        self.bundle = origin.write_bundle("model-1", folder / "good.heimdall", num_samples=3).read_bytes()
        self.network = networks.make_network().SerializeToString()
        self.there = make_world(folder / "there")
        self.sandbox = SandboxVerifier(memory_mb=2048, timeout_s=_SANDBOX_S)
        self.num_files = self.num_networks = 0

    def judge_file(self, data: bytes) -> None:
        """Import ``data``: a refusal in words that keeps nothing, or a whole model."""
        self.num_files += 1
        path = self.folder / "shaken.heimdall"
        path.write_bytes(data)
        before = self.there.files()
        refusal = self._import(path)
        if refusal is not None:
            assert refusal.code in KNOWN_CODES, refusal.code
            assert 0 < len(refusal.detail) < 2000
            assert not any(ord(letter) < 32 or 126 < ord(letter) < 160 for letter in refusal.detail), refusal.detail
            assert self.there.files() == before
        assert self.there.leftovers() == [], "files that no row knows"

    def _import(self, path: Path) -> HeimdallError | None:
        try:
            model, _ = self.there.bundles.import_file(path)
        except (InvalidInputError, TooLargeError, UnsupportedMediaError) as error:
            return error
        assert self.there.models.get(model.id) == model
        assert self.there.artifacts.exists(model.onnx_path)
        self.there.models.delete(model.id)
        return None

    def judge_network(self, data: bytes) -> None:
        """Have ``data`` examined: an answer in time, and no process that outlives it."""
        self.num_networks += 1
        path = self.folder / "shaken.onnx"
        path.write_bytes(data)
        children = {child.pid for child in psutil.Process().children()}
        started = time.monotonic()
        found = self.sandbox.examine(path, None)
        assert time.monotonic() - started < _SANDBOX_S + 10
        assert found.failure is None or found.failure.code in KNOWN_CODES, found.failure
        assert {child.pid for child in psutil.Process().children()} <= children

    def judge(self, path: Path) -> None:
        """Try a file of the corpus again."""
        (self.judge_network if path.suffix == ".onnx" else self.judge_file)(path.read_bytes())


def shake(workshop: Workshop, *, num_files: int, num_networks: int, number: int = 0) -> None:
    """One round with its own seed. What fails is shrunk and kept in the corpus."""

    def run(strategy: st.SearchStrategy[bytes], judge: Callable[[bytes], None], count: int, suffix: str) -> None:
        last: list[bytes] = []

        @seed(number)
        @settings(
            max_examples=count, deadline=None, database=None, suppress_health_check=list(HealthCheck), phases=(Phase.generate, Phase.shrink)
        )
        @given(data=strategy)
        def test(data: bytes) -> None:
            last[:] = [data]
            judge(data)

        try:
            test()
        except Exception:
            CORPUS.mkdir(exist_ok=True)
            (CORPUS / f"found-{hashlib.sha256(last[0]).hexdigest()[:12]}{suffix}").write_bytes(last[0])
            raise

    files = st.one_of(
        BYTE_CHANGES.map(lambda changes: change_bytes(workshop.bundle, changes)),
        VALUE_CHANGES.map(lambda changes: change_values(json.loads(workshop.bundle), changes)),
    )
    run(files, workshop.judge_file, num_files, ".heimdall")
    run(BYTE_CHANGES.map(lambda changes: change_bytes(workshop.network, changes)), workshop.judge_network, num_networks, ".onnx")


def main() -> int:
    parser = argparse.ArgumentParser(description="Break bundles on purpose, for as long as asked.")
    parser.add_argument("--minutes", type=float, default=10)
    parser.add_argument("--seed", type=int, default=0)
    asked = parser.parse_args()
    end = time.monotonic() + asked.minutes * 60
    with tempfile.TemporaryDirectory(prefix="heimdall-fuzz-") as folder:
        workshop = Workshop(Path(folder))
        for path in sorted(CORPUS.iterdir()):
            workshop.judge(path)
        number = asked.seed
        while time.monotonic() < end:
            number += 1
            shake(workshop, num_files=300, num_networks=10, number=number)
        print(json.dumps({"files": workshop.num_files, "networks": workshop.num_networks, "rounds": number - asked.seed, "violations": 0}))
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
