import numpy as np
import pytest

from heimdall.domain.errors import InvalidInputError
from heimdall.rf.capture import Channel, FrontEnd, Scene, guard_samples, simulate_capture
from heimdall.rf.constants import SPEED_OF_LIGHT_M_S
from heimdall.rf.network import load_default_network
from heimdall.rf.propagation import noise_floor_dbm
from heimdall.rf.randomness import make_generator
from heimdall.rf.waveforms import make_waveform

RATE_HZ, SIZE, GUARD = 16_000.0, 3200, 80
RECEIVER_M = load_default_network().position_m
QUIET = FrontEnd(crystal_sigma_ppm=0.0, linewidth_hz=0.0, num_bits=16)
PLACE_M = np.array([3_000.0, -8_000.0, -400.0])


def make_scene(**changes):
    values = {
        "transmitter_m": PLACE_M, "velocity_m_s": np.zeros(3), "receiver_m": RECEIVER_M, "power_dbm": np.full(7, -40.0),
        "clock_offset_s": np.zeros(7), "frequency_mhz": 145.0, **changes,
    }  # fmt: skip
    return Scene(**values)


def record(scene=None, front_end=QUIET, channel=None, waveform=None, seed=0, size=SIZE):
    generator = make_generator(9, seed)
    sent = make_waveform("flat-12k5", generator, size + 2 * GUARD, RATE_HZ) if waveform is None else waveform
    return simulate_capture(sent, scene or make_scene(), generator, num_samples=size, front_end=front_end, channel=channel)


def measure_delay_s(late, early):
    """Slope of the cross-spectrum's phase after a first guess by the peak: no interpolation grid to be biased by."""
    cross = np.fft.fft(late) * np.conj(np.fft.fft(early))
    frequency = np.fft.fftfreq(len(late), 1 / RATE_HZ)
    delay = np.argmax(np.abs(np.fft.ifft(cross)))
    delay = (delay if delay < len(late) / 2 else delay - len(late)) / RATE_HZ
    for _ in range(3):
        turned = cross * np.exp(2j * np.pi * frequency * delay)
        turned *= np.exp(-1j * np.angle(turned.sum()))
        weight = np.abs(cross) * (np.abs(frequency) < 6000)
        delay -= (weight * frequency * np.angle(turned)).sum() / (2 * np.pi * (weight * frequency**2).sum())
    return delay


def test_delays_between_receivers_are_exact_to_nanoseconds():
    offset = np.linspace(-3e-4, 3e-4, 7)
    capture = record(make_scene(clock_offset_s=offset))
    expected = np.linalg.norm(PLACE_M - RECEIVER_M, axis=1) / SPEED_OF_LIGHT_M_S + offset
    np.testing.assert_allclose(capture.arrival_s, expected, atol=1e-12)
    for receiver in range(1, 7):
        measured = measure_delay_s(capture.iq[receiver], capture.iq[0])
        assert measured == pytest.approx(expected[receiver] - expected[0], abs=100e-9)  # 3 cm of 16-bit noise over 0.2 s, edges included


def test_one_crystal_gives_frequency_offset_and_drift():
    front_end = FrontEnd(crystal_sigma_ppm=2.0, linewidth_hz=0.0, num_bits=16)
    tone_hz = 3000.0
    sent = np.exp(2j * np.pi * tone_hz / RATE_HZ * np.arange(SIZE + 2 * GUARD)).astype(np.complex64)
    capture = record(front_end=front_end, waveform=sent)
    crystal = -capture.frequency_offset_hz / 145e6
    assert 0.3e-6 < crystal.std() < 6e-6
    middle = np.arange(400, SIZE - 400)
    for receiver in range(7):
        phase = np.unwrap(np.angle(capture.iq[receiver, middle]))
        found_hz = np.polyfit(middle / RATE_HZ, phase, 1)[0] / (2 * np.pi)
        assert found_hz - tone_hz == pytest.approx(capture.frequency_offset_hz[receiver] + tone_hz * crystal[receiver], abs=0.05)


def test_a_moving_transmitter_is_lower_where_it_flees_and_higher_where_it_comes():
    velocity = np.array([30.0, 0.0, 0.0])
    capture = record(make_scene(velocity_m_s=velocity))
    towards = (RECEIVER_M - PLACE_M) @ velocity / np.linalg.norm(RECEIVER_M - PLACE_M, axis=1)
    np.testing.assert_allclose(capture.frequency_offset_hz, 145e6 * towards / SPEED_OF_LIGHT_M_S, rtol=1e-9)
    assert np.abs(capture.frequency_offset_hz).max() < 14.6


def test_without_a_signal_there_is_the_noise_floor():
    capture = record(make_scene(power_dbm=np.full(7, -300.0)), front_end=FrontEnd(num_bits=16), size=16_000)
    power_dbm = 10 * np.log10(np.mean(np.square(np.abs(capture.iq)), axis=1)) - capture.gain_db
    np.testing.assert_allclose(power_dbm, noise_floor_dbm(145.0, bandwidth_hz=RATE_HZ, noise_figure_db=7.0), atol=0.2)


def test_the_strength_at_the_antenna_can_be_read_back_through_the_gain():
    power_dbm = np.linspace(-100, -40, 7)
    capture = record(make_scene(power_dbm=power_dbm))
    found_dbm = 10 * np.log10(np.mean(np.square(np.abs(capture.iq)), axis=1)) - capture.gain_db
    np.testing.assert_allclose(found_dbm, power_dbm, atol=0.3)


@pytest.mark.parametrize("num_bits", [4, 8])
def test_samples_are_steps_of_the_converter_and_never_beyond_full_scale(num_bits):
    capture = record(front_end=FrontEnd(num_bits=num_bits, agc_target_dbfs=0.0))
    steps = capture.iq.view(np.float32) * 2 ** (num_bits - 1)
    np.testing.assert_array_equal(steps, np.round(steps))
    assert steps.min() == -(2 ** (num_bits - 1))
    assert steps.max() == 2 ** (num_bits - 1) - 1


def test_quantization_noise_is_that_of_its_steps():
    coarse, fine = (record(front_end=FrontEnd(crystal_sigma_ppm=0, linewidth_hz=0, num_bits=bits)) for bits in (6, 16))
    error = (coarse.iq - fine.iq).view(np.float32)
    assert error.std() == pytest.approx(2**-5 / np.sqrt(12), rel=0.05)


def test_the_phase_of_an_oscillator_walks_as_its_linewidth_says():
    front_end = FrontEnd(crystal_sigma_ppm=0, linewidth_hz=2.0, num_bits=16)
    captures = [record(front_end=front_end, waveform=np.ones(SIZE + 2 * GUARD, np.complex64), seed=seed) for seed in range(40)]
    walked = [np.unwrap(np.angle(capture.iq), axis=1)[:, [0, -1]] for capture in captures]
    variance = np.var(np.concatenate([ends[:, 1] - ends[:, 0] for ends in walked]))
    assert variance == pytest.approx(2 * np.pi * 2.0 * SIZE / RATE_HZ, rel=0.25)


@pytest.mark.parametrize(("k_db", "is_moving"), [(-np.inf, False), (6.0, False), (6.0, True), (-np.inf, True)])
def test_fading_keeps_the_mean_power_and_spreads_as_rician_does(k_db, is_moving):
    velocity = np.array([25.0, 10.0, 0.0]) if is_moving else np.zeros(3)
    channel = Channel(num_echoes=6, rician_k_db=k_db, delay_spread_s=1e-9)
    powers = []
    for seed in range(80):
        capture = record(make_scene(velocity_m_s=velocity), channel=channel, seed=seed, size=160)
        powers.append(10 ** ((10 * np.log10(np.mean(np.square(np.abs(capture.iq)), axis=1)) - capture.gain_db + 40) / 10))
    powers = np.concatenate(powers)
    k = 10 ** (k_db / 10)
    assert powers.mean() == pytest.approx(1, abs=0.2)
    expected_variance = (1 + 2 * k) / (1 + k) ** 2
    assert powers.var() == pytest.approx(expected_variance, rel=0.35)


def test_echoes_arrive_late():
    channel = Channel(num_echoes=8, rician_k_db=0.0, delay_spread_s=20e-6)
    late = [measure_delay_s(record(channel=channel, seed=seed).iq[0], record(seed=seed).iq[0]) for seed in range(30)]
    assert np.mean(late) == pytest.approx(10e-6, rel=0.6)  # half of the power is 20 us late on average


def test_the_same_counter_gives_the_same_bytes():
    channel = Channel(num_echoes=3)
    first, again, other = (record(front_end=FrontEnd(), channel=channel, seed=seed) for seed in (1, 1, 2))
    assert first.iq.tobytes() == again.iq.tobytes()
    assert first.iq.tobytes() != other.iq.tobytes()


def test_a_guard_that_is_too_short_and_a_drift_that_is_too_large_are_refused():
    with pytest.raises(InvalidInputError, match="longer by the guard"):
        record(make_scene(clock_offset_s=np.full(7, 0.1)))
    with pytest.raises(InvalidInputError, match="better crystals"):
        record(front_end=FrontEnd(crystal_sigma_ppm=500.0))
    assert guard_samples(1e-3, RATE_HZ) == 80
