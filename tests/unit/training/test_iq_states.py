"""Weights of networks on samples that were stored before their classes were put together still load and mean the same."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import safetensors.torch
import torch

from heimdall.datasets.observations import fit_arrival_law
from heimdall.datasets.storage import DatasetArrays
from heimdall.training.architectures.arrival_layer import ArrivalLayer
from heimdall.training.architectures.iq_encoder import IqEncoder, IqLocalizer
from heimdall.training.architectures.iq_front import IqFront
from heimdall.training.architectures.iq_residual import IqResidualLocalizer
from heimdall.training.architectures.localizer import Localizer
from heimdall.training.architectures.radio_map_layer import NUM_ESTIMATE
from heimdall.training.preparation import describe_samples
from heimdall.training.scaling import fit_scaling
from tests.unit.training.test_iq_encoder import take

STORED = Path(__file__).parent / "iq_states"
"""Files of 2026-11-28: state dict as ``state.*``, and position [4, 2] and factor [4, 3] of the first four examples as ``said.*``."""


def build(kind: str, arrays: DatasetArrays) -> Localizer:
    """A network of the smallest sizes in the frame of the tests' data set."""
    torch.manual_seed(1)
    rows = np.arange(len(arrays))
    scaling = fit_scaling(arrays, rows)
    front = IqFront(describe_samples(arrays), scaling.target_scale_m)
    sizes = {"width": 8, "embedding": 2, "heads": 2, "head_width": 8, "channels": 4, "dropout": 0.0, "receiver_dropout": 0.0}
    num_context = 0 if kind == "iq-encoder" else NUM_ESTIMATE
    network = IqEncoder(len(arrays.feature_names), len(arrays.receivers), **sizes, num_outputs=5, num_context=num_context)
    if kind == "iq-encoder":
        return IqLocalizer(network, scaling, front=front)
    layer = ArrivalLayer(fit_arrival_law(arrays, rows), arrays)
    return IqResidualLocalizer(network, scaling, layer, front=front, strength_column=arrays.feature_index("rssi_dbm"))


def ask(model: Localizer, arrays: DatasetArrays) -> dict[str, torch.Tensor]:
    given = {name: torch.from_numpy(values) for name, values in take(arrays, np.arange(4)).items()}
    with torch.no_grad():
        found = model.eval()(given["features"], given["mask"], given["receiver_index"], given["iq"])
    return {"said.position": found.position_B2.contiguous(), "said.factor": found.cholesky_B3.contiguous()}


@pytest.mark.parametrize("kind", ["iq-encoder", "iq-residual-s"])
def test_a_state_that_was_stored_before_loads_and_says_the_same(small_arrays, kind):
    stored = safetensors.torch.load_file(STORED / f"{kind}.safetensors")
    model = build(kind, small_arrays)
    with torch.no_grad():
        for weight in model.parameters():
            weight.zero_()  # what is said must come of the file
    model.load_state_dict({name.removeprefix("state."): value for name, value in stored.items() if name.startswith("state.")})
    for name, value in ask(model, small_arrays).items():
        torch.testing.assert_close(value, stored[name], rtol=1e-4, atol=1e-5)
