"""Peak memory of exporting and importing a large network, each in a process of its own.

Run: ``.venv/bin/python -m bench.bundle_memory [--mb 1000]``. The network is one MatMul with a constant of that size, so it is a
real ONNX file; the figures are the peak resident set (``ru_maxrss``) before and after, in MB, and the time.
``--verify`` also runs the network in the verifying child and prints the child's own peak.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

from bench.reporting import print_table

MB = 1_000_000
STEPS = ("make", "export", "import")


def peak_mb() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 / MB


def make_network(path: Path, size_mb: int) -> None:
    """Write a valid network by hand, piece by piece: a header, one initializer of ``size_mb``, and the end."""
    from onnx import TensorProto, helper

    columns = 1000
    rows = size_mb * MB // (4 * columns)
    tensor = TensorProto(name="w", data_type=TensorProto.FLOAT, dims=[rows, columns])
    graph = helper.make_graph(
        [helper.make_node("Gather", ["w", "receiver_index"], ["position_enu_m"])],
        "large",
        [helper.make_tensor_value_info("receiver_index", TensorProto.INT64, ["batch"])],
        [helper.make_tensor_value_info("position_enu_m", TensorProto.FLOAT, ["batch", columns])],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=8)
    size = rows * columns * 4
    tensor_head = tensor.SerializeToString() + _field(9, size)
    graph_head = graph.SerializeToString() + _field(5, len(tensor_head) + size)
    model.ClearField("graph")
    head = model.SerializeToString() + _field(7, len(graph_head) + len(tensor_head) + size) + graph_head + tensor_head
    with path.open("wb") as target:
        target.write(head)
        piece = bytes(range(251)) * 4
        for start in range(0, size, len(piece) * 1000):
            target.write((piece * 1000)[: size - start])


def _field(number: int, length: int) -> bytes:
    """Return a protobuf key of wire type 2 and its length."""
    out = bytearray()
    for value in (number << 3 | 2, length):
        while value > 0x7F:
            out.append(value & 0x7F | 0x80)
            value >>= 7
        out.append(value)
    return bytes(out)


def export(folder: Path) -> None:
    from heimdall.domain.models import ExportOptions, FinalMetrics, TrainedModelDetail, Verification

    service = make_service(folder)
    onnx = folder / "network.onnx"
    digest = hashlib.sha256()
    with onnx.open("rb") as source:
        while data := source.read(MB):
            digest.update(data)
    model = TrainedModelDetail(
        id="large",
        name="large",
        version=1,
        architecture="bench",
        created_at=datetime.now(UTC),
        onnx_path="models/large/model.onnx",
        final_metrics=FinalMetrics(),
        sha256=digest.hexdigest(),
        size_bytes=onnx.stat().st_size,
        onnx_opset=18,
        verification=Verification(status="unverified"),
    )
    service.artifacts.put(model.onnx_path, onnx)
    with service.store.write() as tx:
        tx.models.add(model)

    def run() -> None:
        with (folder / "large.heimdall").open("wb") as target:
            target.writelines(service.bundles.export("large", ExportOptions())[1])

    measure(run)


def import_(folder: Path, *, verify: bool) -> None:
    service = make_service(folder / "second", verify=verify)
    measure(lambda: service.bundles.import_file(folder / "large.heimdall"))


def make_service(folder: Path, *, verify: bool = False):
    from types import SimpleNamespace

    from heimdall.domain.models import Examination, Verification
    from heimdall.services.bundles import BundleService
    from heimdall.storage.artifacts import open_artifacts
    from heimdall.storage.memory import MemoryStore
    from heimdall.verification.sandbox import SandboxVerifier

    folder.mkdir(exist_ok=True)
    store, artifacts = MemoryStore(), open_artifacts(str(folder / "artifacts"))
    clock = SimpleNamespace(now=lambda: datetime.now(UTC))
    skipped = SimpleNamespace(examine=lambda *_: Examination(verification=Verification(status="unverified")))
    verifier = SandboxVerifier(memory_mb=8192, timeout_s=300) if verify else skipped
    bundles = BundleService(store=store, artifacts=artifacts, verifier=verifier, clock=clock, max_bytes=10**11)
    return SimpleNamespace(store=store, artifacts=artifacts, bundles=bundles)


def measure(action: Callable[[], object]) -> None:
    """Print one line for the process that asked: s, MB of this one before, MB that came on top, MB of the verifying child."""
    before, start = peak_mb(), time.perf_counter()
    action()
    child_mb = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss * 1024 / MB
    print(json.dumps({"seconds": time.perf_counter() - start, "base_mb": before, "extra_mb": peak_mb() - before, "child_mb": child_mb}))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--mb", type=int, default=1000)
    parser.add_argument("--verify", action="store_true")
    parser.add_argument("--step", choices=STEPS)
    parser.add_argument("--folder", type=Path)
    options = parser.parse_args()
    if options.step == "make":
        make_network(options.folder / "network.onnx", options.mb)
    elif options.step == "export":
        export(options.folder)
    elif options.step == "import":
        import_(options.folder, verify=options.verify)
    else:
        further = ["--verify"] if options.verify else []
        with tempfile.TemporaryDirectory() as folder:
            command = [sys.executable, "-m", "bench.bundle_memory", "--mb", str(options.mb), "--folder", folder, *further, "--step"]
            said = {step: subprocess.run([*command, step], check=True, stdout=subprocess.PIPE, text=True) for step in STEPS}
        print_table(f"bundle of a network of {options.mb} MB", {step: json.loads(said[step].stdout) for step in STEPS[1:]})


if __name__ == "__main__":
    main()
