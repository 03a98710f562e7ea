"""A voice for narrowband FM where the user has no recordings: a glottal source through formants, in syllables, with pauses.

It need not be understood: what counts for timing is how wide and how unsteady its frequency modulation is, silence included.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Final

import numpy as np
from jaxtyping import Float64
from scipy import signal

from heimdall.rf.shapes import FloatArray

FULL_SCALE_RMS: Final = 0.35
"""Of speech behind a transmitter's limiter: 0.87 kHz rms at 2.5 kHz peak (real Italian speech; project notes physics.md, section 2)."""

_VOWELS_HZ: Final = ((730, 1090, 2440), (270, 2290, 3010), (530, 1840, 2480), (570, 840, 2410), (300, 870, 2240))
"""First three formants of a, i, e, o, u (Peterson and Barney 1952, table II, men)."""
_BANDWIDTHS_HZ: Final = (80.0, 100.0, 140.0)
_SILENT_SHARE: Final = 0.1
_UNVOICED_SHARE: Final = 0.2
_AUDIO_BAND_HZ: Final = (300.0, 3000.0)
_LEAST_SYLLABLE: Final = 16


def speak(generator: np.random.Generator, num_samples: int, sample_rate_hz: float) -> Float64[FloatArray, " t"]:
    """Return pre-emphasized, limited speech-like audio, [num_samples] in -1 to 1, a tenth of its syllables silent."""
    parts, length = [], 0
    pitch_hz = generator.uniform(90, 230)
    while length < num_samples:
        size = max(_LEAST_SYLLABLE, int(generator.uniform(0.08, 0.3) * sample_rate_hz))
        parts.append(_make_syllable(generator, size, sample_rate_hz, pitch_hz))
        length += size
    return np.concatenate(parts)[:num_samples]


def _make_syllable(generator: np.random.Generator, size: int, sample_rate_hz: float, pitch_hz: float) -> FloatArray:
    kind = generator.random()
    if kind < _SILENT_SHARE:
        return np.zeros(size)
    if kind < _SILENT_SHARE + _UNVOICED_SHARE:
        source, sections = generator.standard_normal(size), _band_pass(sample_rate_hz)
    else:
        cycles = np.cumsum(pitch_hz * (1 + 0.1 * np.sin(np.linspace(0, generator.uniform(1, 4), size)))) / sample_rate_hz
        source = np.diff(np.floor(cycles), prepend=0.0)
        formants = zip(_VOWELS_HZ[generator.integers(len(_VOWELS_HZ))], _BANDWIDTHS_HZ, strict=True)
        resonances = [_resonance(formant_hz * generator.uniform(0.9, 1.1), width_hz, sample_rate_hz) for formant_hz, width_hz in formants]
        sections = np.concatenate([resonances, _band_pass(sample_rate_hz)])
    shaped = np.diff(np.asarray(signal.sosfilt(sections, source), np.float64), prepend=0.0)
    loud = float(np.sqrt(np.mean(np.square(shaped)))) or 1.0
    envelope = np.minimum(1, 8 * np.sin(np.linspace(0, np.pi, size)))
    return np.asarray(np.clip(shaped / loud * envelope * (FULL_SCALE_RMS * 1.05 * generator.uniform(0.7, 1.3)), -1, 1), np.float64)


def _resonance(formant_hz: float, width_hz: float, sample_rate_hz: float) -> list[float]:
    """Return the second-order section of a formant, of gain 1 at 0 Hz."""
    radius = np.exp(-np.pi * width_hz / sample_rate_hz)
    feedback = [1.0, -2 * radius * np.cos(2 * np.pi * formant_hz / sample_rate_hz), radius**2]
    return [sum(feedback), 0.0, 0.0, *feedback]


@lru_cache(maxsize=16)
def _band_pass(sample_rate_hz: float) -> FloatArray:
    low, high = _AUDIO_BAND_HZ
    return np.asarray(signal.butter(2, (low, min(high, 0.45 * sample_rate_hz)), "bandpass", fs=sample_rate_hz, output="sos"), np.float64)
