"""What a capture tells of a transmission: strength and noise at each receiver, delay and frequency between each pair.

Receivers have crystals of their own, so a delay alone cannot be correlated for longer than half the inverse frequency offset: pairs
are searched over delay x frequency (cross-ambiguity; Stein 1981, IEEE Trans. ASSP 29(3)). The cross-spectrum is not whitened: on a
narrowband signal that lifts the noise-only band and costs a factor five (project notes physics.md, section 3).
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from itertools import combinations
from typing import Final

import numpy as np
import numpy.typing as npt
from jaxtyping import Bool, Complex64, Float64, Int64
from scipy import fft

from heimdall.rf.ambiguity import Ambiguity
from heimdall.rf.constants import CHANNEL_BANDWIDTH_HZ, DETECTION_SNR_DB
from heimdall.rf.shapes import BoolArray, FloatArray, IntArray

ComplexArray = npt.NDArray[np.complex64]

_MIN_EDGE_SHARE: Final = 0.05


@dataclass(frozen=True)
class ReceiverFeatures:
    """At each of r receivers."""

    rssi_dbm: Float64[FloatArray, " r"]
    """Signal and noise in the channel."""
    noise_dbm: Float64[FloatArray, " r"]
    """In the channel, from the edges of the capture's band."""
    snr_db: Float64[FloatArray, " r"]
    """In the channel; -inf where there is no more than noise."""
    detected: Bool[BoolArray, " r"]
    bandwidth_hz: float
    """Of the channel that all of these are stated in."""


@dataclass(frozen=True)
class PairFeatures:
    """Of each of p pairs of receivers that both detected the signal."""

    pair: Int64[IntArray, "p 2"]
    delay_s: Float64[FloatArray, " p"]
    """How much later the first one's signal is than the second's."""
    frequency_hz: Float64[FloatArray, " p"]
    """How much higher."""
    coherence: Float64[FloatArray, " p"]
    """Of the peak, 0 to 1."""
    width_s: Float64[FloatArray, " p"]
    """Width of the peak in delay at half its height, for a Gaussian of the cross-spectrum's rms bandwidth."""
    variance_s2: Float64[FloatArray, " p"]
    """Of the delay, as the bound for this bandwidth and coherence has it; infinite for an unmodulated carrier."""


def measure_receivers(
    iq: Complex64[ComplexArray, "r t"],
    sample_rate_hz: float,
    gain_db: Float64[FloatArray, " r"],
    *,
    bandwidth_hz: float = CHANNEL_BANDWIDTH_HZ,
) -> ReceiverFeatures:
    """Measure strength and noise in the channel.

    Parameters
    ----------
    iq
        [r, t] full scale 1, channel in the middle.
    sample_rate_hz
        At least 5 % more than the channel: the edges hold the noise.
    gain_db
        [r] dBm at the antenna = dBFS - gain.

    Raises
    ------
    ValueError
        Where the capture has no edge beside the channel.
    """
    frequency = np.fft.fftfreq(iq.shape[1], 1 / sample_rate_hz)
    edge = np.abs(frequency) > bandwidth_hz / 2
    if edge.mean() < _MIN_EDGE_SHARE:
        raise ValueError("the capture is not wider than the channel, so there is no noise to measure beside it")
    window = np.hanning(iq.shape[1]).astype(np.float32)  # else a strong signal leaks over the edges and looks like noise
    density = np.square(np.abs(fft.fft(iq * window, axis=1))) / (iq.shape[1] * np.square(window).sum())
    total = density[:, ~edge].sum(axis=1)
    noise = np.median(density[:, edge], axis=1) / math.log(2) * (~edge).sum()  # the median of an exponential is ln 2 of its mean
    with np.errstate(divide="ignore"):
        snr_db = 10 * np.log10(np.maximum(total - noise, 0.0) / noise)
        rssi_dbm, noise_dbm = (10 * np.log10(np.maximum(power, 1e-30)) - gain_db for power in (total, noise))
    return ReceiverFeatures(rssi_dbm, noise_dbm, snr_db, np.asarray(snr_db > DETECTION_SNR_DB, bool), bandwidth_hz)


def measure_pairs(
    iq: Complex64[ComplexArray, "r t"],
    sample_rate_hz: float,
    receivers: ReceiverFeatures,
    *,
    max_delay_s: float,
    max_frequency_hz: float,
) -> PairFeatures:
    """Search each pair of detecting receivers over delay and frequency.

    Parameters
    ----------
    iq, sample_rate_hz
        As in :func:`measure_receivers`.
    receivers
        Its result: who detected the signal.
    max_delay_s
        Longest baseline over c, plus what clocks may differ.
    max_frequency_hz
        Largest difference of carriers: two crystals and Doppler.
    """
    heard = np.flatnonzero(receivers.detected)
    pair = np.array(list(combinations(range(len(heard)), 2)), np.int64).reshape(-1, 2)
    size, bandwidth_hz = iq.shape[1], receivers.bandwidth_hz
    half = min(math.ceil(bandwidth_hz / 2 * size / sample_rate_hz) - 1, (size - 1) // 2)
    reach = math.ceil(max_delay_s * sample_rate_hz) + 1
    max_bin = math.ceil(max_frequency_hz * size / sample_rate_hz) + 1
    search = Ambiguity(iq[heard], reach=reach, max_bin=max_bin, half=half)
    late, early = pair.T
    peaks = search.find(late, early)
    coherence = np.minimum(1.0, size * peaks.height / np.maximum(_weigh(search.spectrum, pair, peaks.frequency_bins, half), 1e-30))
    # A slow sweep looks the same later as higher: what runs along with time is taken by the unknown frequency (Stein 1981).
    beta_hz = sample_rate_hz / (2 * math.pi) * np.sqrt(np.maximum(0.0, np.square(peaks.width_rad) - np.square(peaks.drift_rad)))
    gain = 2 * (bandwidth_hz * size / sample_rate_hz) * np.square(coherence) / np.maximum(1 - np.square(coherence), 1e-9)
    with np.errstate(divide="ignore"):
        variance_s2 = 1 / (np.square(2 * math.pi * beta_hz) * gain)
    return PairFeatures(
        pair=heard[pair],
        delay_s=peaks.delay_samples / sample_rate_hz,
        frequency_hz=peaks.frequency_bins * (sample_rate_hz / size),
        coherence=coherence,
        width_s=math.sqrt(2 * math.log(2)) / (math.pi * np.maximum(beta_hz, 1e-9)),
        variance_s2=variance_s2,
    )


def _weigh(
    spectrum: Complex64[ComplexArray, "r t"], pair: Int64[IntArray, "p 2"], frequency_bins: Float64[FloatArray, " p"], half: int
) -> Float64[FloatArray, " p"]:
    """Return the geometric mean of both receivers' power in the channel, the late one's as far up as its carrier is."""
    size = spectrum.shape[1]
    most = (size - 1) // 2 - half
    shift = np.clip(np.rint(frequency_bins), -most, most).astype(np.int64)
    places = np.arange(size) - size // 2
    upto = np.cumsum(np.square(np.abs(spectrum[:, places]), dtype=np.float64), axis=1)
    upto = np.concatenate([np.zeros((len(upto), 1)), upto], axis=1)
    middle, (late, early) = size // 2, pair.T
    late_power = upto[late, middle + shift + half + 1] - upto[late, middle + shift - half]
    return np.asarray(np.sqrt(late_power * (upto[early, middle + half + 1] - upto[early, middle - half])))
