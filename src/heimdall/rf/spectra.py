"""How much of time of arrival a transmission tells: its spectrum, and the table of known waveforms.

An arrival is as sharp as the signal is wide. What counts is the rms bandwidth about the centroid; for a constant
envelope it equals the rms frequency deviation.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import lru_cache
from typing import Final

import numpy as np
from jaxtyping import Float, Float64
from scipy.optimize import brentq

from heimdall.domain.datasets import WaveformId
from heimdall.rf.constants import CHANNEL_BANDWIDTH_HZ
from heimdall.rf.shapes import AnyFloatArray, FloatArray

_QUADRATURE_POINTS: Final = 96


@dataclass(frozen=True)
class Spectrum:
    """A signal's power density over the channel in which its signal-to-noise ratio is stated."""

    rms_bandwidth_hz: float
    """About the centroid, Hz."""
    noise_bandwidth_hz: float
    """Hz, width of the channel."""
    is_flat: bool = False
    """Flat over the channel; else Gaussian, as frequency modulation by voice or filtered data nearly is, cut at the channel's edges."""
    note: str = ""

    def delay_information(self, total_snr: Float[AnyFloatArray, "*n"]) -> Float64[FloatArray, "*n"]:
        """Return k(S) = 2 integral of (2 pi f)^2 g(f)^2 / (1 + S g(f)) df, in 1/s^3, [*n].

        ``g`` is the density with mean 1 over the channel and S the sum of the receivers' ratios (linear).
        By it the information matrix of arrival times is ``T k(S) [S diag(s) - s s']`` for s = ratios of the receivers.

        References
        ----------
        Knapp and Carter 1976, "The generalized correlation method for estimation of time delay", IEEE Trans. ASSP 24(4),
        equation 40, for two receivers; project notes physics.md, section 3, for any number.
        """
        frequency_hz, weight_hz, density = self._quadrature
        ratio = np.asarray(total_snr, np.float64)[..., None]
        square = np.square(2 * np.pi * frequency_hz * density) * weight_hz
        return np.asarray(2 * (square / (1 + ratio * density)).sum(axis=-1), np.float64)

    @property
    def _quadrature(self) -> tuple[FloatArray, FloatArray, FloatArray]:
        return _quadrature(self.rms_bandwidth_hz, self.noise_bandwidth_hz, self.is_flat)


@lru_cache(maxsize=64)
def _quadrature(rms_bandwidth_hz: float, noise_bandwidth_hz: float, is_flat: bool) -> tuple[FloatArray, FloatArray, FloatArray]:
    node, weight = np.polynomial.legendre.leggauss(_QUADRATURE_POINTS)
    frequency_hz, weight_hz = 0.5 * noise_bandwidth_hz * node, 0.5 * noise_bandwidth_hz * weight
    if is_flat:
        return frequency_hz, weight_hz, np.ones_like(node)

    def shape(width_hz: float) -> FloatArray:
        return np.asarray(np.exp(-0.5 * np.square(frequency_hz / width_hz)), np.float64)

    def excess(width_hz: float) -> float:
        density = shape(width_hz) * weight_hz
        return float(math.sqrt((density * frequency_hz**2).sum() / density.sum()) - rms_bandwidth_hz)

    # Cut at the edges a Gaussian gets narrower: widen it until the rms bandwidth is the one asked for.
    density = shape(float(brentq(excess, rms_bandwidth_hz * 0.5, noise_bandwidth_hz * 50)))
    return frequency_hz, weight_hz, density * noise_bandwidth_hz / (density * weight_hz).sum()


def _flat(bandwidth_hz: float) -> Spectrum:
    return Spectrum(bandwidth_hz / math.sqrt(12), bandwidth_hz, is_flat=True, note="idealized")


SPECTRA: Final[dict[WaveformId, Spectrum]] = {
    "nbfm-voice": Spectrum(870.0, CHANNEL_BANDWIDTH_HZ, note="2.5 kHz deviation, real speech; near-silent windows tell nothing"),
    "nbfm-voice-25k": Spectrum(1740.0, 2 * CHANNEL_BANDWIDTH_HZ, note="5 kHz deviation"),
    "dmr": Spectrum(1380.0, CHANNEL_BANDWIDTH_HZ, note="4FSK 4800 symbols/s"),
    "aprs": Spectrum(2120.0, CHANNEL_BANDWIDTH_HZ, note="AFSK 1200, 3 kHz deviation"),
    "fsk9600": Spectrum(2050.0, CHANNEL_BANDWIDTH_HZ, note="G3RUH"),
    "flat-12k5": _flat(12_500.0),
    "flat-200k": _flat(200_000.0),
}
"""rms bandwidths measured on waveforms (project notes physics.md, section 2, table "Waveform = information")."""
