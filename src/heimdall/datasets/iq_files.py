"""Samples of other programs: ``rtl_sdr`` raw files and IQ recordings as WAV, KiwiSDR's with GPS times among them."""

from __future__ import annotations

import struct
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np
import numpy.typing as npt

from heimdall.domain.errors import InvalidInputError

_ZERO_LEVEL: Final = 127.5
"""Of an RTL2832's offset-binary samples."""
_FRAME_BYTES: Final = 4
_PCM: Final = 1
_EXTENSIBLE: Final = 0xFFFE
_NEVER_SOLVED: Final = 254
"""s since the last GPS solution from which a Kiwi's time is not to be believed (its byte is full at 255)."""
_WEEK_NS: Final = 7 * 86_400 * 1_000_000_000
_MAX_CHUNKS: Final = 2_000_000
_MAX_RATE_ERROR: Final = 1e-2

ComplexArray = npt.NDArray[np.complex64]


def read_rtl_sdr(path: Path) -> ComplexArray:
    """Read unsigned bytes, I first, as ``rtl_sdr`` writes them; full scale 1. Rate and frequency are not in the file.

    Raises
    ------
    InvalidInputError
        Where the file is empty or ends within a sample.
    """
    raw = np.fromfile(path, np.uint8)
    if raw.size == 0 or raw.size % 2:
        raise InvalidInputError(f"'{path.name}' does not hold whole pairs of bytes, as rtl_sdr writes them.")
    return ((raw.astype(np.float32) - np.float32(_ZERO_LEVEL)) / np.float32(_ZERO_LEVEL)).view(np.complex64)


@dataclass(frozen=True)
class GpsTime:
    """When the first sample of a Kiwi's recording was taken."""

    week_ns: int
    """ns since the beginning of the GPS week."""
    sample_rate_hz: float
    """By GPS, not as the header has it."""


@dataclass(frozen=True)
class IqWav:
    """Where the samples of a WAV lie; nothing of them is read yet."""

    path: Path
    sample_rate_hz: float
    blocks: tuple[tuple[int, int], ...]
    """Offset and bytes of each data chunk."""
    gps: GpsTime | None
    has_no_fix: bool = False
    """Whether a Kiwi wrote it that never found its time by GPS."""

    @property
    def num_samples(self) -> int:
        """Complex samples in all blocks."""
        return sum(size for _, size in self.blocks) // _FRAME_BYTES

    def read(self) -> ComplexArray:
        """Return all samples, [t], full scale 1."""
        parts = []
        with self.path.open("rb") as file:
            for offset, size in self.blocks:
                file.seek(offset)
                parts.append(np.frombuffer(file.read(size), "<i2"))
        return (np.concatenate(parts).astype(np.float32) / np.float32(32_768)).view(np.complex64)


def scan_iq_wav(path: Path) -> IqWav:
    """Find the samples of a WAV, and the times that a Kiwi wrote before each block of them (chunk ``kiwi``).

    The chunk holds ten bytes, little-endian: seconds since the last GPS solution (255: never one), one unused, and when the block's first
    sample was taken as seconds and nanoseconds of the GPS week (``kiwirecorder.py --kiwi-wav`` of github.com/jks-prv/kiwiclient).

    Raises
    ------
    InvalidInputError
        Where it is no WAV of two channels with 16 bits, is cut off, or its times say that samples are missing.
    """
    rate_hz, blocks, stamps, num_frames, is_kiwi = 0.0, [], [], 0, False
    end = path.stat().st_size
    with path.open("rb") as file:
        if (head := file.read(12))[:4] != b"RIFF" or head[8:] != b"WAVE":
            raise InvalidInputError(f"'{path.name}' cannot be read as WAV: it does not begin as one.")
        for _ in range(_MAX_CHUNKS):
            header = file.read(8)
            if len(header) < 8:
                break
            name, size = struct.unpack("<4sI", header)
            begin = file.tell()
            if begin + size > end:
                raise InvalidInputError(
                    f"'{path.name}' cannot be read as WAV: it ends before its '{_show(name)}' part does; it was cut off. "
                    "Copy it again, whole."
                )
            if name == b"fmt ":
                rate_hz = _read_format(file.read(min(size, 40)), path.name)
            elif name == b"kiwi" and size >= 10:
                is_kiwi = True
                last, _, seconds, nanoseconds = struct.unpack("<BBII", file.read(10))
                if last < _NEVER_SOLVED:
                    stamps.append((num_frames, seconds * 1_000_000_000 + nanoseconds))
            elif name == b"data":
                if size % _FRAME_BYTES:
                    raise InvalidInputError(f"'{path.name}' cannot be read as WAV: it ends within a sample. Copy it again, whole.")
                blocks.append((begin, size))
                num_frames += size // _FRAME_BYTES
            file.seek(begin + size + size % 2)
    if not rate_hz or not num_frames:
        raise InvalidInputError(f"'{path.name}' cannot be read as WAV: it holds no samples. Copy it again, whole.")
    return IqWav(path, rate_hz, tuple(blocks), _fit_time(stamps, rate_hz, path.name), has_no_fix=is_kiwi and not stamps)


def _read_format(content: bytes, name: str) -> float:
    if len(content) < 16:
        raise InvalidInputError(f"'{name}' cannot be read as WAV: its format is cut off.")
    coding, channels, rate, _, _, bits = struct.unpack("<HHIIHH", content[:16])
    if coding not in (_PCM, _EXTENSIBLE) or (channels, bits) != (2, 16) or rate == 0:
        raise InvalidInputError(f"'{name}' must have two channels of 16 bits: I left, Q right.")
    return float(rate)


def _fit_time(stamps: list[tuple[int, int]], rate_hz: float, name: str) -> GpsTime | None:
    """Return the line through times of blocks; None where there are none."""
    if not stamps:
        return None
    first_frame, first_ns = stamps[0]
    frames = np.array([frame - first_frame for frame, _ in stamps], np.float64)
    # The week may end within a recording.
    later_ns = np.array([(stamp - first_ns) % _WEEK_NS for _, stamp in stamps], np.float64)
    step_ns, begin_ns = 1e9 / rate_hz, 0.0
    if len(stamps) > 1:
        step_ns, begin_ns = np.polyfit(frames, later_ns, 1)
    left_ns = np.abs(later_ns - begin_ns - step_ns * frames).max()
    if left_ns <= 1e9 / rate_hz and abs(step_ns * rate_hz / 1e9 - 1) > _MAX_RATE_ERROR:
        raise InvalidInputError(
            f"'{name}' has a wrong sample rate: its header says {rate_hz:.0f} samples/s, its GPS times {1e9 / step_ns:.0f}. "
            "Correct the header, or record it again."
        )
    if left_ns > 1e9 / rate_hz:
        raise InvalidInputError(f"'{name}' has gaps: its GPS times do not fit its number of samples. Cut it to a part without gaps.")
    return GpsTime(week_ns=(first_ns + round(begin_ns - first_frame * step_ns)) % _WEEK_NS, sample_rate_hz=float(1e9 / step_ns))


def _show(name: bytes) -> str:
    return name.decode("ascii", "replace").strip() or "?"
