"""The manifest of a stored data set: everything about its arrays that is not a number in them."""

from __future__ import annotations

from typing import Final, Literal

from pydantic import Field

from heimdall.domain.base import Entity
from heimdall.domain.canonical import hash_canonical
from heimdall.domain.datasets import CoordinateFrame, DatasetKind, Feature, PhysicalLimit, Receiver, Split

FORMAT_VERSION: Final = 1

ARRAY_DTYPES: Final[dict[str, str]] = {
    "features": "<f4",
    "mask": "|b1",
    "receiver_index": "<i2",
    "target": "<f8",
    "target_up": "<f8",
    "group": "<i4",
    "time": "<f8",
    "receiver_enu": "<f4",
}
"""The eight arrays of every data set and their types, little-endian everywhere."""

OPTIONAL_DTYPES: Final[dict[str, str]] = {"bound_sigma_m": "<f4", "iq": "|i1", "carrier_hz": "<f8"}
"""Arrays that not every data set has: the axes of each example's Cramér-Rao ellipse, [N, 2] m, larger first (simulated data), the
samples of each receiver, [N, R, T, 2], I first, full scale 128, and the channel that recordings are of, [N] Hz, 0 where nobody said."""

FEATURES: Final[dict[str, Feature]] = {
    feature.name: feature
    for feature in (
        Feature(name="heard", unit="", meaning="1 where the receiver heard the transmission, else 0"),
        Feature(name="rssi_dbm", unit="dBm", meaning="received strength; 0 where not heard; relative where the device is not calibrated"),
        Feature(name="snr_db", unit="dB", meaning="signal to noise in the channel; 0 where not heard"),
        Feature(name="toa_offset_us", unit="us", meaning="time of arrival minus the example's mean over the receivers that heard"),
        Feature(name="noise_dbm", unit="dBm", meaning="noise in the channel, as measured beside it"),
        Feature(name="toa_log_sigma", unit="log10 us", meaning="decimal logarithm of the standard deviation that toa_offset_us states"),
        Feature(name="frequency_offset_hz", unit="Hz", meaning="carrier minus the example's mean over the receivers that heard"),
        Feature(name="gain_db", unit="dB", meaning="of the receiver and its converter: dBm at the antenna = dBFS - gain"),
        Feature(name="clock_sigma_us", unit="us", meaning="declared standard deviation of the receiver's clock"),
        Feature(name="rx_east_km", unit="km", meaning="receiver's position, east of the frame's origin"),
        Feature(name="rx_north_km", unit="km", meaning="receiver's position, north of the frame's origin"),
        Feature(name="rx_up_km", unit="km", meaning="receiver's position, above the frame's tangent plane"),
        Feature(name="tx_up_km", unit="km", meaning="reported altitude of the transmitter above the ellipsoid, the same in every token"),
    )
}
"""The features importers and the simulator know, by name."""

CAPTURE_FEATURES: Final = (
    "heard",
    "rssi_dbm",
    "snr_db",
    "toa_offset_us",
    "noise_dbm",
    "toa_log_sigma",
    "frequency_offset_hz",
    "gain_db",
)
"""What is measured from samples, in the order of ``rf.measurements.Measured.features``."""

RECEIVER_FEATURES: Final = ("clock_sigma_us", "rx_east_km", "rx_north_km", "rx_up_km")
"""What is known of a receiver beforehand."""

HEARD_ONLY_FEATURES: Final = frozenset({"rssi_dbm", "snr_db", "toa_offset_us", "toa_log_sigma", "frequency_offset_hz"})
"""Measured only where the receiver heard; elsewhere the stored 0 means nothing."""


class ArraySpec(Entity):
    """One array file: what it must look like, and the hash of its values in C order."""

    dtype: str
    shape: tuple[int, ...]
    sha256: str


class IqFormat(Entity):
    """What the samples of a data set are; their number is in the array's shape."""

    sample_rate_hz: float = Field(gt=0, description="Hz, complex samples")
    bandwidth_hz: float = Field(gt=0, description="Hz, channel around 0 that holds the signal")
    max_delay_s: float | None = Field(
        default=None,
        gt=0,
        exclude_if=lambda value: value is None,
        description="s, between two receivers; of recordings, which have no config",
    )
    max_frequency_hz: float | None = Field(
        default=None, gt=0, exclude_if=lambda value: value is None, description="Hz, between two receivers' carriers; of recordings"
    )
    timing_sources: tuple[str, ...] = Field(
        default=(), exclude_if=lambda value: not value, description="of each receiver's clock, as its recordings say"
    )
    uncalibrated: tuple[str, ...] = Field(
        default=(), exclude_if=lambda value: not value, description="ids of receivers whose strengths are in dB of full scale"
    )


class Manifest(Entity):
    """What lies beside the arrays as ``manifest.json``. Holds no id, name or date: equal content has an equal hash."""

    format_version: Literal[1] = FORMAT_VERSION
    kind: DatasetKind
    num_examples: int = Field(ge=1)
    frame: CoordinateFrame
    receivers: tuple[Receiver, ...] = Field(min_length=1)
    features: tuple[Feature, ...] = Field(min_length=1)
    split: Split
    groups: tuple[str, ...] = Field(default=(), description="columns that the source could be grouped by")
    accuracy_radius_m: float = Field(gt=0, description="m")
    physical_limit: PhysicalLimit | None = Field(default=None, exclude_if=lambda limit: limit is None)
    iq: IqFormat | None = Field(default=None, exclude_if=lambda iq: iq is None)
    arrays: dict[str, ArraySpec]

    @property
    def feature_names(self) -> tuple[str, ...]:
        """Names of the last axis of ``features``, in order."""
        return tuple(feature.name for feature in self.features)

    def content_hash(self) -> str:
        """Return sha256 over the canonical manifest, which holds the sha256 of every array's values."""
        return hash_canonical(self.model_dump(mode="json"))


def pick_features(*names: str) -> tuple[Feature, ...]:
    """Return the named features in this order."""
    return tuple(FEATURES[name] for name in names)
