"""How strong a signal arrives, and how strong the noise is.

:class:`PathLossModel` is the seam for models over terrain: the simulator asks it for a loss per path and for nothing else.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Final, Protocol, runtime_checkable

import numpy as np
from jaxtyping import Float64

from heimdall.rf.constants import (
    CHANNEL_BANDWIDTH_HZ,
    RECEIVER_NOISE_FIGURE_DB,
    RESIDENTIAL_NOISE_C_DB,
    RESIDENTIAL_NOISE_D_DB,
    SPEED_OF_LIGHT_M_S,
    thermal_noise_dbm,
)
from heimdall.rf.geodesy import slant_ranges
from heimdall.rf.shapes import FloatArray

_REFERENCE_DISTANCE_M: Final = 1000.0
_MIN_DISTANCE_M: Final = 10.0


@runtime_checkable
class PathLossModel(Protocol):
    """Median loss between isotropic antennas; shadowing is added by the caller."""

    @property
    def gradient_step_m(self) -> float:
        """Over which distance differences of the loss are a gradient, m: short beside what the model resolves."""

    def path_loss_db(self, transmitter_m: Float64[FloatArray, "n 3"], receiver_m: Float64[FloatArray, "r 3"]) -> Float64[FloatArray, "n r"]:
        """Return the loss in dB of every path; positions are east, north, up in m. Pure: the same paths, the same losses."""


@dataclass(frozen=True)
class LogDistancePathLoss:
    """Free space up to 1 km, then a power law.

    References
    ----------
    Free-space loss: ITU-R P.525-4, equation 4. Power law: Rappaport, Wireless Communications, equation 4.69a.
    """

    frequency_mhz: float
    exponent: float
    gradient_step_m: float = 25.0

    def path_loss_db(self, transmitter_m: Float64[FloatArray, "n 3"], receiver_m: Float64[FloatArray, "r 3"]) -> Float64[FloatArray, "n r"]:
        """Return the loss in dB by slant range; nearer than 10 m counts as 10 m."""
        distance = np.maximum(slant_ranges(transmitter_m, receiver_m[None]), _MIN_DISTANCE_M) / _REFERENCE_DISTANCE_M
        slope = np.where(distance > 1, 10 * self.exponent, 20.0)
        return free_space_loss_db(_REFERENCE_DISTANCE_M, self.frequency_mhz) + slope * np.log10(distance)


def free_space_loss_db(distance_m: float, frequency_mhz: float) -> float:
    """Return 20 log10(4 pi d f / c) in dB (ITU-R P.525-4, equation 4)."""
    return 20 * math.log10(4 * math.pi * distance_m * frequency_mhz * 1e6 / SPEED_OF_LIGHT_M_S)


def noise_floor_dbm(
    frequency_mhz: float, *, bandwidth_hz: float = CHANNEL_BANDWIDTH_HZ, noise_figure_db: float = RECEIVER_NOISE_FIGURE_DB
) -> float:
    """Return the noise power in a channel: thermal, man-made (residential) and the receiver's own.

    In 12.5 kHz: -119.7 dBm at 145 MHz, -127.1 dBm at 433 MHz.

    References
    ----------
    ITU-R P.372: f = fa + fr - 1 (equation 1 with lossless antenna), F_am of residential areas from table 1.
    """
    man_made = 10 ** ((RESIDENTIAL_NOISE_C_DB - RESIDENTIAL_NOISE_D_DB * math.log10(frequency_mhz)) / 10)
    receiver = 10 ** (noise_figure_db / 10)
    return thermal_noise_dbm(bandwidth_hz) + 10 * math.log10(man_made + receiver - 1)


def draw_shadowing_db(
    generator: np.random.Generator, num_examples: int, num_receivers: int, *, sigma_db: float, correlation: float
) -> Float64[FloatArray, "n r"]:
    """Draw log-normal shadowing that the receivers of an example share in part.

    Parameters
    ----------
    sigma_db
        Standard deviation at every receiver, dB.
    correlation
        Between any two receivers of one example, 0 to 1. Over the real network 0.46 was measured (ITM over terrain):
        drawn independently, the strengths would tell more of the position than they do.

    Returns
    -------
    ndarray
        [n, r] dB, covariance ``sigma^2 ((1 - correlation) I + correlation 11')``.
    """
    common = generator.standard_normal((num_examples, 1))
    own = generator.standard_normal((num_examples, num_receivers))
    return sigma_db * (math.sqrt(correlation) * common + math.sqrt(1 - correlation) * own)
