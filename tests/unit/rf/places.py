"""Transmitters in the hull of the project's receivers, as the tables of physics.md have them."""

from __future__ import annotations

import numpy as np
from scipy.spatial import Delaunay

from heimdall.rf.geodesy import put_on_ellipsoid
from heimdall.rf.network import Network


def draw_in_hull(network: Network, count: int, seed: int = 0) -> np.ndarray:
    """Return [count, 3] m, uniform over the hull, 300 m high."""
    flat = network.position_m[:, :2]
    drawn = np.random.default_rng(seed).uniform(flat.min(axis=0), flat.max(axis=0), (count * 8, 2))
    inside = drawn[Delaunay(flat).find_simplex(drawn) >= 0][:count]
    return put_on_ellipsoid(network.frame, inside[:, 0], inside[:, 1], 300.0)
