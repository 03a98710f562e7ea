"""Delay survives from samples to position: what the front finds, what the network makes of it, and who may train it."""

from __future__ import annotations

import numpy as np
import onnx
import pytest
import safetensors.numpy
import torch

from heimdall.datasets.manifest import FEATURES
from heimdall.datasets.storage import DatasetArrays, DatasetWriter, ExampleChunk, open_dataset
from heimdall.domain.datasets import CoordinateFrame, DatasetKind, Receiver, Split
from heimdall.domain.errors import TrainingError
from heimdall.domain.training import ModelDraft
from heimdall.training import preparation
from heimdall.training.architectures.iq_front import IqFront, Samples
from heimdall.training.export import open_session, run_session
from heimdall.training.loop import train
from tests.unit.training.lab import IQ, Lab, MemorySink, make_samples, write_dataset

COUNT = 6
SCALE_M = 10_000.0


def place_receivers() -> np.ndarray:
    turn = np.arange(COUNT) * (2 * np.pi / COUNT)
    return np.stack([20_000 * np.cos(turn), 20_000 * np.sin(turn), np.zeros(COUNT)], axis=1)


def write_delays(folder, num_examples: int) -> DatasetArrays:
    """Transmitters that only the samples tell of: the tokens say who heard, and where receivers stand."""
    rng = np.random.default_rng(4)
    target, receiver_m = rng.uniform(-15_000, 15_000, (num_examples, 2)), place_receivers()
    distance_m = np.linalg.norm(target[:, None] - receiver_m[None, :, :2], axis=2)
    mask = rng.random(distance_m.shape) > 0.1
    mask[:, :3] = True
    columns = [mask, *(np.broadcast_to(receiver_m[:, axis] / 1000, mask.shape) for axis in range(3))]
    names = ("heard", "rx_east_km", "rx_north_km", "rx_up_km")
    folder.mkdir()
    with DatasetWriter(
        folder,
        num_tokens=COUNT,
        receivers=tuple(Receiver(id=f"r{index}", name="", latitude=45.0, longitude=7.0) for index in range(COUNT)),
        features=tuple(FEATURES[name] for name in names),
        iq=IQ,
        num_samples=512,
    ) as writer:
        writer.append(
            ExampleChunk(
                features=(np.stack(columns, axis=2) * mask[..., None]).astype(np.float32),
                mask=mask,
                receiver_index=np.where(mask, np.arange(COUNT), 0).astype(np.int16),
                target=target,
                target_up=np.zeros(num_examples),
                group=(np.arange(num_examples) % 20).astype(np.int32),
                time=np.zeros(num_examples),
                receiver_enu=np.where(mask[..., None], receiver_m, 0).astype(np.float32),
                iq=make_samples(rng, distance_m / 299_792_458, 512) * mask[..., None, None],
            )
        )
        writer.finish(
            kind=DatasetKind.SYNTHETIC,
            frame=CoordinateFrame(latitude=45, longitude=7),
            split=Split(column="cell", num_groups=0),
            groups=("cell",),
            accuracy_radius_m=1000.0,
        )
    return open_dataset(folder)


@pytest.fixture(scope="module")
def delays(tmp_path_factory) -> DatasetArrays:
    return write_delays(tmp_path_factory.mktemp("delays") / "d", 1200)


@pytest.fixture(scope="module")
def learned(delays, tmp_path_factory) -> ModelDraft:
    """The network trained once for all tests that ask what it learned."""
    config = {"model_architecture": "iq-encoder", "epochs": 12, "batch_size": 32, "learning_rate": 3e-3, "validation_split": 0.2}
    draft = train(Lab(tmp_path_factory.mktemp("learned"), delays).request(**config), MemorySink()).model
    assert draft is not None
    return draft


def take(arrays: DatasetArrays, rows: np.ndarray) -> dict[str, np.ndarray]:
    """The inputs of an exported graph."""
    return {
        "features": np.ascontiguousarray(arrays.features[rows]),
        "mask": np.ascontiguousarray(arrays.mask[rows]),
        "receiver_index": arrays.receiver_index[rows].astype(np.int64),
        "iq": np.ascontiguousarray(arrays.iq[rows]),
    }


def test_the_network_learned_from_delays_and_knows_nothing_without_them(delays, learned):
    rows = safetensors.numpy.load_file(learned.evaluation_path)["row"]
    inputs = take(delays, rows)
    # Each receiver keeps samples of its kind, but of another transmission than the others' samples: no pair has a delay.
    strangers = np.stack([np.roll(inputs["iq"][:, index], index + 1, axis=0) for index in range(COUNT)], axis=1)
    session = open_session(learned.onnx_path)
    places = [run_session(session, inputs | {"iq": iq})[0] for iq in (inputs["iq"], strangers)]
    whole, without = (float(np.median(np.hypot(*(place - delays.target[rows]).T))) for place in places)
    assert whole == pytest.approx(learned.final_metrics.val_error_median_m, rel=0.01)
    print(f"median error {whole:.0f} m with delays, {without:.0f} m without")
    assert without > 8_000  # half of the region lies farther off than 11.5 km from its middle
    assert whole < 0.25 * without


def make_front(delay_s, frequency_hz, seed=0):
    """One example as the front takes it."""
    rng = np.random.default_rng(seed)
    iq = make_samples(rng, np.asarray(delay_s)[None], 3200).astype(np.float64)
    time_s = (np.arange(3200) - 1600) / IQ.sample_rate_hz
    turned = (iq[..., 0] + 1j * iq[..., 1]) * np.exp(2j * np.pi * np.asarray(frequency_hz)[None, :, None] * time_s)
    samples = Samples(IQ.sample_rate_hz, IQ.bandwidth_hz, 3200, 100_000.0, heard_column=0, frequency_column=1)
    features = np.stack([np.ones(len(delay_s)), frequency_hz], axis=1)[None].astype(np.float32)
    iq = np.clip(np.rint(np.stack([turned.real, turned.imag], axis=3)), -128, 127).astype(np.int8)
    return IqFront(samples, SCALE_M), torch.from_numpy(iq), torch.from_numpy(features)


def test_the_front_finds_the_delay_of_every_pair_and_its_error():
    delay_s, frequency_hz = np.array([0.0, 31.7e-6, -140e-6, 222.2e-6]), np.array([0.0, 12.0, -35.0, 3.3])
    front, iq, features = make_front(delay_s, frequency_hz)
    views = front(iq, features, torch.ones(1, 4, dtype=torch.bool))
    found_s = views.pairs_BRRP[0, ..., 0].double().numpy() * front.unit_s
    np.testing.assert_allclose(found_s, delay_s[:, None] - delay_s[None], atol=1e-6)
    off = ~np.eye(4, dtype=bool)
    stated_s = np.exp(5 * views.pairs_BRRP[0, ..., 2].numpy()) * front.unit_s
    assert (stated_s[off] > 2e-8).all()
    assert (stated_s[off] < 1e-6).all()
    assert (views.pairs_BRRP[0, ..., 1].numpy()[off] > 0.9).all()
    level = views.level_BR2T.square().sum(dim=2).mean(dim=2)
    torch.testing.assert_close(level, torch.ones_like(level), rtol=1e-4, atol=1e-4)


def test_carriers_that_nobody_made_equal_hide_the_delay():
    front, iq, features = make_front([0.0, 30e-6], [0.0, 20.0])
    features[..., 1] = 0.0
    views = front(iq, features, torch.ones(1, 2, dtype=torch.bool))
    assert views.pairs_BRRP[0, 0, 1, 1] < 0.3


def test_only_pairs_that_both_heard_count():
    front, iq, features = make_front([0.0, 30e-6, 60e-6, 0.0], [0.0, 0.0, 0.0, 0.0])
    features[0, 1, 0] = 0.0
    views = front(iq, features, torch.tensor([[True, True, True, False]]))
    assert views.mask_BRR[0].nonzero().tolist() == [[0, 2], [2, 0]]
    assert (views.pairs_BRRP[~views.mask_BRR] == 0).all()


def test_pairs_that_are_known_give_the_same_views():
    front, iq, features = make_front([0.0, 30e-6, 60e-6], [0.0, 3.0, -4.0])
    mask = torch.ones(1, 3, dtype=torch.bool)
    views = front(iq, features, mask)
    for part, again in zip(views, front(iq, features, mask, views.pairs_BRRP), strict=True):
        assert torch.equal(part, again)


@pytest.mark.parametrize("architecture", ["iq-encoder", "iq-residual-s"])
def test_pairs_found_before_training_change_no_curve(lab, architecture, monkeypatch):
    def learn() -> MemorySink:
        sink = MemorySink()
        train(lab.request(model_architecture=architecture, epochs=2), sink)
        return sink

    def count(self: IqFront, *given: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        searched.append(len(given[0]))
        return correlate(self, *given)

    searched: list[int] = []
    correlate = IqFront._correlate
    monkeypatch.setattr(IqFront, "_correlate", count)
    monkeypatch.setattr("heimdall.training.export.draft_model", lambda run, **_: None)
    known = learn()
    assert sum(searched) == len(lab.arrays), "each example once, whatever the number of epochs"
    monkeypatch.setattr(preparation, "MAX_PAIRS_BYTES", 0)
    searched.clear()
    sought = learn()
    assert sum(searched) > len(lab.arrays)
    for one, other in zip(known.reports, sought.reports, strict=True):
        assert one.metric.val_loss == pytest.approx(other.metric.val_loss, rel=1e-4)
        assert one.metric.train_loss == pytest.approx(other.metric.train_loss, rel=1e-4)


def test_silence_gives_numbers(lab):
    front, iq, features = make_front([0.0, 30e-6], [0.0, 0.0])
    views = front(torch.zeros_like(iq), features, torch.ones(1, 2, dtype=torch.bool))
    assert views.pairs_BRRP.isfinite().all()
    assert views.level_BR2T.isfinite().all()


def test_the_graph_takes_samples_and_the_order_of_receivers_does_not_matter(lab, small_arrays):
    draft = train(lab.request(model_architecture="iq-encoder", epochs=1), MemorySink()).model
    shapes = {
        value.name: [axis.dim_param or axis.dim_value for axis in value.type.tensor_type.shape.dim]
        for value in onnx.load(draft.onnx_path).graph.input
    }
    assert shapes["iq"] == ["batch", "receivers", 256, 2]
    assert draft.inputs[3].dtype == "int8"
    assert "16000 Hz" in draft.inputs[3].meaning
    session = open_session(draft.onnx_path)
    inputs = take(small_arrays, np.arange(5))
    order = np.array([3, 0, 6, 2, 5, 1, 4])
    position, covariance = run_session(session, inputs)
    shuffled = run_session(session, {name: np.ascontiguousarray(values[:, order]) for name, values in inputs.items()})
    np.testing.assert_allclose(shuffled[0], position, atol=1.0)
    np.testing.assert_allclose(shuffled[1], covariance, rtol=1e-3)
    silent = run_session(session, inputs | {"iq": np.zeros_like(inputs["iq"])})
    assert np.abs(silent[0] - position).max() > 1.0


def test_a_data_set_without_samples_is_refused_with_a_sentence(tmp_path):
    arrays = write_dataset(tmp_path / "data", num_examples=60, has_iq=False)
    with pytest.raises(TrainingError, match="works on samples, and this data set keeps none"):
        train(Lab(tmp_path, arrays).request(model_architecture="iq-encoder", epochs=1), MemorySink())
