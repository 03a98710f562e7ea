"""Small made-up data sets for the tests of this folder."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from heimdall.datasets.manifest import Manifest, pick_features
from heimdall.datasets.storage import DatasetWriter, ExampleChunk
from heimdall.domain.datasets import CoordinateFrame, DatasetKind, Receiver, Split

FRAME = CoordinateFrame(latitude=45, longitude=8)
FEATURES = pick_features("heard", "rssi_dbm", "rx_east_km")
RECEIVERS = tuple(Receiver(id=f"r{n}", name=f"R{n}", latitude=45, longitude=8 + n / 10) for n in range(3))


def make_chunk(num: int, *, seed: int = 0) -> ExampleChunk:
    """Return examples of three receivers, the last of which is sometimes absent."""
    generator = np.random.default_rng(seed)
    mask = np.ones((num, 3), bool)
    mask[::3, 2] = False
    heard = mask & (generator.random((num, 3)) < 0.7)
    heard[:, 0] = True
    features = np.stack([heard, np.where(heard, generator.normal(-80, 10, (num, 3)), 0), np.where(mask, [0.0, 7.9, 15.7], 0)], axis=-1)
    return ExampleChunk(
        features=features.astype(np.float32),
        mask=mask,
        receiver_index=np.where(mask, np.arange(3), 0).astype(np.int16),
        target=generator.uniform(-5000, 5000, (num, 2)),
        target_up=np.zeros(num),
        group=(np.arange(num) // 4).astype(np.int32),
        time=np.arange(num, dtype=np.float64),
        receiver_enu=np.where(mask[..., None], 100.0, 0.0).astype(np.float32) * np.ones(3, np.float32),
    )


def write(directory: Path, chunks: list[ExampleChunk]) -> Manifest:
    """Store chunks as a data set."""
    directory.mkdir()
    with DatasetWriter(directory, num_tokens=3, receivers=RECEIVERS, features=FEATURES) as writer:
        for chunk in chunks:
            writer.append(chunk)
        return writer.finish(
            kind=DatasetKind.SYNTHETIC,
            frame=FRAME,
            split=Split(column="cell", num_groups=0, seed=3, cell_m=100),
            groups=("cell",),
            accuracy_radius_m=100,
        )


def cut(chunk: ExampleChunk, rows: slice) -> ExampleChunk:
    """Return some rows of a chunk."""
    return ExampleChunk(**{name: values[rows] for name, values in vars(chunk).items() if values is not None})
