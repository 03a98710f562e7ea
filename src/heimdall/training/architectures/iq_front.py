"""What physics does with samples before anything is learned: carriers made equal, and what each pair of receivers has in common.

Legend: B examples, R receiver tokens, T samples, L lags, K frequencies, G delays searched, N bands, P numbers of a pair.

A pair's correlation over the lags that the network of receivers allows holds the same as its cross-spectrum at K frequencies. Its peak is
searched there and refined (Newton); what the network gets is the delay and the cross-spectrum turned back by it, so that
a thousandth of a turn is not lost beside whole turns.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Final, NamedTuple

import torch
from torch import Tensor, nn

from heimdall.rf.constants import SPEED_OF_LIGHT_M_S

NUM_BANDS: Final = 16
NUM_PAIR_NUMBERS: Final = 3 + 2 * NUM_BANDS
"""Delay, coherence, logarithm of the delay's error, and the residual cross-spectrum's real and imaginary parts."""

_GRID_PER_SAMPLE: Final = 4
_NUM_REFINEMENTS: Final = 3
_EPSILON: Final = 1e-9
_MAX_LAGS: Final = 96
_SPARE_LAGS: Final = 8
"""Beyond the longest baseline: clocks, and the peak's own width."""


@dataclass(frozen=True)
class Samples:
    """What the samples of a data set are."""

    sample_rate_hz: float
    bandwidth_hz: float
    num_samples: int
    longest_m: float
    """Longest baseline of two receivers, m."""
    heard_column: int | None
    frequency_column: int | None
    """Columns of ``heard`` and ``frequency_offset_hz`` in the tokens."""


class Views(NamedTuple):
    """What the network sees of the samples."""

    level_BR2T: Tensor
    """Samples of unit power on a common carrier."""
    pairs_BRRP: Tensor
    """Of each ordered pair."""
    mask_BRR: Tensor
    """Pairs of two different receivers that both heard."""


class IqFront(nn.Module):
    """Samples to views; without weights.

    Parameters
    ----------
    samples
        What they are.
    scale_m
        Length of a scaled unit: delays are given in these.
    """

    lag_cos_LK: Tensor
    lag_sin_LK: Tensor
    grid_cos_KG: Tensor
    grid_sin_KG: Tensor
    grid_s_G: Tensor
    omega_K: Tensor
    bands_KN: Tensor
    time_s_T: Tensor

    def __init__(self, samples: Samples, scale_m: float) -> None:
        super().__init__()
        self.samples = samples
        self.unit_s = scale_m / SPEED_OF_LIGHT_M_S
        rate_hz, half_band_hz = samples.sample_rate_hz, samples.bandwidth_hz / 2
        reach = min(math.ceil(samples.longest_m / SPEED_OF_LIGHT_M_S * rate_hz) + 1, _MAX_LAGS - _SPARE_LAGS)
        self.num_lags = min(reach + _SPARE_LAGS, samples.num_samples - 1)
        lag_s_L = torch.arange(-self.num_lags, self.num_lags + 1, dtype=torch.float64) / rate_hz
        num_frequencies = math.ceil(len(lag_s_L) * samples.bandwidth_hz / rate_hz) // 2 * 2 + 1
        omega_K = 2 * math.pi * torch.linspace(-half_band_hz, half_band_hz, num_frequencies, dtype=torch.float64)
        grid_s_G = torch.arange(-reach * _GRID_PER_SAMPLE, reach * _GRID_PER_SAMPLE + 1, dtype=torch.float64) / (_GRID_PER_SAMPLE * rate_hz)
        band_K = torch.arange(num_frequencies) * NUM_BANDS // num_frequencies
        bands_KN = nn.functional.one_hot(band_K, NUM_BANDS).double()
        tables = {
            "lag_cos_LK": torch.cos(lag_s_L[:, None] * omega_K),
            "lag_sin_LK": torch.sin(lag_s_L[:, None] * omega_K),
            "grid_cos_KG": torch.cos(omega_K[:, None] * grid_s_G),
            "grid_sin_KG": torch.sin(omega_K[:, None] * grid_s_G),
            "grid_s_G": grid_s_G,
            "omega_K": omega_K,
            "bands_KN": bands_KN,
            "time_s_T": (torch.arange(samples.num_samples) - samples.num_samples / 2).double() / rate_hz,
        }
        for name, table in tables.items():
            # Made again from the data set's description, so they are no part of the weights.
            self.register_buffer(name, table.float(), persistent=False)

    @torch.no_grad()
    def forward(self, iq_BRT2: Tensor, features_BRF: Tensor, mask_BR: Tensor, pairs_BRRP: Tensor | None = None) -> Views:
        """Return the views.

        Parameters
        ----------
        iq_BRT2
            int8 [B, R, T, 2], I first.
        features_BRF
            float32 [B, R, F], physical units.
        mask_BR
            bool [B, R].
        pairs_BRRP
            What the pairs have in common, where it is known already; no weight changes it.
        """
        heard_BR = mask_BR
        if self.samples.heard_column is not None:
            heard_BR = heard_BR & (features_BRF[..., self.samples.heard_column] > 0.5)
        real_BRT, imag_BRT = self._make_level(iq_BRT2, features_BRF)
        if pairs_BRRP is None:
            pairs_BRRP = self._describe(*self._correlate(real_BRT, imag_BRT))
        place_R = torch.arange(mask_BR.shape[1], device=mask_BR.device)
        mask_BRR = heard_BR.unsqueeze(2) & heard_BR.unsqueeze(1) & (place_R.unsqueeze(1) != place_R.unsqueeze(0))
        return Views(torch.stack([real_BRT, imag_BRT], dim=2), pairs_BRRP * mask_BRR.unsqueeze(-1).to(pairs_BRRP.dtype), mask_BRR)

    def _make_level(self, iq_BRT2: Tensor, features_BRF: Tensor) -> tuple[Tensor, Tensor]:
        real_BRT, imag_BRT = iq_BRT2.float().unbind(dim=3)
        level_BR1 = (real_BRT.square() + imag_BRT.square()).mean(dim=2, keepdim=True).clamp_min(_EPSILON).rsqrt()
        real_BRT, imag_BRT = real_BRT * level_BR1, imag_BRT * level_BR1
        if self.samples.frequency_column is None:
            return real_BRT, imag_BRT
        turn_BRT = (2 * math.pi) * features_BRF[..., self.samples.frequency_column].unsqueeze(-1) * self.time_s_T
        cos_BRT, sin_BRT = turn_BRT.cos(), turn_BRT.sin()
        return real_BRT * cos_BRT + imag_BRT * sin_BRT, imag_BRT * cos_BRT - real_BRT * sin_BRT

    def _correlate(self, real_BRT: Tensor, imag_BRT: Tensor) -> tuple[Tensor, Tensor]:
        """Return the cross-spectra [B, R, R, K] of the first receiver's samples with the second's."""
        size = real_BRT.shape[2]
        both_BRS, turned_BRS = torch.stack([real_BRT, imag_BRT], dim=3), torch.stack([-imag_BRT, real_BRT], dim=3)
        real, imag = [], []
        for lag in range(self.num_lags + 1):
            late_BRS = both_BRS[:, :, lag:].flatten(2) / size
            real.append(late_BRS @ both_BRS[:, :, : size - lag].flatten(2).transpose(1, 2))
            imag.append(late_BRS @ turned_BRS[:, :, : size - lag].flatten(2).transpose(1, 2))
        # The correlation at a negative lag is that of the two exchanged, conjugate.
        real_BRRL = torch.stack([*(value.transpose(1, 2) for value in real[:0:-1]), *real], dim=3)
        imag_BRRL = torch.stack([*(-value.transpose(1, 2) for value in imag[:0:-1]), *imag], dim=3)
        return (
            real_BRRL @ self.lag_cos_LK + imag_BRRL @ self.lag_sin_LK,
            imag_BRRL @ self.lag_cos_LK - real_BRRL @ self.lag_sin_LK,
        )

    def _describe(self, real_BRRK: Tensor, imag_BRRK: Tensor) -> Tensor:
        height_BRRG = (real_BRRK @ self.grid_cos_KG - imag_BRRK @ self.grid_sin_KG).square()
        height_BRRG = height_BRRG + (imag_BRRK @ self.grid_cos_KG + real_BRRK @ self.grid_sin_KG).square()
        delay_BRR = self.grid_s_G[height_BRRG.argmax(dim=3)]
        for _ in range(_NUM_REFINEMENTS):
            delay_BRR = delay_BRR + self._step(*self._turn(real_BRRK, imag_BRRK, delay_BRR))
        real_BRRK, imag_BRRK = self._turn(real_BRRK, imag_BRRK, delay_BRR)
        real_BRR, imag_BRR = real_BRRK.sum(dim=3), imag_BRRK.sum(dim=3)
        peak_BRR = (real_BRR.square() + imag_BRR.square() + _EPSILON).sqrt()
        power_BR = real_BRR.diagonal(dim1=1, dim2=2).clamp_min(_EPSILON)
        coherence_BRR = (peak_BRR * (power_BR.unsqueeze(1) * power_BR.unsqueeze(2)).rsqrt()).clamp(0.0, 0.999)
        cos_BRR, sin_BRR = real_BRR / peak_BRR, imag_BRR / peak_BRR
        along_BRRK = real_BRRK * cos_BRR.unsqueeze(3) + imag_BRRK * sin_BRR.unsqueeze(3)
        across_BRRK = imag_BRRK * cos_BRR.unsqueeze(3) - real_BRRK * sin_BRR.unsqueeze(3)
        mean_BRR = (along_BRRK @ self.omega_K) / peak_BRR
        width_BRR = ((along_BRRK @ self.omega_K.square()) / peak_BRR - mean_BRR.square()).clamp_min((2 * math.pi) ** 2)
        count = self.samples.bandwidth_hz * self.samples.num_samples / self.samples.sample_rate_hz
        gain_BRR = 2 * count * coherence_BRR.square() / (1 - coherence_BRR.square())
        error_BRR = (gain_BRR * width_BRR).clamp_min(_EPSILON).rsqrt() / self.unit_s
        bands_BRRN = [part / peak_BRR.unsqueeze(3) @ self.bands_KN for part in (along_BRRK, across_BRRK)]
        numbers = [delay_BRR / self.unit_s, coherence_BRR, error_BRR.clamp(1e-6, 1e3).log() / 5]
        return torch.cat([torch.stack(numbers, dim=3), *(4 * bands.clamp(-1, 1) for bands in bands_BRRN)], dim=3)

    def _turn(self, real_BRRK: Tensor, imag_BRRK: Tensor, delay_BRR: Tensor) -> tuple[Tensor, Tensor]:
        turn_BRRK = delay_BRR.unsqueeze(3) * self.omega_K
        cos_BRRK, sin_BRRK = turn_BRRK.cos(), turn_BRRK.sin()
        return real_BRRK * cos_BRRK - imag_BRRK * sin_BRRK, imag_BRRK * cos_BRRK + real_BRRK * sin_BRRK

    def _step(self, real_BRRK: Tensor, imag_BRRK: Tensor) -> Tensor:
        """Return the Newton step in delay of ``|sum of the turned spectrum|^2``; none where it does not curve down."""
        omega_K, square_K = self.omega_K / self.omega_K[-1], (self.omega_K / self.omega_K[-1]).square()
        real_BRR, imag_BRR = real_BRRK.sum(dim=3), imag_BRRK.sum(dim=3)
        slope_real_BRR, slope_imag_BRR = -(imag_BRRK @ omega_K), real_BRRK @ omega_K
        slope_BRR = real_BRR * slope_real_BRR + imag_BRR * slope_imag_BRR
        curve_BRR = slope_real_BRR.square() + slope_imag_BRR.square()
        curve_BRR = curve_BRR - real_BRR * (real_BRRK @ square_K) - imag_BRR * (imag_BRRK @ square_K)
        step_BRR = torch.where(curve_BRR < -_EPSILON, -slope_BRR / curve_BRR.clamp_max(-_EPSILON), torch.zeros_like(slope_BRR))
        return step_BRR.clamp(-1.0, 1.0) / self.omega_K[-1]
