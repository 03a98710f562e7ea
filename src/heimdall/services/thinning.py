"""Chooses the epochs that a chart needs, so that no spike is ever hidden. Loads numpy on first use only."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    Floats = NDArray[np.float64]
    Indices = NDArray[np.int64]

_MIN_BUCKETS: Final = 2
_MAX_GAP_SHARE: Final = 4
"""Edges of gaps take at most a quarter of the points."""


def choose_rows(series: list[Floats], max_points: int) -> Indices:
    """Return the rows to keep, in order.

    The rows are cut into equal buckets; of each series and bucket the row of the minimum and that of the maximum are
    kept, so that every series keeps its extremes at the chart's resolution. Added are the first and last row and those
    at the edges of gaps (NaN), which a chart draws as marks. The number of buckets is the largest, found by doubling
    or halving, with which the union over all series fits.

    Parameters
    ----------
    series
        Equally long float64 columns, shape [rows]; NaN where there is no finite value.
    max_points
        Rows wanted at most. Only the global extremes of every series, the first and the last row may exceed it:
        at most ``2 * len(series) + 2`` rows.

    Returns
    -------
    Indices
        Row numbers, ascending, unique, shape [kept].
    """
    import numpy as np

    num_rows = len(series[0])
    if num_rows <= max_points:
        return np.arange(num_rows)
    finite = [np.flatnonzero(np.isfinite(values)) for values in series]
    columns = [(rows, np.ascontiguousarray(values[rows])) for rows, values in zip(finite, series, strict=True) if len(rows)]
    always = [np.array([0, num_rows - 1]), *(_extremes(rows, values) for rows, values in columns)]
    always.append(_gap_edges(finite, num_rows, max(2, max_points // _MAX_GAP_SHARE)))

    def choose(num_buckets: int) -> Indices | None:
        kept = np.unique(np.concatenate([*always, *(_bucket_extremes(rows, values, num_rows, num_buckets) for rows, values in columns)]))
        return kept if len(kept) <= max_points else None

    num_buckets = max(_MIN_BUCKETS, max_points // len(series))
    best = choose(num_buckets)
    if best is not None:
        while num_buckets < max_points // 2 and (finer := choose(num_buckets := 2 * num_buckets)) is not None:
            best = finer
        return best
    while num_buckets > _MIN_BUCKETS:
        num_buckets = max(_MIN_BUCKETS, num_buckets // 2)
        if (best := choose(num_buckets)) is not None:
            return best
    must = np.unique(np.concatenate(always[:-1]))
    with_gaps = np.unique(np.concatenate(always))
    return with_gaps if len(with_gaps) <= max_points else must


def _extremes(rows: Indices, values: Floats) -> Indices:
    import numpy as np

    extremes: Indices = rows[np.array([values.argmin(), values.argmax()])]
    return extremes


def _bucket_extremes(rows: Indices, values: Floats, num_rows: int, num_buckets: int) -> Indices:
    """Return the rows of each bucket's minimum and maximum; buckets are of equal width in rows, the same for every series."""
    import numpy as np
    from tsdownsample import MinMaxDownsampler

    if len(values) <= 2 * num_buckets:
        return rows
    sampler = MinMaxDownsampler()  # type: ignore[no-untyped-call]
    # With an x the buckets are of equal width in rows although rows without a value are missing.
    columns = (values,) if len(values) == num_rows else (rows.astype(np.float64), values)
    chosen = sampler.downsample(*columns, n_out=2 * num_buckets)
    return np.asarray(rows[chosen.astype(np.int64)])


def _gap_edges(finite: list[Indices], num_rows: int, max_edges: int) -> Indices:
    """Return the first and last row of every gap, evenly thinned where there are too many. A series without any value has no gap."""
    import numpy as np

    is_gap = np.zeros(num_rows, dtype=bool)
    for rows in finite:
        if 0 < len(rows) < num_rows:
            missing = np.ones(num_rows, dtype=bool)
            missing[rows] = False
            is_gap |= missing
    padded = np.concatenate([[False], is_gap, [False]])
    change = np.flatnonzero(padded[1:] != padded[:-1])
    edges = np.unique(np.concatenate([change[0::2], change[1::2] - 1])).astype(np.int64)
    if len(edges) > max_edges:
        edges = edges[np.unique(np.linspace(0, len(edges) - 1, max_edges).astype(np.int64))]
    return edges
