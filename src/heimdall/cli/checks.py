"""The single checks of ``heimdall doctor``, each a function of the settings."""

from __future__ import annotations

import json
import os
import platform
import resource
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from http import HTTPStatus
from pathlib import Path
from typing import TYPE_CHECKING, Final, Literal

from heimdall.cli.instance import claim_port, find_running, probe_url
from heimdall.domain.errors import ConflictError, HeimdallError

if TYPE_CHECKING:
    from heimdall.settings import Settings

_MIN_FREE_GB: Final = 0.5
_GOOD_FREE_GB: Final = 5.0
_GOOD_MEMORY_GB: Final = 2.0
_GOOD_OPEN_FILES: Final = 1024
_TORCH_TIMEOUT_S: Final = 90
_ASK_TORCH: Final = (
    "import json, torch; c = torch.cuda.is_available(); "
    "print(json.dumps({'version': torch.__version__, 'build': torch.version.cuda, "
    "'devices': [torch.cuda.get_device_name(i) for i in range(torch.cuda.device_count())] if c else []}))"
)


@dataclass(frozen=True)
class Check:
    """One finding. ``missing`` keeps Heimdall from working, ``warning`` does not."""

    name: str
    status: Literal["ok", "warning", "missing"]
    detail: str
    fix: str = ""

    def as_dict(self) -> dict[str, str]:
        """Return the JSON of ``doctor --json``."""
        return asdict(self)


def run_checks(settings: Settings) -> Iterator[Check]:
    """Yield findings one by one; some take a second."""
    yield check_python()
    yield check_machine()
    yield check_data_folder(settings)
    yield check_quota(settings)
    yield check_retention(settings)
    yield check_port(settings)
    yield check_open_files()
    yield check_frontend(settings)
    yield from check_torch()
    yield from check_dependencies(settings)
    yield check_isolation(settings)


def check_python() -> Check:
    """Name the interpreter; one that is too old cannot have got this far (pyproject's ``requires-python``)."""
    return Check("Python", "ok", f"{platform.python_version()} ({platform.system()} {platform.machine()}), {sys.executable}")


def check_machine() -> Check:
    """Look at processors and memory."""
    memory_gb = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 1e9
    text = f"{os.cpu_count()} processors, {memory_gb:.1f} GB memory"
    if memory_gb < _GOOD_MEMORY_GB:
        return Check("machine", "warning", text, "Less than 2 GB: train with HEIMDALL_WORKER_SLOTS=1 and small batches.")
    return Check("machine", "ok", text)


def check_data_folder(settings: Settings) -> Check:
    """Look whether the data folder can be written and has room."""
    folder = settings.data_dir
    existing = next(path for path in (folder, *folder.parents) if path.exists())
    if not os.access(existing, os.W_OK | os.X_OK) or not existing.is_dir():
        fix = f"Make {existing} writable, or choose another folder with --data-dir or HEIMDALL_DATA_DIR."
        return Check("data folder", "missing", f"{folder} cannot be written", fix)
    free_gb = shutil.disk_usage(existing).free / 1e9
    text = f"{folder}, {free_gb:.1f} GB free" + ("" if folder.exists() else ", made at the first start")
    if free_gb < _MIN_FREE_GB:
        return Check("data folder", "missing", text, "Make room, or choose another folder with --data-dir or HEIMDALL_DATA_DIR.")
    if free_gb < _GOOD_FREE_GB:
        return Check("data folder", "warning", text, "Data sets, checkpoints and models may soon fill it.")
    return Check("data folder", "ok", text)


def check_quota(settings: Settings) -> Check:
    """Look at the quota and the threshold of free space that the server warns at."""
    from heimdall.bootstrap import make_disk_guard

    if not settings.data_dir.exists():
        return Check("quota", "ok", "nothing is kept here yet")
    try:
        seen = make_disk_guard(settings).look()
    except HeimdallError as error:
        return Check("quota", "warning", error.detail, "Make the data folder readable, or choose another one with --data-dir.")
    if seen.warning is not None:
        sentence, _, fix = seen.warning.partition(". ")
        return Check("quota", "warning", sentence, fix)
    if seen.used_bytes is None:
        return Check("quota", "ok", "none set (HEIMDALL_DISK_QUOTA_MB)")
    return Check("quota", "ok", f"{seen.used_bytes / 1e9:.2f} of {seen.quota_bytes / 1e9:.2f} GB used")


def check_retention(settings: Settings) -> Check:
    """Say how long what is kept."""
    checkpoints, logs = (f"{days:g} days" if days else "for ever" for days in (settings.keep_checkpoints_days, settings.keep_logs_days))
    lines = f"the newest {settings.keep_log_lines} lines a job" if settings.keep_log_lines else "all lines"
    return Check("retention", "ok", f"of ended jobs: checkpoints {checkpoints}, logs {logs}; {lines}")


def check_port(settings: Settings) -> Check:
    """Look whether the port is free, or Heimdall runs here already, which is well too."""
    running = find_running(settings.data_dir)
    if running is not None:
        is_ready = probe_url(running.url) == HTTPStatus.OK
        state = "" if is_ready else ", and is not ready yet"
        return Check("port", "ok", f"Heimdall is already running here (PID {running.pid}): {running.url}{state}")
    try:
        settings.check_exposure()
        port = claim_port(settings.host, settings.port)
    except ConflictError as error:
        return Check("port", "missing", error.detail.partition(". ")[0], "Choose another with --port or HEIMDALL_PORT.")
    except HeimdallError as error:
        sentence, _, fix = error.detail.partition(". ")
        return Check("port", "missing", sentence, fix)
    return Check("port", "ok", f"{settings.host}:{port} is free")


def check_open_files() -> Check:
    """Look at how many files and sockets a process may have open."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if hard != resource.RLIM_INFINITY and hard < _GOOD_OPEN_FILES:
        return Check(
            "open files", "warning", f"at most {hard}", f"Each open page needs one: raise it with 'ulimit -Hn {_GOOD_OPEN_FILES}'."
        )
    return Check("open files", "ok", "no limit" if hard == resource.RLIM_INFINITY else f"at most {hard}")


def check_frontend(settings: Settings) -> Check:
    """Look for the built page."""
    folder = settings.find_frontend()
    if folder is not None:
        return Check("page", "ok", f"built, in {folder}")
    fix = "Build it with 'make install' (Node 20 or newer), or name it with HEIMDALL_FRONTEND_DIR. The command line works without it."
    return Check("page", "warning", f"not built: no index.html in {settings.frontend_places[0]}", fix)


def check_torch() -> Iterator[Check]:
    """Load PyTorch in a process of its own and ask it for devices."""
    try:
        answer = subprocess.run(
            [sys.executable, "-P", "-c", _ASK_TORCH], capture_output=True, text=True, timeout=_TORCH_TIMEOUT_S, check=False
        )
    except subprocess.TimeoutExpired:
        yield Check("PyTorch", "missing", f"did not load within {_TORCH_TIMEOUT_S} s", "Is the machine busy? Try again.")
        return
    if answer.returncode != 0:
        last = (answer.stderr.strip().splitlines() or ["it ended without a word"])[-1]
        yield Check("PyTorch", "missing", f"does not load: {last}", "Install it again: make install")
        return
    found = json.loads(answer.stdout.strip().splitlines()[-1])
    yield Check("PyTorch", "ok", found["version"])
    yield _judge_cuda(found["devices"], found["build"])


def _judge_cuda(devices: list[str], build: str | None) -> Check:
    has_card = Path("/dev/nvidia0").exists() or shutil.which("nvidia-smi") is not None
    if devices:
        return Check("CUDA", "ok", ", ".join(devices))
    if has_card and build is None:
        fix = "Install a CUDA build of the same PyTorch version to use it."
        return Check("CUDA", "warning", "an NVIDIA card is there, but this PyTorch is built for the processor alone", fix)
    if has_card:
        return Check("CUDA", "warning", "an NVIDIA card is there, but PyTorch cannot reach it", "Look at the driver: nvidia-smi")
    return Check("CUDA", "ok", "no card; jobs train on the processor")


def check_dependencies(settings: Settings) -> Iterator[Check]:
    """Ask database, broker and artifact store whether they answer."""
    names = {"database": settings.database_url, "broker": settings.broker_url, "artifacts": settings.artifacts_url}
    # A start that was refused, for its port, leaves the folder without a database.
    is_new = not (settings.data_dir / "heimdall.sqlite").exists() if settings.is_embedded_database else not settings.data_dir.exists()
    if is_new and not any(names.values()):
        for name in names:
            yield Check(name, "ok", "embedded, made at the first start")
        return
    if is_new:
        yield Check("services", "warning", "not asked: nothing was started here yet", "Start once with 'heimdall up', then look again.")
        return
    try:
        from heimdall.bootstrap import build_container

        container = build_container(settings)
    except (HeimdallError, ImportError) as error:
        yield Check("program", "missing", str(error), "Install it again: make install")
        return
    pings: dict[str, Callable[[], None]] = {
        "database": container.store.ping,
        "broker": container.queue.ping,
        "artifacts": container.artifacts.ping,
    }
    for name, ping in pings.items():
        yield _ask(name, ping, is_embedded=names[name] is None)
    container.close()


def _ask(name: str, ping: Callable[[], None], *, is_embedded: bool) -> Check:
    try:
        ping()
    except HeimdallError as error:
        fix = "Look at the data folder's disk and rights." if is_embedded else f"Is it running? Its URL is HEIMDALL_{name.upper()}_URL."
        return Check(name, "missing", error.detail, fix)
    return Check(name, "ok", "embedded, answers" if is_embedded else "answers")


def check_isolation(settings: Settings) -> Check:
    """Start the child that verifies bundles and ask what it is kept from."""
    try:
        from heimdall.verification.sandbox import SandboxVerifier

        verifier = SandboxVerifier(memory_mb=settings.verify_memory_mb, timeout_s=settings.verify_timeout_s)
        found = verifier.describe_isolation()
    except (HeimdallError, ImportError) as error:
        return Check("isolation", "missing", str(error), "Bundles cannot be verified; install it again: make install")
    text = ", ".join(f"{name}: {value}" for name, value in found.items())
    if any(value.startswith("none") for value in found.values()):
        return Check("isolation", "warning", text, "Import only bundles of people you trust on this machine.")
    return Check("isolation", "ok", text)
