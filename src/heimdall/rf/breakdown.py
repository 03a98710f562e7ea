"""Errors sorted by what makes an example easy or hard, and how honest ellipses are at every level."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import Final

import numpy as np
from jaxtyping import Bool, Float, Int

from heimdall.domain.models import ErrorGroup, ReliabilityPoint
from heimdall.rf.accuracy import CHI2_68, summarize_errors
from heimdall.rf.shapes import AnyFloatArray, BoolArray, IntArray

NOMINAL_LEVELS: Final = (0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.68, 0.8, 0.9, 0.95)
_MAX_GROUPS: Final = 6
_NUM_QUANTILES: Final = 4


def group_by_count(
    count: Int[IntArray, " n"], error_m: Float[AnyFloatArray, " n"], mahalanobis2: Float[AnyFloatArray, " n"]
) -> tuple[ErrorGroup, ...]:
    """Return one group for each count, or, of more than six counts, neighbouring ones together in equal shares of the examples."""
    values = np.unique(count)
    if len(values) <= _MAX_GROUPS:
        edges = [(int(value), int(value)) for value in values]
    else:
        starts = sorted({int(np.quantile(count, share, method="lower")) for share in np.arange(_NUM_QUANTILES) / _NUM_QUANTILES})
        ends = [*(start - 1 for start in starts[1:]), int(values[-1])]
        edges = list(zip(starts, ends, strict=True))
    labels = [str(low) if low == high else f"{low} to {high}" for low, high in edges]
    return _summarize(labels, [(count >= low) & (count <= high) for low, high in edges], error_m, mahalanobis2)


def group_by_value(
    value: Float[AnyFloatArray, " n"], error_m: Float[AnyFloatArray, " n"], mahalanobis2: Float[AnyFloatArray, " n"], *, unknown: str
) -> tuple[ErrorGroup, ...]:
    """Return quarters of the examples by a value; those whose value is not finite stand by themselves under the name ``unknown``."""
    is_known = np.isfinite(value)
    if not is_known.any():
        return _summarize([unknown], [~is_known], error_m, mahalanobis2)
    edges = np.unique(np.quantile(value[is_known], np.linspace(0, 1, _NUM_QUANTILES + 1)))
    borders = list(pairwise(edges)) or [(edges[0], edges[0])]
    last = len(borders) - 1
    members = [is_known & (value >= low) & ((value < high) | (index == last)) for index, (low, high) in enumerate(borders)]
    labels = [f"{low:.3g} to {high:.3g}" for low, high in borders]
    return _summarize([*labels, unknown], [*members, ~is_known], error_m, mahalanobis2)


def group_by_flag(
    flag: Bool[BoolArray, " n"], names: tuple[str, str], error_m: Float[AnyFloatArray, " n"], mahalanobis2: Float[AnyFloatArray, " n"]
) -> tuple[ErrorGroup, ...]:
    """Return two groups, named for true and for false."""
    return _summarize(names, [flag, ~flag], error_m, mahalanobis2)


def measure_reliability(mahalanobis2: Float[AnyFloatArray, " n"]) -> tuple[ReliabilityPoint, ...]:
    """Return, for ten nominal levels, the share of truths inside the ellipse of that level; honest ellipses cover what they say.

    A truth lies inside the ellipse of level p where its squared Mahalanobis distance is at most ``-2 ln(1 - p)``.
    """
    return tuple(
        ReliabilityPoint(nominal=level, observed=float(np.mean(mahalanobis2 <= -2 * np.log1p(-level)))) for level in NOMINAL_LEVELS
    )


def _summarize(
    labels: Sequence[str], members: Sequence[BoolArray], error_m: AnyFloatArray, mahalanobis2: AnyFloatArray
) -> tuple[ErrorGroup, ...]:
    """Return the groups that have an example."""
    groups = []
    for label, member in zip(labels, members, strict=True):
        if not member.any():
            continue
        errors = summarize_errors(error_m[member])
        groups.append(
            ErrorGroup(
                label=label,
                num_examples=errors.num_examples,
                error_median_m=errors.median_m,
                error_p68_m=errors.p68_m,
                error_p95_m=errors.p95_m,
                coverage_68=float(np.mean(mahalanobis2[member] <= CHI2_68)),
            )
        )
    return tuple(groups)
