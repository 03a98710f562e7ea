"""What every importer hands over: positions and times whole, receiver tokens block by block."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt

from heimdall.datasets.grouping import Groups, describe_split
from heimdall.datasets.manifest import IqFormat
from heimdall.datasets.storage import DatasetWriter, ExampleChunk
from heimdall.domain.datasets import CoordinateFrame, DatasetKind, Feature, ImportDatasetConfig, Receiver
from heimdall.domain.errors import InvalidInputError

MAX_EXTENT_M: Final = 2_000_000.0
"""m from the frame's origin; farther away the tangent plane says nothing useful."""

_BLOCK_TOKENS: Final = 262_144
_BLOCK_SAMPLES: Final = 1 << 24


@dataclass(frozen=True)
class TokenBlock:
    """Receiver tokens of some consecutive examples; arrays as in :class:`heimdall.datasets.storage.ExampleChunk`."""

    features: npt.NDArray[np.float32]
    mask: npt.NDArray[np.bool_]
    receiver_index: npt.NDArray[np.int16]
    receiver_enu: npt.NDArray[np.float32]
    iq: npt.NDArray[np.int8] | None = None


@dataclass(frozen=True)
class ImportedExamples:
    """A measured data set that is not stored yet."""

    kind: DatasetKind
    frame: CoordinateFrame
    receivers: tuple[Receiver, ...]
    features: tuple[Feature, ...]
    num_tokens: int
    target: npt.NDArray[np.float64]
    """[N, 2] m."""
    target_up: npt.NDArray[np.float64]
    """[N] m."""
    time: npt.NDArray[np.float64]
    """[N] unix s, or 0."""
    groupings: Mapping[str, Callable[[], Groups]]
    """Column to a function that numbers the groups, [N]."""
    tokens: Callable[[slice], TokenBlock]
    accuracy_radius_m: float
    source: str
    """Where the data come from, and their licence."""
    iq: IqFormat | None = None
    """What the samples of every block are; None where there are none."""
    num_samples: int = 0
    carrier_hz: npt.NDArray[np.float64] | None = None
    """[N] Hz, channel of the samples, 0 where nobody said."""


def refuse_wide_networks(target_m: npt.NDArray[np.float64], receiver_m: npt.NDArray[np.float64]) -> None:
    """Raise InvalidInputError where positions [..., 3] in m lie too far apart for one tangent plane."""
    farthest = max(float(np.linalg.norm(points, axis=-1).max()) for points in (target_m, receiver_m))
    if farthest > MAX_EXTENT_M:
        raise InvalidInputError(
            f"Positions lie up to {farthest / 1000:.0f} km from the middle of the receivers, past {MAX_EXTENT_M / 1000:.0f} km: "
            "import each region as a data set of its own."
        )


def write_examples(
    examples: ImportedExamples, config: ImportDatasetConfig, writer: DatasetWriter, progress: Callable[[float], None]
) -> None:
    """Store imported examples under the split that the config asks for.

    Raises
    ------
    InvalidInputError
        Where the source has no such column to split by.
    """
    grouping = examples.groupings.get(config.split_column)
    if grouping is None:
        known = ", ".join(examples.groupings)
        raise InvalidInputError(f"This source cannot be split by {config.split_column}; choose one of: {known}.", field="split_column")
    group = grouping()
    step = max(1, min(_BLOCK_TOKENS, _BLOCK_SAMPLES // max(1, examples.num_samples)) // examples.num_tokens)
    for start in range(0, len(group), step):
        rows = slice(start, start + step)
        block = examples.tokens(rows)
        writer.append(
            ExampleChunk(
                features=block.features,
                mask=block.mask,
                receiver_index=block.receiver_index,
                target=examples.target[rows],
                target_up=examples.target_up[rows],
                group=group[rows],
                time=examples.time[rows],
                receiver_enu=block.receiver_enu,
                iq=block.iq,
                carrier_hz=None if examples.carrier_hz is None else examples.carrier_hz[rows],
            )
        )
        progress(min(1.0, rows.stop / len(group)))
    writer.finish(
        kind=examples.kind,
        frame=examples.frame,
        split=describe_split(config.split_column, group, seed=config.split_seed, cell_m=config.cell_m),
        groups=tuple(examples.groupings),
        accuracy_radius_m=config.accuracy_radius_m or examples.accuracy_radius_m,
    )
