"""Samples of one clock read at the instants of another: tuning, decimation and fractional shifts of recordings."""

from __future__ import annotations

import math
from typing import Final

import numpy as np
import numpy.typing as npt
from jaxtyping import Complex64
from scipy import signal

from heimdall.rf.capture import even_ramp

ComplexArray = npt.NDArray[np.complex64]

_CROSSINGS: Final = 32
"""Zero crossings of the sinc on each side."""
_KAISER_BETA: Final = 8.0
_CUTOFF: Final = 1.04
"""Of half the slower rate: the edges beside the channel, where noise is measured, keep their level."""
_BLOCK: Final = 4096
_EXACT: Final = 1e-6
"""Samples; nearer than this to a whole one nothing is interpolated."""


def tune(samples: Complex64[ComplexArray, " t"], offset_hz: float, sample_rate_hz: float) -> Complex64[ComplexArray, " t"]:
    """Return the samples with what lay at ``offset_hz`` in the middle."""
    if offset_hz == 0:
        return samples
    return samples * even_ramp(-offset_hz / sample_rate_hz, len(samples))


def decimate(samples: Complex64[ComplexArray, " t"], factor: int) -> Complex64[ComplexArray, " s"]:
    """Return every ``factor``-th sample behind a low-pass without delay; the first stays the first."""
    return samples if factor == 1 else np.asarray(signal.resample_poly(samples, 1, factor), np.complex64)


def read_at(samples: Complex64[ComplexArray, " t"], first: float, step: float, count: int) -> Complex64[ComplexArray, " s"]:
    """Return ``count`` values at the places ``first + k step``, in samples; beyond both ends lies nothing.

    Whole places are taken as they are. Between samples it is a sinc under a Kaiser window (Oppenheim and Schafer, section 7.5),
    wider where ``step`` is above 1, so that nothing folds into the band.
    """
    if abs(first - round(first)) < _EXACT and abs(step - 1) * count < _EXACT:
        begin = round(first)
        padded = np.concatenate([np.zeros(max(0, -begin), np.complex64), samples[max(0, begin) : max(0, begin + count)]])
        return np.concatenate([padded, np.zeros(max(0, count - len(padded)), np.complex64)])[:count]
    scale = min(1.0, _CUTOFF / step) if step > 1 else 1.0
    half = math.ceil(_CROSSINGS / scale)
    padded = np.concatenate([np.zeros(half, np.complex64), samples, np.zeros(half + 1, np.complex64)])
    result = np.empty(count, np.complex64)
    reach = np.arange(1 - half, half + 1)
    for start in range(0, count, _BLOCK):
        place = first + step * np.arange(start, min(start + _BLOCK, count))
        whole = np.floor(place).astype(np.int64)
        away = reach - (place - whole)[:, None]
        weight = (
            scale * np.sinc(scale * away) * np.i0(_KAISER_BETA * np.sqrt(np.maximum(0, 1 - np.square(away / half)))) / np.i0(_KAISER_BETA)
        )
        index = np.clip(whole[:, None] + reach + half, 0, len(padded) - 1)
        result[start : start + len(place)] = np.einsum("kn,kn->k", padded[index], weight.astype(np.float32))
    return result
