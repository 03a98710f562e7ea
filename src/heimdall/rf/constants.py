"""Constants of nature and of the channel: one copy, each with its source."""

from __future__ import annotations

import math
from typing import Final

SPEED_OF_LIGHT_M_S: Final = 299_792_458.0
"""m/s, exact (SI, 9th brochure, 2019)."""

BOLTZMANN_J_K: Final = 1.380649e-23
"""J/K, exact (SI, 9th brochure, 2019)."""

REFERENCE_TEMPERATURE_K: Final = 290.0
"""K, reference of noise figures (ITU-R P.372, section 2)."""

CHANNEL_BANDWIDTH_HZ: Final = 12_500.0
"""Hz, narrowband FM channel."""

RECEIVER_NOISE_FIGURE_DB: Final = 6.0
"""dB, a good receiver with preamplifier; an RTL-SDR at full gain has 7 (measured by SM5BSZ)."""

RESIDENTIAL_NOISE_C_DB: Final = 72.5
RESIDENTIAL_NOISE_D_DB: Final = 27.7
"""Man-made noise F_am = c - d log10(f / MHz) in residential areas (ITU-R P.372-8, table 1; 0.3 to 250 MHz).

Above 250 MHz the line is extended: at 433 MHz it adds nothing to speak of to the receiver's own noise (-127 dBm in 12.5 kHz)."""

DETECTION_SNR_DB: Final = 3.0
"""dB in the channel, below which a receiver counts as not having heard."""


def thermal_noise_dbm(bandwidth_hz: float) -> float:
    """Return kTB in dBm at the reference temperature: -133.0 dBm in 12.5 kHz."""
    return 10 * math.log10(BOLTZMANN_J_K * REFERENCE_TEMPERATURE_K * bandwidth_hz * 1e3)
