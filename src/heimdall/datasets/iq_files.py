"""Samples of other programs: ``rtl_sdr`` raw files and IQ recordings as WAV, KiwiSDR's among them."""

from __future__ import annotations

import wave
from pathlib import Path
from typing import Final

import numpy as np
import numpy.typing as npt

from heimdall.domain.errors import InvalidInputError

_ZERO_LEVEL: Final = 127.5
"""Of an RTL2832's offset-binary samples."""

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


def read_iq_wav(path: Path) -> tuple[ComplexArray, float]:
    """Read a two-channel, 16-bit WAV with I left and Q right (KiwiSDR, SDR#); returns samples (full scale 1) and their rate in Hz.

    Raises
    ------
    InvalidInputError
        Where it is no such WAV.
    """
    try:
        with wave.open(str(path), "rb") as file:
            if (file.getnchannels(), file.getsampwidth()) != (2, 2):
                raise InvalidInputError(f"'{path.name}' must have two channels of 16 bits: I left, Q right.")
            rate_hz, raw = float(file.getframerate()), file.readframes(file.getnframes())
    except (wave.Error, EOFError, OSError) as error:
        raise InvalidInputError(f"'{path.name}' cannot be read as WAV: {error}") from error
    pairs = np.frombuffer(raw, "<i2").astype(np.float32) / np.float32(32_768)
    return pairs.view(np.complex64), rate_hz
