"""The physical limit of stored examples, as one line to draw beside a network's error; and the alarm where a network passes it."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt

from heimdall.datasets.storage import DatasetArrays
from heimdall.domain.datasets import PhysicalLimit, SyntheticDatasetConfig
from heimdall.rf.bounds import mixture_quantiles

_PERCENTS: Final = (0.5, 0.68, 0.95)
_ALARM_SIGMAS: Final = 4.0

FloatArray = npt.NDArray[np.floating]


def limit_of(bound_sigma_m: FloatArray, assumptions: str) -> PhysicalLimit:
    """Return the percentiles of errors of examples with these bounds [n, 2] m."""
    median, p68, p95 = mixture_quantiles(np.asarray(bound_sigma_m, np.float64), _PERCENTS)
    return PhysicalLimit(error_median_m=median, error_p68_m=p68, error_p95_m=p95, num_examples=len(bound_sigma_m), assumptions=assumptions)


def limit_of_rows(arrays: DatasetArrays, rows: npt.NDArray[np.int64]) -> PhysicalLimit | None:
    """Return the limit of some examples of a data set; None where it has no bounds (measured data) or no row is asked for."""
    whole = arrays.manifest.physical_limit
    if arrays.bound_sigma_m is None or whole is None or len(rows) == 0:
        return None
    return limit_of(arrays.bound_sigma_m[rows], whole.assumptions)


@dataclass(frozen=True)
class LimitCheck:
    """Errors beside the bound of the same examples."""

    ratio: float
    """p68 of the errors over p68 at the bound."""
    error_bar: float
    """Standard error of the ratio for an estimator that sits on the bound."""
    is_leaking: bool
    """Better than physics allows by more than four error bars: the estimator has seen what it must not see."""


def check_against_limit(error_m: FloatArray, bound_sigma_m: FloatArray) -> LimitCheck:
    """Compare horizontal errors [n] in m with the bounds [n, 2] of the same examples.

    The share of errors within the bound's p68 is binomial around 0.68 for an estimator on the bound; the slope of the
    bound's distribution turns its spread into that of the ratio.

    Raises
    ------
    ValueError
        Where there is no example.
    """
    if len(error_m) == 0:
        raise ValueError("there is no error to compare")
    low, p68, high = mixture_quantiles(np.asarray(bound_sigma_m, np.float64), (0.66, 0.68, 0.70))
    slope = (high - low) / 0.04
    error_bar = slope * math.sqrt(0.68 * 0.32 / len(error_m)) / p68
    ratio = float(np.quantile(error_m, 0.68)) / p68
    return LimitCheck(ratio, error_bar, ratio < 1 - _ALARM_SIGMAS * error_bar)


def describe_assumptions(config: SyntheticDatasetConfig) -> str:
    """Return in one sentence what the limit of a simulated set takes as known and as unknown."""
    if config.waveform is None:
        delay = f"delay errors of {config.delay_noise_sigma_ns:g} ns at 20 dB"
    else:
        delay = f"the best delays that {config.duration_s:g} s of {config.waveform} allow"
    excess = f", excess delays of {config.nlos_sigma_ns:g} ns" if config.nlos_sigma_ns else ""
    weak = "signals too weak to be detected are counted" if config.signal == "captures" else "what silence of a receiver tells is left out"
    return (
        f"Cramér-Rao bound of an unbiased estimator with {delay}, clocks of {config.clock_sigma_ns:g} ns{excess}, strengths with "
        f"{config.shadowing_sigma_db:g} dB of unknown shadowing, unknown time and power of transmission, a known loss law "
        f"and a known region; {weak}."
    )
