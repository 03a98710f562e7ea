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

from heimdall.rf.capture import even_ramp
from heimdall.rf.constants import CHANNEL_BANDWIDTH_HZ, DETECTION_SNR_DB
from heimdall.rf.shapes import AnyFloatArray, BoolArray, FloatArray, IntArray

ComplexArray = npt.NDArray[np.complex64]

_MIN_EDGE_SHARE: Final = 0.05
_NUM_REFINEMENTS: Final = 6
_SMALL_STEP_S: Final = 1e-10
_SMALL_STEP_HZ: Final = 1e-3


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
    rows = [
        (first, second, *_measure_pair(iq[first], iq[second], sample_rate_hz, receivers.bandwidth_hz, max_delay_s, max_frequency_hz))
        for first, second in combinations(np.flatnonzero(receivers.detected).tolist(), 2)
    ]
    table = np.array(rows, np.float64).reshape(-1, 7)
    return PairFeatures(
        pair=table[:, :2].astype(np.int64),
        delay_s=table[:, 2],
        frequency_hz=table[:, 3],
        coherence=table[:, 4],
        width_s=table[:, 5],
        variance_s2=table[:, 6],
    )


def cross_ambiguity(
    late: Complex64[ComplexArray, " t"], early: Complex64[ComplexArray, " t"], lags: Int64[IntArray, " d"], max_bin: int
) -> Float64[FloatArray, "d f"]:
    """Return the magnitude of the cross-ambiguity over lags and frequency bins -max_bin to max_bin (of 1 / duration).

    For each lag the product ``late[n + lag] conj(early[n])`` is summed over blocks short beside the highest frequency, then transformed.
    Lags are consecutive.
    """
    size, step = len(late), late.itemsize
    block = max(1, size // (8 * (max_bin + 1)))
    num_blocks = size // block
    before, after = max(0, -int(lags[0])), max(0, int(lags[-1]))
    padded = np.concatenate([np.zeros(before, np.complex64), late, np.zeros(after, np.complex64)])
    reference = np.conj(early[: num_blocks * block]).reshape(num_blocks, block)
    first = int(lags[0]) + before
    shifted = np.lib.stride_tricks.as_strided(padded[first:], (len(lags), num_blocks, block), (step, block * step, step), writeable=False)
    spectrum = np.abs(fft.fft(np.einsum("dbk,bk->db", shifted, reference), axis=1))
    return np.concatenate([spectrum[:, num_blocks - max_bin :], spectrum[:, : max_bin + 1]], axis=1).astype(np.float64)


def _measure_pair(
    late: ComplexArray, early: ComplexArray, rate_hz: float, bandwidth_hz: float, max_delay_s: float, max_frequency_hz: float
) -> tuple[float, ...]:
    size = len(late)
    reach = math.ceil(max_delay_s * rate_hz) + 1
    max_bin = math.ceil(max_frequency_hz * size / rate_hz) + 1
    lags = np.arange(-reach, reach + 1)
    surface = cross_ambiguity(late, early, lags, max_bin)
    lag, bin_ = np.unravel_index(int(np.argmax(surface)), surface.shape)
    delay_s, frequency_hz = float(lags[lag]) / rate_hz, (int(bin_) - max_bin) * rate_hz / size
    time_s = (np.arange(size) - size / 2) / rate_hz
    half = min(math.ceil(bandwidth_hz / 2 * size / rate_hz) - 1, (size - 1) // 2)
    bins_hz = np.arange(-half, half + 1) * (rate_hz / size)  # of the channel alone
    places = np.arange(-half, half + 1)
    spectrum_early = fft.fft(early)[places]
    spread_out = np.zeros(size, np.complex64)
    for _ in range(_NUM_REFINEMENTS):
        # Alternate: frequency by the phase's slope over time at this delay, delay by its slope over frequency at this frequency.
        spread_out[places] = spectrum_early * even_ramp(-delay_s * rate_hz / size, 2 * half + 1, first=-half)
        product = late * np.conj(fft.ifft(spread_out)) * even_ramp(-frequency_hz / rate_hz, size, first=-size / 2)
        frequency_step_hz = _slope(_sum_blocks(product), size / rate_hz)
        frequency_hz += frequency_step_hz
        spectrum_late = fft.fft(late * even_ramp(-frequency_hz / rate_hz, size, first=-size / 2))[places]
        cross = spectrum_late * np.conj(spectrum_early)
        delay_step_s = _delay_step(cross * even_ramp(delay_s * rate_hz / size, 2 * half + 1, first=-half), bins_hz)
        delay_s -= delay_step_s
        if abs(delay_step_s) < _SMALL_STEP_S and abs(frequency_step_hz) < _SMALL_STEP_HZ:
            break
    turned = cross * even_ramp(delay_s * rate_hz / size, 2 * half + 1, first=-half)
    power = math.sqrt(float(np.square(np.abs(spectrum_late)).sum() * np.square(np.abs(spectrum_early)).sum()))
    coherence = min(1.0, abs(complex(turned.sum())) / power)
    beta_hz = _spread(np.real(turned * np.exp(-1j * np.angle(turned.sum()))), bins_hz)
    drift_hz = _drift(spectrum_early, places, bins_hz, time_s)
    # A slow sweep looks the same later as higher: what runs along with time is taken by the unknown frequency (Stein 1981).
    beta_hz = math.sqrt(max(0.0, beta_hz**2 - drift_hz**2))
    count = bandwidth_hz * size / rate_hz
    gain = 2 * count * coherence**2 / max(1 - coherence**2, 1e-9)
    variance = 1 / (np.square(2 * math.pi * beta_hz) * gain) if beta_hz > 0 else math.inf
    return delay_s, frequency_hz, coherence, math.sqrt(2 * math.log(2)) / (math.pi * max(beta_hz, 1e-9)), float(variance)


def _sum_blocks(product: npt.NDArray[np.complexfloating]) -> npt.NDArray[np.complexfloating]:
    num_blocks = 32
    size = len(product) // num_blocks
    return np.asarray(product[: num_blocks * size].reshape(num_blocks, size).sum(axis=1))


def _slope(blocks: npt.NDArray[np.complexfloating], duration_s: float) -> float:
    """Return the frequency of a nearly constant sequence: phase between neighbours, weighted by their strength."""
    values = blocks.ravel()
    turn = np.angle(np.sum(values[1:] * np.conj(values[:-1])))
    return float(turn / (2 * np.pi) * len(values) / duration_s)


def _delay_step(turned: npt.NDArray[np.complexfloating], bins_hz: AnyFloatArray) -> float:
    """Return the Newton step in delay of ``|sum turned|^2`` for a cross-spectrum that is turned back by the delay so far."""
    real, imag = np.asarray(turned.real, np.float64), np.asarray(turned.imag, np.float64)
    omega = 2 * np.pi * bins_hz
    total = complex(real.sum(), imag.sum())
    first = 1j * complex(omega @ real, omega @ imag)
    square = np.square(omega)
    second = -complex(square @ real, square @ imag)
    slope = 2 * (total.conjugate() * first).real
    curve = 2 * (abs(first) ** 2 + (total.conjugate() * second).real)
    return float(slope / curve) if curve < 0 else 0.0


def _drift(spectrum: npt.NDArray[np.complexfloating], places: IntArray, bins_hz: AnyFloatArray, time_s: AnyFloatArray) -> float:
    """Return the part of the rms frequency deviation that is linear in time, Hz."""
    both = np.zeros((2, len(time_s)), np.complex64)
    both[0, places], both[1, places] = spectrum, 1j * (2 * np.pi * bins_hz) * spectrum
    signal, slope = fft.ifft(both, axis=1)
    power = np.square(np.abs(signal)).astype(np.float64)
    turning_hz = np.imag(slope * np.conj(signal)) / (2 * np.pi)
    mean_hz, mean_s = turning_hz.sum() / power.sum(), (power * time_s).sum() / power.sum()
    centred_s = time_s - mean_s
    covariance = ((turning_hz - mean_hz * power) * centred_s).sum() / power.sum()
    return float(abs(covariance) / math.sqrt(float((power * centred_s**2).sum() / power.sum())))


def _spread(weight: AnyFloatArray, bins_hz: AnyFloatArray) -> float:
    """Return the rms width of a cross-spectrum; weights of noise fall to both sides of zero, and cancel."""
    total = weight.sum()
    if total <= 0:
        return 0.0
    centre = (weight * bins_hz).sum() / total
    return math.sqrt(max(0.0, float((weight * np.square(bins_hz - centre)).sum() / total)))
