"""The project's own receiver network: seven sites in north-west Italy, carried as data with the package."""

from __future__ import annotations

import json
from dataclasses import dataclass
from functools import lru_cache
from importlib import resources

import numpy as np
from jaxtyping import Float64

from heimdall.domain.datasets import CoordinateFrame, Receiver
from heimdall.rf.geodesy import frame_at_centroid, geodetic_to_enu
from heimdall.rf.shapes import FloatArray


@dataclass(frozen=True)
class Network:
    """Fixed receivers in a common frame."""

    name: str
    receivers: tuple[Receiver, ...]
    frame: CoordinateFrame
    position_m: Float64[FloatArray, "r 3"]
    """[r, 3] m, east north up."""


@lru_cache(maxsize=1)
def load_default_network() -> Network:
    """Return the seven sites of ``receivers.json`` in the frame at their centroid."""
    table = json.loads(resources.files("heimdall.rf").joinpath("receivers.json").read_text(encoding="utf-8"))
    return make_network(table["name"], tuple(Receiver.model_validate(site) for site in table["receivers"]))


def make_network(name: str, receivers: tuple[Receiver, ...]) -> Network:
    """Place fixed receivers in the frame at their centroid.

    Raises
    ------
    ValueError
        Where a receiver has no fixed coordinates.
    """
    sites = [_site_of(receiver) for receiver in receivers]
    latitude, longitude, altitude = np.array(sites, np.float64).T
    frame = frame_at_centroid(latitude, longitude)
    position = geodetic_to_enu(frame, latitude, longitude, altitude)
    position.setflags(write=False)
    return Network(name=name, receivers=receivers, frame=frame, position_m=position)


def _site_of(receiver: Receiver) -> tuple[float, float, float]:
    if receiver.latitude is None or receiver.longitude is None:
        raise ValueError(f"receiver {receiver.id} has no fixed coordinates")
    return receiver.latitude, receiver.longitude, receiver.altitude_m or 0.0
