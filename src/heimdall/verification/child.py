"""The verifying child: isolates itself, checks one network, repeats its samples, prints a JSON line a check and one with all of it.

Started by :mod:`heimdall.verification.sandbox` with a clean environment; reads two files, writes none.
"""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any, Final, TextIO

from heimdall.verification.graph_checks import (
    CheckFailedError,
    check_domains,
    check_format,
    check_no_external_data,
    check_opset,
    load_graph,
)
from heimdall.verification.isolation import isolate

ABSOLUTE_TOLERANCE: Final = 1e-3
"""In the output's own unit (m for positions, m^2 for covariances)."""
RELATIVE_TOLERANCE: Final = 5e-5
"""Of the largest expected value of that output in that sample: some hundred float32 roundings, 2.5 m at 50 km."""
COVARIANCE_TOLERANCE: Final = 1e-3
"""The same for a covariance, which comes out of an exponential and a square: 0.05 % of a standard deviation."""
_COVARIANCE_OUTPUT: Final = "covariance_m2"
_POSITION_OUTPUT: Final = "position_enu_m"
_UNITS: Final = {_POSITION_OUTPUT: " m", _COVARIANCE_OUTPUT: " m²"}
_LATENCY_BUDGET_S: Final = 0.5
_LATENCY_MAX_RUNS: Final = 50
_MEMORY_WORDS: Final = (
    "bad_alloc",
    "bad allocation",
    "failed to allocate",
    "allocate memory",
    "out of memory",
    "exceeds the supported maximum",
)


class Report:
    """What the parent reads: a line for each step as it is done, and all of it in the last line."""

    def __init__(self, target: TextIO | None = None) -> None:
        self.values: dict[str, Any] = {"checks": []}
        self._target = target

    def isolated(self, means: dict[str, str]) -> None:
        """Note what the process is kept from."""
        self.values["isolation"] = means
        self._say({"isolation": means})

    def passed(self, name: str, detail: str) -> None:
        """Note a check that passed."""
        self._note(name, "passed", detail)

    def skipped(self, name: str, detail: str) -> None:
        """Note a check that could not be made."""
        self._note(name, "skipped", detail)

    def failed(self, name: str, error: CheckFailedError) -> None:
        """Note the check that ends it."""
        self._note(name, "failed", error.detail)
        self.values["error"] = {"code": error.code, "detail": error.detail}

    def _note(self, name: str, status: str, detail: str) -> None:
        self.values["checks"].append([name, status, detail])
        self._say({"check": [name, status, detail]})

    def _say(self, line: dict[str, Any]) -> None:
        if self._target is not None:
            self._target.write(json.dumps(line) + "\n")
            self._target.flush()


def examine(onnx_path: Path, samples_path: Path | None, report: Report) -> None:
    """Run every check in order; the first failure ends it."""
    step = "onnx"
    try:
        model = load_graph(onnx_path)
        step = "external_data"
        report.passed(step, check_no_external_data(model))
        step = "operators"
        report.passed(step, check_domains(model))
        step = "opset"
        report.values["opset"], detail = check_opset(model)
        report.passed(step, detail)
        del model  # a large network should not be held three times
        step = "onnx"
        report.passed(step, check_format(onnx_path))
        step = "load"
        session = _load(onnx_path)
        _describe(session, report)
        step = "samples"
        if samples_path is None:
            report.skipped(step, "the bundle has no samples that can be repeated")
        else:
            _repeat(session, samples_path, report)
    except CheckFailedError as error:
        report.failed(step, error)
    except UnicodeDecodeError:
        report.failed(step, CheckFailedError("onnx_invalid", "The network is not a valid ONNX file: a name in it is not text."))
    except MemoryError:
        report.failed(step, CheckFailedError("limits", "The network needs more memory than verification allows."))


def _is_memory(message: str) -> bool:
    return any(word in message.lower() for word in _MEMORY_WORDS)


def _list_runtime_errors() -> tuple[type[BaseException], ...]:
    """Return what onnxruntime raises: classes of its own without a common base, and what its binding turns into Python's."""
    from onnxruntime.capi import onnxruntime_pybind11_state as state

    own = [kind for kind in vars(state).values() if isinstance(kind, type) and issubclass(kind, Exception)]
    return (*own, RuntimeError, ValueError, TypeError)


def _run_guarded(action: Callable[[], Any], code: str, sentence: str) -> Any:  # noqa: ANN401
    """Call into onnxruntime and translate its errors."""
    try:
        return action()
    except _list_runtime_errors() as error:
        text = " ".join(str(error).split())[:300]
        if _is_memory(text):
            raise CheckFailedError("limits", f"The network needs more memory than verification allows ({text}).") from None
        raise CheckFailedError(code, f"{sentence}: {text}") from None


def _load(onnx_path: Path) -> Any:  # noqa: ANN401
    import onnxruntime

    onnxruntime.set_default_logger_severity(4)
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    options.execution_mode = onnxruntime.ExecutionMode.ORT_SEQUENTIAL
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_ENABLE_BASIC
    options.log_severity_level = 4
    options.enable_cpu_mem_arena = False

    def start() -> Any:  # noqa: ANN401
        return onnxruntime.InferenceSession(str(onnx_path), options, providers=["CPUExecutionProvider"])

    return _run_guarded(start, "onnx_load", "onnxruntime cannot load the network")


def _describe(session: Any, report: Report) -> None:  # noqa: ANN401
    def specs(nodes: Any) -> list[dict[str, Any]]:  # noqa: ANN401
        return [{"name": node.name, "dtype": _dtype(node.type), "shape": [_dimension(size) for size in node.shape]} for node in nodes]

    report.values["inputs"] = specs(session.get_inputs())
    report.values["outputs"] = specs(session.get_outputs())
    report.passed("load", f"onnxruntime loaded it: {len(report.values['inputs'])} inputs, {len(report.values['outputs'])} outputs")


def _dtype(text: str) -> str:
    inner = text.removeprefix("tensor(").removesuffix(")")
    return {"float": "float32", "double": "float64"}.get(inner, inner)


def _dimension(size: Any) -> int | str:  # noqa: ANN401
    return size if isinstance(size, int) else str(size or "any")


def _repeat(session: Any, samples_path: Path, report: Report) -> None:  # noqa: ANN401
    """Feed each stored input by itself and compare with what the exporter's machine answered."""
    inputs, expected = _read_samples(samples_path)
    names = {node.name for node in session.get_inputs()}
    outputs = [node.name for node in session.get_outputs()]
    if set(inputs) != names or not set(expected) <= set(outputs):
        raise CheckFailedError("sample_mismatch", "The samples' tensors are not named like the network's inputs and outputs.")
    asked = sorted(expected)
    total = len(next(iter(inputs.values())))
    matched = 0
    worst: dict[str, float] = {}
    for row in range(total):
        feed = {name: tensor[row : row + 1] for name, tensor in inputs.items()}
        answer = _run_guarded(partial(session.run, asked, feed), "sample_mismatch", f"Sample {row + 1} could not be run")
        differences = {name: _compare(name, got, expected[name][row : row + 1]) for name, got in zip(asked, answer, strict=True)}
        matched += all(is_close for is_close, _ in differences.values())
        for name, (_, difference) in differences.items():
            worst[name] = max(worst.get(name, 0.0), difference)
    report.values["samples"] = {
        "matched": matched,
        "total": total,
        "max_abs_diff_unit": "m" if _POSITION_OUTPUT in worst else None,
        "max_abs_diff": _finite(worst.get(_POSITION_OUTPUT, max(worst.values()))),
        "latency_ms": _measure_latency(session, asked, {name: tensor[:1] for name, tensor in inputs.items()}),
    }
    spelt = ", ".join(f"{name} {difference:.3g}{_UNITS.get(name, '')}" for name, difference in sorted(worst.items()))
    if matched < total:
        raise CheckFailedError(
            "sample_mismatch", f"Only {matched} of {total} samples give the stated output (largest difference: {spelt})."
        )
    report.passed("samples", f"{matched} of {total} samples match (largest difference: {spelt})")


def _read_samples(path: Path) -> tuple[dict[str, Any], dict[str, Any]]:
    from safetensors import SafetensorError
    from safetensors.numpy import load_file

    try:
        tensors = load_file(str(path))
    except (SafetensorError, KeyError, ValueError) as error:
        raise CheckFailedError("sample_mismatch", f"The samples cannot be read: {str(error)[:200]}") from None
    inputs = {name.removeprefix("input."): tensor for name, tensor in tensors.items() if name.startswith("input.")}
    expected = {name.removeprefix("expected."): tensor for name, tensor in tensors.items() if name.startswith("expected.")}
    lengths = {tensor.shape[0] if tensor.ndim else 0 for tensor in [*inputs.values(), *expected.values()]}
    if not inputs or not expected or len(lengths) != 1 or lengths == {0}:
        raise CheckFailedError("sample_mismatch", "The samples need inputs and expected outputs, as many of one as of the other.")
    return inputs, expected


def _compare(name: str, got: Any, wanted: Any) -> tuple[bool, float]:  # noqa: ANN401
    """Return whether two outputs agree within the tolerance, and their largest difference."""
    import numpy as np

    got = np.asarray(got)
    if got.shape != wanted.shape or got.size == 0 or got.dtype.kind not in "fiub":
        return False, float("inf")
    difference = np.abs(got.astype(np.float64) - wanted.astype(np.float64))
    if not np.all(np.isfinite(difference)):
        return False, float("inf")
    relative = COVARIANCE_TOLERANCE if name == _COVARIANCE_OUTPUT else RELATIVE_TOLERANCE
    tolerance = ABSOLUTE_TOLERANCE + relative * float(np.max(np.abs(wanted.astype(np.float64))))
    return bool(np.max(difference) <= tolerance), float(np.max(difference))


def _finite(value: float) -> float | None:
    return value if value < float("inf") else None


def _measure_latency(session: Any, outputs: list[str], feed: dict[str, Any]) -> float:  # noqa: ANN401
    """Return the median time of one example in ms, over at most half a second."""
    times: list[float] = []
    end = time.perf_counter() + _LATENCY_BUDGET_S
    while len(times) < _LATENCY_MAX_RUNS and (not times or time.perf_counter() < end):
        start = time.perf_counter()
        session.run(outputs, feed)
        times.append((time.perf_counter() - start) * 1e3)
    return sorted(times)[len(times) // 2]


def main(arguments: list[str]) -> int:
    """Run with ``MEMORY_BYTES CPU_S [ONNX [SAMPLES]]``; without a file only the isolation is reported."""
    result_file = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)
    memory_bytes, cpu_s = int(arguments[0]), int(arguments[1])
    report = Report(result_file)
    report.isolated(isolate(memory_bytes=memory_bytes, cpu_s=cpu_s))
    if len(arguments) > 2:
        examine(Path(arguments[2]), Path(arguments[3]) if len(arguments) > 3 else None, report)
    result_file.write(json.dumps(report.values))
    result_file.flush()
    os._exit(0)  # nothing of the network's may run on the way out


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
