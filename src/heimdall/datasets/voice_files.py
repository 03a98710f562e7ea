"""The user's own voice for simulated transmissions: WAV files, single or in archives, as one long audio at the rate of the captures."""

from __future__ import annotations

import math
import tarfile
import tempfile
import wave
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import numpy as np
import numpy.typing as npt
from scipy import signal

from heimdall.datasets.importers.archives import unpack
from heimdall.datasets.importers.sources import SourceFile
from heimdall.domain.errors import InvalidInputError
from heimdall.rf.waveforms import level_speech

MAX_VOICE_S: Final = 3600.0
"""s of all files together: as float32 at 16 kS/s a quarter of a gigabyte in every worker."""
MIN_VOICE_S: Final = 1.0
_MAX_RATE_HZ: Final = 192_000
_MIN_RATE_HZ: Final = 6_000
_LEAST_LOUD: Final = 1e-4

FloatArray = npt.NDArray[np.float32]


def read_voice(files: list[SourceFile], sample_rate_hz: float) -> FloatArray:
    """Return the audio of all files, one after the other, as a transmitter's limiter leaves it, in -1 to 1.

    Parameters
    ----------
    files
        WAV files (PCM of 8, 16, 24 or 32 bits), or archives of them; their order counts, archives go by their members' names.
    sample_rate_hz
        Of the captures.

    Raises
    ------
    InvalidInputError
        Where one is no such file, silent, or all of them are too short or too long.
    """
    parts: list[FloatArray] = []
    length_s = 0.0
    for file in files:
        for name, path in _list_wavs(file):
            audio, rate_hz = _read_wav(name, path)
            length_s += len(audio) / rate_hz
            if length_s > MAX_VOICE_S:
                raise InvalidInputError(f"The voice is longer than {MAX_VOICE_S / 60:g} minutes. Send fewer files.", field="file")
            ratio = math.gcd(rate_hz, round(sample_rate_hz))
            resampled = signal.resample_poly(audio, round(sample_rate_hz) // ratio, rate_hz // ratio)
            parts.append(level_speech(resampled).astype(np.float32))
    if length_s < MIN_VOICE_S:
        raise InvalidInputError(
            f"The voice is {length_s:.2g} s long; at least {MIN_VOICE_S:g} s are needed. Send more of it.", field="file"
        )
    return np.concatenate(parts)


def _list_wavs(file: SourceFile) -> Iterator[tuple[str, Path]]:
    with file.path.open("rb") as opened:
        head = opened.read(12)
    if head[:4] == b"RIFF" and head[8:] == b"WAVE":
        yield file.name, file.path
        return
    if not (zipfile.is_zipfile(file.path) or tarfile.is_tarfile(file.path)):
        raise InvalidInputError(
            f"'{file.name}' is neither WAV nor an archive. Send WAV files (PCM), or a tar or zip of them.", field="file"
        )
    with tempfile.TemporaryDirectory() as folder:
        members = unpack(file, Path(folder), lambda share: None).list_suffix(".wav")
        if not members:
            raise InvalidInputError(f"'{file.name}' holds no .wav file. Send WAV files, or an archive of them.", field="file")
        for member in members:
            yield member.name, member.path


def _read_wav(name: str, path: Path) -> tuple[FloatArray, int]:
    try:
        with wave.open(str(path), "rb") as file:
            channels, width, rate_hz, count = file.getnchannels(), file.getsampwidth(), file.getframerate(), file.getnframes()
            if count / max(rate_hz, 1) > MAX_VOICE_S:
                raise InvalidInputError(f"'{name}' is longer than {MAX_VOICE_S / 60:g} minutes. Cut it.", field="file")
            raw = file.readframes(count)
    except (wave.Error, EOFError, OSError) as error:
        raise InvalidInputError(f"'{name}' cannot be read as WAV ({error}). Save it as PCM with 16 bits.", field="file") from error
    if len(raw) != count * channels * width or count == 0:
        raise InvalidInputError(f"'{name}' was cut off, or holds no sound. Send it again.", field="file")
    if not _MIN_RATE_HZ <= rate_hz <= _MAX_RATE_HZ:
        raise InvalidInputError(f"'{name}' has {rate_hz} samples/s; {_MIN_RATE_HZ} to {_MAX_RATE_HZ} can be used.", field="file")
    audio = _to_float(raw, width).reshape(-1, channels).mean(axis=1)
    if float(np.abs(audio).max()) < _LEAST_LOUD:
        raise InvalidInputError(f"'{name}' is silent. Leave it out.", field="file")
    return audio.astype(np.float32), rate_hz


def _to_float(raw: bytes, width: int) -> FloatArray:
    if width == 1:
        centred: FloatArray = np.frombuffer(raw, np.uint8).astype(np.float32) - np.float32(128)
        return centred / np.float32(128)
    if width == 3:
        padded = np.zeros((len(raw) // 3, 4), np.uint8)
        padded[:, 1:] = np.frombuffer(raw, np.uint8).reshape(-1, 3)
        return (padded.view("<i4")[:, 0] / 2.0**31).astype(np.float32)
    samples: FloatArray = np.frombuffer(raw, f"<i{width}").astype(np.float32)
    return samples / np.float32(2.0 ** (8 * width - 1))
