"""Where two receivers' samples agree best: cross-ambiguity over delay x frequency, coarsely in blocks, then between samples and bins.

All pairs with one receiver are searched together, and what depends on one receiver alone (spectra, derivatives) is computed once. Near a
peak at a whole lag, the other's signal delayed by a fraction s of a sample is a polynomial in s whose terms are that signal's
derivatives; summed with the first's samples over a few blocks they hold delay and frequency both, so refining costs no transform.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import lru_cache
from typing import Final

import numpy as np
import numpy.typing as npt
from jaxtyping import Complex64, Float64, Int64
from numpy.polynomial import Chebyshev, Polynomial
from scipy import fft

from heimdall.rf.capture import even_ramp
from heimdall.rf.shapes import FloatArray, IntArray

ComplexArray = npt.NDArray[np.complex64]
WideComplexArray = npt.NDArray[np.complex128]

_BLOCKS_PER_BIN: Final = 4
"""A quarter of a turn within a block at the highest frequency: it costs 10 % of a peak there."""
_NUM_REFINEMENTS: Final = 8
_DEGREE: Final = 7
_REACH: Final = 0.75
"""Samples to both sides of the whole lag, where the polynomial is within 1e-4 at the band's edge."""
_NUM_BLOCKS: Final = 128
_BLOCKS_PER_STEP: Final = 4
"""Blocks whose sums are compared for their phase: few long ones bear more noise."""
_SMALL_STEP: Final = 2e-6
"""Samples, and bins."""


@dataclass(frozen=True)
class Peaks:
    """Of p pairs of receivers, a late one and an early one."""

    delay_samples: Float64[FloatArray, " p"]
    frequency_bins: Float64[FloatArray, " p"]
    """In inverse durations of the capture."""
    height: Float64[FloatArray, " p"]
    """Magnitude of the sum of products over the capture."""
    width_rad: Float64[FloatArray, " p"]
    """Rms bandwidth of the cross-spectrum, rad a sample."""
    drift_rad: Float64[FloatArray, " p"]
    """Part of the early one's rms frequency deviation that is linear in time, rad a sample."""


class Ambiguity:
    """The search over pairs of one capture.

    Parameters
    ----------
    iq
        [r, t] samples.
    reach
        Largest lag, in samples.
    max_bin
        Largest frequency, in inverse durations.
    half
        Bins of the channel to each side of its middle.
    """

    def __init__(self, iq: Complex64[ComplexArray, "r t"], *, reach: int, max_bin: int, half: int) -> None:
        self._iq, self._reach, self._max_bin = iq, reach, max_bin
        self._places = np.arange(-half, half + 1)
        self.spectrum: Complex64[ComplexArray, "r k"] = np.asarray(fft.fft(iq, axis=1), np.complex64)
        """Of all samples."""
        size = iq.shape[1]
        self._block = max(1, size // (_BLOCKS_PER_BIN * (max_bin + 1)))
        self._num_blocks = size // self._block
        length = fft.next_fast_len(self._block + 2 * reach)
        padded = np.zeros((len(iq), size + 2 * reach), np.complex64)
        padded[:, reach : reach + size] = iq
        windows = np.lib.stride_tricks.sliding_window_view(padded, self._block + 2 * reach, axis=1)[:, :: self._block]
        self._windows = fft.fft(windows[:, : self._num_blocks], length, axis=2)
        blocks = iq[:, : self._block * self._num_blocks].reshape(len(iq), self._num_blocks, self._block)
        self._blocks = np.conj(fft.fft(blocks, length, axis=2))

    def survey(self, late: Int64[IntArray, " l"], early: int) -> Float64[FloatArray, "l f d"]:
        """Return the magnitude over frequency bins ``-max_bin`` to ``max_bin`` and lags ``-reach`` to ``reach``."""
        turned = fft.fft(self._windows[late] * self._blocks[early], axis=1)
        kept = np.concatenate([turned[:, self._num_blocks - self._max_bin :], turned[:, : self._max_bin + 1]], axis=1)
        return np.abs(fft.ifft(kept, axis=2)[..., : 2 * self._reach + 1]).astype(np.float64)

    def find(self, late: Int64[IntArray, " p"], early: Int64[IntArray, " p"]) -> Peaks:
        """Return the highest peak of each pair, between samples and bins."""
        size = self._iq.shape[1]
        lag, bins = np.zeros(len(late), np.int64), np.zeros(len(late))
        drift_rad, edge_rad = np.zeros(len(late)), 2 * math.pi * float(self._places[-1]) / size
        table = np.zeros((len(late), _DEGREE + 1, _NUM_BLOCKS), np.complex128)
        for other in np.unique(early):
            chosen = early == other
            surface = self.survey(late[chosen], int(other))
            bin_, place = np.unravel_index(surface.reshape(len(surface), -1).argmax(axis=1), surface.shape[1:])
            lag[chosen] = place - self._reach
            # Bins of the survey are of its whole blocks, which may leave out some last samples.
            bins[chosen] = (bin_ - self._max_bin) * (size / (self._block * self._num_blocks))
            derivatives = self._differentiate(int(other))
            drift_rad[chosen] = edge_rad * _find_drift(derivatives[0], derivatives[1])
            table[chosen] = self._tabulate(late[chosen], derivatives, lag[chosen], bins[chosen])
        fraction, offset_bins = np.zeros(len(late)), np.zeros(len(late))
        share = -(-size // _NUM_BLOCKS) / size
        turn = _turn(offset_bins, share)
        for _ in range(_NUM_REFINEMENTS):
            # Alternate: frequency by the phase's slope over time at this delay, delay by Newton's step at this frequency.
            turned = np.einsum("ln,lnb->lb", _powers(edge_rad, fraction)[0], table) * turn
            turned = turned.reshape(len(late), _NUM_BLOCKS // _BLOCKS_PER_STEP, _BLOCKS_PER_STEP).sum(axis=2)
            bin_step = np.angle(np.sum(turned[:, 1:] * np.conj(turned[:, :-1]), axis=1)) / (2 * np.pi * _BLOCKS_PER_STEP * share)
            offset_bins += bin_step
            turn = _turn(offset_bins, share)
            value, first, second = _evaluate(edge_rad, fraction, table, turn)
            slope = np.real(np.conj(value) * first)
            curve = np.square(np.abs(first)) + np.real(np.conj(value) * second)
            step = np.divide(slope, curve, out=np.zeros_like(slope), where=curve < 0)
            fraction = np.clip(fraction - step, -_REACH, _REACH)
            if np.abs(step).max(initial=0.0) < _SMALL_STEP and np.abs(bin_step).max(initial=0.0) < _SMALL_STEP:
                break
        value, first, second = _evaluate(edge_rad, fraction, table, turn)
        power = np.maximum(np.square(np.abs(value)), 1e-30)
        mean = np.real(-1j * first * np.conj(value)) / power
        width = np.sqrt(np.maximum(0.0, np.real(-second * np.conj(value)) / power - np.square(mean)))
        # The sum over a block loses what the carrier turns within it.
        height = np.abs(value) / np.maximum(np.sinc(offset_bins * share), 0.5)
        return Peaks(lag + fraction, bins + offset_bins, height, width, drift_rad)

    def _differentiate(self, early: int) -> Complex64[ComplexArray, "n t"]:
        """Return conjugate derivatives of a receiver's signal in the channel, in units of ``j`` times the channel's edge."""
        spectra = self.spectrum[early] * _orders(int(self._places[-1]), self._iq.shape[1])
        return np.asarray(np.conj(fft.ifft(spectra, axis=1, overwrite_x=True)), np.complex64)

    def _tabulate(
        self,
        late: Int64[IntArray, " l"],
        derivatives: Complex64[ComplexArray, "n t"],
        lag: Int64[IntArray, " l"],
        bins: Float64[FloatArray, " l"],
    ) -> WideComplexArray:
        """Return sums over blocks of the late samples, moved by the coarse peak, with each derivative of the early: [l, n, b]."""
        size = self._iq.shape[1]
        block = -(-size // _NUM_BLOCKS)
        moved = np.zeros((len(late), block * _NUM_BLOCKS), np.complex64)
        for row in range(len(late)):
            level = self._iq[late[row]] * even_ramp(-bins[row] / size, size, first=-size / 2)
            moved[row, :size] = np.roll(level, -int(lag[row]))
        padded = np.zeros((_DEGREE + 1, block * _NUM_BLOCKS), np.complex64)
        padded[:, :size] = derivatives
        table = np.matmul(
            moved.reshape(len(late), _NUM_BLOCKS, block).transpose(1, 0, 2),
            padded.reshape(_DEGREE + 1, _NUM_BLOCKS, block).transpose(1, 2, 0),
        )
        return np.asarray(table.transpose(1, 2, 0), np.complex128)


def _find_drift(signal: Complex64[ComplexArray, " t"], slope: Complex64[ComplexArray, " t"]) -> float:
    """Return the part of the rms frequency deviation that is linear in time, from a conjugate signal and its derivative, in their units."""
    power = np.square(np.abs(signal)).astype(np.float64)
    frequency = np.real(slope * np.conj(signal)).astype(np.float64)
    time, total = np.arange(len(power)) - len(power) / 2, max(float(np.sum(power)), 1e-30)
    centred = time - power @ time / total
    covariance = (frequency - frequency.sum() / total * power) @ centred / total
    return float(abs(covariance) / math.sqrt(max(float(power @ np.square(centred)) / total, 1e-30)))


def _turn(offset_bins: Float64[FloatArray, " l"], share: float) -> WideComplexArray:
    """Return what takes a frequency off each block, which is a share of the capture: [l, b]."""
    turned = np.empty((len(offset_bins), _NUM_BLOCKS), np.complex128)
    turned[:, 0] = np.exp(-2j * np.pi * (0.5 * share - 0.5) * offset_bins)
    turned[:, 1:] = np.exp(-2j * np.pi * share * offset_bins)[:, None]
    return np.asarray(np.multiply.accumulate(turned, axis=1))  # to 1e-14, at less than half of what as many exponentials cost


def _evaluate(edge_rad: float, fraction: Float64[FloatArray, " l"], table: WideComplexArray, turn: WideComplexArray) -> WideComplexArray:
    """Return the cross-ambiguity and its first and second derivatives by the fraction, [3, l]."""
    summed = np.einsum("lnb,lb->ln", table, turn)
    return np.asarray(np.einsum("kln,ln->kl", _powers(edge_rad, fraction), summed))


@lru_cache(maxsize=2)
def _orders(half: int, size: int) -> npt.NDArray[np.float32]:
    """Return powers of the frequency, of which the channel's edge is 1, and nothing outside: [n, t]."""
    relative = fft.fftfreq(size, 1 / size) / max(1, half)
    powers = np.power(relative, np.arange(_DEGREE + 1)[:, None])
    return np.asarray(np.where(np.abs(relative) <= 1, powers, 0), np.float32)


@lru_cache(maxsize=16)
def _expand(edge_rad: float) -> WideComplexArray:
    """Return the coefficients of ``exp(j y)`` that are best over the fractions of a sample at the channel's edge, [n]."""
    domain = [-_REACH * edge_rad, _REACH * edge_rad]
    parts = (Chebyshev.interpolate(function, _DEGREE, domain).convert(kind=Polynomial).coef for function in (np.cos, np.sin))
    cosine, sine = (np.pad(part.astype(np.float64), (0, _DEGREE + 1 - len(part))) for part in parts)
    return np.asarray(cosine + 1j * sine, np.complex128)


def _powers(edge_rad: float, fraction: Float64[FloatArray, " l"]) -> WideComplexArray:
    """Return the polynomial's terms, and their first and second derivatives by the fraction, [3, l, n]."""
    degree, terms = np.arange(_DEGREE + 1), np.zeros((3, len(fraction), _DEGREE + 1))
    terms[0] = np.vander(edge_rad * fraction, _DEGREE + 1, increasing=True)
    terms[1, :, 1:] = degree[1:] * terms[0, :, :-1] * edge_rad
    terms[2, :, 2:] = (degree[2:] * degree[1:-1]) * terms[0, :, :-2] * edge_rad**2
    return np.asarray(terms * _expand(edge_rad))
