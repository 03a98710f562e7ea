"""The verifying child: what it accepts, what it refuses, and that nothing a network does outlives it."""

from __future__ import annotations

import resource
import socket
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import pytest

from heimdall.domain.models import VerificationCheck
from heimdall.domain.texts import clean_text
from heimdall.verification.sandbox import SandboxVerifier, _Progress
from tests.unit.verification import networks


@pytest.fixture(scope="module")
def verifier() -> SandboxVerifier:
    return SandboxVerifier(memory_mb=4096, timeout_s=60)


def test_a_good_network_repeats_every_sample(verifier: SandboxVerifier, tmp_path: Path) -> None:
    model = networks.make_network()
    found = verifier.examine(*networks.write_network(tmp_path, model, networks.make_samples(model)))

    assert found.failure is None
    verification = found.verification
    assert (verification.status, verification.matched, verification.total) == ("verified", 10, 10)
    assert verification.max_abs_diff is not None
    assert verification.max_abs_diff < 1e-2
    assert verification.max_abs_diff_unit == "m"
    assert verification.latency_ms is not None
    assert verification.latency_ms > 0
    assert found.onnx_opset == 18
    assert [(spec.name, spec.dtype, spec.shape) for spec in found.inputs] == [
        ("features", "float32", ("batch", "receivers", 2)),
        ("mask", "bool", ("batch", "receivers")),
        ("receiver_index", "int64", ("batch", "receivers")),
    ]
    assert [spec.name for spec in found.outputs] == ["position_enu_m", "covariance_m2"]
    assert [check.name for check in verification.checks] == ["isolation", "external_data", "operators", "opset", "onnx", "load", "samples"]
    assert {check.status for check in verification.checks} == {"passed"}


def test_each_check_is_told_as_it_is_done(verifier: SandboxVerifier, tmp_path: Path) -> None:
    model = networks.make_network()
    told: list[tuple[VerificationCheck, float]] = []
    found = verifier.examine(
        *networks.write_network(tmp_path, model, networks.make_samples(model)),
        on_check=lambda check: told.append((check, time.monotonic())),
    )
    assert tuple(check for check, _ in told) == found.verification.checks
    # onnxruntime is loaded between the first and the last: they cannot have come together.
    assert told[-1][1] - told[0][1] > 0.01


def test_a_check_that_fails_is_told_too(verifier: SandboxVerifier, tmp_path: Path) -> None:
    model = networks.make_network()
    samples = networks.make_samples(model)
    path, _ = networks.write_network(tmp_path, model, samples)
    path.write_bytes(b"no network")
    told: list[VerificationCheck] = []
    found = verifier.examine(path, None, on_check=told.append)
    assert [check.status for check in told] == ["passed", "failed"]
    assert tuple(told) == found.verification.checks


@pytest.mark.parametrize("line", [b"{", b"[]", b"7", b'{"check": ["a"]}', b'{"check": ["a", "odd", "b"]}', b'{"isolation": {}}', b"\xff"])
def test_a_line_that_is_no_check_is_passed_over(line: bytes) -> None:
    told: list[VerificationCheck] = []
    progress = _Progress(told.append)
    for data in (line, b"\n", b'{"check": ["opset", "pass', b'ed", "18"]}\n{"che'):
        progress.read(data)
    assert told == [VerificationCheck(name="opset", status="passed", detail="18")]


def test_without_samples_it_is_unverified_with_the_reason(verifier: SandboxVerifier, tmp_path: Path) -> None:
    found = verifier.examine(*networks.write_network(tmp_path, networks.make_network()))

    assert found.failure is None
    assert found.verification.status == "unverified"
    assert (found.verification.matched, found.verification.total) == (None, None)
    assert found.verification.checks[-1].status == "skipped"
    assert "no samples" in found.verification.checks[-1].detail


@pytest.mark.parametrize(
    ("tensor", "change", "matched"),
    [
        ("expected.position_enu_m", lambda values: np.concatenate([values[:9], values[9:] + 5.0]), 9),
        ("expected.covariance_m2", lambda values: values * np.float32(1.01), 0),
        ("expected.position_enu_m", lambda values: np.full_like(values, np.nan), 0),
    ],
)
def test_samples_that_do_not_match_fail_with_the_count(
    verifier: SandboxVerifier, tmp_path: Path, tensor: str, change: Any, matched: int
) -> None:
    model = networks.make_network()
    samples = networks.make_samples(model)
    samples[tensor] = change(samples[tensor]).astype(np.float32)

    found = verifier.examine(*networks.write_network(tmp_path, model, samples))

    assert found.failure is not None
    assert found.failure.code == "sample_mismatch"
    assert f"{matched} of 10" in found.failure.detail
    assert (found.verification.status, found.verification.matched, found.verification.total) == ("failed", matched, 10)


def test_float_rounding_of_another_machine_still_matches(verifier: SandboxVerifier, tmp_path: Path) -> None:
    model = networks.make_network(scale=20_000.0)
    samples = networks.make_samples(model)
    samples["expected.position_enu_m"] = (samples["expected.position_enu_m"] * np.float32(1 + 1e-6)).astype(np.float32)

    found = verifier.examine(*networks.write_network(tmp_path, model, samples))

    assert found.verification.status == "verified"


@pytest.mark.parametrize("broken", ["wrong name", "missing", "text", "other lengths"])
def test_samples_that_do_not_fit_the_network_are_refused(verifier: SandboxVerifier, tmp_path: Path, broken: str) -> None:
    model = networks.make_network()
    samples = networks.make_samples(model)
    if broken == "wrong name":
        samples["input.other"] = samples.pop("input.mask")
    elif broken == "missing":
        del samples["input.mask"]
    elif broken == "other lengths":
        samples["input.mask"] = samples["input.mask"][:3].copy()
    onnx_path, samples_path = networks.write_network(tmp_path, model, samples)
    assert samples_path is not None
    if broken == "text":
        samples_path.write_bytes(b"not safetensors at all")

    found = verifier.examine(onnx_path, samples_path)

    assert found.failure is not None
    assert found.failure.code == "sample_mismatch"


@pytest.mark.parametrize("name", networks.HOSTILE)
def test_a_hostile_network_is_refused_by_the_check_meant_for_it(verifier: SandboxVerifier, tmp_path: Path, name: str) -> None:
    make, code = networks.HOSTILE[name]

    found = verifier.examine(*networks.write_network(tmp_path, make()))

    assert found.failure is not None, found
    assert found.failure.code == code, found.failure
    assert found.verification.status == "failed"
    for text in (found.failure.detail, *(check.detail for check in found.verification.checks)):
        assert clean_text(text, limit=500) == text


@pytest.mark.parametrize("name", networks.HOSTILE_AT_RUN)
def test_a_network_that_eats_memory_or_time_is_ended_at_the_limit(tmp_path: Path, name: str) -> None:
    make, code = networks.HOSTILE_AT_RUN[name]
    samples = {"input.x": np.ones((1, 1), np.float32)[0:1, 0], "expected.y": np.ones(1, np.float32)}
    children_before = _children()
    start = time.monotonic()

    found = SandboxVerifier(memory_mb=2048, timeout_s=4).examine(*networks.write_network(tmp_path, make(), samples))

    assert found.failure is not None, found
    assert found.failure.code == code, found.failure
    assert time.monotonic() - start < 30
    assert _children() <= children_before


@pytest.mark.parametrize("data", [b"", b"\x00" * 100, b"\xff" * 1000, b"{}", b"MZ" * 500])
def test_bytes_that_are_no_network_are_refused(verifier: SandboxVerifier, tmp_path: Path, data: bytes) -> None:
    path = tmp_path / "network.onnx"
    path.write_bytes(data)

    found = verifier.examine(path, None)

    assert found.failure is not None
    assert found.failure.code == "onnx_invalid"


@pytest.mark.parametrize("depth", [20, 40, 5000])
def test_subgraphs_nested_deep_end_in_words(verifier: SandboxVerifier, tmp_path: Path, depth: int) -> None:
    path = tmp_path / "network.onnx"
    path.write_bytes(networks.write_nested(depth))

    found = verifier.examine(path, None)

    assert found.failure is not None
    assert found.failure.code == "onnx_invalid"


@pytest.mark.parametrize("place", ["node", "value"])
def test_names_that_are_no_text_are_refused(verifier: SandboxVerifier, tmp_path: Path, place: str) -> None:
    data = networks.make_network().SerializeToString()
    path = tmp_path / "network.onnx"
    path.write_bytes(data.replace(b"ReduceSum", b"Reduce\xff\xfem") if place == "node" else data.replace(b"features", b"feat\xff\xfees"))

    found = verifier.examine(path, None)

    assert found.failure is not None
    assert found.failure.code == "onnx_invalid"


@pytest.mark.parametrize("share", [0.1, 0.5, 0.9, 0.99])
def test_a_network_cut_off_is_refused(verifier: SandboxVerifier, tmp_path: Path, share: float) -> None:
    data = networks.make_network().SerializeToString()
    path = tmp_path / "network.onnx"
    path.write_bytes(data[: int(len(data) * share)])

    found = verifier.examine(path, None)

    assert found.failure is not None
    assert found.failure.code in {"onnx_invalid", "onnx_opset"}


def test_too_little_memory_for_the_runtime_itself_is_called_a_limit(tmp_path: Path) -> None:
    found = SandboxVerifier(memory_mb=64, timeout_s=30).examine(*networks.write_network(tmp_path, networks.make_network()))

    assert found.failure is not None
    assert found.failure.code == "limits"


def test_the_child_has_no_network_and_no_rights_beyond_reading(verifier: SandboxVerifier) -> None:
    isolation = verifier.describe_isolation()

    assert set(isolation) == {"network", "system_calls", "memory", "processor", "files"}
    if sys.platform == "linux":
        assert not (isolation["network"].startswith("none") and isolation["system_calls"].startswith("none")), isolation


ATTEMPTS = """
import os, socket, sys
for name, act in {
    "connect": lambda: socket.create_connection(("127.0.0.1", int(sys.argv[1])), 1),
    "exec": lambda: os.execv("/bin/true", ["true"]),
    "fork": lambda: os.fork() or os._exit(0),
    "write": lambda: open(sys.argv[2], "wb", buffering=0).write(b"x"),
}.items():
    try:
        act()
        print(name, "worked")
    except OSError:
        print(name, "refused")
"""


@pytest.mark.skipif(sys.platform != "linux", reason="the means are Linux's")
@pytest.mark.parametrize(
    ("means", "refused"),
    [
        ("isolate(memory_bytes=1 << 31, cpu_s=5)", {"connect", "exec", "fork", "write"}),
        ("filter_system_calls()", {"connect", "exec", "fork"}),  # all there is where name spaces are forbidden
        ("leave_network()", {"connect"}),
    ],
)
def test_an_isolated_process_reaches_no_socket_starts_no_program_and_writes_no_file(tmp_path: Path, means: str, refused: set[str]) -> None:
    if "exec" not in refused:
        attempts = ATTEMPTS.replace('"/bin/true"', '"/nowhere/true"')
        refused = refused | {"exec"}
    else:
        attempts = ATTEMPTS
    probe = f"from heimdall.verification.isolation import *\n{means}\n{attempts}"
    with socket.create_server(("127.0.0.1", 0)) as server:
        command = [sys.executable, "-c", probe, str(server.getsockname()[1]), str(tmp_path / "written")]
        ended = subprocess.run(command, capture_output=True, text=True, timeout=30, check=True)

    told = dict(line.split() for line in ended.stdout.splitlines())
    assert {name for name, answer in told.items() if answer == "refused"} == refused, ended


def test_the_child_starts_quickly_and_never_loads_torch(verifier: SandboxVerifier, tmp_path: Path) -> None:
    model = networks.make_network()
    files = networks.write_network(tmp_path, model, networks.make_samples(model))
    before = _processor_seconds_of_children()
    verifier.examine(*files)
    assert _processor_seconds_of_children() - before < 3  # processor time: the machine may be busy with other tests
    code = "import sys, heimdall.verification.child, heimdall.verification.sandbox, onnx, onnxruntime; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], timeout=60, check=False).returncode == 0


def _processor_seconds_of_children() -> float:
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def _children() -> set[int]:
    """Processes of ours that still run, zombies included. Other tests of the run may have left some that are not ours to judge."""
    return {child.pid for child in psutil.Process().children()}
