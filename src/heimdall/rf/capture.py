"""What receivers really record of one transmission: every one the same waveform, each at its own delay, clock and noise.

The model is ``y_i(t) = Q[g_i exp(j 2 pi (f_CFO,i + f_D,i) t + j theta_i(t)) sum_p a_ip(t) s((1 + e_i)(t - d_i) - tau_i - D_ip) + n_i(t)]``
(project notes physics.md, section 2). At 16 kS/s a sample is 18.7 km long, so delays are fractional: phase ramps over a block with a
guard on both sides. Drift by sample clock and motion is a small stretch, a Taylor series of second order about the block's middle.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import lru_cache
from typing import Final

import numpy as np
import numpy.typing as npt
from jaxtyping import Complex64, Float64
from scipy import fft

from heimdall.domain.errors import InvalidInputError
from heimdall.rf.constants import SPEED_OF_LIGHT_M_S
from heimdall.rf.propagation import noise_floor_dbm
from heimdall.rf.shapes import FloatArray

ComplexArray = npt.NDArray[np.complex64]

_NUM_DOPPLER_WAVES: Final = 8
_NUM_KNOTS: Final = 17
_MAX_DRIFT_RAD: Final = 0.6
_SMALL_DRIFT_RAD: Final = 0.02
"""Phase at the rms frequency: above the first the series is not good enough, below the second its square does not matter."""


@dataclass(frozen=True)
class FrontEnd:
    """A receiver's hardware, the same at every site.

    Noise figure and quantization: an RTL-SDR has 7 dB at full gain and about 7 effective bits (SM5BSZ). Crystal: 0.5 to 1 ppm with
    temperature compensation, 20 and more without.
    """

    sample_rate_hz: float = 16_000.0
    noise_figure_db: float = 7.0
    crystal_sigma_ppm: float = 1.0
    linewidth_hz: float = 0.1
    """Of the oscillator: its phase walks by ``2 pi linewidth`` rad^2 a second."""
    num_bits: int = 8
    agc_target_dbfs: float = -12.0
    """RMS level that the gain control sets, by the strongest tenth of the capture."""


@dataclass(frozen=True)
class Channel:
    """Propagation beside the direct path: none where ``num_echoes`` is 0."""

    num_echoes: int = 0
    rician_k_db: float = 6.0
    """Power of the direct path over that of all echoes; -inf is Rayleigh."""
    delay_spread_s: float = 0.4e-6
    """Mean excess delay of echoes (exponential): 0.4 us in flat country, 0.6 in a city (UHF narrowband, IJAP 2015/985892, table 2)."""


@dataclass(frozen=True)
class Scene:
    """One transmission and who could hear it; r receivers."""

    transmitter_m: Float64[FloatArray, " 3"]
    velocity_m_s: Float64[FloatArray, " 3"]
    receiver_m: Float64[FloatArray, "r 3"]
    power_dbm: Float64[FloatArray, " r"]
    """At each antenna, mean over the fading."""
    clock_offset_s: Float64[FloatArray, " r"]
    """How late each receiver's clock is at the start; it then drifts with the crystal."""
    frequency_mhz: float
    transmitter_offset_hz: float = 0.0


@dataclass(frozen=True)
class Capture:
    """What was recorded, and the truth behind it; r receivers, t samples."""

    iq: Complex64[ComplexArray, "r t"]
    """Quantized, full scale 1."""
    sample_rate_hz: float
    gain_db: Float64[FloatArray, " r"]
    """dBm at the antenna = dBFS - gain."""
    arrival_s: Float64[FloatArray, " r"]
    """When the direct path arrives on each receiver's own clock, half-way through the capture, relative to transmission."""
    frequency_offset_hz: Float64[FloatArray, " r"]
    """Of the received carrier: crystal, motion and transmitter."""
    noise_dbm_hz: float


def guard_samples(scene_span_s: float, sample_rate_hz: float) -> int:
    """Return how many samples a waveform must be longer on each side for delays of up to this span."""
    return math.ceil(abs(scene_span_s) * sample_rate_hz) + 64


def simulate_capture(
    waveform: Complex64[ComplexArray, " s"],
    scene: Scene,
    generator: np.random.Generator,
    *,
    num_samples: int,
    front_end: FrontEnd | None = None,
    channel: Channel | None = None,
) -> Capture:
    """Send one waveform to all receivers and record it.

    Parameters
    ----------
    waveform
        [s] unit power, longer than the capture: what is cut at both ends is the guard against wrapping round.
    scene, front_end, channel
        Where, with what, and through what.
    generator
        Draws crystals, echoes, phases and noise.
    num_samples
        t, of the capture.

    Returns
    -------
    Capture
        The capture begins ``(s - t) / 2`` samples after the waveform does, on a perfect clock at the transmitter.

    Raises
    ------
    InvalidInputError
        Where the guard does not hold the delays, or drift is too large for a block: cut the capture into shorter ones.
    """
    front_end, channel = front_end or FrontEnd(), channel or Channel()
    rate_hz, num_receivers = front_end.sample_rate_hz, len(scene.power_dbm)
    offset = scene.transmitter_m - scene.receiver_m
    distance_m = np.sqrt(np.einsum("rk,rk->r", offset, offset))
    radial_m_s = offset @ scene.velocity_m_s / np.maximum(distance_m, 1.0)
    crystal = generator.standard_normal(num_receivers) * (front_end.crystal_sigma_ppm * 1e-6)
    stretch = crystal - radial_m_s / SPEED_OF_LIGHT_M_S
    arrival_s = distance_m / SPEED_OF_LIGHT_M_S + scene.clock_offset_s
    guard = (len(waveform) - num_samples) // 2
    if guard < guard_samples(float(np.abs(arrival_s).max()), rate_hz) - 64 or guard < 1:
        raise InvalidInputError("The waveform is too short for these delays and clock offsets; make it longer by the guard on both sides.")
    doppler_hz = scene.frequency_mhz * 1e6 * np.linalg.norm(scene.velocity_m_s) / SPEED_OF_LIGHT_M_S
    spectra = _propagate(waveform, arrival_s, channel, generator, rate_hz=rate_hz, doppler_hz=float(doppler_hz))
    received = _stretch(spectra, stretch, _width_rad(waveform), rate_hz)[:, guard : guard + num_samples]
    carrier_hz = scene.frequency_mhz * 1e6
    # A fast crystal makes the receiver's own oscillator fast: the carrier then appears below.
    shift_hz = scene.transmitter_offset_hz - carrier_hz * (crystal + radial_m_s / SPEED_OF_LIGHT_M_S)
    noise_dbm_hz = noise_floor_dbm(scene.frequency_mhz, bandwidth_hz=1.0, noise_figure_db=front_end.noise_figure_db)
    fast = _branch(generator)
    received *= _oscillate(shift_hz, front_end, fast, num_samples)
    received *= (10 ** (scene.power_dbm / 20)).astype(np.float32)[:, None]
    noise = fast.standard_normal((num_receivers, 2 * num_samples), dtype=np.float32)
    noise *= np.float32(math.sqrt(10 ** (noise_dbm_hz / 10) * rate_hz / 2))
    received += noise.view(np.complex64)
    iq, gain_db = _digitize(received, front_end)
    return Capture(iq, rate_hz, gain_db, arrival_s, shift_hz, noise_dbm_hz)


def _branch(generator: np.random.Generator) -> np.random.Generator:
    """Return a faster generator that depends on nothing but this one's state, for what is drawn once a sample."""
    return np.random.Generator(np.random.SFC64(generator.integers(2**32, size=4).tolist()))


def _propagate(
    waveform: ComplexArray, arrival_s: FloatArray, channel: Channel, generator: np.random.Generator, *, rate_hz: float, doppler_hz: float
) -> ComplexArray:
    """Return the spectrum of the sum of paths, [r, s]: delays as phase ramps, gains constant for a transmitter that stands still."""
    num_receivers, size = len(arrival_s), len(waveform)
    spectrum = fft.fft(waveform)
    is_fading = doppler_hz > 0 and channel.num_echoes > 0
    gains, excess_s = _draw_paths(channel, generator, num_receivers, is_fading=is_fading)
    delay = (arrival_s[:, None] + excess_s) * rate_hz
    if not is_fading:
        response = gains[:, :1] * _delay_ramps(delay[:, 0], size)
        for path in range(1, gains.shape[1]):
            response += gains[:, path, None] * _delay_ramps(delay[:, path], size)
        return np.asarray(spectrum * response, np.complex64)
    paths = np.asarray(fft.ifft(spectrum * _delay_ramps(delay, size), axis=2), np.complex64) * gains[..., None]
    paths[:, 1:] *= _fade(generator, num_receivers, channel.num_echoes, size, doppler_hz / rate_hz)
    return np.asarray(fft.fft(paths.sum(axis=1), axis=1), np.complex64)


def _delay_ramps(delay: FloatArray, size: int) -> ComplexArray:
    """Return ``exp(-j omega delay)`` over the bins of a transform, [*delay, size], delays in samples."""
    middle = size // 2
    ramp = _ramps(-delay / size, size, first=-middle)
    return np.concatenate([ramp[..., middle:], ramp[..., :middle]], axis=-1)


def even_ramp(turns: float, size: int, *, first: float = 0) -> ComplexArray:
    """Return ``exp(j 2 pi turns n)`` for ``size`` values of n from ``first`` on, [size]."""
    return _ramps(np.asarray(turns), size, first=first)


def _ramps(turns: FloatArray, size: int, *, first: float = 0) -> ComplexArray:
    """Return ``exp(j 2 pi turns n)`` for ``size`` values of n from ``first`` on, [*turns, size].

    They are evenly spaced, so it is a product of a coarse and a fine ramp: two square roots of ``size`` exponentials each.
    """
    fine = math.isqrt(size) + 1
    coarse = -(-size // fine)
    step = 2j * np.pi * turns[..., None]
    begin = np.exp(step * (fine * np.arange(coarse) + first)).astype(np.complex64)
    ramp = begin[..., None] * np.exp(step * np.arange(fine)).astype(np.complex64)[..., None, :]
    return np.asarray(ramp.reshape(*turns.shape, -1)[..., :size], np.complex64)


def _draw_paths(
    channel: Channel, generator: np.random.Generator, num_receivers: int, *, is_fading: bool
) -> tuple[ComplexArray, FloatArray]:
    """Return amplitudes [r, p] (mean power 1 together) and excess delays in s; path 0 is the direct one.

    Echoes that fade get their random amplitude over time; the others have one draw of it.
    """
    factor = 10 ** (channel.rician_k_db / 10) if channel.num_echoes else math.inf
    direct = 1.0 if math.isinf(factor) else math.sqrt(factor / (1 + factor))
    phase = np.exp(2j * np.pi * generator.random((num_receivers, 1)))
    if channel.num_echoes == 0:
        return phase.astype(np.complex64), np.zeros((num_receivers, 1))
    shape = (num_receivers, channel.num_echoes)
    excess_s = generator.exponential(channel.delay_spread_s, shape)
    scattered = generator.standard_normal(shape) + 1j * generator.standard_normal(shape)
    scattered = scattered if not is_fading else np.full(shape, math.sqrt(2) + 0j)
    echoes = scattered * math.sqrt((1 - direct**2) / (2 * channel.num_echoes))
    gains = np.concatenate([direct * phase, echoes], axis=1).astype(np.complex64)
    return gains, np.concatenate([np.zeros((num_receivers, 1)), excess_s], axis=1)


def _fade(generator: np.random.Generator, num_receivers: int, num_echoes: int, size: int, doppler: float) -> ComplexArray:
    """Return Clarke fading of unit power, [r, e, s], by a sum of waves from all sides, interpolated between knots (Doppler is slow)."""
    knots, weights = _interpolation(max(_NUM_KNOTS, math.ceil(16 * doppler * size)), size)
    shape = (num_receivers, num_echoes, _NUM_DOPPLER_WAVES, 1)
    rates = doppler * np.cos(2 * np.pi * generator.random(shape))
    phases = 2 * np.pi * generator.random(shape)
    waves = np.exp(1j * (2 * np.pi * rates * knots + phases)).sum(axis=2) / math.sqrt(_NUM_DOPPLER_WAVES)
    return np.asarray(waves.astype(np.complex64) @ weights, np.complex64)


@lru_cache(maxsize=8)
def _interpolation(num_knots: int, size: int) -> tuple[FloatArray, npt.NDArray[np.complex64]]:
    """Return knots over a block and the matrix that interpolates linearly between them, [knots, size]."""
    knots = np.linspace(0, size, num_knots)
    weights = np.array([np.interp(np.arange(size), knots, unit) for unit in np.eye(num_knots)])
    return knots, weights.astype(np.complex64)


def _stretch(spectra: ComplexArray, stretch: FloatArray, width_rad: float, rate_hz: float) -> ComplexArray:
    """Return the signals at ``t + stretch (t - middle)``."""
    size = spectra.shape[1]
    received = np.asarray(fft.ifft(spectra, axis=1), np.complex64)
    shift = (stretch[:, None] * (np.arange(size) - size / 2)).astype(np.float32)
    drift_rad = float(np.abs(shift).max()) * width_rad
    if drift_rad > _MAX_DRIFT_RAD:
        raise InvalidInputError(
            f"The sample clocks drift by {np.abs(shift).max() / rate_hz * 1e6:.1f} us within the capture, too much for one block of this "
            "bandwidth; simulate shorter captures or better crystals."
        )
    step = (2j * np.pi * np.fft.fftfreq(size)).astype(np.complex64)
    if drift_rad > _SMALL_DRIFT_RAD:
        received += 0.5 * np.square(shift) * np.asarray(fft.ifft(spectra * np.square(step), axis=1), np.complex64)
    if drift_rad > 0:
        received += shift * np.asarray(fft.ifft(spectra * step, axis=1), np.complex64)
    return received


def _width_rad(waveform: ComplexArray) -> float:
    """Return the rms frequency of a signal, rad a sample."""
    step = np.abs(np.diff(waveform))
    return float(np.sqrt(np.mean(np.square(step)) / max(float(np.mean(np.square(np.abs(waveform)))), 1e-12)))


def _oscillate(shift_hz: FloatArray, front_end: FrontEnd, generator: np.random.Generator, num_samples: int) -> ComplexArray:
    """Return ``exp(j phase)`` of each receiver's oscillator, [r, t]: its offset as a ramp, its phase noise as a random walk."""
    walk = generator.standard_normal((len(shift_hz), num_samples), dtype=np.float32)
    walk *= np.float32(math.sqrt(2 * np.pi * front_end.linewidth_hz / front_end.sample_rate_hz))
    np.cumsum(walk, axis=1, out=walk)
    result = np.empty(walk.shape, np.complex64)
    np.cos(walk, out=result.real)
    np.sin(walk, out=result.imag)
    result *= _ramps(shift_hz / front_end.sample_rate_hz, num_samples)
    return result


def _digitize(received: ComplexArray, front_end: FrontEnd) -> tuple[ComplexArray, FloatArray]:
    """Set the gain by the loudest tenth, clip at full scale and round to the converter's steps."""
    block = max(1, received.shape[1] // 10)
    num_blocks = received.shape[1] // block
    power = np.square(np.abs(received[:, : num_blocks * block])).reshape(len(received), num_blocks, block).mean(axis=2).max(axis=1)
    gain = 10 ** (front_end.agc_target_dbfs / 20) / np.sqrt(power)
    steps = float(2 ** (front_end.num_bits - 1))
    scaled = (received * (gain * steps).astype(np.float32)[:, None]).view(np.float32)
    np.rint(scaled, out=scaled)
    np.clip(scaled, -steps, steps - 1, out=scaled)
    scaled /= np.float32(steps)
    return scaled.view(np.complex64), 20 * np.log10(gain)
