"""One optimizer step, and what is noted of it without waiting for the device.

Legend: B examples of a batch, N examples of the batches that wait to be noted.
"""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext

import torch
from torch import Tensor, nn

from heimdall.training.architectures.localizer import Gaussian
from heimdall.training.devices import AUTOCAST_DTYPES
from heimdall.training.losses import prediction_nll
from heimdall.training.metrics import is_located
from heimdall.training.preparation import Run


class Stepper:
    """Does optimizer steps of a run.

    What a step gave stays on the device and waits until :meth:`settle` writes it to :attr:`RunState.record`, many steps at a time:
    a dozen small operations a step cost the loop one part in a hundred.
    """

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
        self._waiting: list[tuple[Tensor, Tensor, Tensor, Tensor]] = []

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
        self._waiting.append((loss.detach(), grad_norm, predicted.position_B2.detach(), batch.target_B2))
        state.step += 1
        state.batch += 1

    def settle(self) -> None:
        """Write the steps since the last call to the record; whoever reads the record calls this first."""
        if not self._waiting:
            return
        losses, grad_norms, positions, targets = zip(*self._waiting, strict=True)
        self._waiting.clear()
        is_located_N = is_located(torch.cat(positions), torch.cat(targets), radius_m=self._radius_m, scale_m=self._scale_m)
        ends = torch.tensor([len(target) for target in targets], device=is_located_N.device).cumsum(0)
        num_located = is_located_N.cumsum(0)[ends - 1].diff(prepend=ends.new_zeros(1))
        columns = (torch.stack(losses), num_located.float(), torch.stack(grad_norms))
        end = self._state.batch
        self._state.record[end - len(losses) : end] = torch.stack(columns, dim=1)

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

    def _set_learning_rate(self, rate: float) -> None:
        for group in self._state.optimizer.param_groups:
            group["lr"] = rate

    def _autocast(self) -> AbstractContextManager[object]:
        if self._autocast_dtype is None:
            return nullcontext()
        return torch.autocast(self._device_type, dtype=self._autocast_dtype)
