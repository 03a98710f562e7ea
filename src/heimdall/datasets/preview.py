"""What a simulated network can reach, said before anyone generates or trains."""

from __future__ import annotations

from pathlib import Path
from typing import Final

import numpy as np
import numpy.typing as npt

from heimdall.datasets.limits import describe_assumptions, limit_of
from heimdall.datasets.simulator import make_simulator
from heimdall.domain.datasets import DatasetPreview, PhysicalLimit, ReachableError, SyntheticDatasetConfig
from heimdall.domain.errors import InvalidInputError
from heimdall.rf.bounds import bound_sigmas, radial_quantiles, timing_information
from heimdall.rf.network import Network
from heimdall.rf.synthetic import SyntheticBlock, SyntheticGenerator

_LEAST_EXAMPLES: Final = 30
_DRAWS: Final = 4
_TERRAIN_DRAWS: Final = 1
"""Blocks of transmissions looked at: over terrain a path costs a hundred times more."""
_NS: Final = 1e-9
_NUMBERS: Final = ("no", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine")

FloatArray = npt.NDArray[np.float64]


def preview_synthetic(config: SyntheticDatasetConfig, target_m: float, *, terrain_folder: Path | None = None) -> DatasetPreview:
    """Simulate a few thousand transmissions and bound each.

    Parameters
    ----------
    config
        The data set that would be generated; its number of examples does not matter.
    target_m
        The 68 % radius that somebody wants.
    terrain_folder
        As in ``build_synthetic``.

    Raises
    ------
    InvalidInputError
        Where too few transmissions are heard to say anything.
    """
    generator = make_simulator(config, terrain_folder)
    network = generator.network
    block = generator.preview(_TERRAIN_DRAWS if config.propagation == "terrain" else _DRAWS)
    num_heard = block.heard.sum(axis=1)
    usable = num_heard >= config.min_receivers
    if usable.sum() < _LEAST_EXAMPLES:
        raise InvalidInputError(
            f"Only {usable.sum()} of {len(usable)} simulated transmissions are heard by {config.min_receivers} receivers; raise the "
            "transmit power, or lower the margin or the least number of receivers.",
            field="min_receivers",
        )
    limit = limit_of(block.bound_sigma_m[usable], describe_assumptions(config))
    rows = _by_receivers(block, num_heard, network, target_m)
    arrival = _arrival_errors(generator, block, usable)
    return DatasetPreview(
        target_m=target_m,
        physical_limit=limit,
        share_usable=float(usable.mean()),
        by_receivers=rows,
        arrival_sigma_ns=arrival,
        iq_bytes=config.iq_bytes,
        sentences=_say(config, limit, float(usable.mean()), rows, arrival, target_m),
    )


def _by_receivers(block: SyntheticBlock, num_heard: npt.NDArray[np.int64], network: Network, target_m: float) -> tuple[ReachableError, ...]:
    p68_m = radial_quantiles(block.bound_sigma_m)
    sigma_s = np.where(block.heard, _NS, np.inf)
    p68_per_ns = radial_quantiles(bound_sigmas(timing_information(block.transmitter_m, network.position_m, sigma_s)))
    rows = []
    for count in range(1, len(network.receivers) + 1):
        chosen = num_heard == count
        if chosen.sum() < _LEAST_EXAMPLES:
            continue
        needed = target_m / float(np.median(p68_per_ns[chosen])) if count >= 3 else None
        rows.append(
            ReachableError(
                num_receivers=count,
                share=float(chosen.mean()),
                error_p68_m=float(np.median(p68_m[chosen])),
                timing_needed_ns=needed,
            )
        )
    return tuple(rows)


def _arrival_errors(generator: SyntheticGenerator, block: SyntheticBlock, usable: npt.NDArray[np.bool_]) -> dict[str, float]:
    heard = block.heard & usable[:, None]
    parts = {name: np.broadcast_to(sigma, heard.shape) for name, sigma in generator.arrival_sigmas_us(block).items()}
    total = np.sqrt(np.sum([np.square(part) for part in parts.values()], axis=0))
    return {name: float(np.median(part[heard])) * 1e3 for name, part in {**parts, "total": total}.items()}


def _say(
    config: SyntheticDatasetConfig,
    limit: PhysicalLimit,
    share: float,
    rows: tuple[ReachableError, ...],
    arrival: dict[str, float],
    target_m: float,
) -> tuple[str, ...]:
    timed = [row for row in rows if row.timing_needed_ns is not None and row.num_receivers >= config.min_receivers]
    sentences = []
    if timed:
        row = min(timed, key=lambda one: abs(one.num_receivers - 4))
        errors = [one.error_p68_m for one in timed]
        sentences.append(
            f"±{_say_metres(target_m)} needs {_say_ns(row.timing_needed_ns or 0.0)} at every receiver with "
            f"{_NUMBERS[row.num_receivers] if row.num_receivers < len(_NUMBERS) else row.num_receivers} receivers; "
            f"yours have {_say_ns(arrival['total'])} and give {_say_range(min(errors), max(errors))}."
        )
    sentences.append(
        f"At best 68 % of the examples can be located within {_say_metres(limit.error_p68_m)}, half of them within "
        f"{_say_metres(limit.error_median_m)}."
    )
    sentences.append(f"{100 * share:.0f} % of the transmissions in the region are heard by {config.min_receivers} or more receivers.")
    causes = {name: value for name, value in arrival.items() if name != "total"}
    worst = max(causes, key=lambda name: causes[name])
    texts = {"clock": "The clocks", "estimate": "Noise and the signal's bandwidth", "excess": "Excess delays"}
    sentences.append(f"{texts[worst]} cost most: {_say_ns(causes[worst])} of {_say_ns(arrival['total'])} in an arrival.")
    if config.keep_iq:
        sentences.append(f"The samples take {config.iq_bytes / 1e9:.2g} GB on the disk, and twice as much while the data set is built.")
    return tuple(sentences)


def _say_metres(value_m: float) -> str:
    return f"{float(f'{value_m:.2g}'):g} m" if value_m < 1000 else f"{float(f'{value_m / 1000:.2g}'):g} km"


def _say_ns(value_ns: float) -> str:
    for limit, scale, unit in ((1e3, 1.0, "ns"), (1e6, 1e3, "µs")):
        if value_ns < limit:
            return f"{float(f'{value_ns / scale:.2g}'):g} {unit}"
    return f"{float(f'{value_ns / 1e6:.2g}'):g} ms"


def _say_range(low_m: float, high_m: float) -> str:
    return _say_metres(low_m) if high_m < 1.1 * low_m else f"{_say_metres(low_m)} to {_say_metres(high_m)}"
