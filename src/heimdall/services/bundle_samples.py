"""Held-out examples between their three forms: the model's artifact, a bundle's samples, and what a person reads.

NumPy and safetensors are imported when they are needed, so that a process that never exports stays small.
"""

from __future__ import annotations

import base64
import binascii
import math
from typing import TYPE_CHECKING, Any, Final

from heimdall.domain.bundles import COVARIANCE_OUTPUT, POSITION_OUTPUT, Bundle, BundleSample
from heimdall.domain.datasets import CoordinateFrame
from heimdall.domain.errors import BundleError
from heimdall.domain.models import TrainedModelDetail

if TYPE_CHECKING:
    import numpy as np

    Tensors = dict[str, np.ndarray[Any, Any]]

INPUT: Final = "input."
EXPECTED: Final = "expected."
TRUTH_POSITION: Final = f"truth.{POSITION_OUTPUT}"


def make_sample_blocks(data: bytes, model: TrainedModelDetail, count: int) -> list[dict[str, Any]]:
    """Return the first ``count`` examples of a samples artifact as ``sample_predictions``.

    Parameters
    ----------
    data
        safetensors with ``input.*`` and ``expected.*`` [N, ...] and ``truth.position_enu_m`` [N, 2] in m.
    """
    from safetensors.numpy import load

    tensors: Tensors = load(data)
    total = min((len(tensor) for name, tensor in tensors.items() if name.startswith(INPUT)), default=0)
    return [_make_sample_block(tensors, model, row) for row in range(min(count, total))]


def _make_sample_block(tensors: Tensors, model: TrainedModelDetail, row: int) -> dict[str, Any]:
    truth = _row(tensors, TRUTH_POSITION, row)
    position = _row(tensors, EXPECTED + POSITION_OUTPUT, row)
    covariance = _row(tensors, EXPECTED + COVARIANCE_OUTPUT, row)
    sigma_x = _root(covariance[0][0]) if covariance else None
    sigma_y = _root(covariance[1][1]) if covariance else None
    error = math.dist(truth, position) if truth and position else None
    return {
        "sample_id": f"held-out-{row + 1}",
        "input_metadata": _describe_input(tensors, model, row),
        "ground_truth": _locate(model.coordinate_frame, truth),
        "prediction": {**_locate(model.coordinate_frame, position), "uncertainty_x": sigma_x, "uncertainty_y": sigma_y},
        "error_meters": error if error is not None and math.isfinite(error) else None,
        "input_base64": _pack(tensors, INPUT, row),
        "expected_output_base64": _pack(tensors, EXPECTED, row),
    }


def _row(tensors: Tensors, name: str, row: int) -> Any:  # noqa: ANN401
    tensor = tensors.get(name)
    return None if tensor is None or row >= len(tensor) else tensor[row].tolist()


def _root(variance: float) -> float | None:
    return math.sqrt(variance) if math.isfinite(variance) and variance >= 0 else None


def _locate(frame: CoordinateFrame | None, position: list[float] | None) -> dict[str, float | None]:
    """Return latitude and longitude (deg) of an east-north position (m), at the height of the frame's origin."""
    if frame is None or position is None or not all(map(math.isfinite, position)):
        return {"latitude": None, "longitude": None}
    import numpy as np

    from heimdall.rf.geodesy import enu_to_geodetic, put_on_ellipsoid

    point = put_on_ellipsoid(frame, np.array([position[0]]), np.array([position[1]]), frame.altitude_m)
    latitude, longitude, _ = enu_to_geodetic(frame, point)
    return {"latitude": float(latitude[0]), "longitude": float(longitude[0])}


def _describe_input(tensors: Tensors, model: TrainedModelDetail, row: int) -> dict[str, Any]:
    """Say how many receivers the example has, and how many of them heard the signal."""
    described: dict[str, Any] = {}
    mask = tensors.get(f"{INPUT}mask")
    if mask is not None:
        described["receivers_present"] = int(mask[row].sum())
    names = [feature.name for feature in model.features]
    features = tensors.get(f"{INPUT}features")
    if features is not None and mask is not None and "heard" in names:
        described["receivers_heard"] = int(((features[row, :, names.index("heard")] > 0.5) & mask[row]).sum())
    return described


def _pack(tensors: Tensors, prefix: str, row: int) -> str:
    import numpy as np
    from safetensors.numpy import save

    one = {
        name.removeprefix(prefix): np.ascontiguousarray(tensor[row : row + 1])
        for name, tensor in tensors.items()
        if name.startswith(prefix)
    }
    return base64.b64encode(save(one)).decode()


def join_samples(bundle: Bundle) -> bytes | None:
    """Return a bundle's repeatable samples as a samples artifact, None where it has none.

    Raises
    ------
    BundleError
        Code ``bundle_schema`` with the JSON path, where a sample is no safetensors or unlike the first.
    """
    import numpy as np
    from safetensors.numpy import save

    rows: list[Tensors] = []
    for index, sample in enumerate(bundle.sample_predictions or ()):
        if not sample.is_repeatable:
            continue
        path = f"$.sample_predictions[{index}]"
        tensors = {INPUT + name: tensor for name, tensor in _unpack(sample.input_base64 or "", f"{path}.input_base64").items()}
        outputs = _unpack(sample.expected_output_base64 or "", f"{path}.expected_output_base64")
        tensors |= {EXPECTED + name: tensor for name, tensor in outputs.items()}
        tensors |= _read_truth(sample, bundle.frame)
        if rows and _shapes(tensors) != _shapes(rows[0]):
            raise BundleError("This sample's tensors are unlike those of the samples before it.", field=path, code="bundle_schema")
        rows.append(tensors)
    if not rows:
        return None
    return bytes(save({name: np.concatenate([row[name] for row in rows]) for name in rows[0]}))


def _shapes(tensors: Tensors) -> dict[str, Any]:
    return {name: (tensor.dtype, tensor.shape) for name, tensor in tensors.items()}


def _unpack(text: str, path: str) -> Tensors:
    from safetensors import SafetensorError
    from safetensors.numpy import load

    try:
        tensors: Tensors = load(base64.b64decode(text, validate=True))
    except (binascii.Error, ValueError, SafetensorError, KeyError, AttributeError) as error:
        reason = str(error)[:100] or type(error).__name__
        raise BundleError(f"This sample is not base64 of safetensors ({reason}).", field=path, code="bundle_schema") from None
    if not tensors or any(tensor.ndim == 0 or len(tensor) != 1 for tensor in tensors.values()):
        raise BundleError("Each tensor of a sample must hold exactly one example (first dimension 1).", field=path, code="bundle_schema")
    return tensors


def _read_truth(sample: BundleSample, frame: CoordinateFrame | None) -> Tensors:
    """Return the true position in the frame [1, 2] m; NaN where the bundle has none, so that samples stay alike."""
    import numpy as np

    if frame is None:
        return {}
    truth = sample.ground_truth
    if truth is None or truth.latitude is None or truth.longitude is None:
        return {TRUTH_POSITION: np.full((1, 2), np.nan, np.float32)}
    from heimdall.rf.geodesy import geodetic_to_enu

    point = geodetic_to_enu(frame, np.array([truth.latitude]), np.array([truth.longitude]), np.array([frame.altitude_m]))
    return {TRUTH_POSITION: point[:, :2].astype(np.float32)}
