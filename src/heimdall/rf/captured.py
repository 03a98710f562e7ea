"""Simulated examples as recordings: each transmission is sent, received by all and measured, as real ones are.

The scene of an example (place, power, shadowing) is that of :mod:`heimdall.rf.synthetic`; its waveform, crystals, clocks and noise have a
random stream of their own, so an example depends on (config, number) alone.
"""

from __future__ import annotations

import math
from typing import Final

import numpy as np

from heimdall.domain.datasets import SyntheticDatasetConfig
from heimdall.domain.errors import InvalidInputError
from heimdall.rf.capture import FrontEnd, Scene, guard_samples, simulate_capture
from heimdall.rf.constants import RECEIVER_NOISE_FIGURE_DB, SPEED_OF_LIGHT_M_S
from heimdall.rf.measurements import Measured, Search, measure_event, reach_of
from heimdall.rf.network import Network
from heimdall.rf.shapes import AnyFloatArray, FloatArray
from heimdall.rf.spectra import SPECTRA
from heimdall.rf.synthetic import SyntheticBlock
from heimdall.rf.waveforms import make_waveform

_CAPTURE_STREAM: Final = 2
_MAX_SIGMAS: Final = 6.0
"""Clocks and crystals farther out than this are drawn to it: the guard and the search must hold them."""


class CaptureGenerator:
    """Sends the transmissions of a simulated block and measures what was received.

    Parameters
    ----------
    config
        With ``signal: captures``.
    network
        Where the receivers stand.
    voice
        Audio at the captures' rate that transmissions of voice send; None lets the formant source speak.
    """

    def __init__(self, config: SyntheticDatasetConfig, network: Network, voice: AnyFloatArray | None = None) -> None:
        if config.waveform is None:
            raise InvalidInputError("Captures need a waveform: say what is sent.", field="waveform")
        self._config = config
        self._voice = voice
        self._waveform = config.waveform
        self._receiver_m = network.position_m
        self._front_end = FrontEnd(
            sample_rate_hz=config.capture_rate_hz, noise_figure_db=RECEIVER_NOISE_FIGURE_DB, crystal_sigma_ppm=config.crystal_sigma_ppm
        )
        self._crystal_hz = config.crystal_sigma_ppm * config.frequency_mhz
        # By the clocks' and paths' own errors, which a signal at the other end of the network adds to the geometry's.
        self._late_s = math.hypot(config.clock_sigma_ns, config.nlos_sigma_ns) * 1e-9 * _MAX_SIGMAS
        self.search = Search(
            bandwidth_hz=SPECTRA[self._waveform].noise_bandwidth_hz,
            max_delay_s=reach_of(self._receiver_m, self._late_s, SPEED_OF_LIGHT_M_S),
            max_frequency_hz=math.sqrt(2) * _MAX_SIGMAS * self._crystal_hz,
        )

    def measure(self, block: SyntheticBlock, first: int, rows: range) -> Measured:
        """Record and measure some examples of a block.

        Parameters
        ----------
        block
            The scenes.
        first
            Number of the block's first example in the data set.
        rows
            Which of its examples.
        """
        parts = [
            self._measure_one(block, row, np.random.SeedSequence((self._config.seed, first + row, 0, _CAPTURE_STREAM))) for row in rows
        ]
        return Measured.join(parts)

    def _measure_one(self, block: SyntheticBlock, row: int, seed: np.random.SeedSequence) -> Measured:
        config, generator, rate_hz = self._config, np.random.default_rng(seed), self._front_end.sample_rate_hz
        place, num_receivers = block.transmitter_m[row], len(self._receiver_m)
        late_s = self._draw(generator, config.clock_sigma_ns * 1e-9, num_receivers)
        late_s += self._draw(generator, config.nlos_sigma_ns * 1e-9, num_receivers)
        reach_s = float(np.linalg.norm(place - self._receiver_m, axis=1).max()) / SPEED_OF_LIGHT_M_S + 2 * self._late_s
        num_samples = config.capture_samples
        waveform = make_waveform(self._waveform, generator, num_samples + 2 * guard_samples(reach_s, rate_hz), rate_hz, voice=self._voice)
        scene = Scene(
            transmitter_m=place,
            velocity_m_s=np.zeros(3),
            receiver_m=self._receiver_m,
            power_dbm=block.rssi_dbm[row],
            clock_offset_s=late_s,
            frequency_mhz=config.frequency_mhz,
            transmitter_offset_hz=float(self._draw(generator, self._crystal_hz, 1)[0]),
        )
        capture = simulate_capture(waveform, scene, generator, num_samples=num_samples, front_end=self._front_end)
        return measure_event(capture.iq, rate_hz, capture.gain_db, self.search, keep_iq=config.keep_iq)

    @staticmethod
    def _draw(generator: np.random.Generator, sigma: float, count: int) -> FloatArray:
        return sigma * np.clip(generator.standard_normal(count), -_MAX_SIGMAS, _MAX_SIGMAS)
