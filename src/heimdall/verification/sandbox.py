"""Runs the verifying child and judges how it ended."""

from __future__ import annotations

import json
import os
import selectors
import signal
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, Final

from heimdall.domain.errors import UnavailableError
from heimdall.domain.models import CheckFailure, Examination, OnCheck, TensorSpec, Verification, VerificationCheck
from heimdall.domain.texts import clean_text

_PACKAGE_ROOT: Final = Path(__file__).resolve().parents[2]
_START: Final = (
    "import sys; sys.argv[1] in sys.path or sys.path.insert(0, sys.argv[1]); "
    "from heimdall.verification.child import main; sys.exit(main(sys.argv[2:]))"
)
"""The child runs the very code of its parent, also where another copy of the program is installed."""
_MAX_RESULT_BYTES: Final = 1 << 20
_MAX_NOISE_BYTES: Final = 4096
_MAX_LINE_BYTES: Final = 1 << 16
_MAX_CHECKS: Final = 50
_KEPT_VARIABLES: Final = ("LD_LIBRARY_PATH", "DYLD_LIBRARY_PATH", "SYSTEMROOT")
_MEMORY_SIGNS: Final = ("memoryerror", "bad_alloc", "cannot allocate memory", "failed to map segment", "out of memory")


@dataclass(frozen=True)
class _Ending:
    """How the child ended: its exit code (negative: a signal), what it printed, and whether the clock ended it."""

    code: int
    result: bytes
    noise: str
    is_overdue: bool


class SandboxVerifier:
    """Implements :class:`heimdall.domain.ports.ModelVerifier` with one short-lived child process a call.

    Parameters
    ----------
    memory_mb
        MB of address space the child may take.
    timeout_s
        s of wall-clock time, and of processor time, before it is ended.
    """

    def __init__(self, *, memory_mb: int, timeout_s: float) -> None:
        self._memory_mb = memory_mb
        self._timeout_s = timeout_s

    def examine(self, onnx_path: Path, samples_path: Path | None, on_check: OnCheck | None = None) -> Examination:
        """Check the network in a child process without network and with limits, then repeat its samples.

        ``on_check`` hears of each check when the child says so.

        Returns
        -------
        Examination
            A failure has the code ``onnx_invalid``, ``onnx_external_data``, ``onnx_domain``, ``onnx_opset``, ``onnx_load``,
            ``sample_mismatch`` or ``limits``.

        Raises
        ------
        UnavailableError
            Where no child could be started.
        """
        files = [onnx_path.resolve(), *([samples_path.resolve()] if samples_path else [])]
        ending = self._run([str(path) for path in files], _Progress(on_check) if on_check else None)
        failure = self._judge(ending)
        if failure is not None:
            lost = VerificationCheck(name="process", status="failed", detail=failure.detail)
            return Examination(verification=Verification(status="failed", checks=(lost,)), failure=failure)
        return _make_examination(_parse_report(ending))

    def describe_isolation(self) -> dict[str, str]:
        """Return what a child on this machine is kept from, by name: what took hold, or ``none: why``."""
        ending = self._run([])
        failure = self._judge(ending)
        if failure is not None:
            raise UnavailableError(failure.detail)
        report = _parse_report(ending)
        return {str(name): str(value) for name, value in report["isolation"].items()}

    def _run(self, arguments: list[str], progress: _Progress | None = None) -> _Ending:
        environment = {name: os.environ[name] for name in _KEPT_VARIABLES if name in os.environ}
        environment |= {"LC_ALL": "C.UTF-8", "OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}
        limits = [str(self._memory_mb * 2**20), str(max(1, int(self._timeout_s) + 1))]
        with tempfile.TemporaryDirectory(prefix="heimdall-verify-") as folder:
            try:
                child = subprocess.Popen(
                    [sys.executable, "-I", "-B", "-c", _START, str(_PACKAGE_ROOT), *limits, *arguments],
                    stdin=subprocess.DEVNULL,
                    stdout=subprocess.PIPE,
                    stderr=subprocess.PIPE,
                    env=environment,
                    cwd=folder,
                    start_new_session=True,
                )
            except OSError as error:
                raise UnavailableError(f"The verifying process could not be started: {error.strerror}. Try again later.") from error
            return _wait(child, self._timeout_s, progress)

    def _judge(self, ending: _Ending) -> CheckFailure | None:
        """Say why the child gave no answer, if it gave none."""
        if ending.is_overdue or ending.code == -signal.SIGXCPU:
            return _fail("limits", f"The network did not finish within {self._timeout_s:g} s; verification was ended.")
        if ending.code == 0 and _is_report(ending.result):
            return None
        if ending.code == 0 and len(ending.result) >= _MAX_RESULT_BYTES:
            return _fail("limits", "The network's names, inputs and outputs take more than the 1 MB that verification reads of them.")
        noise = ending.noise.lower()
        if ending.code == -signal.SIGKILL or any(sign in noise for sign in _MEMORY_SIGNS):
            return _fail("limits", f"The network needs more than the {self._memory_mb} MB of memory that verification allows.")
        lines = ending.noise.strip().splitlines()
        last = clean_text(lines[-1], limit=200) if lines else "It said nothing."
        how = f"signal {-ending.code}" if ending.code < 0 else f"exit code {ending.code}"
        return _fail("onnx_load", f"Loading the network crashed the verifying process ({how}). {last}")


def _fail(code: str, detail: str) -> CheckFailure:
    # Here, because a server that starts has a verifier and no bundle yet.
    from heimdall.domain.bundles import ONNX_FIELD

    field = "$.sample_predictions" if code == "sample_mismatch" else f"$.model.{ONNX_FIELD}"
    return CheckFailure(code=code, detail=clean_text(detail, limit=500), field=field)


def _is_report(data: bytes) -> bool:
    return data.startswith(b"{") and data.endswith(b"}")


def _parse_report(ending: _Ending) -> dict[str, Any]:
    report: dict[str, Any] = json.loads(ending.result)
    return report


def _wait(child: subprocess.Popen[bytes], timeout_s: float, progress: _Progress | None) -> _Ending:
    """Read both pipes with bounds until they close or the time is over; the whole process group is gone afterwards."""
    assert child.stdout is not None  # both are pipes
    assert child.stderr is not None
    end = time.monotonic() + timeout_s
    kept: dict[IO[bytes], bytearray] = {child.stdout: bytearray(), child.stderr: bytearray()}
    bounds = {child.stdout: _MAX_RESULT_BYTES, child.stderr: _MAX_NOISE_BYTES}
    is_overdue = False
    try:
        with selectors.DefaultSelector() as selector:
            for pipe in kept:
                selector.register(pipe, selectors.EVENT_READ)
            while selector.get_map():
                left = end - time.monotonic()
                if left <= 0:
                    is_overdue = True
                    break
                for key, _ in selector.select(left):
                    pipe = key.fileobj  # type: ignore[assignment]
                    data = os.read(key.fd, 65536)
                    if not data:
                        selector.unregister(pipe)
                    kept[pipe] = (kept[pipe] + data)[-bounds[pipe] :]
                    if progress is not None and pipe is child.stdout:
                        progress.read(data)
        if not is_overdue:
            try:
                child.wait(max(0.0, end - time.monotonic()) + 1.0)
            except subprocess.TimeoutExpired:
                is_overdue = True
    finally:
        _end_group(child)
    result = bytes(kept[child.stdout].rpartition(b"\n")[2])
    return _Ending(child.returncode, result, kept[child.stderr].decode(errors="replace"), is_overdue)


def _end_group(child: subprocess.Popen[bytes]) -> None:
    if child.poll() is None:
        os.killpg(child.pid, signal.SIGKILL)
    child.wait()
    for pipe in (child.stdout, child.stderr):
        if pipe is not None:
            pipe.close()


class _Progress:
    """Reads the child's lines while they come. They are a hint, not the verdict: what is no check is passed over."""

    def __init__(self, on_check: OnCheck) -> None:
        self._on_check = on_check
        self._rest = b""
        self._num_left = _MAX_CHECKS

    def read(self, data: bytes) -> None:
        """Take the next bytes of the child's output."""
        *lines, self._rest = (self._rest + data).split(b"\n")
        self._rest = self._rest[-_MAX_LINE_BYTES:]
        for line in lines:
            check = _read_line(line)
            if check is not None and self._num_left > 0:
                self._num_left -= 1
                self._on_check(check)


def _read_line(line: bytes) -> VerificationCheck | None:
    try:
        said = json.loads(line)
        return _read_isolation(said["isolation"]) if "isolation" in said else _read_check(*said["check"])
    except (ValueError, TypeError, KeyError, AttributeError):
        return None


def _read_check(name: str, status: str, detail: str) -> VerificationCheck:
    return VerificationCheck.model_validate({"name": name, "status": status, "detail": clean_text(detail, limit=400)})


def _read_isolation(means: dict[str, str]) -> VerificationCheck:
    kept = [name for name in (means["network"], means["system_calls"]) if not name.startswith("none")]
    return VerificationCheck(
        name="isolation",
        status="passed" if kept else "skipped",
        detail=f"without network by {' and '.join(kept)}" if kept else "this machine offers no means to take the network away",
    )


def _read_checks(report: dict[str, Any]) -> tuple[VerificationCheck, ...]:
    return (_read_isolation(report["isolation"]), *(_read_check(*check) for check in report["checks"]))


def _make_examination(report: dict[str, Any]) -> Examination:
    error, samples = report.get("error"), report.get("samples") or {}
    status = "failed" if error else "verified" if samples else "unverified"
    return Examination(
        verification=Verification.model_validate({"status": status, "checks": _read_checks(report), **samples}),
        failure=_fail(str(error["code"]), str(error["detail"])) if error else None,
        onnx_opset=report.get("opset"),
        inputs=_read_specs(report.get("inputs", [])),
        outputs=_read_specs(report.get("outputs", [])),
    )


def _read_specs(specs: list[dict[str, Any]]) -> tuple[TensorSpec, ...]:
    return tuple(
        TensorSpec(
            name=clean_text(spec["name"], limit=200),
            dtype=clean_text(spec["dtype"], limit=50),
            shape=tuple(size if isinstance(size, int) else clean_text(size, limit=50) for size in spec["shape"]),
        )
        for spec in specs
    )


def describe_isolation() -> dict[str, str]:
    """Return what a verifying child on this machine is kept from; see :meth:`SandboxVerifier.describe_isolation`."""
    return SandboxVerifier(memory_mb=1024, timeout_s=10).describe_isolation()
