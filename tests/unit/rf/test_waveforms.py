import os
import shutil
import subprocess
import wave

import numpy as np
import pytest
from scipy import signal

from heimdall.rf.ax25 import crc_x25, encode_ui_frame, stuff_nrzi
from heimdall.rf.randomness import make_generator
from heimdall.rf.spectra import SPECTRA
from heimdall.rf.waveforms import (
    DMR_BURST_S,
    DMR_FRAME_S,
    afsk_audio,
    level_speech,
    make_aprs,
    make_voice,
    make_waveform,
    rms_bandwidth_hz,
    root_raised_cosine,
)

SAMPLE_RATES_HZ = {12_500.0: 16_000.0, 25_000.0: 32_000.0, 200_000.0: 256_000.0}


def rate_of(waveform):
    return SAMPLE_RATES_HZ[SPECTRA[waveform].noise_bandwidth_hz]


@pytest.mark.parametrize("waveform", sorted(SPECTRA))
def test_the_bandwidth_is_that_of_the_table_the_bounds_use(waveform):
    rate_hz, betas = rate_of(waveform), []
    for number in range(8):
        sent = make_waveform(waveform, make_generator(1, number), int(rate_hz), rate_hz)
        if waveform.startswith("flat"):
            power, frequency = np.square(np.abs(np.fft.fft(sent))), np.fft.fftfreq(len(sent), 1 / rate_hz)
            betas.append(np.sqrt((power * frequency**2).sum() / power.sum()))
        else:
            betas.append(rms_bandwidth_hz(sent, rate_hz))
    assert np.median(betas) == pytest.approx(SPECTRA[waveform].rms_bandwidth_hz, rel=0.1)


@pytest.mark.parametrize("waveform", sorted(SPECTRA))
def test_waveforms_have_unit_power_the_size_asked_for_and_repeat_with_their_counter(waveform):
    rate_hz = rate_of(waveform)
    sent = make_waveform(waveform, make_generator(5, 3), 4000, rate_hz)
    assert sent.shape == (4000,)
    assert sent.dtype == np.complex64
    assert np.mean(np.square(np.abs(sent[np.abs(sent) > 0.1]))) == pytest.approx(1, rel=0.1)
    np.testing.assert_array_equal(sent, make_waveform(waveform, make_generator(5, 3), 4000, rate_hz))
    assert not np.array_equal(sent, make_waveform(waveform, make_generator(5, 4), 4000, rate_hz))


def test_dmr_sends_in_one_of_two_slots():
    sent = make_waveform("dmr", make_generator(0, 0), 16_000 * 6, 16_000.0)
    assert np.mean(np.abs(sent) > 0.5) == pytest.approx(DMR_BURST_S / DMR_FRAME_S, rel=0.02)


def test_some_windows_of_speech_are_silent_and_tell_nothing_of_time():
    betas = [rms_bandwidth_hz(make_voice(make_generator(2, number), 3200, 16_000.0), 16_000.0) for number in range(300)]
    assert 0.005 < np.mean(np.array(betas) < 50) < 0.1
    assert np.median(betas) == pytest.approx(870, rel=0.1)


def test_recorded_speech_and_a_tone_are_sent_as_given():
    rate_hz = 16_000.0
    tone = 0.4 * np.sin(2 * np.pi * 1000 / rate_hz * np.arange(8000))
    sent = make_voice(make_generator(0, 0), 8000, rate_hz, audio=tone, ctcss_hz=124.0)
    heard_hz = np.angle(sent[1:] * np.conj(sent[:-1])) * rate_hz / (2 * np.pi)
    spectrum = np.abs(np.fft.rfft(np.append(heard_hz, 0))) / 4000
    assert spectrum[round(1000 * 8000 / rate_hz)] == pytest.approx(0.4 * 2500, rel=0.02)
    assert spectrum[round(124 * 8000 / rate_hz)] == pytest.approx(2500 / 6, rel=0.1)
    levelled = level_speech(np.random.default_rng(0).normal(0, 0.01, 5000))
    assert np.abs(levelled).max() <= 1
    assert np.sqrt(np.mean(levelled**2)) == pytest.approx(0.35, rel=0.05)


def test_two_root_raised_cosines_make_no_interference_between_symbols():
    taps = root_raised_cosine(0.2, span=16, oversampling=10)
    both = np.convolve(taps, taps)
    symbols = both[len(both) // 2 % 10 :: 10]
    assert np.sort(np.abs(symbols))[-2] < 0.01 * symbols.max()


def test_the_check_sequence_is_the_published_one_and_five_ones_are_followed_by_a_zero():
    assert crc_x25(b"123456789") == 0x906E
    frame = encode_ui_frame("N0CALL", "APRS", "\x7f\x7f\x7f")
    stuffed = stuff_nrzi(frame, num_flags=0, num_levels=len(frame) + 2, is_line_coded=False)
    text = "".join(map(str, stuffed))
    assert "11111" in text
    assert "111111" not in text


def test_multimon_ng_decodes_our_aprs(tmp_path):
    decoder = shutil.which("multimon-ng")
    if decoder is None:
        if os.environ.get("CI"):
            pytest.fail("needed in CI: multimon-ng (Debian package), installed by deploy/test-decoders.sh")
        pytest.skip("multimon-ng is not installed (Debian: apt-get install multimon-ng)")
    rate_hz, text = 22_050, "!4502.64N/00740.32E-heimdall test"
    sent = make_aprs(make_generator(0, 1), int(1.5 * rate_hz), float(rate_hz), information=text, source="IW1ABC")
    audio = np.angle(sent[1:] * np.conj(sent[:-1]))
    with wave.open(str(tmp_path / "aprs.wav"), "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(rate_hz)
        file.writeframes((audio / np.abs(audio).max() * 20_000).astype("<i2").tobytes())
    raw = np.frombuffer((tmp_path / "aprs.wav").read_bytes()[44:], "<i2")
    (tmp_path / "aprs.raw").write_bytes(raw.tobytes())
    command = [decoder, "-q", "-a", "AFSK1200", "-t", "raw", str(tmp_path / "aprs.raw")]
    decoded = subprocess.run(command, capture_output=True, text=True, timeout=60, check=True).stdout
    assert "fm IW1ABC-0 to APRS-0" in decoded
    assert text in decoded


def test_afsk_audio_has_its_two_tones():
    audio = afsk_audio("hello", "N0CALL", 22_050, 22_050.0)
    frequency, density = signal.welch(audio, 22_050.0, nperseg=2048)
    assert density[np.abs(frequency - 1200) < 150].max() > 20 * density[frequency > 4000].max()
    assert density[np.abs(frequency - 2200) < 150].max() > 20 * density[frequency > 4000].max()
