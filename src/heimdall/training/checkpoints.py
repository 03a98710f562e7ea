"""Checkpoints: one safetensors file that holds everything a run needs to go on bit for bit. No pickle.

Tensors: ``model.*``, ``optimizer.<parameter>.<name>``, ``best.*``, ``rng.cpu``, ``rng.cuda``, ``partial.record``. All else is
JSON in the file's metadata under ``heimdall``.

What must match for a checkpoint to be used is its *identity*: hash of the training configuration without those fields that may
change from attempt to attempt or in a continued job (:data:`FREE_FIELDS`), and the data set's content hash. Where the
environment (versions, threads, processor) differs, the run goes on and says that it is not bit-exact.
"""

from __future__ import annotations

import errno
import hashlib
import json
import os
import platform
import time
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import safetensors.torch
import torch
from pydantic import BaseModel, ConfigDict, ValidationError
from safetensors import SafetensorError, TensorSpec, serialize
from torch import Tensor

from heimdall import __version__
from heimdall.domain.catalogue import get_architecture
from heimdall.domain.errors import CheckpointError, StorageFullError, UnavailableError
from heimdall.domain.jobs import TrainingJobConfig
from heimdall.domain.training import CheckpointFile
from heimdall.training.state import RunState
from heimdall.training.stopping import BestEpoch

FORMAT_VERSION: Final = 1
FREE_FIELDS: Final = frozenset({"job_name", "dataset_id", "epochs", "early_stopping_patience", "checkpoint_every_n_epochs", "device"})
"""Fields of the configuration that need not match. The data set is compared by content, the device by the environment."""

_METADATA_KEY: Final = "heimdall"
_HEADER_LENGTH_BYTES: Final = 8


@dataclass(frozen=True)
class Identity:
    """What a run is, apart from how far it has come."""

    job_id: str
    config_hash: str
    dataset_hash: str
    total_epochs: int
    environment: dict[str, str | int]


class _Metadata(BaseModel):
    """The JSON inside a checkpoint; anything else is refused."""

    model_config = ConfigDict(extra="forbid")

    format: int
    job_id: str
    config_hash: str
    dataset_hash: str
    total_epochs: int
    environment: dict[str, str | int]
    epoch: int
    step: int
    batch: int
    train_seconds: float
    epoch_seconds: float
    total_seconds: float
    best: dict[str, Any]
    learning_rate: dict[str, Any]
    scaler: dict[str, Any] | None


def identify(job_id: str, config: TrainingJobConfig, *, dataset_hash: str, device: torch.device, processor: str) -> Identity:
    """Return the identity of a run on this machine."""
    kept = config.model_dump(mode="json", exclude=set(FREE_FIELDS))
    kept["hyperparameters"] = get_architecture(config.model_architecture).hyperparameters
    text = json.dumps(kept, sort_keys=True, separators=(",", ":"))
    return Identity(
        job_id=job_id,
        config_hash=hashlib.sha256(text.encode()).hexdigest(),
        dataset_hash=dataset_hash,
        total_epochs=config.epochs,
        environment={
            "heimdall": __version__,
            "torch": torch.__version__,
            "threads": torch.get_num_threads(),
            "device": device.type,
            "processor": processor,
            "instructions": torch.backends.cpu.get_cpu_capability(),
            "machine": platform.machine(),
        },
    )


@dataclass(frozen=True)
class FrozenCheckpoint:
    """A copy of a run between two optimizer steps, to be written while the run goes on."""

    tensors: dict[str, Tensor]
    """Each contiguous and of the processor, however the run's own lie."""
    description: str
    """JSON, what is not a tensor."""
    epoch: int
    step: int
    batch: int
    give_back: Callable[[], None] = lambda: None
    """Called when the file is whole: the copy's memory may hold the next one."""

    def write(self, folder: Path) -> CheckpointFile:
        """Write a complete, fsynced file; it appears under its name only when it is whole. Once: the copy is gone then.

        Returns
        -------
        CheckpointFile
            With the sha256 of its bytes.

        Raises
        ------
        StorageFullError, UnavailableError
            The disk is full, or the file could not be written for another reason; nothing is left behind.
        """
        started_at = time.perf_counter()
        content = _serialize(self.tensors, self.description)
        path = folder / f"checkpoint-s{self.step}-b{self.batch}.safetensors"
        partial = path.with_suffix(".partial")
        try:
            with partial.open("wb") as file:
                file.write(content)
                file.flush()
                os.fsync(file.fileno())
            partial.rename(path)
        except OSError as error:
            partial.unlink(missing_ok=True)
            if error.errno in {errno.ENOSPC, errno.EDQUOT}:
                raise StorageFullError("The disk is full, so the checkpoint could not be written. Free some space.") from error
            raise UnavailableError(
                f"The checkpoint could not be written ({error.strerror}). Check the disk that holds the artifacts."
            ) from error
        self.give_back()
        digest = hashlib.sha256(content).hexdigest()
        return CheckpointFile(path, digest, self.epoch, self.step, self.batch, time.perf_counter() - started_at)


@dataclass
class CheckpointMemory:
    """Where the copies of one run lie: memory of a copy that is written holds the next, so that no copy waits for fresh pages.

    As many as were ever unwritten at once, which is two where a writer takes one checkpoint at a time.
    """

    _free: deque[dict[str, Tensor]] = field(default_factory=deque)

    def copy(self, tensors: Mapping[str, Tensor]) -> tuple[dict[str, Tensor], Callable[[], None]]:
        """Return copies on the processor's side, and what to call when they are of no more use."""
        try:
            copies = self._free.pop()
        except IndexError:
            copies = {}
        if copies.keys() != tensors.keys():  # an optimizer has no state before its first step
            copies = {name: torch.empty(tensor.shape, dtype=tensor.dtype) for name, tensor in tensors.items()}
        with torch.no_grad():
            torch._foreach_copy_(list(copies.values()), [tensors[name] for name in copies])
        return copies, lambda: self._free.append(copies)


def freeze_checkpoint(state: RunState, identity: Identity, memory: CheckpointMemory | None = None) -> FrozenCheckpoint:
    """Copy a run between two optimizer steps: some hundred microseconds for a small network, where writing it takes milliseconds.

    Parameters
    ----------
    memory
        Of this run, for copies that follow each other; without it each copy has its own.
    """
    copies, give_back = (memory or CheckpointMemory()).copy(_list_tensors(state))
    return FrozenCheckpoint(
        copies | _list_extras(state), _describe(state, identity), state.epoch, state.step, state.batch, give_back=give_back
    )


def restore_checkpoint(path: Path, sha256: str, state: RunState, identity: Identity) -> bool:
    """Bring a freshly built run to where a checkpoint left it.

    Parameters
    ----------
    path
        The checkpoint.
    sha256
        What its bytes must hash to.
    state
        A run built from the same configuration and data set; changed in place.
    identity
        Of the run.

    Returns
    -------
    bool
        Whether the run goes on bit for bit as if it had never stopped. False where versions, threads or processor differ, or
        where more epochs change the learning rate's curve.

    Raises
    ------
    CheckpointError
        Where the file is damaged or belongs to another configuration or data set. The state is then unusable.
    """
    content = _read(path, sha256)
    metadata, tensors = _parse(content)
    _check_identity(metadata, identity)
    _restore_tensors(tensors, state, num_done=metadata.batch)
    state.epoch, state.step, state.batch = metadata.epoch, metadata.step, metadata.batch
    state.train_seconds, state.epoch_seconds, state.total_seconds = metadata.train_seconds, metadata.epoch_seconds, metadata.total_seconds
    state.best = BestEpoch.restore(metadata.best)
    if metadata.job_id != identity.job_id:
        # A continued job asks for more epochs: the patience that ended the first one starts afresh.
        state.best.epochs_since = 0
    state.learning_rate.restore(metadata.learning_rate)
    if state.scaler is not None:
        if not metadata.scaler:
            raise CheckpointError("The checkpoint holds no state of the loss scaler. Start a new job.")
        state.scaler.load_state_dict(metadata.scaler)
    is_same_length = metadata.total_epochs == identity.total_epochs or not state.learning_rate.depends_on_length
    return is_same_length and metadata.environment == identity.environment


def _describe(state: RunState, identity: Identity) -> str:
    return _Metadata(
        format=FORMAT_VERSION,
        job_id=identity.job_id,
        config_hash=identity.config_hash,
        dataset_hash=identity.dataset_hash,
        total_epochs=identity.total_epochs,
        environment=identity.environment,
        epoch=state.epoch,
        step=state.step,
        batch=state.batch,
        train_seconds=state.train_seconds,
        epoch_seconds=state.epoch_seconds,
        total_seconds=state.total_seconds,
        best=state.best.state(),
        learning_rate=state.learning_rate.state(),
        scaler=state.scaler.state_dict() if state.scaler is not None else None,
    ).model_dump_json()


def _list_tensors(state: RunState) -> dict[str, Tensor]:
    """Return what the next step changes; names and shapes stay from the first step on."""
    tensors = {f"model.{name}": tensor for name, tensor in state.model.state_dict().items()}
    for index, entries in state.optimizer.state_dict()["state"].items():
        tensors |= {f"optimizer.{index}.{name}": value for name, value in entries.items() if isinstance(value, Tensor)}
    return tensors


def _list_extras(state: RunState) -> dict[str, Tensor]:
    """Return the small rest, and what no step changes: a better epoch brings new tensors."""
    extras = {f"best.{name}": tensor.cpu().contiguous() for name, tensor in state.best_weights.items()}
    extras["partial.record"] = state.record[: state.batch].to("cpu", copy=True, memory_format=torch.contiguous_format)
    extras["rng.cpu"] = torch.get_rng_state()
    if state.record.device.type == "cuda":
        extras["rng.cuda"] = torch.cuda.get_rng_state(state.record.device)
    return extras


def _serialize(tensors: Mapping[str, Tensor], description: str) -> bytes:
    """Return the file's bytes: the tensors as they lie in memory, so each must be contiguous and of the processor.

    For ``safetensors.torch.save`` a tensor is 70 microseconds of Python, which the loop waits for.
    """
    specs = {
        name: TensorSpec(
            dtype=str(tensor.dtype).removeprefix("torch."), shape=list(tensor.shape), data_ptr=tensor.data_ptr(), data_len=tensor.nbytes
        )
        for name, tensor in tensors.items()
    }
    return serialize(specs, metadata={_METADATA_KEY: description})


def _read(path: Path, sha256: str) -> bytes:
    try:
        content = path.read_bytes()
    except OSError as error:
        raise CheckpointError(f"The checkpoint cannot be read ({error.strerror}). Start a new job.") from error
    if hashlib.sha256(content).hexdigest() != sha256:
        raise CheckpointError("The checkpoint's bytes are not those that were written: its SHA-256 differs. Start a new job.")
    return content


def _parse(content: bytes) -> tuple[_Metadata, dict[str, Tensor]]:
    try:
        tensors = safetensors.torch.load(content)
        length = int.from_bytes(content[:_HEADER_LENGTH_BYTES], "little")
        header = json.loads(content[_HEADER_LENGTH_BYTES : _HEADER_LENGTH_BYTES + length])
        metadata = _Metadata.model_validate_json(header["__metadata__"][_METADATA_KEY])
    except (SafetensorError, ValidationError, ValueError, KeyError, TypeError) as error:
        raise CheckpointError("The checkpoint cannot be read: it is damaged or was not written by Heimdall. Start a new job.") from error
    if metadata.format != FORMAT_VERSION:
        raise CheckpointError(f"The checkpoint has format {metadata.format}; this version reads {FORMAT_VERSION}. Start a new job.")
    return metadata, tensors


def _check_identity(metadata: _Metadata, identity: Identity) -> None:
    if metadata.dataset_hash != identity.dataset_hash:
        raise CheckpointError("The checkpoint was made on other data than the data set holds now. Start a new job on this data set.")
    if metadata.config_hash != identity.config_hash:
        raise CheckpointError("The checkpoint was made with another configuration or network. Start a new job with this one.")


def _restore_tensors(tensors: dict[str, Tensor], state: RunState, *, num_done: int) -> None:
    _copy_weights(_select(tensors, "model."), state.model)
    best = _select(tensors, "best.")
    if best:
        state.keep_best_weights()
        _check_names(best, state.best_weights)
        for name, tensor in state.best_weights.items():
            tensor.copy_(best[name])
    _restore_optimizer(_select(tensors, "optimizer."), state.optimizer)
    record = tensors.get("partial.record")
    if record is None or record.shape != (num_done, state.record.shape[1]) or num_done > len(state.record):
        raise CheckpointError("The checkpoint's sums inside the epoch do not fit its position. Start a new job.")
    state.record[:num_done] = record
    _restore_generators(tensors, state.record.device)


def _restore_optimizer(flat: dict[str, Tensor], optimizer: torch.optim.Optimizer) -> None:
    entries: dict[int, dict[str, Tensor]] = {}
    parameters = optimizer.param_groups[0]["params"]
    for key, tensor in flat.items():
        index, _, name = key.partition(".")
        if not index.isdigit() or int(index) >= len(parameters) or tensor.shape not in {(), parameters[int(index)].shape}:
            raise CheckpointError("The checkpoint's optimizer state does not fit this network. Start a new job.")
        # A fresh copy: tensors inside the file's bytes are not aligned as kernels expect.
        entries.setdefault(int(index), {})[name] = tensor.clone()
    optimizer.load_state_dict({"state": entries, "param_groups": optimizer.state_dict()["param_groups"]})


def _restore_generators(tensors: dict[str, Tensor], device: torch.device) -> None:
    if "rng.cpu" not in tensors:
        raise CheckpointError("The checkpoint holds no random generator. Start a new job.")
    torch.set_rng_state(tensors["rng.cpu"].clone())
    if device.type == "cuda" and "rng.cuda" in tensors:
        torch.cuda.set_rng_state(tensors["rng.cuda"].clone(), device)


def _copy_weights(weights: dict[str, Tensor], model: torch.nn.Module) -> None:
    own = model.state_dict()
    _check_names(weights, own)
    with torch.no_grad():
        for name, tensor in own.items():
            tensor.copy_(weights[name])


def _check_names(given: Mapping[str, Tensor], own: Mapping[str, Tensor]) -> None:
    if given.keys() != own.keys() or any(given[name].shape != own[name].shape for name in own):
        raise CheckpointError("The checkpoint's weights do not fit this network. Start a new job.")


def _select(tensors: dict[str, Tensor], prefix: str) -> dict[str, Tensor]:
    return {name.removeprefix(prefix): tensor for name, tensor in tensors.items() if name.startswith(prefix)}
