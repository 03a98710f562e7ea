"""The same promises on a GPU. Each test has its CPU sibling in ``test_exact_resume.py``, ``test_loop.py`` or ``test_checkpoints.py``."""

from __future__ import annotations

import pytest
import torch

from heimdall.domain.catalogue import ARCHITECTURES
from heimdall.domain.jobs import PendingAction
from heimdall.training import data
from heimdall.training.loop import train
from tests.unit.training.lab import MemorySink, collect_metrics

pytestmark = [pytest.mark.gpu, pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")]


def train_paused_twice(lab, config):
    first = MemorySink(lambda sink: PendingAction.PAUSE if len(sink.ticks) >= 8 else None)
    second = MemorySink(lambda sink: PendingAction.PAUSE if len(sink.ticks) >= 4 else None)
    third = MemorySink()
    train(lab.request(**config), first)
    train(lab.request(after=first.checkpoints[-1], attempt=2, **config), second)
    outcome = train(lab.request(after=second.checkpoints[-1], attempt=3, **config), third)
    assert third.devices[0][1] is True
    return collect_metrics(first, second, third), outcome.model.weights_sha256


@pytest.mark.parametrize("precision", ["fp32", "bf16", "fp16"])
@pytest.mark.parametrize("entry", ARCHITECTURES, ids=lambda entry: entry.id)
def test_a_run_paused_twice_equals_a_straight_run_to_the_bit_on_cuda(lab, entry, precision):
    config = {"device": "cuda", "model_architecture": entry.id, "precision": precision}
    sink = MemorySink()
    straight = train(lab.request(**config), sink)
    assert train_paused_twice(lab, config) == (collect_metrics(sink), straight.model.weights_sha256)


def test_auto_takes_cuda_and_says_so(lab):
    sink = MemorySink(lambda sink: PendingAction.CANCEL)
    train(lab.request(device="auto"), sink)
    device, _ = sink.devices[0]
    assert device.kind == "cuda"
    assert device.memory_total_bytes > 0


def test_a_data_set_too_large_for_the_device_is_streamed_with_the_same_result(lab, monkeypatch):
    on_device, streamed = MemorySink(), MemorySink()
    train(lab.request(device="cuda"), on_device)
    monkeypatch.setattr(data, "_MAX_SHARE_ON_DEVICE", 0.0)
    train(lab.request(device="cuda"), streamed)
    assert collect_metrics(on_device) == collect_metrics(streamed)
