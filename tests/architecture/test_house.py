"""The rules of the house that a machine can hold."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
SOURCES = sorted((ROOT / "src" / "heimdall").rglob("*.py"))
LONGEST_MODULE = 450
WORKPLACE_WORDS = ("/work/", "pypi.org", "registry.npmjs", "farm-")


def run(code: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=False, env={**os.environ, "HEIMDALL_SEED_DEMO": "false"}
    )


@pytest.mark.parametrize(
    "module", ["heimdall.api.app", "heimdall.api.server", "heimdall.bootstrap", "heimdall.cli.main", "heimdall.worker.main"]
)
def test_processes_that_wait_do_not_load_heavy_libraries(module: str) -> None:
    heavy = {"torch", "scipy", "onnx", "onnxruntime", "pyarrow", "alembic"}
    found = run(f"import sys, {module}; print(' '.join({heavy!r} & set(sys.modules)))")
    assert found.returncode == 0, found.stderr
    assert found.stdout.strip() == ""


def test_the_server_starts_without_parts_it_never_uses() -> None:
    looks = (
        "import sys; from heimdall.api.__main__ import load_lightly; load_lightly(); import heimdall.api.app, rich;"
        "from fastapi.openapi.models import OpenAPI; from pydantic import BaseModel;"
        "print('pygments' in sys.modules, OpenAPI.__pydantic_complete__, 'defer_build' in BaseModel.model_config)"
    )
    found = run(looks)
    assert found.stdout.strip() == "False False False", found.stderr  # rich is there for who asks; only FastAPI's own models wait


def test_training_package_is_importable_without_torch() -> None:
    found = run("import sys, heimdall.training; print('torch' in sys.modules)")
    assert found.stdout.strip() == "False", found.stderr


def test_layers_hold() -> None:
    linter = Path(sys.executable).with_name("lint-imports")
    found = subprocess.run([str(linter), "--no-cache"], cwd=ROOT, capture_output=True, text=True, check=False)
    assert found.returncode == 0, found.stdout


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: str(path.relative_to(ROOT)))
def test_no_module_is_two_rooms_in_one(path: Path) -> None:
    assert len(path.read_text().splitlines()) <= LONGEST_MODULE


def test_no_folder_of_leftovers() -> None:
    banned = {"utils.py", "helpers.py", "manager.py", "misc.py", "common.py"}
    assert not [path for path in SOURCES if path.name in banned]


def test_tracked_files_name_no_workplace_and_no_registry() -> None:
    listed = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, check=False)
    if listed.returncode:
        pytest.skip("not a git checkout")
    found = []
    for name in listed.stdout.decode().split("\0"):
        path = ROOT / name
        if not name or path.suffix in {".png", ".svg"} or not path.is_file() or path == Path(__file__):
            continue
        text = path.read_text(errors="ignore")
        found += [f"{name}: {word}" for word in WORKPLACE_WORDS if word in text]
    assert not found


def test_every_bench_script_can_be_started() -> None:
    names = [f"bench.{path.stem}" for path in (ROOT / "bench").glob("*.py")]
    names += [f"bench.peers.{path.stem}" for path in (ROOT / "bench" / "peers").glob("*.py")]
    found = subprocess.run([sys.executable, "-c", f"import {', '.join(names)}"], cwd=ROOT, capture_output=True, text=True, check=False)
    assert found.returncode == 0, found.stderr
