"""Checks of an ONNX file that nobody trusts, before a runtime sees it. Runs in the verifying child only."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

STANDARD_DOMAINS: Final = frozenset({"", "ai.onnx", "ai.onnx.ml"})
MIN_OPSET: Final = 7
"""The oldest opset onnxruntime guarantees to run (its compatibility page); the newest is the installed onnx's own."""


class CheckFailedError(Exception):
    """A check said no: its code, and one sentence."""

    def __init__(self, code: str, detail: str) -> None:
        super().__init__(detail)
        self.code = code
        self.detail = detail


def load_graph(path: Path) -> Any:  # noqa: ANN401
    """Parse the file without following references to other files."""
    import onnx
    from google.protobuf.message import DecodeError  # type: ignore[import-untyped]

    try:
        model = onnx.load_model(str(path), load_external_data=False)
    except DecodeError:
        raise CheckFailedError("onnx_invalid", "The network is not an ONNX file, or it was cut off.") from None
    if not model.HasField("graph") or not model.opset_import:
        raise CheckFailedError("onnx_invalid", "The network is not an ONNX model: it has no graph or no opset.")
    return model


def _graphs(model: Any) -> Iterator[Any]:  # noqa: ANN401
    yield model.graph
    for training in model.training_info:
        yield training.initialization
        yield training.algorithm


def _walk_nodes(nodes: Any) -> Iterator[Any]:  # noqa: ANN401
    """Yield every node, those of subgraphs included."""
    for node in nodes:
        yield node
        for attribute in node.attribute:
            for graph in (*([attribute.g] if attribute.HasField("g") else []), *attribute.graphs):
                yield from _walk_nodes(graph.node)


def _walk_graphs(graph: Any) -> Iterator[Any]:  # noqa: ANN401
    yield graph
    for node in graph.node:
        for attribute in node.attribute:
            for inner in (*([attribute.g] if attribute.HasField("g") else []), *attribute.graphs):
                yield from _walk_graphs(inner)


def _attribute_tensors(nodes: Any) -> Iterator[Any]:  # noqa: ANN401
    for node in _walk_nodes(nodes):
        for attribute in node.attribute:
            yield from _tensors_of(attribute)


def _tensors_of(attribute: Any) -> Iterator[Any]:  # noqa: ANN401
    if attribute.HasField("t"):
        yield attribute.t
    yield from attribute.tensors
    for sparse in (*([attribute.sparse_tensor] if attribute.HasField("sparse_tensor") else []), *attribute.sparse_tensors):
        yield sparse.values
        yield sparse.indices


def _walk_tensors(model: Any) -> Iterator[Any]:  # noqa: ANN401
    for root in _graphs(model):
        for graph in _walk_graphs(root):
            yield from graph.initializer
            for sparse in graph.sparse_initializer:
                yield sparse.values
                yield sparse.indices
        yield from _attribute_tensors(root.node)
    for function in model.functions:
        yield from _attribute_tensors(function.node)
        for attribute in function.attribute_proto:
            yield from _tensors_of(attribute)


def check_no_external_data(model: Any) -> str:  # noqa: ANN401
    """Refuse a tensor, wherever it stands, whose values lie in another file."""
    import onnx

    num_tensors = 0
    for tensor in _walk_tensors(model):
        num_tensors += 1
        if tensor.data_location == onnx.TensorProto.EXTERNAL or tensor.external_data:
            name = tensor.name or "unnamed"
            raise CheckFailedError(
                "onnx_external_data", f"The tensor '{name}' keeps its values in another file; export the network as one file."
            )
    return f"{num_tensors} tensors, all inside the file"


def check_domains(model: Any) -> str:  # noqa: ANN401
    """Refuse operators outside the standard, wherever they stand."""
    num_nodes = 0
    nodes = [node for root in _graphs(model) for node in _walk_nodes(root.node)]
    nodes += [node for function in model.functions for node in _walk_nodes(function.node)]
    for node in nodes:
        num_nodes += 1
        if node.domain not in STANDARD_DOMAINS:
            detail = f"The operator '{node.op_type[:60]}' belongs to {node.domain[:60]!a}; only standard ONNX operators run here."
            raise CheckFailedError("onnx_domain", detail)
    for function in model.functions:
        if function.domain in STANDARD_DOMAINS:
            raise CheckFailedError("onnx_domain", f"The function '{function.name}' redefines a standard operator.")
    return f"{num_nodes} operators, all standard"


def check_opset(model: Any) -> tuple[int, str]:  # noqa: ANN401
    """Refuse opsets outside the range; returns the default domain's."""
    import onnx

    newest = {"": onnx.defs.onnx_opset_version(), "ai.onnx.ml": onnx.defs.onnx_ml_opset_version()}
    found = None
    for entry in [*model.opset_import, *(entry for function in model.functions for entry in function.opset_import)]:
        domain = "" if entry.domain == "ai.onnx" else entry.domain
        if domain not in newest:
            continue  # an import without operators: they were looked at one by one
        oldest = MIN_OPSET if domain == "" else 1
        if not oldest <= entry.version <= newest[domain]:
            span = f"{oldest} to {newest[domain]}"
            detail = f"Opset {entry.version} of '{domain or 'ai.onnx'}' cannot be run here, only {span}. Export with another opset."
            raise CheckFailedError("onnx_opset", detail)
        if domain == "" and found is None:
            found = int(entry.version)
    if found is None:
        raise CheckFailedError("onnx_opset", "The network names no opset of the standard operators.")
    return found, f"opset {found}"


def check_format(path: Path) -> str:
    """Run ONNX's own checker: operators, types, order (no cycles), declared sizes, shapes."""
    import onnx

    try:
        onnx.checker.check_model(str(path), full_check=True)
    except onnx.checker.ValidationError as error:
        raise CheckFailedError("onnx_invalid", f"The ONNX checker refused the network: {_first_line(error)}") from None
    except onnx.shape_inference.InferenceError as error:
        raise CheckFailedError("onnx_invalid", f"The network's shapes contradict each other: {_first_line(error)}") from None
    return "ONNX checker passed, shapes inferred"


def _first_line(error: BaseException) -> str:
    return next((line.strip() for line in str(error).splitlines() if line.strip()), type(error).__name__)[:300]
