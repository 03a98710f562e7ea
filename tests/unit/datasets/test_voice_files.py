import io
import wave
import zipfile

import numpy as np
import pytest

from heimdall.datasets.build import build_synthetic, write_simulation
from heimdall.datasets.importers.sources import SourceFile
from heimdall.datasets.simulation import Simulation, load_chunk, save_chunk
from heimdall.datasets.voice_files import read_voice
from heimdall.domain.datasets import SyntheticDatasetConfig
from heimdall.domain.errors import InvalidInputError
from heimdall.rf.speech import speak


def wav_bytes(audio, rate_hz=8_000, width=2, channels=1):
    stream = io.BytesIO()
    with wave.open(stream, "wb") as file:
        file.setparams((channels, width, rate_hz, 0, "NONE", ""))
        scaled = np.asarray(audio, np.float64) * (2 ** (8 * width - 1) - 1)
        if width == 1:
            raw = (scaled + 128).astype(np.uint8).tobytes()
        elif width == 3:
            raw = np.ascontiguousarray((scaled * 256).astype("<i4")).view(np.uint8).reshape(-1, 4)[:, 1:].tobytes()
        else:
            raw = scaled.astype(f"<i{width}").tobytes()
        file.writeframes(raw)
    return stream.getvalue()


def speech(seconds=2.0, rate_hz=8_000, seed=0):
    return speak(np.random.default_rng(seed), int(seconds * rate_hz), rate_hz)


def store(tmp_path, content, name="voice.wav"):
    path = tmp_path / f"{len(list(tmp_path.iterdir()))}.voice"
    path.write_bytes(content)
    return SourceFile(name, path)


@pytest.mark.parametrize("width", [1, 2, 3, 4])
@pytest.mark.parametrize("rate_hz", [8_000, 22_050, 48_000])
def test_every_pcm_becomes_levelled_audio_at_the_rate_of_the_captures(tmp_path, width, rate_hz):
    audio = read_voice([store(tmp_path, wav_bytes(0.5 * speech(1.0, rate_hz), rate_hz, width))], 16_000.0)
    assert audio.dtype == np.float32
    assert len(audio) == 16_000
    assert np.abs(audio).max() <= 1
    assert np.sqrt(np.mean(np.square(audio))) == pytest.approx(0.35, abs=0.06)


def test_archives_of_wavs_go_by_their_names(tmp_path):
    stream = io.BytesIO()
    first, second = wav_bytes(speech(seed=1)), wav_bytes(speech(seed=2))
    with zipfile.ZipFile(stream, "w") as archive:
        archive.writestr("b.wav", second)
        archive.writestr("a/a.WAV", first)
        archive.writestr("readme.txt", "x")
    packed = read_voice([store(tmp_path, stream.getvalue(), "v.zip")], 16_000.0)
    single = read_voice([store(tmp_path, first), store(tmp_path, second)], 16_000.0)
    np.testing.assert_array_equal(packed, single)


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"no wave", "neither WAV nor an archive. Send WAV files"),
        (wav_bytes(speech())[:-100], "cut off"),
        (wav_bytes(speech())[:30], "cannot be read as WAV"),
        (wav_bytes(np.zeros(16_000)), "is silent"),
        (wav_bytes(speech(0.2)), "at least 1 s"),
        (wav_bytes(speech(), rate_hz=1_000), "1000 samples/s"),
    ],
)
def test_what_is_no_voice_says_what_to_do(tmp_path, content, reason):
    with pytest.raises(InvalidInputError, match=reason):
        read_voice([store(tmp_path, content)], 16_000.0)


def test_a_set_with_a_voice_is_the_same_whoever_makes_its_chunks_and_another_for_another_voice(tmp_path):
    asked = {"signal": "captures", "waveform": "nbfm-voice", "duration_s": 0.05, "num_examples": 200, "keep_iq": True, "seed": 3}
    config = SyntheticDatasetConfig.model_validate({"name": "s", **asked})
    files = tmp_path / "files"
    files.mkdir()
    voice, other = [store(files, wav_bytes(speech(seed=1)))], [store(files, wav_bytes(speech(seed=2)))]
    hashes = []
    for number, sent in enumerate((voice, voice, other, None)):
        (tmp_path / f"d{number}").mkdir()
        hashes.append(build_synthetic(config, tmp_path / f"d{number}", lambda share: None, voice=sent).content_hash)
    assert hashes[0] == hashes[1]
    assert len(set(hashes)) == 3
    for number in (1, 0):
        save_chunk(Simulation(config, None, voice).make(number, lambda share: None), tmp_path / f"{number}.npz")
    (tmp_path / "joint").mkdir()
    chunks = (load_chunk(tmp_path / f"{number}.npz") for number in range(2))
    built = write_simulation(Simulation(config, None, voice), chunks, tmp_path / "joint", lambda share: None)
    assert built.content_hash == hashes[0]
    assert built.source.endswith("voice of 1 file of your own")
