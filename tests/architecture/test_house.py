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


def run(code: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", code, *arguments],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, "HEIMDALL_SEED_DEMO": "false"},
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
    unused = (
        "{'pygments', 'click', 'psutil', 'multiprocessing', 'pydantic.v1.main', 'httpx', 'celery', 'kombu', 'numpy', 'alembic', 'fsspec'}"
    )
    looks = (
        "import sys; from heimdall.api.lightness import load_lightly; load_lightly(); import heimdall.api.server, heimdall.api.app;"
        f"import heimdall.bootstrap; print({unused} & set(sys.modules), 'heimdall.domain.bundles' in sys.modules);"
        "from fastapi.openapi.models import OpenAPI; from heimdall.api.schemas import JobPage;"
        "print(OpenAPI.__pydantic_complete__, JobPage.__pydantic_complete__);"
        "from heimdall.api.lightness import build_models; build_models(); import rich, uvicorn;"
        "print(JobPage.__pydantic_complete__, uvicorn.Server.__name__)"
    )
    found = run(looks)
    # rich is there for who asks; the models wait for their first use, or for the thread that builds them beside the first requests
    assert found.stdout.splitlines() == ["set() False", "False False", "True Server"], found.stderr


def test_a_server_is_ready_before_it_loads_what_only_a_message_to_a_worker_needs(tmp_path: Path) -> None:
    found = run(
        f"import sys, pathlib; from heimdall.settings import Settings; settings = Settings(data_dir=pathlib.Path({str(tmp_path)!r}));"
        "from heimdall.bootstrap import build_container; queue = build_container(settings).queue; queue.ping();"
        "print({'celery', 'kombu'} & set(sys.modules)); queue.prepare(); print('celery' in sys.modules)"
    )
    assert found.stdout.splitlines() == ["set()", "True"], found.stderr
    assert (tmp_path / "broker").is_dir()


FIRST_ANSWER = """
import pathlib, sys
from heimdall.api.lightness import load_lightly
load_lightly()
import heimdall.api.app
from heimdall.domain.datasets import DatasetPreview
from tests.serving import make_container, serve, wait_until
heimdall.api.app._BEFORE_MODELS_S = float(sys.argv[2])
with serve(make_container(pathlib.Path(sys.argv[1]))) as served:
    assert served.api.get("/health/ready").status_code == 200
    assert sys.argv[3] == "built" or not DatasetPreview.__pydantic_complete__
    wait_until(lambda: sys.argv[3] == "waiting" or DatasetPreview.__pydantic_complete__, 30, lambda: "the models were not built")
"""


@pytest.mark.parametrize(("wait_s", "models"), [("60", "waiting"), ("0", "built")])
def test_a_server_answers_first_and_then_builds_what_later_requests_need(tmp_path: Path, wait_s: str, models: str) -> None:
    found = run(FIRST_ANSWER, str(tmp_path), wait_s, models)
    assert found.returncode == 0, found.stderr


def test_a_light_server_describes_itself_in_full() -> None:
    found = run(
        "import sys; from heimdall.api.lightness import load_lightly; load_lightly(); from heimdall.api.openapi import write_openapi;"
        "sys.stdout.buffer.write(write_openapi())"
    )
    assert found.stdout == (ROOT / "openapi.json").read_text(), found.stderr


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
