from __future__ import annotations

import dataclasses

import pytest
import torch

from heimdall.domain.catalogue import ARCHITECTURES, REFERENCE_NUM_FEATURES, REFERENCE_NUM_RECEIVERS, get_architecture
from heimdall.domain.errors import NotFoundError
from heimdall.training.architectures.build import build_network, count_parameters, place_in_frame
from heimdall.training.architectures.iq_encoder import IqLocalizer
from heimdall.training.architectures.iq_front import IqFront, Samples
from heimdall.training.architectures.localizer import Localizer, Scaling
from heimdall.training.architectures.tokens import SharedDropout, drop_receivers
from heimdall.training.losses import prediction_nll

EVERY = pytest.mark.parametrize("entry", ARCHITECTURES, ids=lambda entry: entry.id)
SCALING = Scaling(
    feature_means=(0.0, -90.0, 10.0, 0.0, 0.1, 0.0, 0.0, 0.2),
    feature_stds=(1.0, 10.0, 5.0, 20.0, 0.1, 30.0, 30.0, 0.3),
    heard_column=0,
    heard_only=(False, True, True, True, False, False, False, False),
    target_mean_m=(1000.0, -500.0),
    target_scale_m=20_000.0,
)


def make_batch(num_examples: int = 6, num_tokens: int = REFERENCE_NUM_RECEIVERS):
    generator = torch.Generator().manual_seed(5)
    features = torch.randn(num_examples, num_tokens, REFERENCE_NUM_FEATURES, generator=generator) * 10
    features[..., 0] = (torch.rand(num_examples, num_tokens, generator=generator) > 0.3).float()
    features[..., 1:4] *= features[..., :1]
    mask = torch.rand(num_examples, num_tokens, generator=generator) > 0.2
    mask[:, 0] = True
    receivers = torch.arange(num_tokens).expand(num_examples, num_tokens)
    return features * mask.unsqueeze(-1), mask, receivers


def build(entry, num_receivers: int = REFERENCE_NUM_RECEIVERS) -> Localizer:
    torch.manual_seed(0)
    network = build_network(entry, num_features=REFERENCE_NUM_FEATURES, num_receivers=num_receivers)
    return place_in_frame(entry, network, SCALING).eval()


@EVERY
def test_the_catalogue_states_the_true_number_of_parameters(entry):
    network = build_network(entry, num_features=REFERENCE_NUM_FEATURES, num_receivers=REFERENCE_NUM_RECEIVERS)
    assert count_parameters(network) == entry.parameters_count


@EVERY
def test_outputs_have_the_stated_shapes_and_positive_spreads(entry):
    predicted = build(entry)(*make_batch())
    assert predicted.position_B2.shape == (6, 2)
    assert predicted.cholesky_B3.shape == (6, 3)
    assert (predicted.cholesky_B3[:, [0, 2]] > 0).all()


@EVERY
def test_metres_come_from_scaled_units_with_a_positive_definite_covariance(entry):
    model = build(entry)
    scaled = model(*make_batch())
    position, covariance = model.to_metres(scaled)
    torch.testing.assert_close(position, scaled.position_B2 * 20_000 + torch.tensor([1000.0, -500.0]))
    factor = torch.zeros(6, 2, 2)
    factor[:, 0, 0], factor[:, 1, 0], factor[:, 1, 1] = scaled.cholesky_B3.T * 20_000
    torch.testing.assert_close(covariance, factor @ factor.transpose(1, 2))
    assert (torch.linalg.eigvalsh(covariance.double()) > 0).all()


@EVERY
def test_the_order_of_the_receivers_does_not_matter(entry):
    model = build(entry)
    features, mask, receivers = make_batch()
    order = torch.randperm(REFERENCE_NUM_RECEIVERS, generator=torch.Generator().manual_seed(1))
    for given, shuffled in zip(
        model(features, mask, receivers), model(features[:, order], mask[:, order], receivers[:, order]), strict=True
    ):
        torch.testing.assert_close(given, shuffled, rtol=1e-4, atol=1e-5)


@EVERY
def test_an_absent_receiver_may_carry_anything(entry):
    model = build(entry)
    features, mask, receivers = make_batch()
    other = torch.where(mask.unsqueeze(-1), features, torch.full_like(features, 777.0))
    other_receivers = torch.where(mask, receivers, torch.zeros_like(receivers))
    for given, changed in zip(model(features, mask, receivers), model(other, mask, other_receivers), strict=True):
        torch.testing.assert_close(given, changed)


@EVERY
def test_absent_tokens_may_be_left_out_or_added(entry):
    model = build(entry)
    features, mask, receivers = make_batch()
    mask = mask.clone()
    mask[:, -2:] = False
    shorter = model(features[:, :-2], mask[:, :-2], receivers[:, :-2])
    for given, cut in zip(model(features, mask, receivers), shorter, strict=True):
        torch.testing.assert_close(given, cut, rtol=1e-4, atol=1e-5)


@EVERY
def test_what_a_silent_receiver_did_not_measure_does_not_count(entry):
    model = build(entry)
    features, mask, receivers = make_batch()
    features[..., 0] = 0
    other = features.clone()
    other[..., 1:4] = 55.0
    for given, changed in zip(model(features, mask, receivers), model(other, mask, receivers), strict=True):
        torch.testing.assert_close(given, changed)


@EVERY
def test_an_example_without_receivers_gives_numbers(entry):
    features, mask, receivers = make_batch()
    predicted = build(entry)(features, torch.zeros_like(mask), receivers)
    assert all(torch.isfinite(part).all() for part in predicted)


@EVERY
def test_every_weight_gets_a_gradient(entry):
    model = build(entry).train()
    if entry.needs_iq:
        samples = Samples(16_000.0, 12_500.0, 256, 50_000.0, heard_column=0, frequency_column=None)
        model = IqLocalizer(model.network, SCALING, front=IqFront(samples, SCALING.target_scale_m)).train()
    noise = torch.randint(-99, 99, (64, REFERENCE_NUM_RECEIVERS, 256, 2), dtype=torch.int8, generator=torch.Generator().manual_seed(6))
    loss = prediction_nll(model(*make_batch(64), *([noise] if entry.needs_iq else [])), torch.randn(64, 2), scale_km=20.0).mean()
    loss.backward()
    missing = [name for name, parameter in model.named_parameters() if parameter.grad is None or not parameter.grad.abs().sum() > 0]
    assert missing == []


@EVERY
def test_dropout_acts_while_training_only(entry):
    model = build(entry)
    batch = make_batch(64)
    torch.testing.assert_close(model(*batch).position_B2, model(*batch).position_B2, rtol=0, atol=0)
    model.train()
    assert not torch.equal(model(*batch).position_B2, model(*batch).position_B2)


def test_receiver_dropout_hides_about_its_rate_and_never_all():
    torch.manual_seed(0)
    mask = torch.ones(4000, 10, dtype=torch.bool)
    mask[:, 9] = False
    kept = drop_receivers(mask, 0.3)
    assert not kept[:, 9].any()
    assert kept.any(dim=1).all()
    assert float(kept[:, :9].float().mean()) == pytest.approx(0.7, abs=0.02)
    alone = torch.zeros(500, 10, dtype=torch.bool)
    alone[:, 4] = True
    assert torch.equal(drop_receivers(alone, 0.5), alone)


def test_shared_dropout_hides_whole_columns_and_keeps_the_mean():
    torch.manual_seed(0)
    dropout = SharedDropout(0.25).train()
    dropped = dropout(torch.ones(500, 3, 40))
    assert torch.equal(dropped[:, 0], dropped[:, 2])
    assert float(dropped.mean()) == pytest.approx(1.0, abs=0.02)


def test_a_network_that_no_code_builds_is_named():
    stranger = get_architecture("deepsets-s").evolve(id="capsules-xl")
    with pytest.raises(NotFoundError, match="cannot build 'capsules-xl'"):
        build_network(stranger, num_features=8, num_receivers=7)


def test_scaling_without_a_heard_flag_uses_every_value():
    model = Localizer(torch.nn.Identity(), dataclasses.replace(SCALING, heard_column=None))
    features, mask, _ = make_batch()
    expected = (features - model.feature_mean_F) / model.feature_std_F * mask.unsqueeze(-1)
    torch.testing.assert_close(model.normalize(features, mask), expected)
