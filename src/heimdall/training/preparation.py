"""From a request to a run that is ready for its next step: data, network, optimizer, and the checkpoint if there is one."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Final

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from heimdall.datasets.splits import make_split
from heimdall.datasets.storage import DatasetArrays, open_dataset
from heimdall.domain.catalogue import HOW_TO_KEEP_IQ, Architecture, get_architecture
from heimdall.domain.errors import CheckpointError, TrainingError
from heimdall.domain.training import TrainingRequest
from heimdall.training.architectures.arrival_layer import ArrivalLayer
from heimdall.training.architectures.build import build_network, place_in_frame
from heimdall.training.architectures.iq_encoder import IqLocalizer
from heimdall.training.architectures.iq_front import NUM_PAIR_NUMBERS, IqFront, Samples
from heimdall.training.architectures.iq_residual import IqResidualLocalizer
from heimdall.training.architectures.localizer import Localizer, Scaling
from heimdall.training.architectures.residual import ResidualLocalizer
from heimdall.training.architectures.sampled import SampledLocalizer
from heimdall.training.checkpoints import Identity, identify, restore_checkpoint
from heimdall.training.data import Examples, cut_batches
from heimdall.training.devices import DeviceMonitor, choose_device
from heimdall.training.physics import Physics, prepare_physics
from heimdall.training.scaling import fit_scaling
from heimdall.training.schedules import LearningRate
from heimdall.training.state import RunState, make_optimizer

MAX_PAIRS_BYTES: Final = 1 << 29
"""Of what pairs of samples have in common, kept in memory: 78 000 examples of seven receivers. Of more it is found at each step."""

_PAIRS_BATCH: Final = 64


@dataclass(frozen=True)
class Run:
    """All that one attempt works with; only ``state`` changes."""

    request: TrainingRequest
    arrays: DatasetArrays
    scaling: Scaling
    examples: Examples
    train_rows: npt.NDArray[np.int64]
    """Everything that is not held out."""
    fit_rows: npt.NDArray[np.int64]
    """Of these, what the network trains on; all but the calibration rows."""
    calibration_sets: tuple[npt.NDArray[np.int64], ...]
    """Training rows by what is held out together after training; see ``physics``."""
    calibration_examples: Examples
    val_rows: npt.NDArray[np.int64]
    batch_borders: list[int]
    radius_m: float
    device: torch.device
    monitor: DeviceMonitor
    identity: Identity
    state: RunState
    resume_is_exact: bool | None

    @property
    def with_iq(self) -> bool:
        """Whether the network works on samples."""
        return isinstance(self.state.model, SampledLocalizer)

    @property
    def num_batches(self) -> int:
        """Optimizer steps in one epoch."""
        return len(self.batch_borders) - 1


def prepare_run(request: TrainingRequest, *, check_in: Callable[[], None] = lambda: None) -> Run:
    """Open the data, fit the scaling, build the network and restore the checkpoint.

    Seeds torch's global generator, which gives weights and dropout.

    Parameters
    ----------
    request
        What to train.
    check_in
        Called between stages, as a sign of life.

    Raises
    ------
    TrainingError
        Where the device cannot be had, or the stored data are not those of the request.
    InvalidInputError
        Where the data set is damaged or cannot be split as asked.
    CheckpointError
        Where the checkpoint does not fit.
    """
    config = request.config
    check_in()
    device = choose_device(config)
    arrays = open_dataset(request.dataset_dir)
    if request.dataset.content_hash is not None and arrays.content_hash != request.dataset.content_hash:
        raise TrainingError("The stored data are not those of the data set that this job names. Import the data set again.")
    train_rows, val_rows = make_split(arrays, config.validation_split, config.validation_fold)
    check_in()
    scaling = fit_scaling(arrays, train_rows)
    architecture = get_architecture(config.model_architecture)
    if architecture.needs_iq and arrays.iq is None:
        raise TrainingError(f"'{architecture.id}' works on samples, and this data set keeps none. {HOW_TO_KEEP_IQ}")
    physics = prepare_physics(arrays, train_rows, val_rows, kind=architecture.physics, check_in=check_in) if architecture.physics else None
    fit_rows = physics.fit_rows if physics else train_rows
    borders = cut_batches(len(fit_rows), config.batch_size)
    monitor = DeviceMonitor(device)
    identity = identify(request.job_id, config, dataset_hash=arrays.content_hash, device=device, processor=monitor.name)
    state = _make_state(request, arrays, scaling, physics, device, steps_per_epoch=len(borders) - 1)
    check_in()
    resume_is_exact = _restore(request, state, identity)
    pairs_NRRP = find_pairs(state.model, arrays, check_in=check_in)
    with_estimate = partial(Examples, arrays, scaling, device, with_iq=architecture.needs_iq, pairs_NRRP=pairs_NRRP)
    examples = with_estimate(physics.estimate_NP if physics else None)
    return Run(
        request=request,
        arrays=arrays,
        scaling=scaling,
        examples=examples,
        train_rows=train_rows,
        fit_rows=fit_rows,
        calibration_sets=physics.calibration_sets if physics else (),
        calibration_examples=with_estimate(physics.calibration_NP) if physics else examples,
        val_rows=val_rows,
        batch_borders=borders,
        radius_m=config.accuracy_radius_m or request.dataset.accuracy_radius_m or arrays.manifest.accuracy_radius_m,
        device=device,
        monitor=monitor,
        identity=identity,
        state=state,
        resume_is_exact=resume_is_exact,
    )


def describe_samples(arrays: DatasetArrays) -> Samples:
    """Return what the samples of a data set are. ValueError where it has none."""
    if arrays.iq is None or arrays.manifest.iq is None:
        raise ValueError("the data set has no samples")
    columns = {name: arrays.feature_index(name) if arrays.has_feature(name) else None for name in ("heard", "frequency_offset_hz")}
    # Where receivers move, the box of all places holds every baseline.
    place_m = np.asarray(arrays.receiver_enu, np.float64)[np.asarray(arrays.mask)]
    return Samples(
        sample_rate_hz=arrays.manifest.iq.sample_rate_hz,
        bandwidth_hz=arrays.manifest.iq.bandwidth_hz,
        num_samples=arrays.iq.shape[2],
        longest_m=float(np.linalg.norm(np.ptp(place_m, axis=0))),
        heard_column=columns["heard"],
        frequency_column=columns["frequency_offset_hz"],
    )


def find_pairs(model: Localizer, arrays: DatasetArrays, *, check_in: Callable[[], None] = lambda: None) -> Tensor | None:
    """Return what pairs of samples have in common [N, R, R, P] in every row; None where the model sees none, or they are too many.

    No weight changes it, so it is found once, for rows in their own order: an attempt that goes on has the same bits.
    """
    if not isinstance(model, SampledLocalizer) or arrays.iq is None:
        return None
    num_examples, num_tokens = arrays.mask.shape
    if 4 * num_examples * num_tokens**2 * NUM_PAIR_NUMBERS > MAX_PAIRS_BYTES:
        return None
    pairs_NRRP = torch.empty(num_examples, num_tokens, num_tokens, NUM_PAIR_NUMBERS)
    device = model.target_scale.device
    for start in range(0, num_examples, _PAIRS_BATCH):
        check_in()
        rows = slice(start, start + _PAIRS_BATCH)
        tables = (np.array(table[rows]) for table in (arrays.iq, arrays.features, arrays.mask))
        pairs_NRRP[rows] = model.front(*(torch.from_numpy(table).to(device) for table in tables)).pairs_BRRP.cpu()
    return pairs_NRRP


def _restore(request: TrainingRequest, state: RunState, identity: Identity) -> bool | None:
    if request.checkpoint is None and request.checkpoint_path is None:
        return None
    if request.checkpoint is None or request.checkpoint_path is None:
        raise CheckpointError("The job names a checkpoint, but its file is not there. Start a new job.")
    return restore_checkpoint(request.checkpoint_path, request.checkpoint.sha256, state, identity)


def _make_state(
    request: TrainingRequest,
    arrays: DatasetArrays,
    scaling: Scaling,
    physics: Physics | None,
    device: torch.device,
    *,
    steps_per_epoch: int,
) -> RunState:
    config = request.config
    torch.manual_seed(config.seed)
    architecture = get_architecture(config.model_architecture)
    network = build_network(architecture, num_features=len(arrays.feature_names), num_receivers=len(arrays.receivers))
    model = _place(architecture, network, arrays, scaling, physics).to(device)
    return RunState(
        model=model,
        optimizer=make_optimizer(model, config),
        learning_rate=LearningRate(config, steps_per_epoch),
        record=torch.zeros(steps_per_epoch, 3, device=device),
        scaler=torch.amp.GradScaler(device.type) if config.precision == "fp16" else None,
    )


def _place(architecture: Architecture, network: nn.Module, arrays: DatasetArrays, scaling: Scaling, physics: Physics | None) -> Localizer:
    """Return the network in the frame of the data set, with the physics and the samples that it works on."""
    column = arrays.feature_index("rssi_dbm") if arrays.has_feature("rssi_dbm") else None
    front = IqFront(describe_samples(arrays), scaling.target_scale_m) if architecture.needs_iq else None
    if physics is None:
        return place_in_frame(architecture, network, scaling) if front is None else IqLocalizer(network, scaling, front=front)
    if front is None:
        return ResidualLocalizer(network, scaling, physics.layer, strength_column=column)
    if not isinstance(physics.layer, ArrivalLayer):
        raise TypeError(f"'{architecture.id}' needs times of arrival to compare its samples with")
    return IqResidualLocalizer(network, scaling, physics.layer, front=front, strength_column=column)
