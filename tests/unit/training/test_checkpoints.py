"""A checkpoint fits, or says loudly why not."""

from __future__ import annotations

import dataclasses
import errno
import hashlib
import json
from pathlib import Path

import pytest
import safetensors.torch
import torch

from heimdall.domain.errors import CheckpointError, StorageFullError
from heimdall.domain.jobs import PendingAction
from heimdall.domain.training import CheckpointFile
from heimdall.training import checkpoints
from heimdall.training.loop import train
from heimdall.training.preparation import prepare_run
from heimdall.training.steps import Stepper
from tests.unit.training.lab import Lab, MemorySink, write_dataset


def pause_after(num_ticks: int):
    return lambda sink: PendingAction.PAUSE if len(sink.ticks) >= num_ticks else None


@pytest.fixture
def paused(lab) -> CheckpointFile:
    sink = MemorySink(pause_after(8))
    train(lab.request(model_architecture="mlp-baseline"), sink)
    return sink.checkpoints[-1]


def resume(lab: Lab, checkpoint: CheckpointFile, **config) -> MemorySink:
    sink = MemorySink(lambda sink: PendingAction.CANCEL)
    train(lab.request(after=checkpoint, attempt=2, **{"model_architecture": "mlp-baseline", **config}), sink)
    return sink


def rewrite(checkpoint: CheckpointFile, content: bytes) -> CheckpointFile:
    """Store other bytes with their own, right hash."""
    path = checkpoint.path.with_name("rewritten.safetensors")
    path.write_bytes(content)
    return dataclasses.replace(checkpoint, path=path, sha256=hashlib.sha256(content).hexdigest())


def with_metadata(checkpoint: CheckpointFile, **changes) -> CheckpointFile:
    content = checkpoint.path.read_bytes()
    length = int.from_bytes(content[:8], "little")
    header = json.loads(content[8 : 8 + length])
    header["__metadata__"]["heimdall"] = json.dumps(json.loads(header["__metadata__"]["heimdall"]) | changes)
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    return rewrite(checkpoint, len(text).to_bytes(8, "little") + text + content[8 + length :])


def test_it_is_restored_and_says_that_it_is_exact(lab, paused):
    assert resume(lab, paused).devices[0][1] is True


def test_a_first_attempt_says_nothing_of_exactness(lab):
    sink = MemorySink(lambda sink: PendingAction.CANCEL)
    train(lab.request(), sink)
    assert sink.devices[0][1] is None


def test_a_flipped_bit_is_found(lab, paused):
    content = bytearray(paused.path.read_bytes())
    content[len(content) // 2] ^= 1
    paused.path.write_bytes(content)
    with pytest.raises(CheckpointError, match="SHA-256 differs"):
        resume(lab, paused)


def test_a_missing_file_is_named(lab, paused):
    paused.path.unlink()
    with pytest.raises(CheckpointError, match="cannot be read"):
        resume(lab, paused)


@pytest.mark.parametrize("content", [b"", b"no checkpoint", b"\xff" * 64], ids=["empty", "text", "huge header"])
def test_a_file_that_is_no_checkpoint_is_refused(lab, paused, content):
    with pytest.raises(CheckpointError, match="damaged or was not written by Heimdall"):
        resume(lab, rewrite(paused, content))


def test_a_truncated_file_is_refused(lab, paused):
    with pytest.raises(CheckpointError, match="damaged"):
        resume(lab, rewrite(paused, paused.path.read_bytes()[:-100]))


@pytest.mark.parametrize(
    "config",
    [
        {"learning_rate": 0.1},
        {"batch_size": 16},
        {"seed": 5},
        {"validation_fold": 1},
        {"optimizer": "sgd"},
        {"lr_scheduler": "constant"},
        {"precision": "bf16"},
        {"model_architecture": "deepsets-s"},
    ],
    ids=lambda config: next(iter(config)),
)
def test_another_configuration_is_refused(lab, paused, config):
    with pytest.raises(CheckpointError, match="another configuration or network"):
        resume(lab, paused, **config)


@pytest.mark.parametrize("config", [{"job_name": "other"}, {"early_stopping_patience": 5}, {"checkpoint_every_n_epochs": 3}])
def test_what_does_not_change_the_steps_may_differ(lab, paused, config):
    assert resume(lab, paused, **config).devices[0][1] is True


def test_other_data_are_refused(lab, paused, tmp_path):
    other = Lab(tmp_path / "other", write_dataset(tmp_path / "other-data", num_examples=200, seed=9))
    other.folder.mkdir()
    with pytest.raises(CheckpointError, match="other data"):
        resume(other, paused)


@pytest.mark.parametrize(("key", "value"), [("torch", "1.0"), ("threads", 64), ("processor", "another")])
def test_another_environment_resumes_and_says_that_it_is_not_exact(lab, paused, key, value):
    header = paused.path.read_bytes()
    length = int.from_bytes(header[:8], "little")
    metadata = json.loads(json.loads(header[8 : 8 + length])["__metadata__"]["heimdall"])
    sink = resume(lab, with_metadata(paused, environment=metadata["environment"] | {key: value}))
    assert sink.devices[0][1] is False


def test_an_unknown_format_is_refused(lab, paused):
    with pytest.raises(CheckpointError, match="has format 99"):
        resume(lab, with_metadata(paused, format=99))


@pytest.mark.parametrize("changes", [{"surprise": 1}, {"epoch": "many"}, {"batch": 4}, {"learning_rate": {"bogus": 1}}, {"best": {}}])
def test_metadata_that_do_not_fit_are_refused(lab, paused, changes):
    with pytest.raises(CheckpointError):
        resume(lab, with_metadata(paused, **changes))


def test_more_epochs_go_on_where_the_first_job_ended(lab):
    first = MemorySink()
    train(lab.request(model_architecture="mlp-baseline", lr_scheduler="constant"), first)
    second = MemorySink()
    train(
        lab.request(after=first.checkpoints[-1], job_id="next", model_architecture="mlp-baseline", lr_scheduler="constant", epochs=5),
        second,
    )
    straight = MemorySink()
    train(lab.request(model_architecture="mlp-baseline", lr_scheduler="constant", epochs=5), straight)
    assert [report.metric.val_loss for report in first.reports + second.reports] == [report.metric.val_loss for report in straight.reports]
    assert second.devices[0][1] is True


def test_more_epochs_on_a_cosine_are_not_called_exact(lab, paused):
    assert resume(lab, paused, epochs=9).devices[0][1] is False


def test_a_continued_job_gets_its_patience_back(lab):
    config = {"model_architecture": "mlp-baseline", "epochs": 60, "early_stopping_patience": 1, "learning_rate": 0.05}
    first, second = MemorySink(), MemorySink(lambda sink: PendingAction.CANCEL if len(sink.reports) >= 1 else None)
    train(lab.request(**config), first)
    assert len(first.reports) < 60
    train(lab.request(after=first.checkpoints[-1], job_id="next", **config), second)
    assert second.reports[0].metric.epoch == len(first.reports) + 1


def test_a_full_disk_leaves_nothing_half_written(lab, monkeypatch):
    run = prepare_run(lab.request(model_architecture="mlp-baseline"))

    def refuse(descriptor: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(checkpoints.os, "fsync", refuse)
    with pytest.raises(StorageFullError, match="Free some space"):
        checkpoints.freeze_checkpoint(run.state, run.identity).write(run.request.work_dir)
    assert not list(Path(run.request.work_dir).iterdir())


def test_the_file_holds_no_pickle(paused):
    content = paused.path.read_bytes()
    length = int.from_bytes(content[:8], "little")
    names = json.loads(content[8 : 8 + length]).keys() - {"__metadata__"}
    assert {name.partition(".")[0] for name in names} == {"model", "best", "optimizer", "rng", "partial"}
    assert b"torch._utils" not in content


def test_the_file_is_byte_for_byte_what_the_library_of_its_format_writes(lab):
    request = lab.request(model_architecture="mlp-baseline")
    run = prepare_run(request)
    Stepper(run)(torch.from_numpy(run.fit_rows[:32]))
    run.state.keep_best_weights()
    frozen = checkpoints.freeze_checkpoint(run.state, run.identity)
    written = frozen.write(request.work_dir)
    assert written.path.read_bytes() == safetensors.torch.save(frozen.tensors, {"heimdall": frozen.description})


def test_weights_that_lie_in_columns_are_kept_as_they_are_numbered(lab):
    request = lab.request(model_architecture="mlp-baseline")
    run, fresh = prepare_run(request), prepare_run(request)
    for parameter in run.state.model.parameters():
        if parameter.ndim == 2:
            parameter.data = parameter.data.t().contiguous().t()
    run.state.keep_best_weights()
    assert not all(tensor.is_contiguous() for tensor in run.state.best_weights.values())
    written = checkpoints.freeze_checkpoint(run.state, run.identity).write(request.work_dir)
    checkpoints.restore_checkpoint(written.path, written.sha256, fresh.state, fresh.identity)
    for name, tensor in run.state.model.state_dict().items():
        assert torch.equal(fresh.state.model.state_dict()[name], tensor)
        assert torch.equal(fresh.state.best_weights[name], tensor)


def test_the_loss_scaler_is_part_of_the_checkpoint(lab):
    request = lab.request(model_architecture="mlp-baseline")
    first, second = prepare_run(request), prepare_run(request)
    first.state.scaler = torch.amp.GradScaler("cpu", init_scale=512.0)
    second.state.scaler = torch.amp.GradScaler("cpu")
    first.state.scaler.scale(torch.ones(1))
    written = checkpoints.freeze_checkpoint(first.state, first.identity).write(request.work_dir)
    checkpoints.restore_checkpoint(written.path, written.sha256, second.state, second.identity)
    assert second.state.scaler.state_dict() == first.state.scaler.state_dict()


def test_a_checkpoint_without_the_scaler_that_the_run_needs_is_refused(lab, paused):
    run = prepare_run(lab.request(model_architecture="mlp-baseline"))
    run.state.scaler = torch.amp.GradScaler("cpu")
    with pytest.raises(CheckpointError, match="loss scaler"):
        checkpoints.restore_checkpoint(paused.path, paused.sha256, run.state, run.identity)


def test_a_checkpoint_whose_file_is_gone_never_restarts_at_the_first_epoch(lab, paused):
    request = dataclasses.replace(lab.request(after=paused, model_architecture="mlp-baseline"), checkpoint_path=None)
    with pytest.raises(CheckpointError, match="its file is not there"):
        prepare_run(request)


def test_a_checkpoint_written_later_holds_the_moment_it_was_frozen(lab):
    request = lab.request(model_architecture="mlp-baseline")
    run = prepare_run(request)
    step = Stepper(run)
    rows = torch.from_numpy(run.fit_rows[:32])
    step(rows)
    run.state.keep_best_weights()
    at_once = checkpoints.freeze_checkpoint(run.state, run.identity).write(request.work_dir)
    frozen = checkpoints.freeze_checkpoint(run.state, run.identity)
    step(rows)
    run.state.keep_best_weights()
    torch.rand(3)
    later = frozen.write(request.work_dir / "..")
    assert later.sha256 == at_once.sha256
    assert checkpoints.freeze_checkpoint(run.state, run.identity).write(request.work_dir).sha256 != at_once.sha256


def test_copies_of_one_run_reuse_the_memory_of_those_that_are_written_and_only_of_those(lab):
    request = lab.request(model_architecture="mlp-baseline")
    run = prepare_run(request)
    step, memory = Stepper(run), checkpoints.CheckpointMemory()
    rows = torch.from_numpy(run.fit_rows[:32])

    def freeze() -> tuple[checkpoints.FrozenCheckpoint, str]:
        """Take a step and freeze it, and say what an untouched copy of the same moment hashes to."""
        step(rows)
        frozen = checkpoints.freeze_checkpoint(run.state, run.identity, memory)
        return frozen, checkpoints.freeze_checkpoint(run.state, run.identity).write(request.work_dir).sha256

    def places(frozen: checkpoints.FrozenCheckpoint) -> set[int]:
        return {tensor.data_ptr() for name, tensor in frozen.tensors.items() if name.startswith("model.")}

    first, first_sha256 = freeze()
    second, second_sha256 = freeze()
    assert not places(first) & places(second)
    assert first.write(request.work_dir).sha256 == first_sha256
    third, third_sha256 = freeze()
    assert places(third) == places(first)
    assert second.write(request.work_dir).sha256 == second_sha256
    assert third.write(request.work_dir).sha256 == third_sha256


def test_a_copy_that_could_not_be_written_keeps_its_memory_for_the_next_try(lab, monkeypatch):
    request = lab.request(model_architecture="mlp-baseline")
    run = prepare_run(request)
    memory = checkpoints.CheckpointMemory()
    frozen = checkpoints.freeze_checkpoint(run.state, run.identity, memory)
    with monkeypatch.context() as patch:
        patch.setattr(checkpoints.os, "fsync", lambda _: (_ for _ in ()).throw(OSError(errno.ENOSPC, "No space left on device")))
        with pytest.raises(StorageFullError):
            frozen.write(request.work_dir)
    expected = checkpoints.freeze_checkpoint(run.state, run.identity).write(request.work_dir).sha256
    Stepper(run)(torch.from_numpy(run.fit_rows[:32]))
    checkpoints.freeze_checkpoint(run.state, run.identity, memory)
    assert frozen.write(request.work_dir).sha256 == expected
