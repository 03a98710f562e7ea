"""One optimizer step, and what is noted of it without waiting for the device.

Legend: B examples of a batch.
"""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext

import torch
from torch import Tensor, nn

from heimdall.training.architectures.localizer import Gaussian
from heimdall.training.data import Batch
from heimdall.training.devices import AUTOCAST_DTYPES
from heimdall.training.losses import prediction_nll
from heimdall.training.metrics import is_located
from heimdall.training.preparation import Run


class Stepper:
    """Does optimizer steps of a run. Losses stay on the device; :attr:`RunState.record` collects them."""

    def __init__(self, run: Run) -> None:
        config = run.request.config
        self._state = run.state
        self._examples = run.examples
        self._parameters = list(run.state.model.parameters())
        self._max_grad_norm = config.max_grad_norm
        self._radius_m = run.radius_m
        self._scale_m = run.scaling.target_scale_m
        self._scale_km = run.state.model.scale_km
        self._device_type = run.device.type
        self._autocast_dtype = AUTOCAST_DTYPES[config.precision]

    def __call__(self, rows_B: Tensor) -> None:
        """Train on these rows and move the state one step on."""
        state = self._state
        self._set_learning_rate(state.learning_rate.at(state.step))
        batch = self._examples.take(rows_B)
        with self._autocast():
            predicted: Gaussian = state.model(*batch.inputs)
        loss = prediction_nll(predicted, batch.target_B2, scale_km=self._scale_km).mean()
        state.optimizer.zero_grad(set_to_none=True)
        grad_norm = self._descend(loss)
        self._note(loss, predicted, batch, grad_norm)
        state.step += 1
        state.batch += 1

    def _descend(self, loss: Tensor) -> Tensor:
        """Go one step down and return the gradient's norm before clipping."""
        state = self._state
        if state.scaler is None:
            loss.backward()  # type: ignore[no-untyped-call]
            grad_norm = self._clip()
            state.optimizer.step()
            return grad_norm
        state.scaler.scale(loss).backward()  # type: ignore[no-untyped-call]
        state.scaler.unscale_(state.optimizer)
        grad_norm = self._clip()
        state.scaler.step(state.optimizer)
        state.scaler.update()
        return grad_norm

    def _clip(self) -> Tensor:
        if self._max_grad_norm > 0:
            return nn.utils.clip_grad_norm_(self._parameters, self._max_grad_norm)
        return nn.utils.get_total_norm([parameter.grad for parameter in self._parameters if parameter.grad is not None])

    def _note(self, loss: Tensor, predicted: Gaussian, batch: Batch, grad_norm: Tensor) -> None:
        located_B = is_located(predicted, batch.target_B2, radius_m=self._radius_m, scale_m=self._scale_m)
        self._state.record[self._state.batch] = torch.stack([loss.detach(), located_B.sum().float(), grad_norm])

    def _set_learning_rate(self, rate: float) -> None:
        for group in self._state.optimizer.param_groups:
            group["lr"] = rate

    def _autocast(self) -> AbstractContextManager[object]:
        if self._autocast_dtype is None:
            return nullcontext()
        return torch.autocast(self._device_type, dtype=self._autocast_dtype)
