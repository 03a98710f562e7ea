"""A data set with samples on its way out: one SigMF collection an example, as one tar that is written while it is read."""

from __future__ import annotations

import io
import re
import tarfile
import tempfile
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from fractions import Fraction
from pathlib import Path
from typing import Any, Final

import numpy as np

from heimdall.datasets.sigmf_files import Recording, write_event
from heimdall.datasets.storage import DatasetArrays
from heimdall.domain.datasets import DatasetKind, SyntheticDatasetConfig
from heimdall.domain.errors import InvalidInputError
from heimdall.rf.captured import CaptureGenerator
from heimdall.rf.geodesy import enu_to_geodetic
from heimdall.rf.measurements import FULL_SCALE, Search
from heimdall.rf.network import load_default_network

_FILE_MODE: Final = 0o644


def export_sigmf(arrays: DatasetArrays, config: dict[str, Any], *, max_examples: int | None = None) -> Iterator[bytes]:
    """Yield a tar of SigMF collections; importing it gives the same features.

    Parameters
    ----------
    arrays
        A data set of captures.
    config
        What it was made of.
    max_examples
        Only so many, from the first on.

    Raises
    ------
    InvalidInputError
        Where the data set keeps no samples.
    """
    if arrays.iq is None or arrays.manifest.iq is None:
        raise InvalidInputError("This data set keeps no samples, so there is nothing to write as SigMF. Make one with keep_iq.")
    return _iterate(_Events(arrays, config), min(len(arrays), max_examples or len(arrays)))


def _iterate(events: _Events, num_examples: int) -> Iterator[bytes]:
    sink = _Sink()
    with tarfile.open(fileobj=sink, mode="w|", format=tarfile.PAX_FORMAT) as archive:
        for row in range(num_examples):
            with tempfile.TemporaryDirectory() as folder:
                events.write(row, Path(folder))
                for path in sorted(Path(folder).iterdir()):
                    info = tarfile.TarInfo(path.name)
                    info.size, info.mode = path.stat().st_size, _FILE_MODE
                    with path.open("rb") as file:
                        archive.addfile(info, file)
            yield sink.take()
    yield sink.take()


class _Events:
    """The examples of a data set as recordings."""

    def __init__(self, arrays: DatasetArrays, config: dict[str, Any]) -> None:
        self._arrays = arrays
        self._names = _name_receivers([receiver.id for receiver in arrays.receivers])
        self._search, self._frequency_hz = _describe_signal(arrays, config)
        self._sources = _name_clocks(arrays)

    def write(self, row: int, folder: Path) -> None:
        """Write one example into an empty folder."""
        arrays = self._arrays
        time_s = float(arrays.time[row])
        latitude, longitude, altitude_m = self._to_geodetic(np.array([*arrays.target[row], arrays.target_up[row]]))
        about: dict[str, Any] = {
            "transmitter": {"type": "Point", "coordinates": [longitude, latitude, altitude_m]},
            "max_delay_s": self._search.max_delay_s,
            "max_frequency_hz": self._search.max_frequency_hz,
        }
        if time_s <= 0:
            about["common_start"] = True
        recordings = [self._describe(row, int(token), time_s) for token in np.flatnonzero(arrays.mask[row])]
        write_event(folder, f"e{row:07d}", recordings, datatype="ci8", about=about)

    def _describe(self, row: int, token: int, time_s: float) -> Recording:
        arrays = self._arrays
        assert arrays.iq is not None
        assert arrays.manifest.iq is not None
        column = int(arrays.receiver_index[row, token])
        receiver = arrays.receivers[column]
        if receiver.latitude is None or receiver.longitude is None:
            latitude, longitude, altitude_m = self._to_geodetic(np.asarray(arrays.receiver_enu[row, token], np.float64))
        else:
            latitude, longitude, altitude_m = receiver.latitude, receiver.longitude, receiver.altitude_m or 0.0
        samples = np.asarray(arrays.iq[row, token], np.float32) / np.float32(FULL_SCALE)
        # To the nanosecond: a double of these years is no finer than 0.2 us, so it comes back as the same one.
        start_us, left_ns = divmod(round(Fraction(time_s) * 10**9), 1000)
        return Recording(
            receiver_id=self._names[column],
            iq=np.ascontiguousarray(samples).view(np.complex64)[:, 0],
            sample_rate_hz=arrays.manifest.iq.sample_rate_hz,
            frequency_hz=self._frequency_hz or (None if arrays.carrier_hz is None else float(arrays.carrier_hz[row]) or None),
            start=datetime(1970, 1, 1, tzinfo=UTC) + timedelta(microseconds=start_us) if time_s > 0 else None,
            start_fraction_ns=float(left_ns),
            latitude_deg=latitude,
            longitude_deg=longitude,
            altitude_m=altitude_m,
            gain_db=self._value(row, token, "gain_db"),
            is_calibrated=receiver.id not in arrays.manifest.iq.uncalibrated,
            timing_source=self._sources[column],
            timing_sigma_ns=1e3 * self._value(row, token, "clock_sigma_us"),
        )

    def _value(self, row: int, token: int, name: str) -> float:
        """Return a stored number as the shortest decimal that means the same."""
        return float(str(self._arrays.features[row, token, self._arrays.feature_index(name)]))

    def _to_geodetic(self, place_m: np.ndarray[Any, np.dtype[np.float64]]) -> tuple[float, float, float]:
        latitude, longitude, altitude_m = (float(value) for value in np.ravel(enu_to_geodetic(self._arrays.frame, place_m)))
        return latitude, longitude, altitude_m


class _Sink(io.RawIOBase):
    """Takes what the tar writes until somebody fetches it."""

    def __init__(self) -> None:
        self._parts: list[bytes] = []

    def writable(self) -> bool:
        """Say that it can be written."""
        return True

    def write(self, data: Any, /) -> int:  # noqa: ANN401
        """Keep a piece."""
        self._parts.append(bytes(data))
        return len(data)

    def take(self) -> bytes:
        """Return all pieces since the last call."""
        whole, self._parts = b"".join(self._parts), []
        return whole


def _name_clocks(arrays: DatasetArrays) -> tuple[str, ...]:
    """Return what each receiver's clock is called; of imports that did not keep it, only that it was recorded."""
    assert arrays.manifest.iq is not None
    one = "simulated" if arrays.manifest.kind is DatasetKind.SYNTHETIC else "recorded"
    return arrays.manifest.iq.timing_sources or (one,) * len(arrays.receivers)


def _describe_signal(arrays: DatasetArrays, config: dict[str, Any]) -> tuple[Search, float | None]:
    """Return where pairs are searched, and the carrier of all examples where there is one in the config."""
    stored = arrays.manifest.iq
    assert stored is not None
    if arrays.manifest.kind is DatasetKind.SYNTHETIC:
        asked = SyntheticDatasetConfig.model_validate({key: value for key, value in config.items() if key != "sources"})
        return CaptureGenerator(asked, load_default_network()).search, asked.frequency_mhz * 1e6
    return Search(stored.bandwidth_hz, stored.max_delay_s or 0.0, stored.max_frequency_hz or 0.0), None


def _name_receivers(ids: list[str]) -> list[str]:
    """Return ids as SigMF file names take them, each still another one."""
    names: list[str] = []
    for raw in ids:
        name = re.sub(r"[^A-Za-z0-9_-]", "-", raw) or "receiver"
        while name in names or (name != raw and name in ids):
            name += "-"
        names.append(name)
    return names
