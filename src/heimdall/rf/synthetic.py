"""Simulated examples, first version: features of a receiver network, no waveform.

Examples are made in blocks of fixed size; a block depends on (config, block number) and on nothing else, so neither the
chunks in which a file is written nor the number of workers changes a byte.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

import numpy as np
from jaxtyping import Bool, Float64

from heimdall.domain.datasets import SyntheticDatasetConfig
from heimdall.domain.errors import InvalidInputError
from heimdall.rf.constants import DETECTION_SNR_DB, SPEED_OF_LIGHT_M_S
from heimdall.rf.geodesy import put_on_ellipsoid, slant_ranges
from heimdall.rf.network import Network
from heimdall.rf.propagation import LogDistancePathLoss, PathLossModel, draw_shadowing_db, noise_floor_dbm
from heimdall.rf.shapes import BoolArray, FloatArray

BLOCK_EXAMPLES: Final = 1024
"""Examples of one block; part of what a seed means, so never change it."""

TRANSMITTER_ALTITUDE_M: Final = 300.0
"""m above the same zero as the receivers: the plain between Torino and Milano lies at 120 to 300 m."""

REFERENCE_SNR_DB: Final = 20.0
"""dB, at which ``delay_noise_sigma_ns`` is given; the delay error grows as 1 / sqrt(SNR) below it (Cramér-Rao bound)."""

_MAX_DRAWS_PER_BLOCK: Final = 400


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
        self._receiver_m = network.position_m
        self._frame = network.frame
        self._path_loss = path_loss or LogDistancePathLoss(config.frequency_mhz, config.path_loss_exponent)
        self._noise_dbm = noise_floor_dbm(config.frequency_mhz)
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
            part = self._draw(generator)
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

    def _draw(self, generator: np.random.Generator) -> SyntheticBlock:
        config, num_receivers = self._config, len(self._receiver_m)
        low, high = self.region_m
        east, north = generator.uniform(low, high, (BLOCK_EXAMPLES, 2)).T
        transmitter = put_on_ellipsoid(self._frame, east, north, TRANSMITTER_ALTITUDE_M)
        power_dbm = generator.uniform(config.tx_power_min_dbm, config.tx_power_max_dbm, (BLOCK_EXAMPLES, 1))
        shadowing = draw_shadowing_db(
            generator, BLOCK_EXAMPLES, num_receivers, sigma_db=config.shadowing_sigma_db, correlation=config.shadowing_correlation
        )
        rssi = power_dbm - self._path_loss.path_loss_db(transmitter, self._receiver_m) - shadowing
        snr = rssi - self._noise_dbm
        heard = snr > DETECTION_SNR_DB
        clock_us = generator.standard_normal(rssi.shape) * (config.clock_sigma_ns * 1e-3)
        noise_us = generator.standard_normal(rssi.shape) * delay_sigma_us(snr, config.delay_noise_sigma_ns)
        arrival_us = slant_ranges(transmitter, self._receiver_m[None]) * (1e6 / SPEED_OF_LIGHT_M_S) + clock_us + noise_us
        keep = heard.sum(axis=1) >= config.min_receivers
        return SyntheticBlock(
            transmitter_m=transmitter[keep],
            heard=heard[keep],
            rssi_dbm=rssi[keep],
            snr_db=snr[keep],
            toa_offset_us=remove_mean(arrival_us[keep], heard[keep]),
        )


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
    )
