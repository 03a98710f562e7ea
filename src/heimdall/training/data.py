"""Batches from the memory map: whole rows by one gather, no Python per example.

Legend: N examples of the data set, B examples of a batch, R receiver tokens, F features a token.
"""

from __future__ import annotations

import warnings
from typing import Final, NamedTuple

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from heimdall.datasets.storage import DatasetArrays
from heimdall.training.architectures.localizer import Scaling

_MAX_SHARE_ON_DEVICE: Final = 0.5
"""Of the device's free memory; a larger data set is streamed from the map."""


class Batch(NamedTuple):
    """Some examples on the device."""

    features_BRF: Tensor
    """Physical units."""
    mask_BR: Tensor
    receiver_BR: Tensor
    """int64."""
    target_B2: Tensor
    """Scaled position."""
    estimate_BP: Tensor | None = None
    """What physics says, for networks that begin there."""
    iq_BRT2: Tensor | None = None
    """int8 samples, for networks that work on them."""
    pairs_BRRP: Tensor | None = None
    """What pairs of samples have in common, where it was found before training."""

    @property
    def inputs(self) -> tuple[Tensor, ...]:
        """What the network is called with."""
        known = [tensor for tensor in (self.iq_BRT2, self.estimate_BP, self.pairs_BRRP) if tensor is not None]
        return (self.features_BRF, self.mask_BR, self.receiver_BR, *known)


class Examples:
    """The data set as tensors over the memory map, or on the device where they fit.

    Parameters
    ----------
    arrays
        The open data set; it must stay open.
    scaling
        Turns target metres into scaled units.
    device
        Where batches are wanted.
    estimate_NP
        The physical estimate of every row, for networks that begin there.
    with_iq
        Whether batches bring the data set's samples.
    pairs_NRRP
        What pairs of samples have in common in every row, where it is known.
    """

    def __init__(
        self,
        arrays: DatasetArrays,
        scaling: Scaling,
        device: torch.device,
        estimate_NP: Tensor | None = None,
        *,
        with_iq: bool = False,
        pairs_NRRP: Tensor | None = None,
    ) -> None:
        self._device = device
        self._has_estimate = estimate_NP is not None
        scaled_N2 = (np.asarray(arrays.target) - np.asarray(scaling.target_mean_m)) / scaling.target_scale_m
        tensors = (
            _wrap(arrays.features),
            _wrap(arrays.mask),
            _wrap(arrays.receiver_index),
            torch.from_numpy(scaled_N2.astype(np.float32)),
            *(() if estimate_NP is None else (estimate_NP,)),
            *(() if arrays.iq is None or not with_iq else (_wrap(arrays.iq),)),
            *(() if pairs_NRRP is None else (pairs_NRRP,)),
        )
        self._is_streamed = device.type != "cpu" and not _fits(tensors, device)
        self._tensors: tuple[Tensor, ...] = (
            tensors if self._is_streamed or device.type == "cpu" else tuple(tensor.to(device) for tensor in tensors)
        )

    @property
    def rows_device(self) -> torch.device:
        """Where row numbers for :meth:`take` must lie."""
        return self._tensors[0].device

    def take(self, rows_B: Tensor) -> Batch:
        """Gather rows (int64, on ``rows_device``)."""
        taken = [tensor.index_select(0, rows_B) for tensor in self._tensors]
        if self._is_streamed:
            taken = [tensor.pin_memory().to(self._device, non_blocking=True) for tensor in taken]
        features, mask, receiver, target, *known = taken
        estimate = known.pop(0) if self._has_estimate else None
        return Batch(features, mask, receiver.long(), target, estimate, *known)


def shuffle_rows(rows: npt.NDArray[np.int64], *, seed: int, epoch: int) -> Tensor:
    """Return the order of an epoch, a pure function of seed and epoch: a position in it is one number, with no sampler to store."""
    return torch.from_numpy(np.random.default_rng((seed, epoch)).permutation(rows))


def cut_batches(num_rows: int, batch_size: int) -> list[int]:
    """Return the borders of as few batches of at most ``batch_size`` as needed, all of nearly equal size.

    A last batch of three examples would move the weights as far as one of 128, on far noisier evidence.
    """
    num_batches = -(-num_rows // batch_size)
    return [index * num_rows // num_batches for index in range(num_batches + 1)]


def _wrap(array: npt.NDArray[np.generic]) -> Tensor:
    with warnings.catch_warnings():
        # The map is read-only and so is every use of this tensor.
        warnings.filterwarnings("ignore", message="The given NumPy array is not writable")
        return torch.from_numpy(array)


def _fits(tensors: tuple[Tensor, ...], device: torch.device) -> bool:
    free_bytes, _ = torch.cuda.mem_get_info(device)
    return sum(tensor.nbytes for tensor in tensors) <= _MAX_SHARE_ON_DEVICE * free_bytes
