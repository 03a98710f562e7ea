"""What one event's samples say of it at every receiver, simulated or recorded: both are measured here and nowhere else."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, fields, replace
from typing import Any, Final, Self

import numpy as np
import numpy.typing as npt
from jaxtyping import Bool, Complex64, Float64, Int8, Int64

from heimdall.rf.alignment import LARGEST_SIGMA_S, align_receivers
from heimdall.rf.features import measure_pairs, measure_receivers
from heimdall.rf.shapes import BoolArray, FloatArray, IntArray

FULL_SCALE: Final = 128.0
"""Steps of an 8-bit converter from 0 to full scale."""

Int8Array = npt.NDArray[np.int8]
ComplexArray = npt.NDArray[np.complex64]


@dataclass(frozen=True)
class Search:
    """Where the cross-ambiguity of two receivers is looked for, and in which channel."""

    bandwidth_hz: float
    max_delay_s: float
    """Longest baseline over c, plus what clocks may differ."""
    max_frequency_hz: float
    """Two crystals and Doppler."""


@dataclass(frozen=True)
class Measured:
    """What r receivers made of n transmissions; t samples each. Values of a receiver that did not detect are 0 but for noise and gain."""

    heard: Bool[BoolArray, "n r"]
    rssi_dbm: Float64[FloatArray, "n r"]
    noise_dbm: Float64[FloatArray, "n r"]
    snr_db: Float64[FloatArray, "n r"]
    toa_offset_us: Float64[FloatArray, "n r"]
    toa_sigma_us: Float64[FloatArray, "n r"]
    frequency_offset_hz: Float64[FloatArray, "n r"]
    gain_db: Float64[FloatArray, "n r"]
    iq: Int8[Int8Array, "n r t 2"] | None
    """As the converter gave it, where it is kept."""

    @classmethod
    def join(cls, parts: Sequence[Self]) -> Self:
        """Return the transmissions of all parts."""
        columns = {field.name: [getattr(part, field.name) for part in parts] for field in fields(cls)}
        return cls(**{name: None if values[0] is None else np.concatenate(values) for name, values in columns.items()})  # type: ignore[arg-type]

    def lay_out(self, column: Int64[IntArray, " r"], num_columns: int) -> Self:
        """Return the same with receiver i in column ``column[i]`` of ``num_columns``; all values of a column without one are 0."""

        def spread(values: npt.NDArray[Any]) -> npt.NDArray[Any]:
            whole = np.zeros((len(values), num_columns, *values.shape[2:]), values.dtype)
            whole[:, column] = values
            return whole

        found = {field.name: getattr(self, field.name) for field in fields(self)}
        return type(self)(**{name: None if values is None else spread(values) for name, values in found.items()})  # type: ignore[arg-type]

    @property
    def features(self) -> list[npt.NDArray[np.generic]]:
        """In the order of ``datasets.manifest.CAPTURE_FEATURES``, [n, r] each."""
        log_sigma = np.where(self.heard, np.log10(np.maximum(self.toa_sigma_us, 1e-3)), 0.0)
        return [
            self.heard,
            self.rssi_dbm,
            self.snr_db,
            self.toa_offset_us,
            self.noise_dbm,
            log_sigma,
            self.frequency_offset_hz,
            self.gain_db,
        ]


def measure_event(
    iq: Complex64[ComplexArray, "r t"],
    sample_rate_hz: float,
    gain_db: Float64[FloatArray, " r"],
    search: Search,
    *,
    is_timed: Bool[BoolArray, " r"] | None = None,
    keep_iq: bool,
) -> Measured:
    """Measure one event: detection, strength and noise at each receiver, time and frequency by all pairs together.

    The result follows the receivers whatever order they are given in, to the last bit: a search has a late and an early one of each pair,
    and of a weak signal it may decide which of two peaks is taken, so pairs are formed in an order that the samples alone decide.

    Parameters
    ----------
    iq
        [r, t] in steps of 1 / 128, channel in the middle, all from the same instant of their own clocks on.
    sample_rate_hz, gain_db
        As in :func:`heimdall.rf.features.measure_receivers`.
    search
        Where pairs are searched.
    is_timed
        [r] whose clock is worth a search; the others count by their strength alone. All, by default.
    keep_iq
        Whether the result carries the samples.

    Raises
    ------
    ValueError
        Where the capture has no edge beside the channel.
    """
    num_receivers, num_samples = iq.shape
    order = _order_receivers(iq)
    iq, gain_db = iq[order], np.asarray(gain_db, np.float64)[order]
    found = measure_receivers(iq, sample_rate_hz, gain_db, bandwidth_hz=search.bandwidth_hz)
    heard = found.detected
    timed = heard if is_timed is None else heard & is_timed[order]
    pairs = measure_pairs(
        iq,
        sample_rate_hz,
        replace(found, detected=timed),
        max_delay_s=search.max_delay_s,
        max_frequency_hz=search.max_frequency_hz,
    )
    aligned = align_receivers(pairs, num_receivers)
    kept = np.rint(iq.view(np.float32) * FULL_SCALE).astype(np.int8).reshape(1, num_receivers, num_samples, 2) if keep_iq else None
    measured = Measured(
        heard=heard[None],
        rssi_dbm=np.where(heard, found.rssi_dbm, 0.0)[None],
        noise_dbm=found.noise_dbm[None],
        snr_db=np.where(heard, found.snr_db, 0.0)[None],
        toa_offset_us=np.where(timed, 1e6 * aligned.arrival_s, 0.0)[None],
        toa_sigma_us=np.where(timed, 1e6 * aligned.sigma_s, np.where(heard, 1e6 * LARGEST_SIGMA_S, 0.0))[None],
        frequency_offset_hz=np.where(timed, aligned.frequency_hz, 0.0)[None],
        gain_db=gain_db[None],
        iq=kept,
    )
    return measured.lay_out(order, num_receivers)


def _order_receivers(iq: Complex64[ComplexArray, "r t"]) -> Int64[IntArray, " r"]:
    """Return receivers by the power of their samples; equal ones by their bytes.

    Squares of steps of 1 / 128 are added without a rounding in double precision, so the power is the same whatever stands beside it.
    """
    values = iq.view(np.float32)
    power = np.einsum("rt,rt->r", values, values, dtype=np.float64)
    if len(np.unique(power)) == len(power):
        return np.argsort(power)
    return np.array(sorted(range(len(iq)), key=lambda row: (power[row], iq[row].tobytes())), np.int64)


def reach_of(receiver_m: FloatArray, late_s: float, speed_m_s: float) -> float:
    """Return the longest delay between two receivers, s: their baseline, and clocks that err by up to ``late_s`` each."""
    baseline_m = float(np.linalg.norm(receiver_m[:, None] - receiver_m[None], axis=2).max())
    return baseline_m / speed_m_s + math.sqrt(2) * late_s
