"""The simulator that a configuration asks for: where the config, the built-in network and the user's terrain meet."""

from __future__ import annotations

from pathlib import Path

from heimdall.datasets.terrain_files import read_terrain
from heimdall.domain.datasets import SyntheticDatasetConfig
from heimdall.rf.longley_rice import LongleyRicePathLoss
from heimdall.rf.network import load_default_network
from heimdall.rf.synthetic import SyntheticGenerator


def make_simulator(config: SyntheticDatasetConfig, terrain_folder: Path | None) -> SyntheticGenerator:
    """Return a generator with the loss model of the config.

    Raises
    ------
    InvalidInputError
        Where it asks for terrain and there is none; nothing else is taken instead.
    """
    network = load_default_network()
    if config.propagation == "log-distance":
        return SyntheticGenerator(config, network)
    return SyntheticGenerator(config, network, LongleyRicePathLoss(read_terrain(terrain_folder), network.frame, config.frequency_mhz))


def describe_loss(generator: SyntheticGenerator) -> str:
    """Return what is to be said of the terrain behind a simulated set; nothing without one."""
    model = generator.path_loss
    return f"; Longley-Rice over terrain: {model.terrain.name}" if isinstance(model, LongleyRicePathLoss) else ""
