"""The campaign's checker finds what it must find: a sound installation passes, and each seeded harm to it is named."""

from __future__ import annotations

import ast
import json
import shutil
import sqlite3
from collections.abc import Callable
from pathlib import Path

import pytest

from chaos import checker
from chaos.checker import Evidence, Expectation, Violation, check, hash_payload
from heimdall.bootstrap import Container
from heimdall.domain.datasets import Dataset, DatasetKind, DatasetStatus
from heimdall.domain.jobs import TrainingJobConfig
from tests.serving import NOW, make_container, make_report
from tests.unit.services.job_bench import make_draft, write_checkpoint

NUM_EPOCHS = 4


@pytest.fixture(scope="module")
def sound(tmp_path_factory: pytest.TempPathFactory) -> Evidence:
    """Two runs of one recipe, the second disturbed once, and a client that saw all of both."""
    root = tmp_path_factory.mktemp("sound")
    container = make_container(root / "data")
    dataset = Dataset(
        id="data", name="data", status=DatasetStatus.READY, kind=DatasetKind.SYNTHETIC, created_at=NOW, num_examples=9, config_hash="0"
    )
    with container.store.write() as tx:
        tx.datasets.add(dataset)
    clients = root / "clients"
    clients.mkdir()
    expectations = {}
    for is_reference in (True, False):
        job_id = _train(container, root, is_disturbed=not is_reference)
        expectations[job_id] = Expectation("recipe", is_reference=is_reference)
        frames, _ = container.jobs.events(job_id)
        lines = [{"seq": frame.seq, "event": frame.event.value, "sha256": hash_payload(frame.data)} for frame in frames]
        (clients / f"{job_id}.steady.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    container.close()
    return Evidence(f"sqlite:///{root / 'data' / 'heimdall.sqlite'}", root / "data" / "artifacts", clients, expectations)


def _train(container: Container, root: Path, *, is_disturbed: bool) -> str:
    config = TrainingJobConfig(job_name="j", dataset_id="data", epochs=NUM_EPOCHS)
    job, _ = container.jobs.create(config)
    claimed = container.attempts.claim(job.id, "w1")
    assert claimed is not None
    claim = claimed[1]
    for epoch in range(1, NUM_EPOCHS + 1):
        container.attempts.record_epochs(claim, [make_report(claim, epoch, NUM_EPOCHS)])
        container.attempts.save_checkpoint(claim, write_checkpoint(root, epoch * 10, epoch))
        if is_disturbed and epoch == 2:
            container.attempts.hand_back(claim)
            claimed = container.attempts.claim(job.id, "w2")
            assert claimed is not None
            claim = claimed[1]
    container.attempts.finish_completed(claim, make_draft(root))
    return job.id


@pytest.fixture
def evidence(sound: Evidence, tmp_path: Path) -> Evidence:
    root = sound.artifacts.parent.parent
    shutil.copytree(root, tmp_path / "copy")
    copy = tmp_path / "copy"
    database = copy / "data" / "heimdall.sqlite"
    return Evidence(f"sqlite:///{database}", copy / "data" / "artifacts", copy / "clients", dict(sound.expectations))


def test_a_sound_installation_passes(evidence: Evidence) -> None:
    assert check(evidence) == []


def disturbed(evidence: Evidence) -> str:
    return next(job_id for job_id, expected in evidence.expectations.items() if not expected.is_reference)


def run_sql(statement: str) -> Callable[[Evidence], None]:
    def harm(evidence: Evidence) -> None:
        connection = sqlite3.connect(evidence.database_url.removeprefix("sqlite:///"))
        with connection:
            assert connection.execute(statement, {"job": disturbed(evidence)}).rowcount > 0
        connection.close()

    return harm


def first_file(pattern: str, harm: Callable[[Path], object]) -> Callable[[Evidence], None]:
    def apply(evidence: Evidence) -> None:
        harm(next(path for path in sorted(evidence.artifacts.glob(pattern)) if disturbed(evidence) in str(path) or "models" in pattern))

    return apply


def flip(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)


def edit_client(edit: Callable[[list[str]], list[str]]) -> Callable[[Evidence], None]:
    def harm(evidence: Evidence) -> None:
        path = evidence.client_logs / f"{disturbed(evidence)}.steady.jsonl"
        path.write_text("".join(line + "\n" for line in edit(path.read_text().splitlines())))

    return harm


def add_file(name: str) -> Callable[[Evidence], None]:
    def harm(evidence: Evidence) -> None:
        path = evidence.artifacts / name.format(job=disturbed(evidence))
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"x")

    return harm


JOB = "WHERE job_id = :job"
HARMS: dict[str, tuple[str, Callable[[Evidence], None]]] = {
    "a job stays running": ("job state", run_sql("UPDATE jobs SET status = 'running' WHERE id = :job")),
    "a job failed": ("job state", run_sql("UPDATE jobs SET status = 'failed' WHERE id = :job")),
    "a job is gone": ("job lost", run_sql("DELETE FROM jobs WHERE id = :job")),
    "a final job is leased": ("job lease", run_sql("UPDATE jobs SET worker_id = 'w1' WHERE id = :job")),
    "a model is not named": ("job model", run_sql("UPDATE jobs SET model_id = NULL WHERE id = :job")),
    "an event is missing": ("event numbers", run_sql(f"DELETE FROM events {JOB} AND seq = 3")),
    "the last event is missing": ("event numbers", run_sql(f"DELETE FROM events {JOB} AND type = 'training_completed'")),
    "a move is illegal": ("event order", run_sql(f"UPDATE events SET type = 'training_paused' {JOB} AND type = 'training_requeued'")),
    "a dead attempt wrote": (
        "fence",
        run_sql(f"UPDATE events SET payload = json_set(payload, '$.attempt', 1) {JOB} AND json_extract(payload, '$.epoch') = 4"),
    ),
    "an epoch has no row": ("metric rows", run_sql(f"DELETE FROM metrics {JOB} AND epoch = 2")),
    "a row says something else than its event": ("metric rows", run_sql(f"UPDATE metrics SET val_loss = 9 {JOB} AND epoch = 2")),
    "a curve differs": ("curve", run_sql(f"UPDATE metrics SET train_loss = train_loss + 1e-12 {JOB} AND epoch = 3")),
    "weights differ": (
        "weights",
        run_sql(
            "UPDATE models SET detail = json_set(detail, '$.weights_sha256', '2') WHERE json_extract(summary, '$.training_job_id') = :job"
        ),
    ),
    "a client missed a frame": ("client", edit_client(lambda lines: lines[:2] + lines[3:])),
    "a client missed the end": ("client", edit_client(lambda lines: lines[:-1])),
    "a client saw a frame twice": ("client", edit_client(lambda lines: [lines[0], *lines])),
    "a client saw another order": ("client", edit_client(lambda lines: [lines[1], lines[0], *lines[2:]])),
    "a client saw other data": ("client", edit_client(lambda lines: [lines[0].replace('"sha256": "', '"sha256": "0'), *lines[1:]])),
    "a checkpoint is gone": ("file missing", first_file("checkpoints/*/*", Path.unlink)),
    "a checkpoint is damaged": ("file damaged", first_file("checkpoints/*/*", flip)),
    "a model's network is damaged": ("file damaged", first_file("models/*/model.onnx", flip)),
    "a model's samples are gone": ("file missing", first_file("models/*/samples.safetensors", Path.unlink)),
    "a checkpoint nobody knows": ("file orphaned", add_file("checkpoints/{job}/a1-s999-b0.safetensors")),
    "a model nobody knows": ("file orphaned", add_file("models/00000000-0000-0000-0000-000000000000/model.onnx")),
    "a half-written file": ("file orphaned", add_file("scratch/123-abc/0123")),
    "a process is left behind": ("process", lambda evidence: evidence.leftover_processes.append("4711 python -m heimdall.worker.child")),
    "an undisturbed run is missing": (
        "reference",
        lambda evidence: evidence.expectations.update({disturbed(evidence): Expectation("another recipe")}),  # type: ignore[attr-defined]
    ),
}


@pytest.mark.parametrize("name", HARMS)
def test_a_seeded_harm_is_named(evidence: Evidence, name: str) -> None:
    kind, harm = HARMS[name]
    harm(evidence)
    found: list[Violation] = check(evidence)
    assert kind in {violation.kind for violation in found}, found


def test_the_checker_shares_no_code_with_the_product() -> None:
    tree = ast.parse(Path(checker.__file__).read_text())
    imports = [node for node in ast.walk(tree) if isinstance(node, ast.Import | ast.ImportFrom)]
    names = {node.module or "" if isinstance(node, ast.ImportFrom) else alias.name for node in imports for alias in node.names}
    assert not {name for name in names if name.split(".")[0] in {"heimdall", "tests"}}
