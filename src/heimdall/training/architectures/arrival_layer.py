"""The search for a place from times of arrival as a layer without weights: its steps are unrolled, so that it leaves inside the ONNX graph.

The same formulas as ``rf.arrival``, on tensors; a test holds the two together. In double precision: a search that takes another turn in
another runtime ends elsewhere. Legend: B examples, R receiver tokens, F features a token, G places to start from, P numbers of an estimate.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor, nn

from heimdall.datasets.storage import DatasetArrays
from heimdall.rf.arrival import LEAST_DISTANCE_M, NUM_STEPS, NUM_TIME_STEPS, SCALE_HEIGHT_M, ArrivalLaw
from heimdall.rf.constants import SPEED_OF_LIGHT_M_S

_M_PER_KM = 1000.0
_TINY = 1e-300


class _Heard(NamedTuple):
    """What the tokens say, in metres; ``weight_BR`` is 1 where heard."""

    weight_BR: Tensor
    arrival_BR: Tensor
    variance_BR: Tensor
    air_BR: Tensor
    receiver_BR3: Tensor
    altitude_B1: Tensor


class _At(NamedTuple):
    """The problem at places [B, 2]: cost, normal matrix (east, both, north), right-hand side, misfit."""

    cost_B1: Tensor
    normal_B3: Tensor
    gradient_B2: Tensor
    misfit_B1: Tensor


class ArrivalLayer(nn.Module):
    """Tokens in, place and covariance out. Its tables are fitted anew from the training rows at each start and lie in no checkpoint.

    Parameters
    ----------
    law
        Fitted on training rows.
    arrays
        The data set, for the columns of its features.
    """

    bias_S: Tensor
    variance_S: Tensor
    bend_2: Tensor
    mean_2: Tensor
    precision_3: Tensor
    start_G2: Tensor

    def __init__(self, law: ArrivalLaw, arrays: DatasetArrays) -> None:
        super().__init__()
        self.columns = {name: arrays.feature_index(name) for name in arrays.feature_names}
        earth = law.earth
        self.radius_m, self.refractivity = earth.mean_m, law.refractivity
        self.altitude_m, self.noise_variance = law.altitude_m, law.noise_sigma_m**2
        self.blur_variance, self.stretch_2, self.floor_2 = law.start_blur_m**2, law.stretch**2, law.floor_m**2
        self._keep("bias_S", law.bias_m)
        self._keep("variance_S", law.sigma_m**2)
        self._keep("bend_2", [earth.mean_m / earth.east_m, earth.mean_m / earth.north_m])
        self._keep("mean_2", law.mean_m)
        self._keep("precision_3", [law.precision_m2[0, 0], law.precision_m2[0, 1], law.precision_m2[1, 1]])
        self._keep("start_G2", law.start_m)

    def _keep(self, name: str, values: object) -> None:
        self.register_buffer(name, torch.as_tensor(np.asarray(values)).double(), persistent=False)

    def forward(self, features_BRF: Tensor, mask_BR: Tensor, receiver_BR: Tensor) -> Tensor:
        """Return estimates [B, P] from features in physical units; see ``radio_map_layer.NUM_ESTIMATE`` for their order.

        The mean stands at the place (one hill is searched), and the last number is 1 / (1 + misfit) instead of a share.
        """
        with torch.autocast(features_BRF.device.type, enabled=False):
            heard = self._read(features_BRF.double(), mask_BR, receiver_BR)
            # Both searches at once, one below the other: half the operators for one example.
            twice = _Heard(*(torch.cat([part, part]) for part in heard))
            place_B2, at = self._descend(twice, torch.cat([self._best_start(heard), self._centre(heard)]))
            size = mask_BR.shape[0]
            is_second_B1 = at.cost_B1[size:] < at.cost_B1[:size]
            place_B2, *rest = (torch.where(is_second_B1, part[size:], part[:size]) for part in (place_B2, *at))
            return self._state(place_B2, _At(*rest)).to(features_BRF.dtype)

    def path_m(self, features_BRF: Tensor, mask_BR: Tensor, receiver_BR: Tensor, place_B2: Tensor) -> Tensor:
        """Return how long the way from places [B, 2] to each receiver seems, m [B, R]: through the air, its bias added."""
        with torch.autocast(features_BRF.device.type, enabled=False):
            heard = self._read(features_BRF.double(), mask_BR, receiver_BR)
            _, distance_BR, _ = self._offset(heard, place_B2.double())
            return distance_BR * heard.air_BR + self.bias_S[receiver_BR]

    def _read(self, features_BRF: Tensor, mask_BR: Tensor, receiver_BR: Tensor) -> _Heard:
        weight_BR = mask_BR.double()
        if "heard" in self.columns:
            weight_BR = weight_BR * (features_BRF[..., self.columns["heard"]] > 0).double()
        place_BR3 = torch.stack(
            [
                features_BRF[..., self.columns[name]] * _M_PER_KM if name in self.columns else torch.zeros_like(weight_BR)
                for name in ("rx_east_km", "rx_north_km", "rx_up_km")
            ],
            dim=-1,
        )
        altitude_B1 = torch.full_like(weight_BR[:, :1], self.altitude_m)
        if "tx_up_km" in self.columns:
            up_BR = features_BRF[..., self.columns["tx_up_km"]] * _M_PER_KM
            altitude_B1 = up_BR.masked_fill(~mask_BR, -1e9).amax(dim=1, keepdim=True).clamp_min(-1e4)
        variance_BR = self.variance_S[receiver_BR]
        if "snr_db" in self.columns:
            variance_BR = variance_BR + self.noise_variance * 10 ** (-features_BRF[..., self.columns["snr_db"]] / 10)
        arrival_BR = features_BRF[..., self.columns["toa_offset_us"]] * (SPEED_OF_LIGHT_M_S * 1e-6) - self.bias_S[receiver_BR]
        air_BR = 1 + self.refractivity * self._air_share(place_BR3, altitude_B1)
        return _Heard(weight_BR, arrival_BR * weight_BR, variance_BR, air_BR, place_BR3, altitude_B1)

    def _air_share(self, receiver_BR3: Tensor, altitude_B1: Tensor) -> Tensor:
        flat_BR = (receiver_BR3[..., :2].square() * self.bend_2).sum(dim=-1)
        low_BR = (((self.radius_m + receiver_BR3[..., 2]).square() + flat_BR).sqrt() - self.radius_m) / SCALE_HEIGHT_M
        rise_BR = altitude_B1 / SCALE_HEIGHT_M - low_BR
        is_level_BR = rise_BR.abs() < 1e-3
        safe_BR = torch.where(is_level_BR, torch.ones_like(rise_BR), rise_BR)
        return (-low_BR).exp() * torch.where(is_level_BR, 1 - rise_BR / 2, (1 - (-safe_BR).exp()) / safe_BR)

    def _centre(self, heard: _Heard) -> Tensor:
        weight_BR = heard.weight_BR / heard.weight_BR.sum(dim=1, keepdim=True).clamp_min(1)
        return (weight_BR.unsqueeze(-1) * heard.receiver_BR3[..., :2]).sum(dim=1)

    def _best_start(self, heard: _Heard) -> Tensor:
        wide = _Heard(*(part.unsqueeze(1) for part in heard))
        variance_B1R = wide.variance_BR + self.blur_variance
        _, distance_BGR, _ = self._offset(wide, self.start_G2)
        left_BGR, _ = self._centre_time(wide, wide.arrival_BR - distance_BGR * wide.air_BR, variance_B1R)
        cost_BG = ((1 + left_BGR.square() / variance_B1R).sqrt() - 1).sum(dim=-1) + self._prior(self.start_G2)[0].squeeze(-1)
        return self.start_G2[cost_BG.argmin(dim=1)]

    def _offset(self, heard: _Heard, place_B2: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Return offsets [..., R, 3], distances [..., R] and the fall of the ground [..., 2]."""
        fallen_B1 = (place_B2.square() * self.bend_2).sum(dim=-1, keepdim=True)
        centre_B1 = ((self.radius_m + heard.altitude_B1).square() - fallen_B1).clamp_min(LEAST_DISTANCE_M).sqrt()
        at_BR2 = place_B2.unsqueeze(-2) - heard.receiver_BR3[..., :2]
        up_BR1 = (centre_B1 - self.radius_m).unsqueeze(-1) - heard.receiver_BR3[..., 2:]
        distance_BR = (at_BR2.square().sum(dim=-1) + up_BR1.squeeze(-1).square()).sqrt().clamp_min(LEAST_DISTANCE_M)
        both = torch.cat([at_BR2, up_BR1], dim=-1)
        return both, distance_BR, -place_B2 * self.bend_2 / centre_B1

    def _centre_time(self, heard: _Heard, value_BR: Tensor, variance_BR: Tensor) -> tuple[Tensor, Tensor]:
        weight_BR = heard.weight_BR / variance_BR
        left_BR = value_BR
        for _ in range(NUM_TIME_STEPS):
            mean_B1 = (value_BR * weight_BR).sum(dim=-1, keepdim=True) / weight_BR.sum(dim=-1, keepdim=True).clamp_min(_TINY)
            left_BR = (value_BR - mean_B1) * heard.weight_BR
            weight_BR = heard.weight_BR / variance_BR / (1 + left_BR.square() / variance_BR).sqrt()
        return left_BR, weight_BR

    def _prior(self, place_B2: Tensor) -> tuple[Tensor, Tensor]:
        east_B1, north_B1 = (part.unsqueeze(-1) for part in (self.mean_2 - place_B2).unbind(dim=-1))
        east_east, both, north_north = self.precision_3.unbind()
        pull_B2 = torch.cat([east_east * east_B1 + both * north_B1, both * east_B1 + north_north * north_B1], dim=-1)
        return 0.5 * (pull_B2 * (self.mean_2 - place_B2)).sum(dim=-1, keepdim=True), pull_B2

    def _linearize(self, heard: _Heard, place_B2: Tensor) -> _At:
        offset_BR3, distance_BR, fall_B2 = self._offset(heard, place_B2)
        left_BR, weight_BR = self._centre_time(heard, heard.arrival_BR - distance_BR * heard.air_BR, heard.variance_BR)
        slope_BR2 = (offset_BR3[..., :2] + offset_BR3[..., 2:] * fall_B2.unsqueeze(1)) * (heard.air_BR / distance_BR).unsqueeze(-1)
        weight_BR1 = weight_BR.unsqueeze(-1)
        shared_B12 = (weight_BR1 * slope_BR2).sum(dim=1, keepdim=True) / weight_BR1.sum(dim=1, keepdim=True).clamp_min(_TINY)
        east_BR, north_BR = (slope_BR2 - shared_B12).unbind(dim=-1)
        prior_B1, pull_B2 = self._prior(place_B2)
        products = (east_BR * east_BR, east_BR * north_BR, north_BR * north_BR)
        normal_B3 = torch.stack([(weight_BR * product).sum(dim=1) for product in products], dim=1) + self.precision_3
        gradient_B2 = torch.stack([(weight_BR * axis_BR * left_BR).sum(dim=1) for axis_BR in (east_BR, north_BR)], dim=1) + pull_B2
        square_BR = left_BR.square() / heard.variance_BR
        cost_B1 = ((1 + square_BR).sqrt() - 1).sum(dim=1, keepdim=True) + prior_B1
        misfit_B1 = (square_BR.sum(dim=1, keepdim=True) / heard.weight_BR.sum(dim=1, keepdim=True).clamp_min(1)).sqrt()
        return _At(cost_B1, normal_B3, gradient_B2, misfit_B1)

    def _descend(self, heard: _Heard, place_B2: Tensor) -> tuple[Tensor, _At]:
        """Levenberg-Marquardt with a fixed number of steps; a step that does not help is not taken."""
        damping_B1 = torch.full_like(place_B2[:, :1], 1e-3)
        at = self._linearize(heard, place_B2)
        for _ in range(NUM_STEPS):
            tried_B2 = place_B2 + _solve(at.normal_B3, damping_B1, at.gradient_B2)
            there = self._linearize(heard, tried_B2)
            is_better_B1 = there.cost_B1 < at.cost_B1
            place_B2 = torch.where(is_better_B1, tried_B2, place_B2)
            at = _At(*(torch.where(is_better_B1, new, old) for new, old in zip(there, at, strict=True)))
            damping_B1 = torch.where(is_better_B1, damping_B1 / 8, damping_B1 * 6).clamp(1e-9, 1e9)
        return place_B2, at

    def _state(self, place_B2: Tensor, at: _At) -> Tensor:
        east_B, both_B, north_B = at.normal_B3.unbind(dim=1)
        determinant_B = east_B * north_B - both_B.square()
        l11_B = (self.stretch_2 * north_B / determinant_B + self.floor_2).sqrt()
        l21_B = -self.stretch_2 * both_B / determinant_B / l11_B
        l22_B = (self.stretch_2 * east_B / determinant_B + self.floor_2 - l21_B.square()).clamp_min(1e-6).sqrt()
        factor_B3 = torch.stack([l11_B, l21_B, l22_B], dim=1)
        return torch.cat([place_B2, factor_B3, torch.zeros_like(place_B2), 1 / (1 + at.misfit_B1)], dim=1)


def _solve(normal_B3: Tensor, damping_B1: Tensor, gradient_B2: Tensor) -> Tensor:
    east_B, both_B, north_B = normal_B3.unbind(dim=1)
    added_B = damping_B1.squeeze(1) * (east_B + north_B) / 2
    east_B, north_B = east_B + added_B, north_B + added_B
    determinant_B = east_B * north_B - both_B.square()
    first_B, second_B = gradient_B2.unbind(dim=1)
    solved = [north_B * first_B - both_B * second_B, east_B * second_B - both_B * first_B]
    return torch.stack(solved, dim=1) / determinant_B.unsqueeze(1)
