"""What transmitters send, as complex baseband of unit power: voice on narrowband FM, data on FM, and a flat reference.

A frequency modulation is the running sum of its deviation, so its rms bandwidth is its rms deviation. Every generator fills
the samples it is asked for; a transmission shorter than that is followed by nothing, one longer is cut.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import lru_cache
from typing import Final

import numpy as np
import numpy.typing as npt
from jaxtyping import Complex64, Float, Float64
from scipy import signal

from heimdall.domain.datasets import VOICE_WAVEFORMS, WaveformId
from heimdall.rf.ax25 import encode_ui_frame, scramble_g3ruh, stuff_nrzi
from heimdall.rf.shapes import AnyFloatArray, FloatArray
from heimdall.rf.speech import FULL_SCALE_RMS, speak

ComplexArray = npt.NDArray[np.complex64]

VOICE_DEVIATION_HZ: Final = 2_500.0
DATA_DEVIATION_HZ: Final = 3_000.0
CTCSS_HZ: Final = (67.0, 254.1)
"""Range of sub-audible tones (EIA/TIA-603, table of CTCSS)."""

DMR_SYMBOL_RATE_HZ: Final = 4_800.0
DMR_DEVIATIONS_HZ: Final = (648.0, 1944.0)
"""4FSK of ETSI TS 102 361-1, section 10.2.2."""
DMR_BURST_S: Final = 0.0275
DMR_FRAME_S: Final = 0.06

_AFSK_TONES_HZ: Final = (1200.0, 2200.0)
_OVERSAMPLING: Final = 10


_VOICE_DEVIATIONS_HZ: Final = dict(zip(VOICE_WAVEFORMS, (VOICE_DEVIATION_HZ, 2 * VOICE_DEVIATION_HZ), strict=True))


def make_waveform(
    waveform: WaveformId,
    generator: np.random.Generator,
    num_samples: int,
    sample_rate_hz: float,
    *,
    voice: Float[AnyFloatArray, " v"] | None = None,
) -> ComplexArray:
    """Return a transmission, [num_samples], of unit power while it is on.

    Parameters
    ----------
    waveform
        A key of ``rf.spectra.SPECTRA``; its note says what is meant.
    generator
        Gives contents, pauses and tones.
    num_samples, sample_rate_hz
        The sample rate must hold the channel: 16 kS/s for 12.5 kHz.
    voice
        Audio at that rate, of which each transmission of voice sends a piece; by default the formant source speaks.
    """
    if voice is not None and waveform in _VOICE_DEVIATIONS_HZ:
        return _send_voice(generator, num_samples, sample_rate_hz, _VOICE_DEVIATIONS_HZ[waveform], voice)
    return _MAKERS[waveform](generator, num_samples, sample_rate_hz)


def modulate_frequency(deviation_hz: Float[AnyFloatArray, " t"], sample_rate_hz: float) -> Complex64[ComplexArray, " t"]:
    """Return ``exp(j 2 pi integral of deviation)``, constant envelope."""
    phase = np.cumsum(np.asarray(deviation_hz, np.float64)) * (2 * np.pi / sample_rate_hz)
    result = np.empty(phase.shape, np.complex64)
    result.real, result.imag = np.cos(phase), np.sin(phase)
    return result


def make_voice(
    generator: np.random.Generator,
    num_samples: int,
    sample_rate_hz: float,
    *,
    deviation_hz: float = VOICE_DEVIATION_HZ,
    audio: Float[AnyFloatArray, " t"] | None = None,
    ctcss_hz: float | None = None,
) -> ComplexArray:
    """Return narrowband FM voice.

    Parameters
    ----------
    deviation_hz
        Peak deviation, 2.5 kHz in a 12.5 kHz channel.
    audio
        Speech in -1 to 1 at the same sample rate, as loud as it is to be sent; by default the formant source speaks, pauses included.
    ctcss_hz
        A sub-audible tone at a sixth of the deviation, or none.
    """
    spoken = speak(generator, num_samples, sample_rate_hz) if audio is None else np.asarray(audio, np.float64)[:num_samples]
    deviation = np.zeros(num_samples)
    deviation[: len(spoken)] = np.clip(spoken, -1, 1) * deviation_hz
    if ctcss_hz is not None:
        deviation += (
            deviation_hz / 6 * np.sin(2 * np.pi * ctcss_hz / sample_rate_hz * np.arange(num_samples) + generator.uniform(0, 2 * np.pi))
        )
    return modulate_frequency(deviation, sample_rate_hz)


def level_speech(audio: Float[AnyFloatArray, " t"]) -> Float64[FloatArray, " t"]:
    """Return recorded speech as a transmitter's limiter leaves it: pre-emphasized, loud, at most 1."""
    sharp = np.diff(np.asarray(audio, np.float64), prepend=0.0)
    loud = float(np.sqrt(np.mean(np.square(sharp)))) or 1.0
    return np.clip(sharp * (FULL_SCALE_RMS / loud), -1, 1)


def make_dmr(generator: np.random.Generator, num_samples: int, sample_rate_hz: float) -> ComplexArray:
    """Return DMR: 4FSK at 4800 symbols/s, root-raised-cosine with roll-off 0.2, in one of two time slots (27.5 ms of 60 ms)."""
    inner_hz = _OVERSAMPLING * DMR_SYMBOL_RATE_HZ
    num_symbols = math.ceil(num_samples / sample_rate_hz * DMR_SYMBOL_RATE_HZ) + 32
    low, high = DMR_DEVIATIONS_HZ
    symbols_hz = np.array([-high, -low, low, high])[generator.integers(4, size=num_symbols)]
    shaped = signal.upfirdn(_OVERSAMPLING * root_raised_cosine(0.2, span=8, oversampling=_OVERSAMPLING), symbols_hz, up=_OVERSAMPLING)
    deviation = _resample(shaped[8 * _OVERSAMPLING :], inner_hz, sample_rate_hz, num_samples)
    time_s = np.arange(num_samples) / sample_rate_hz + generator.uniform(0, DMR_FRAME_S)
    is_on = np.mod(time_s, DMR_FRAME_S) < DMR_BURST_S
    return (modulate_frequency(deviation, sample_rate_hz) * is_on).astype(np.complex64)


def make_aprs(
    generator: np.random.Generator, num_samples: int, sample_rate_hz: float, *, information: str | None = None, source: str = "IW1ABC"
) -> ComplexArray:
    """Return APRS: an AX.25 frame as 1200 baud AFSK (Bell 202) on FM, flags before and after for as long as it lasts."""
    text = (
        information
        or f"!45{generator.integers(10, 59):02d}.00N/007{generator.integers(10, 59):02d}.00E-heimdall {generator.integers(1_000_000)}"
    )
    audio = afsk_audio(text, source, num_samples, sample_rate_hz)
    return modulate_frequency(DATA_DEVIATION_HZ * audio, sample_rate_hz)


def afsk_audio(information: str, source: str, num_samples: int, sample_rate_hz: float) -> Float64[FloatArray, " t"]:
    """Return the audio of an APRS frame in -1 to 1: 1200 Hz for a mark, 2200 Hz for a space, continuous in phase."""
    levels = _repeat_frame(encode_ui_frame(source, "APRS", information), num_samples / sample_rate_hz, 1200.0)
    index = np.minimum((np.arange(num_samples) * (1200.0 / sample_rate_hz)).astype(np.int64), len(levels) - 1)
    tone_hz = np.where(levels[index] == 1, *_AFSK_TONES_HZ)
    return np.sin(np.cumsum(tone_hz) * (2 * np.pi / sample_rate_hz))


def make_fsk9600(generator: np.random.Generator, num_samples: int, sample_rate_hz: float) -> ComplexArray:
    """Return 9600 baud direct FSK, scrambled and low-passed at half the baud rate as G3RUH modems do, 3 kHz peak deviation."""
    text = f"!heimdall {generator.integers(1_000_000_000)}"
    levels = _repeat_frame(encode_ui_frame("IW1ABC", "APRS", text), num_samples / sample_rate_hz + 0.01, 9600.0, scramble=True)
    inner_hz = _OVERSAMPLING * 9600.0
    taps = signal.firwin(4 * _OVERSAMPLING + 1, 4800.0, fs=inner_hz)
    shaped = signal.oaconvolve(np.repeat(2.0 * levels - 1, _OVERSAMPLING), taps, "same")
    shaped /= np.abs(shaped).max()
    return modulate_frequency(_resample(DATA_DEVIATION_HZ * shaped, inner_hz, sample_rate_hz, num_samples), sample_rate_hz)


def make_flat(generator: np.random.Generator, num_samples: int, sample_rate_hz: float, *, bandwidth_hz: float) -> ComplexArray:
    """Return Gaussian noise that is flat over a band: the idealized signal of the bounds."""
    spectrum = generator.standard_normal(num_samples) + 1j * generator.standard_normal(num_samples)
    spectrum[np.abs(np.fft.fftfreq(num_samples, 1 / sample_rate_hz)) > bandwidth_hz / 2] = 0
    drawn = np.fft.ifft(spectrum)
    return np.asarray(drawn / np.sqrt(np.mean(np.square(np.abs(drawn)))), np.complex64)


@lru_cache(maxsize=8)
def root_raised_cosine(roll_off: float, *, span: int, oversampling: int) -> Float64[FloatArray, " t"]:
    """Return the taps of a root-raised-cosine filter over ``span`` symbols each side, of unit sum.

    References
    ----------
    Proakis, Digital Communications, 5th edition, equation 9.2-29; its limits at t = 0 and t = T / (4 roll_off).
    """
    t = np.arange(-span * oversampling, span * oversampling + 1) / oversampling
    with np.errstate(divide="ignore", invalid="ignore"):
        rising = np.sin(np.pi * t * (1 - roll_off)) + 4 * roll_off * t * np.cos(np.pi * t * (1 + roll_off))
        taps = rising / (np.pi * t * (1 - np.square(4 * roll_off * t)))
    edge = np.isclose(np.abs(t), 1 / (4 * roll_off))
    angle = np.pi / (4 * roll_off)
    taps[edge] = roll_off / math.sqrt(2) * ((1 + 2 / np.pi) * math.sin(angle) + (1 - 2 / np.pi) * math.cos(angle))
    taps[t == 0] = 1 - roll_off + 4 * roll_off / np.pi
    return np.asarray(taps / taps.sum(), np.float64)


def rms_bandwidth_hz(samples: npt.NDArray[np.complexfloating], sample_rate_hz: float) -> float:
    """Return the rms bandwidth about the centroid of a constant-envelope signal: the spread of its instantaneous frequency, Hz."""
    is_on = np.abs(samples[1:] * samples[:-1]) > 0.1
    step = np.angle(samples[1:] * np.conj(samples[:-1]))[is_on]
    return float(step.std() * sample_rate_hz / (2 * np.pi))


def _repeat_frame(frame: npt.NDArray[np.uint8], duration_s: float, baud: float, *, scramble: bool = False) -> npt.NDArray[np.uint8]:
    """Return line levels with flags before, between and after frames, as many as fit."""
    num_levels = math.ceil(duration_s * baud) + 1
    bits = stuff_nrzi(frame, num_flags=max(8, int(0.025 * baud / 8)), num_levels=num_levels, is_line_coded=not scramble)
    return scramble_g3ruh(bits) if scramble else bits


def _resample(values: FloatArray, rate_in_hz: float, rate_out_hz: float, num_samples: int) -> FloatArray:
    ratio = rate_in_hz / rate_out_hz
    if ratio.is_integer():
        return np.asarray(values[:: int(ratio)][:num_samples], np.float64)
    return np.asarray(np.interp(np.arange(num_samples) * ratio, np.arange(len(values)), values), np.float64)


_Maker = Callable[[np.random.Generator, int, float], ComplexArray]


def _send_voice(
    generator: np.random.Generator, num_samples: int, sample_rate_hz: float, deviation_hz: float, voice: AnyFloatArray
) -> ComplexArray:
    """Send a piece of recorded speech, from anywhere in it; behind its end it begins anew."""
    tone = generator.uniform(*CTCSS_HZ) if generator.random() < 0.5 else None
    piece = np.take(voice, generator.integers(len(voice)) + np.arange(num_samples), mode="wrap")
    return make_voice(generator, num_samples, sample_rate_hz, deviation_hz=deviation_hz, audio=piece, ctcss_hz=tone)


def _voice(deviation_hz: float) -> _Maker:
    def make(generator: np.random.Generator, num_samples: int, sample_rate_hz: float) -> ComplexArray:
        tone = generator.uniform(*CTCSS_HZ) if generator.random() < 0.5 else None
        return make_voice(generator, num_samples, sample_rate_hz, deviation_hz=deviation_hz, ctcss_hz=tone)

    return make


def _flat(bandwidth_hz: float) -> _Maker:
    return lambda generator, num_samples, sample_rate_hz: make_flat(generator, num_samples, sample_rate_hz, bandwidth_hz=bandwidth_hz)


_MAKERS: Final[dict[WaveformId, _Maker]] = {
    **{waveform: _voice(deviation_hz) for waveform, deviation_hz in _VOICE_DEVIATIONS_HZ.items()},
    "dmr": make_dmr,
    "aprs": make_aprs,
    "fsk9600": make_fsk9600,
    "flat-12k5": _flat(12_500.0),
    "flat-200k": _flat(200_000.0),
}
