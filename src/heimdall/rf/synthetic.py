"""Simulated examples as features of a receiver network, each with its physical limit.

Delays carry the error that the transmitted waveform, its duration and the receivers' signal-to-noise ratios leave at best
(``rf.bounds``), plus clock and excess delay. :mod:`heimdall.rf.captured` sends the same scenes as samples and measures those.

Examples are made in blocks of fixed size; a block depends on (config, block number) and on nothing else, so neither the
chunks in which a file is written nor the number of workers changes a byte.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

import numpy as np
from jaxtyping import Bool, Float64

from heimdall.domain.datasets import SyntheticDatasetConfig
from heimdall.domain.errors import InvalidInputError
from heimdall.rf.bounds import StrengthErrors, arrival_sigmas, bound_sigmas, prior_information, strength_information, timing_information
from heimdall.rf.constants import CHANNEL_BANDWIDTH_HZ, DETECTION_SNR_DB, SPEED_OF_LIGHT_M_S
from heimdall.rf.geodesy import put_on_ellipsoid, slant_ranges
from heimdall.rf.network import Network
from heimdall.rf.propagation import LogDistancePathLoss, PathLossModel, draw_shadowing_db, noise_floor_dbm
from heimdall.rf.shapes import BoolArray, FloatArray
from heimdall.rf.spectra import SPECTRA

BLOCK_EXAMPLES: Final = 1024
"""Examples of one block; part of what a seed means, so never change it."""

TRANSMITTER_ALTITUDE_M: Final = 300.0
"""m above the same zero as the receivers: the plain between Torino and Milano lies at 120 to 300 m."""

REFERENCE_SNR_DB: Final = 20.0
"""dB, at which ``delay_noise_sigma_ns`` is given; the delay error grows as 1 / sqrt(SNR) below it (Cramér-Rao bound)."""

_MAX_DRAWS_PER_BLOCK: Final = 400
_PREVIEW_STREAM: Final = 1
_LEAST_SIGMA_S: Final = 1e-12
_LEAST_SIGMA_DB: Final = 1e-3
"""A config without any error still has a bound: practically zero, and finite."""


@dataclass(frozen=True)
class SyntheticBlock:
    """Consecutive examples; n of them, r receivers."""

    transmitter_m: Float64[FloatArray, "n 3"]
    heard: Bool[BoolArray, "n r"]
    rssi_dbm: Float64[FloatArray, "n r"]
    """Everywhere, also where not heard."""
    snr_db: Float64[FloatArray, "n r"]
    toa_offset_us: Float64[FloatArray, "n r"]
    """Time of arrival minus its mean over the receivers that heard; 0 where not heard."""
    bound_sigma_m: Float64[FloatArray, "n 2"]
    """Axes of the Cramér-Rao ellipse, larger first: what no unbiased estimator can pass, m."""


class SyntheticGenerator:
    """Draws blocks of examples.

    Parameters
    ----------
    config
        What to draw.
    network
        Where the receivers stand.
    path_loss
        The loss of every path; by default log-distance with the config's exponent.

    Raises
    ------
    InvalidInputError
        Where the config asks for more receivers than the network has.
    """

    def __init__(self, config: SyntheticDatasetConfig, network: Network, path_loss: PathLossModel | None = None) -> None:
        if config.min_receivers > len(network.receivers):
            raise InvalidInputError(f"The network has only {len(network.receivers)} receivers.", field="min_receivers")
        self._config = config
        self.network = network
        self._receiver_m = network.position_m
        self._frame = network.frame
        self.path_loss = path_loss or LogDistancePathLoss(config.frequency_mhz, config.path_loss_exponent)
        bandwidth_hz = SPECTRA[config.waveform].noise_bandwidth_hz if config.waveform else CHANNEL_BANDWIDTH_HZ
        self._noise_dbm = noise_floor_dbm(config.frequency_mhz, bandwidth_hz=bandwidth_hz)
        self.region_m = region_of(network, config.margin_km)

    def blocks(self) -> Iterator[SyntheticBlock]:
        """Yield the config's examples in order; every block but the last has ``BLOCK_EXAMPLES``."""
        for start in range(0, self._config.num_examples, BLOCK_EXAMPLES):
            yield self.block(start // BLOCK_EXAMPLES)

    def block(self, number: int) -> SyntheticBlock:
        """Return block ``number``, cut where the data set ends.

        Raises
        ------
        InvalidInputError
            Where hardly any place is heard by ``min_receivers``.
        """
        generator = np.random.default_rng(np.random.SeedSequence((self._config.seed, number)))
        parts: list[SyntheticBlock] = []
        found = 0
        for _ in range(_MAX_DRAWS_PER_BLOCK):
            part = self._draw(generator, self._config.min_receivers)
            parts.append(part)
            found += len(part.heard)
            if found >= BLOCK_EXAMPLES:
                size = min(BLOCK_EXAMPLES, self._config.num_examples - number * BLOCK_EXAMPLES)
                return _join(parts, size)
        raise InvalidInputError(
            f"Fewer than 1 in {_MAX_DRAWS_PER_BLOCK} simulated transmissions is heard by {self._config.min_receivers} receivers; "
            "raise the transmit power, or lower the margin or the least number of receivers.",
            field="min_receivers",
        )

    def preview(self, num_blocks: int) -> SyntheticBlock:
        """Return transmissions as they come, those included that too few receivers hear. They depend on the seed and are no examples."""
        generator = np.random.default_rng(np.random.SeedSequence((self._config.seed, 0, _PREVIEW_STREAM)))
        return _join([self._draw(generator, 0) for _ in range(num_blocks)], num_blocks * BLOCK_EXAMPLES)

    def arrival_sigmas_us(self, block: SyntheticBlock) -> dict[str, Float64[FloatArray, "*n"]]:
        """Return the standard deviations of an arrival's independent errors by cause, us: ``clock``, ``estimate`` and ``excess``."""
        names = ("clock", "estimate", "excess")
        return dict(zip(names, self._timing_sigmas_us(block.snr_db, block.heard), strict=False))

    def _draw(self, generator: np.random.Generator, min_receivers: int) -> SyntheticBlock:
        config, num_receivers = self._config, len(self._receiver_m)
        low, high = self.region_m
        east, north = generator.uniform(low, high, (BLOCK_EXAMPLES, 2)).T
        transmitter = put_on_ellipsoid(self._frame, east, north, TRANSMITTER_ALTITUDE_M)
        power_dbm = generator.uniform(config.tx_power_min_dbm, config.tx_power_max_dbm, (BLOCK_EXAMPLES, 1))
        shadowing = draw_shadowing_db(
            generator, BLOCK_EXAMPLES, num_receivers, sigma_db=config.shadowing_sigma_db, correlation=config.shadowing_correlation
        )
        rssi = power_dbm - self.path_loss.path_loss_db(transmitter, self._receiver_m) - shadowing
        snr = rssi - self._noise_dbm
        heard = snr > DETECTION_SNR_DB
        sigma_us = self._timing_sigmas_us(snr, heard)
        arrival_us = slant_ranges(transmitter, self._receiver_m[None]) * (1e6 / SPEED_OF_LIGHT_M_S)
        for sigma in sigma_us:
            arrival_us = arrival_us + generator.standard_normal(rssi.shape) * sigma
        keep = heard.sum(axis=1) >= min_receivers
        # Samples tell also of signals too weak to be detected: the bound of captures counts every receiver.
        counted = np.ones_like(heard) if config.signal == "captures" else heard
        errors_us = self._timing_sigmas_us(snr, counted) if config.signal == "captures" else sigma_us
        total_us = np.sqrt(sum(np.square(np.broadcast_to(sigma, rssi.shape)) for sigma in errors_us))
        return SyntheticBlock(
            transmitter_m=transmitter[keep],
            heard=heard[keep],
            rssi_dbm=rssi[keep],
            snr_db=snr[keep],
            toa_offset_us=remove_mean(arrival_us[keep], heard[keep]),
            bound_sigma_m=self._bound(transmitter[keep], counted[keep], total_us[keep]),
        )

    def _timing_sigmas_us(self, snr_db: FloatArray, heard: BoolArray) -> list[FloatArray]:
        """Return the independent errors of an arrival, in the order in which they are drawn: clock, estimate, excess delay."""
        config = self._config
        if config.waveform is None:
            estimate_us = delay_sigma_us(snr_db, config.delay_noise_sigma_ns)
        else:
            estimate_us = 1e6 * arrival_sigmas(10 ** (snr_db / 10), heard, SPECTRA[config.waveform], config.duration_s)
            estimate_us = np.where(np.isfinite(estimate_us), estimate_us, 0.0)
        sigmas = [np.array(config.clock_sigma_ns * 1e-3), estimate_us]
        return sigmas if config.nlos_sigma_ns == 0 else [*sigmas, np.array(config.nlos_sigma_ns * 1e-3)]

    def _bound(self, transmitter_m: FloatArray, heard: BoolArray, sigma_us: FloatArray) -> FloatArray:
        config = self._config
        timing = timing_information(transmitter_m, self._receiver_m, np.where(heard, np.maximum(sigma_us * 1e-6, _LEAST_SIGMA_S), np.inf))
        errors = StrengthErrors(
            sigma_db=max(config.shadowing_sigma_db, _LEAST_SIGMA_DB),
            correlation=config.shadowing_correlation,
            power_sigma_db=(config.tx_power_max_dbm - config.tx_power_min_dbm) / math.sqrt(12),
        )
        strength = strength_information(self._loss_gradient(transmitter_m), heard, errors)
        low, high = self.region_m
        return bound_sigmas(timing + strength + prior_information((high - low) / math.sqrt(12)))

    def _loss_gradient(self, transmitter_m: FloatArray) -> Float64[FloatArray, "n r 2"]:
        """Return by differences how the loss of each path grows east- and northwards, dB/m."""
        here = self.path_loss.path_loss_db(transmitter_m, self._receiver_m)
        step_m = self.path_loss.gradient_step_m
        ahead = [self.path_loss.path_loss_db(transmitter_m + step_m * np.eye(3)[axis], self._receiver_m) for axis in (0, 1)]
        return np.stack([(loss - here) / step_m for loss in ahead], axis=-1)


def region_of(network: Network, margin_km: float) -> tuple[Float64[FloatArray, " 2"], Float64[FloatArray, " 2"]]:
    """Return south-west and north-east corner (east, north in m) of the receivers' box with a margin around it."""
    flat = network.position_m[:, :2]
    return flat.min(axis=0) - 1000 * margin_km, flat.max(axis=0) + 1000 * margin_km


def delay_sigma_us(snr_db: Float64[FloatArray, "*n"], sigma_ns: float) -> Float64[FloatArray, "*n"]:
    """Return the standard deviation of a delay estimate in us: ``sigma_ns`` at 20 dB, ten times as much 20 dB lower."""
    return sigma_ns * 1e-3 * 10 ** ((REFERENCE_SNR_DB - snr_db) / 20)


def remove_mean(value: Float64[FloatArray, "n r"], heard: Bool[BoolArray, "n r"]) -> Float64[FloatArray, "n r"]:
    """Return values minus their mean over the receivers that heard, and 0 where not heard: absolute time is unknown."""
    num_heard = np.maximum(heard.sum(axis=1, keepdims=True), 1)
    mean = np.where(heard, value, 0.0).sum(axis=1, keepdims=True) / num_heard
    return np.where(heard, value - mean, 0.0)


def _join(parts: list[SyntheticBlock], size: int) -> SyntheticBlock:
    return SyntheticBlock(
        transmitter_m=np.concatenate([part.transmitter_m for part in parts])[:size],
        heard=np.concatenate([part.heard for part in parts])[:size],
        rssi_dbm=np.concatenate([part.rssi_dbm for part in parts])[:size],
        snr_db=np.concatenate([part.snr_db for part in parts])[:size],
        toa_offset_us=np.concatenate([part.toa_offset_us for part in parts])[:size],
        bound_sigma_m=np.concatenate([part.bound_sigma_m for part in parts])[:size],
    )
