"""Where a job trains: asked for, checked and described; never a silent fall-back."""

from __future__ import annotations

import os
import platform
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

import psutil
import torch

from heimdall.domain.errors import TrainingError
from heimdall.domain.jobs import DeviceInfo, TrainingJobConfig

deterministic_options: Any = torch.utils.deterministic
"""A module that is an object with properties, which type checkers cannot see."""

AUTOCAST_DTYPES: Final[dict[str, torch.dtype | None]] = {"fp32": None, "bf16": torch.bfloat16, "fp16": torch.float16}


def choose_device(config: TrainingJobConfig) -> torch.device:
    """Return the device that the job asked for.

    Raises
    ------
    TrainingError
        Where CUDA or float16 was asked for and this machine cannot give it.
    """
    has_cuda = torch.cuda.is_available()
    if config.device == "cuda" and not has_cuda:
        raise TrainingError(
            "This job asks for CUDA, but this worker sees no CUDA device. Create it with device 'auto' or 'cpu'.", field="device"
        )
    kind = "cuda" if has_cuda and config.device != "cpu" else "cpu"
    if config.precision == "fp16" and kind == "cpu":
        raise TrainingError("Precision fp16 needs CUDA; choose fp32 or bf16 for a CPU.", field="precision")
    if config.precision == "bf16" and kind == "cuda" and not torch.cuda.is_bf16_supported():
        raise TrainingError("This CUDA device has no bf16; choose fp32 or fp16.", field="precision")
    return torch.device(kind)


@contextmanager
def deterministic() -> Iterator[None]:
    """Refuse operations whose result depends on timing, for as long as the context lives."""
    # cuBLAS reads this when its first handle is made.
    os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
    was_on, was_warn_only = torch.are_deterministic_algorithms_enabled(), torch.is_deterministic_algorithms_warn_only_enabled()
    was_filling, was_benchmark = deterministic_options.fill_uninitialized_memory, torch.backends.cudnn.benchmark
    torch.use_deterministic_algorithms(True)
    # Filling every fresh tensor costs time and guards only against reading memory nobody wrote.
    deterministic_options.fill_uninitialized_memory = False
    torch.backends.cudnn.benchmark = False
    try:
        yield
    finally:
        torch.use_deterministic_algorithms(was_on, warn_only=was_warn_only)
        deterministic_options.fill_uninitialized_memory = was_filling
        torch.backends.cudnn.benchmark = was_benchmark


class DeviceMonitor:
    """Describes the device and its load since the last look."""

    def __init__(self, device: torch.device) -> None:
        self._device = device
        self._process = psutil.Process()
        self._process.cpu_percent()
        self.name = torch.cuda.get_device_name(device) if device.type == "cuda" else _read_processor_name()

    def look(self) -> DeviceInfo:
        """Return what the device says now; a number it does not give is None."""
        if self._device.type == "cuda":
            free_bytes, total_bytes = torch.cuda.mem_get_info(self._device)
            return DeviceInfo(
                kind="cuda",
                name=self.name,
                memory_total_bytes=total_bytes,
                memory_used_bytes=total_bytes - free_bytes,
                load_percent=_read_gpu_load(self._device),
            )
        return DeviceInfo(
            kind="cpu",
            name=self.name,
            threads=torch.get_num_threads(),
            memory_total_bytes=psutil.virtual_memory().total,
            memory_used_bytes=self._process.memory_info().rss,
            load_percent=self._process.cpu_percent(),
        )


def _read_gpu_load(device: torch.device) -> float | None:
    try:
        return float(torch.cuda.utilization(device))
    except (ModuleNotFoundError, RuntimeError):
        return None


def _read_processor_name() -> str:
    cpuinfo = Path("/proc/cpuinfo")
    if cpuinfo.is_file():
        for line in cpuinfo.read_text(errors="replace").splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()
