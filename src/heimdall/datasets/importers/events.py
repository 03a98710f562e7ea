"""Events as importers of recordings find them: who recorded, when, where the transmitter was; samples are read when they are asked for."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from heimdall.datasets.importers.sources import RowError, check_geodetic

MAX_SAMPLES: Final = 20_000_000
"""Of one recording: 20 minutes at 16 kS/s, 8 s at 2.4 MS/s."""

MAX_DOCUMENT_BYTES: Final = 1_000_000
"""Of one description in JSON."""

MAX_RATE_HZ: Final = 100e6
MAX_FREQUENCY_HZ: Final = 300e9
_MAX_ALTITUDE_M: Final = 100_000.0
_MAX_GAIN_DB: Final = 300.0
_MAX_SOURCE_CHARS: Final = 100

TIMING_SIGMA_NS: Final[dict[str, float]] = {
    "gpsdo": 50.0,
    "reference": 500.0,
    "gps": 1_000.0,
    "pps": 2_100.0,
    "ntp": 100e6,
    "unknown": 1e9,
}
"""ns, what a clock of each class is taken for where nobody says better: disciplined by GPS; steered by a known transmitter; samples stamped
by GPS; a pulse a second mixed into the samples; the computer's clock; nothing known (project notes physics.md, section 2)."""

ComplexArray = npt.NDArray[np.complex64]


@dataclass(frozen=True)
class Take:
    """What one receiver recorded of an event."""

    receiver_id: str
    latitude: float
    longitude: float
    altitude_m: float
    sample_rate_hz: float
    frequency_hz: float
    """Of the middle of the recording."""
    num_samples: int
    start_ps: int | None
    """ps of the first sample by the receiver's clock, since 1970; None where it is not known."""
    gain_db: float | None
    is_calibrated: bool
    """Whether its strength is in dBm, and not in dB of full scale."""
    clock_sigma_ns: float
    timing_source: str
    """As it says itself."""
    load: Callable[[], ComplexArray]
    """Reads the samples, full scale 1; RowError or InvalidInputError where they are damaged."""


@dataclass(frozen=True)
class RecordedEvent:
    """One transmission and its recordings, each of another receiver."""

    name: str
    takes: tuple[Take, ...]
    latitude: float
    longitude: float
    altitude_m: float
    time_s: float
    """unix s, or 0."""
    frequency_hz: float | None = None
    """Of the channel; None where it is the middle of the recordings."""
    max_delay_s: float = 0.0
    max_frequency_hz: float = 0.0
    """Where pairs were searched before; 0 where it is not said."""


def take_number(value: Any, what: str, low: float, high: float) -> float:  # noqa: ANN401
    """Return a JSON value as a number within limits. RowError names it."""
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        raise RowError(f"{what} is not a number")
    if not low <= value <= high:
        raise RowError(f"{what} is not within {low:g} to {high:g}")
    return float(value)


def take_place(latitude: Any, longitude: Any, altitude_m: Any, what: str) -> tuple[float, float, float]:  # noqa: ANN401
    """Return a position. RowError where it is none."""
    place = [take_number(value, f"the {what}'s position", -1e9, 1e9) for value in (latitude, longitude, altitude_m or 0.0)]
    check_geodetic(place[0], place[1], what)
    if abs(place[2]) > _MAX_ALTITUDE_M:
        raise RowError(f"the {what}'s altitude is out of range")
    return place[0], place[1], place[2]


def take_rate(value: Any) -> float:  # noqa: ANN401
    """Return a sample rate in Hz. RowError."""
    return take_number(value, "the sample rate in Hz", 100.0, MAX_RATE_HZ)


def take_gain(value: Any) -> float | None:  # noqa: ANN401
    """Return a gain in dB, or None where none is given. RowError."""
    return None if value is None else take_number(value, "the gain in dB", -_MAX_GAIN_DB, _MAX_GAIN_DB)


def take_clock(source: Any, sigma_ns: Any, *, has_start: bool) -> tuple[str, float]:  # noqa: ANN401
    """Return what a clock is called and its standard deviation in ns: as stated, else by its class. RowError.

    However good a clock is, a recording that does not say when it began has none.
    """
    if sigma_ns is None and source not in TIMING_SIGMA_NS:
        raise RowError(f"the timing source is none of {', '.join(TIMING_SIGMA_NS)}, and no timing_sigma_ns is given")
    sigma_ns = TIMING_SIGMA_NS[source] if sigma_ns is None else take_number(sigma_ns, "the timing_sigma_ns", 0.0, 1e9)
    if not has_start:
        return "unknown", TIMING_SIGMA_NS["unknown"]
    is_name = isinstance(source, str) and 0 < len(source) <= _MAX_SOURCE_CHARS and source.isprintable()
    return source if is_name else "unknown", sigma_ns


def parse_instant(text: str) -> int:
    """Return an ISO 8601 instant as ps since 1970, digits below the microsecond kept. RowError."""
    head, dot, tail = text.strip().removesuffix("Z").removesuffix("+00:00").partition(".")
    try:
        instant = datetime.fromisoformat(head)
        digits = tail.ljust(12, "0")[:12]
        if (dot and not digits.isdigit()) or instant.tzinfo is not None:
            raise ValueError
    except ValueError:
        raise RowError("the start is not written like 2026-05-04T10:00:00.123456789Z") from None
    return int(instant.replace(tzinfo=UTC).timestamp()) * 10**12 + int(digits)
