"""Random numbers that depend on a seed and a counter only, so that neither chunks nor workers change a byte."""

from __future__ import annotations

import numpy as np


def make_generator(seed: int, counter: int, stream: int = 0) -> np.random.Generator:
    """Return the generator of one example (or chunk).

    Parameters
    ----------
    seed
        Of the data set, 0 or more.
    counter
        Number of the example, 0 or more.
    stream
        Keeps apart what is drawn for different purposes.

    References
    ----------
    Salmon et al. 2011, "Parallel random numbers: as easy as 1, 2, 3", SC11 (Philox 4x64).
    """
    return np.random.Generator(np.random.Philox(key=np.array([seed, stream], np.uint64), counter=np.array([0, 0, 0, counter], np.uint64)))
