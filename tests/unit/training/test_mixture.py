"""Two places at once: what one Gaussian cannot say and a mixture can."""

from __future__ import annotations

import math

import numpy as np
import pytest
import safetensors.numpy
import torch
from torch import nn

from heimdall.training.architectures.localizer import Gaussian, Scaling
from heimdall.training.architectures.mixture import Collapsed, Mixture, MixtureLocalizer, collapse
from heimdall.training.export import open_session
from heimdall.training.loop import train
from heimdall.training.losses import gaussian_nll, prediction_nll
from tests.unit.training.lab import MemorySink

SCALING = Scaling(
    feature_means=(0.0,), feature_stds=(1.0,), heard_column=None, heard_only=(False,), target_mean_m=(100.0, 200.0), target_scale_m=1000.0
)


class Constant(nn.Module):
    """The same numbers for every example: what is left to learn is a distribution."""

    def __init__(self, count: int) -> None:
        super().__init__()
        self.numbers = nn.Parameter(torch.zeros(count))

    def forward(self, tokens_BRF, mask_BR, receiver_BR):
        return self.numbers.expand(tokens_BRF.shape[0], -1)


def draw_two_valleys(count, generator):
    is_west = torch.rand(count, 1, generator=generator) < 0.3
    return torch.where(is_west, torch.tensor([[-2.0, 0.5]]), torch.tensor([[1.5, -0.5]])) + 0.1 * torch.randn(count, 2, generator=generator)


def test_it_learns_two_valleys_with_their_shares():
    generator = torch.Generator().manual_seed(0)
    model = MixtureLocalizer(Constant(18), SCALING, components=3)
    optimizer = torch.optim.Adam(model.parameters(), lr=0.05)
    inputs = (torch.zeros(200, 1, 1), torch.ones(200, 1, dtype=torch.bool), torch.zeros(200, 1, dtype=torch.long))
    for _ in range(400):
        optimizer.zero_grad()
        prediction_nll(model(*inputs), draw_two_valleys(200, generator), scale_km=1.0).mean().backward()
        optimizer.step()
    predicted = model(*inputs)
    weight, place, _ = (part[0].detach() for part in (predicted.mixture.log_weight_BK.exp(), *predicted.mixture[1:]))
    is_west = place[:, 0] < 0
    assert float(weight[is_west].sum()) == pytest.approx(0.3, abs=0.05)
    for is_here, centre in ((is_west, (-2.0, 0.5)), (~is_west, (1.5, -0.5))):
        middle = (weight[is_here, None] * place[is_here]).sum(0) / weight[is_here].sum()
        assert middle.tolist() == pytest.approx(centre, abs=0.1)
    truth = draw_two_valleys(2000, generator)
    factor = torch.linalg.cholesky(torch.cov(truth.T))
    many = Gaussian(truth.mean(0).expand(2000, -1), torch.stack([factor[0, 0], factor[1, 0], factor[1, 1]]).expand(2000, -1))
    nll = prediction_nll(model(*(part[:1].expand(2000, *part.shape[1:]) for part in inputs)), truth, scale_km=1.0).mean()
    assert nll < gaussian_nll(many, truth, scale_km=1.0).mean() - 1, "the best single Gaussian is much worse"


def make_mixture(count=4, components=3):
    generator = torch.Generator().manual_seed(1)
    factor = torch.randn(count, components, 3, generator=generator)
    factor[..., [0, 2]] = factor[..., [0, 2]].abs() + 0.1
    weight = torch.randn(count, components, generator=generator).log_softmax(dim=1)
    return Mixture(weight, torch.randn(count, components, 2, generator=generator), factor)


def test_the_answer_is_the_largest_component_with_the_moments_about_it():
    mixture = make_mixture(1)
    rng = np.random.default_rng(0)
    chosen = rng.choice(
        3, 200_000, p=mixture.log_weight_BK[0].double().exp().numpy() / float(mixture.log_weight_BK[0].double().exp().sum())
    )
    factor = np.zeros((3, 2, 2))
    factor[:, 0, 0], factor[:, 1, 0], factor[:, 1, 1] = mixture.cholesky_BK3[0].T.numpy()
    drawn = mixture.position_BK2[0].numpy()[chosen] + np.einsum("nij,nj->ni", factor[chosen], rng.standard_normal((200_000, 2)))
    whole = collapse(mixture)
    l11, l21, l22 = whole.cholesky_B3[0].tolist()
    answer = mixture.position_BK2[0, int(mixture.log_weight_BK[0].argmax())].numpy()
    np.testing.assert_allclose(whole.position_B2[0], answer)
    about = (drawn - answer).T @ (drawn - answer) / len(drawn)
    np.testing.assert_allclose([[l11**2, l11 * l21], [l11 * l21, l21**2 + l22**2]], about, rtol=0.03, atol=0.02)


def test_equal_components_are_one_gaussian():
    one = Gaussian(torch.tensor([[0.3, -0.2]]), torch.tensor([[0.5, 0.1, 0.7]]))
    thrice = Mixture(torch.full((1, 3), -math.log(3)), one.position_B2.expand(1, 3, 2), one.cholesky_B3.expand(1, 3, 3))
    whole = collapse(thrice)
    for given, expected in zip(whole, one, strict=True):
        torch.testing.assert_close(given, expected)
    whole.mixture = thrice
    truth = torch.tensor([[1.0, 1.0]])
    torch.testing.assert_close(prediction_nll(whole, truth, scale_km=2.0), gaussian_nll(one, truth, scale_km=2.0))
    assert isinstance(whole, Collapsed)


def test_the_exported_graph_says_where_the_places_are(lab):
    model = train(lab.request(model_architecture="deepsets-mixture-s", epochs=2), MemorySink()).model
    assert model.performance.parity_max_abs_diff < 1e-4
    samples = safetensors.numpy.load_file(model.samples_path)
    session = open_session(model.onnx_path)
    inputs = {name.removeprefix("input."): tensor for name, tensor in samples.items() if name.startswith("input.")}
    names = [output.name for output in model.outputs]
    assert names == [output.name for output in session.get_outputs()]
    for size, receivers in ((1, 7), (3, 5)):
        given = dict(zip(names, session.run(names, {name: tensor[:size, :receivers] for name, tensor in inputs.items()}), strict=True))
        weight, place = given["mixture_weights"], given["mixture_positions_m"]
        assert weight.sum(axis=1) == pytest.approx(np.ones(size), abs=1e-5)
        np.testing.assert_allclose(place[np.arange(size), weight.argmax(axis=1)], given["position_enu_m"], rtol=1e-5, atol=0.01)
        assert given["mixture_covariances_m2"].shape == (size, 3, 2, 2)
        assert (np.linalg.eigvalsh(given["mixture_covariances_m2"]) > 0).all()
