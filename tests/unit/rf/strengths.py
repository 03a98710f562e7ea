"""Receivers with a noise floor and shadowing that neighbours share."""

from __future__ import annotations

import numpy as np

from heimdall.rf.geodesy import slant_ranges
from heimdall.rf.observations import gather_observations
from heimdall.rf.strength import report_strength

SIDE_M = 2000.0
FLOOR_DBM = -95.0
NUM_RECEIVERS = 7


def simulate_floor(num, *, field_db=6.0, fading_db=4.0, seed=0, moving=(), silent_share=0.0):
    """Return observations, positions [n, 3] and the receivers' offsets. The field is one fixed function of the place."""
    generator, layout = np.random.default_rng(seed), np.random.default_rng(99)
    target = np.column_stack([generator.uniform(0, SIDE_M, (num, 2)), np.zeros(num)])
    site = np.tile(np.concatenate([layout.uniform(0, SIDE_M, (NUM_RECEIVERS, 2)), np.full((NUM_RECEIVERS, 1), 15.0)], axis=1), (num, 1, 1))
    for receiver in moving:
        site[:, receiver, :2] = generator.uniform(0, SIDE_M, (num, 2))
    offset = layout.uniform(-92, -80, NUM_RECEIVERS)
    wave = layout.normal(0, 1 / 200.0, (NUM_RECEIVERS, 12, 2))
    phase = layout.uniform(0, 2 * np.pi, (NUM_RECEIVERS, 12))
    field = np.cos(np.einsum("rkd,nd->nrk", wave, target[:, :2]) + phase).sum(axis=2) / np.sqrt(6)
    signal = offset - 38 * np.log10(slant_ranges(target, site) / 1000) + field_db * field
    signal += fading_db * generator.normal(size=signal.shape)
    reported = report_strength(signal, FLOOR_DBM) + generator.normal(0, 1.0, signal.shape)
    heard = generator.random(signal.shape) >= silent_share
    observations = gather_observations(
        rssi_dbm=np.where(heard, reported, 0.0),
        heard=heard,
        present=np.ones_like(heard),
        receiver_index=np.tile(np.arange(NUM_RECEIVERS), (num, 1)),
        receiver_m=site,
        is_moving=np.isin(np.arange(NUM_RECEIVERS), moving),
    )
    return observations, target, offset
