"""Small real networks with our graph's inputs and outputs, and a zoo of hostile ones. Made by onnx.helper: no torch."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper
from safetensors.numpy import save_file

NUM_RECEIVERS, NUM_FEATURES = 3, 2


def make_network(*, scale: float = 1000.0, opset: int = 18) -> onnx.ModelProto:
    """position = scale * (sum of feature 0, sum of feature 1) over receivers; covariance = scale * unit matrix, plus nothing."""
    inputs = [
        helper.make_tensor_value_info("features", TensorProto.FLOAT, ["batch", "receivers", NUM_FEATURES]),
        helper.make_tensor_value_info("mask", TensorProto.BOOL, ["batch", "receivers"]),
        helper.make_tensor_value_info("receiver_index", TensorProto.INT64, ["batch", "receivers"]),
    ]
    outputs = [
        helper.make_tensor_value_info("position_enu_m", TensorProto.FLOAT, ["batch", 2]),
        helper.make_tensor_value_info("covariance_m2", TensorProto.FLOAT, ["batch", 2, 2]),
    ]
    constants = [
        numpy_helper.from_array(np.array([1], np.int64), "axis_1"),
        numpy_helper.from_array(np.array([2], np.int64), "axis_2"),
        numpy_helper.from_array(np.float32(scale), "scale"),
        numpy_helper.from_array(np.eye(2, dtype=np.float32)[None] * 400.0, "covariance"),
    ]
    nodes = [
        helper.make_node("Cast", ["mask"], ["mask_f"], to=TensorProto.FLOAT),
        helper.make_node("Unsqueeze", ["mask_f", "axis_2"], ["mask_3"]),
        helper.make_node("Mul", ["features", "mask_3"], ["present"]),
        helper.make_node("Cast", ["receiver_index"], ["index_f"], to=TensorProto.FLOAT),
        helper.make_node("Unsqueeze", ["index_f", "axis_2"], ["index_3"]),
        helper.make_node("Add", ["present", "index_3"], ["shifted"]),
        helper.make_node("ReduceSum", ["shifted", "axis_1"], ["sum"], keepdims=0),
        helper.make_node("Mul", ["sum", "scale"], ["position_enu_m"]),
        helper.make_node("ReduceMean", ["position_enu_m", "axis_1"], ["mean"], keepdims=1),
        helper.make_node("Unsqueeze", ["mean", "axis_2"], ["mean_3"]),
        helper.make_node("Sub", ["mean_3", "mean_3"], ["zero_3"]),
        helper.make_node("Add", ["zero_3", "covariance"], ["covariance_m2"]),
    ]
    graph = helper.make_graph(nodes, "small", inputs, outputs, constants)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=8)


def make_inputs(count: int, *, seed: int = 0) -> dict[str, Any]:
    rng = np.random.default_rng(seed)
    return {
        "features": rng.normal(size=(count, NUM_RECEIVERS, NUM_FEATURES)).astype(np.float32),
        "mask": rng.random((count, NUM_RECEIVERS)) < 0.8,
        "receiver_index": np.tile(np.arange(NUM_RECEIVERS, dtype=np.int64), (count, 1)),
    }


def make_samples(model: onnx.ModelProto, count: int = 10) -> dict[str, Any]:
    """What training stores: inputs, the outputs of the exported graph, the truth."""
    import onnxruntime

    session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    inputs = make_inputs(count)
    position, covariance = session.run(["position_enu_m", "covariance_m2"], inputs)
    return {
        **{f"input.{name}": tensor for name, tensor in inputs.items()},
        "expected.position_enu_m": position,
        "expected.covariance_m2": covariance,
        "truth.position_enu_m": position + np.float32(30.0),
    }


def write_network(folder: Path, model: onnx.ModelProto, samples: dict[str, Any] | None = None) -> tuple[Path, Path | None]:
    onnx_path = folder / "network.onnx"
    onnx_path.write_bytes(model.SerializeToString())
    if samples is None:
        return onnx_path, None
    samples_path = folder / "samples.safetensors"
    save_file(samples, str(samples_path))
    return onnx_path, samples_path


def _wrap(nodes: list[Any], *, initializers: list[Any] | None = None, opset: int = 18, domains: tuple[str, ...] = ()) -> onnx.ModelProto:
    graph = helper.make_graph(
        nodes,
        "hostile",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, [1])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["n"])],
        initializers or [],
    )
    imports = [helper.make_opsetid("", opset), *(helper.make_opsetid(domain, 1) for domain in domains)]
    return helper.make_model(graph, opset_imports=imports, ir_version=8)


def _external_tensor(location: str) -> onnx.TensorProto:
    tensor = TensorProto(name="w", data_type=TensorProto.FLOAT, dims=[4])
    tensor.data_location = TensorProto.EXTERNAL
    tensor.external_data.add(key="location", value=location)
    return tensor


def external_initializer(location: str = "../../../../etc/passwd") -> onnx.ModelProto:
    return _wrap([helper.make_node("Add", ["x", "w"], ["y"])], initializers=[_external_tensor(location)])


def external_constant() -> onnx.ModelProto:
    return _wrap(
        [helper.make_node("Constant", [], ["w"], value=_external_tensor("/etc/passwd")), helper.make_node("Add", ["x", "w"], ["y"])]
    )


def external_in_subgraph() -> onnx.ModelProto:
    branch = helper.make_graph(
        [helper.make_node("Identity", ["w"], ["z"])],
        "branch",
        [],
        [helper.make_tensor_value_info("z", TensorProto.FLOAT, ["n"])],
        [_external_tensor("secret.bin")],
    )
    condition = numpy_helper.from_array(np.array(True), "condition")
    return _wrap([helper.make_node("If", ["condition"], ["y"], then_branch=branch, else_branch=branch)], initializers=[condition])


def external_in_function() -> onnx.ModelProto:
    body = [helper.make_node("Constant", [], ["w"], value=_external_tensor("secret.bin")), helper.make_node("Add", ["a", "w"], ["b"])]
    function = helper.make_function("mine", "f", ["a"], ["b"], body, [helper.make_opsetid("", 18)])
    model = _wrap([helper.make_node("f", ["x"], ["y"], domain="mine")], domains=("mine",))
    model.functions.append(function)
    return model


def external_sparse() -> onnx.ModelProto:
    model = _wrap([helper.make_node("Identity", ["x"], ["y"])])
    sparse = model.graph.sparse_initializer.add()
    sparse.values.CopyFrom(_external_tensor("secret.bin"))
    return model


def custom_domain() -> onnx.ModelProto:
    return _wrap([helper.make_node("Launch", ["x"], ["y"], domain="com.evil")], domains=("com.evil",))


def contrib_domain_in_subgraph() -> onnx.ModelProto:
    branch = helper.make_graph(
        [helper.make_node("Gelu", ["x"], ["z"], domain="com.microsoft")],
        "branch",
        [],
        [helper.make_tensor_value_info("z", TensorProto.FLOAT, ["n"])],
    )
    condition = numpy_helper.from_array(np.array(True), "condition")
    nodes = [helper.make_node("If", ["condition"], ["y"], then_branch=branch, else_branch=branch)]
    return _wrap(nodes, initializers=[condition], domains=("com.microsoft",))


def shadowing_function() -> onnx.ModelProto:
    function = helper.make_function("", "Relu", ["a"], ["b"], [helper.make_node("Neg", ["a"], ["b"])], [helper.make_opsetid("", 18)])
    model = _wrap([helper.make_node("Relu", ["x"], ["y"])])
    model.functions.append(function)
    return model


def unknown_operator() -> onnx.ModelProto:
    return _wrap([helper.make_node("FormatDisk", ["x"], ["y"])])


def cyclic() -> onnx.ModelProto:
    return _wrap(
        [helper.make_node("Add", ["x", "b"], ["a"]), helper.make_node("Add", ["a", "x"], ["b"]), helper.make_node("Neg", ["b"], ["y"])]
    )


def future_opset() -> onnx.ModelProto:
    return _wrap([helper.make_node("Identity", ["x"], ["y"])], opset=99)


def ancient_opset() -> onnx.ModelProto:
    return _wrap([helper.make_node("Identity", ["x"], ["y"])], opset=1)


def giant_declared_tensor() -> onnx.ModelProto:
    tensor = TensorProto(name="w", data_type=TensorProto.FLOAT, dims=[1 << 28], raw_data=b"\x00" * 16)  # says 1 GB, holds 16 bytes
    return _wrap([helper.make_node("Add", ["x", "w"], ["y"])], initializers=[tensor])


def giant_computed_tensor() -> onnx.ModelProto:
    """A few bytes that ask for 4 TB when they run."""
    shape = numpy_helper.from_array(np.array([1 << 40], np.int64), "shape")
    return _wrap([helper.make_node("Expand", ["x", "shape"], ["big"]), helper.make_node("ReduceSum", ["big"], ["y"])], initializers=[shape])


def endless_loop() -> onnx.ModelProto:
    body = helper.make_graph(
        [helper.make_node("Identity", ["go"], ["go_on"]), helper.make_node("Add", ["state", "state"], ["next"])],
        "body",
        [
            helper.make_tensor_value_info("i", TensorProto.INT64, []),
            helper.make_tensor_value_info("go", TensorProto.BOOL, []),
            helper.make_tensor_value_info("state", TensorProto.FLOAT, [1]),
        ],
        [helper.make_tensor_value_info("go_on", TensorProto.BOOL, []), helper.make_tensor_value_info("next", TensorProto.FLOAT, [1])],
    )
    constants = [numpy_helper.from_array(np.array(2**62), "trips"), numpy_helper.from_array(np.array(True), "always")]
    return _wrap([helper.make_node("Loop", ["trips", "always", "x"], ["y"], body=body)], initializers=constants)


def external_in_training() -> onnx.ModelProto:
    model = _wrap([helper.make_node("Identity", ["x"], ["y"])])
    training = model.training_info.add()
    training.algorithm.initializer.append(_external_tensor("../secret.bin"))
    return model


def external_absolute() -> onnx.ModelProto:
    return external_initializer("/proc/self/environ")


def write_nested(depth: int) -> bytes:
    """Subgraphs in subgraphs, written by hand: a parser or a walk that calls itself for each would fall over."""

    def field(number: int, content: bytes) -> bytes:
        size, text = len(content), b""
        while size > 0x7F:
            text += bytes([size & 0x7F | 0x80])
            size >>= 7
        return bytes([number << 3 | 2]) + text + bytes([size]) + content

    graph = b""
    for _ in range(depth):
        graph = field(1, field(5, field(6, graph)))  # GraphProto.node, NodeProto.attribute, AttributeProto.g
    return b"\x08\x08" + field(7, graph) + field(8, b"\x10\x12")  # ModelProto.ir_version, .graph, .opset_import


def functions_that_call_each_other() -> onnx.ModelProto:
    model = _wrap([helper.make_node("f", ["x"], ["y"], domain="mine")], domains=("mine",))
    imports = [helper.make_opsetid("", 18), helper.make_opsetid("mine", 1)]
    for own, other in (("f", "g"), ("g", "f")):
        model.functions.append(
            helper.make_function("mine", own, ["a"], ["b"], [helper.make_node(other, ["a"], ["b"], domain="mine")], imports)
        )
    return model


def python_operator() -> onnx.ModelProto:
    return _wrap([helper.make_node("PyOp", ["x"], ["y"], domain="ai.onnx.contrib")], domains=("ai.onnx.contrib",))


def domain_that_looks_standard() -> onnx.ModelProto:
    return _wrap([helper.make_node("Relu", ["x"], ["y"], domain="ai.onnx\u200b")], domains=("ai.onnx\u200b",))


def names_that_steer_a_terminal() -> onnx.ModelProto:
    name = "\x1b]0;owned\x07\x1b[2J<script>alert(1)</script>\u202e../../etc/passwd" + "n" * 10_000
    return _wrap([helper.make_node("FormatDisk", ["x"], [name], name=name), helper.make_node("Identity", [name], ["y"])])


def two_values_of_one_name() -> onnx.ModelProto:
    return _wrap([helper.make_node("Identity", ["x"], ["y"]), helper.make_node("Neg", ["x"], ["y"])])


def negative_dimension() -> onnx.ModelProto:
    tensor = TensorProto(name="w", data_type=TensorProto.FLOAT, dims=[-1], raw_data=b"\x00" * 16)
    return _wrap([helper.make_node("Add", ["x", "w"], ["y"])], initializers=[tensor])


def overflowing_dimensions() -> onnx.ModelProto:
    """Sizes whose product is 0 in 64 bits."""
    tensor = TensorProto(name="w", data_type=TensorProto.FLOAT, dims=[1 << 32, 1 << 32], raw_data=b"")
    return _wrap([helper.make_node("Add", ["x", "w"], ["y"])], initializers=[tensor])


def giant_at_load() -> onnx.ModelProto:
    """A constant that an optimizer would compute while loading: 4 TB."""
    shape = numpy_helper.from_array(np.array([1 << 40], np.int64), "shape")
    nodes = [
        helper.make_node("ConstantOfShape", ["shape"], ["big"]),
        helper.make_node("ReduceSum", ["big"], ["sum"]),
        helper.make_node("Add", ["x", "sum"], ["y"]),
    ]
    return _wrap(nodes, initializers=[shape])


def giant_tile() -> onnx.ModelProto:
    repeats = numpy_helper.from_array(np.array([1 << 38], np.int64), "repeats")
    return _wrap(
        [helper.make_node("Tile", ["x", "repeats"], ["big"]), helper.make_node("ReduceSum", ["big"], ["y"])], initializers=[repeats]
    )


def giant_range() -> onnx.ModelProto:
    ends = [numpy_helper.from_array(np.array(value, np.int64), name) for name, value in (("from", 0), ("to", 1 << 45), ("by", 1))]
    nodes = [
        helper.make_node("Range", ["from", "to", "by"], ["big"]),
        helper.make_node("Cast", ["big"], ["cast"], to=TensorProto.FLOAT),
        helper.make_node("ReduceSum", ["cast"], ["sum"]),
        helper.make_node("Add", ["x", "sum"], ["y"]),
    ]
    return _wrap(nodes, initializers=ends)


def name_of_two_megabytes() -> onnx.ModelProto:
    """More text than the verifying process may answer."""
    name = "y" * 2_000_000
    inputs, outputs = ([helper.make_tensor_value_info(each, TensorProto.FLOAT, ["b", 4])] for each in ("x", name))
    graph = helper.make_graph([helper.make_node("Identity", ["x"], [name])], "g", inputs, outputs)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=8)


HOSTILE: dict[str, tuple[Any, str]] = {
    "a name of two megabytes": (name_of_two_megabytes, "limits"),
    "external initializer": (external_initializer, "onnx_external_data"),
    "external constant": (external_constant, "onnx_external_data"),
    "external in a subgraph": (external_in_subgraph, "onnx_external_data"),
    "external in a function": (external_in_function, "onnx_external_data"),
    "external in a sparse tensor": (external_sparse, "onnx_external_data"),
    "external in training": (external_in_training, "onnx_external_data"),
    "external by an absolute path": (external_absolute, "onnx_external_data"),
    "functions that call each other": (functions_that_call_each_other, "onnx_domain"),
    "an operator in Python": (python_operator, "onnx_domain"),
    "a domain that looks standard": (domain_that_looks_standard, "onnx_domain"),
    "names that steer a terminal": (names_that_steer_a_terminal, "onnx_invalid"),
    "two values of one name": (two_values_of_one_name, "onnx_invalid"),
    "a negative dimension": (negative_dimension, "onnx_invalid"),
    "dimensions whose product overflows": (overflowing_dimensions, "onnx_invalid"),
    "custom domain": (custom_domain, "onnx_domain"),
    "contrib domain in a subgraph": (contrib_domain_in_subgraph, "onnx_domain"),
    "function that redefines a standard operator": (shadowing_function, "onnx_domain"),
    "unknown operator": (unknown_operator, "onnx_invalid"),
    "cyclic graph": (cyclic, "onnx_invalid"),
    "opset from the future": (future_opset, "onnx_opset"),
    "opset from the past": (ancient_opset, "onnx_opset"),
    "1 GB declared, 16 bytes there": (giant_declared_tensor, "onnx_invalid"),
}
"""Name to maker and the code of the check that must refuse it, samples or not."""

HOSTILE_AT_RUN: dict[str, tuple[Any, str]] = {
    "4 TB asked for at run": (giant_computed_tensor, "limits"),
    "4 TB asked for at load": (giant_at_load, "limits"),
    "4 TB by a tile": (giant_tile, "limits"),
    "a range without end": (giant_range, "limits"),
    "endless loop": (endless_loop, "limits"),
}
"""As above, but only running them shows it."""
