"""Reads what a campaign left behind and says what is wrong with it.

Shares no code with Heimdall, on purpose: it opens the database with the bare driver, the artifacts as files and the clients' own
notes, and holds its own copy of the table of moves. A bug in a service cannot hide itself here.
"""

from __future__ import annotations

import hashlib
import json
import sqlite3
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

FINAL: Final = frozenset({"completed", "failed", "cancelled"})
MOVES: Final[dict[str, tuple[frozenset[str], str]]] = {
    "training_started": (frozenset({"pending"}), "running"),
    "training_resumed": (frozenset({"pending"}), "running"),
    "training_progress": (frozenset({"running"}), "running"),
    "training_paused": (frozenset({"pending", "running"}), "paused"),
    "training_requeued": (frozenset({"running"}), "pending"),
    "training_completed": (frozenset({"running"}), "completed"),
    "training_failed": (frozenset({"pending", "running"}), "failed"),
    "training_cancelled": (frozenset({"pending", "running", "paused"}), "cancelled"),
}
"""Event -> states it may come in, state it leads to. ``training_updated`` moves a job only from paused to pending."""
TIMING: Final = ("timestamp", "epoch_duration_seconds", "samples_per_second", "attempt", "job_id")


@dataclass(frozen=True)
class Violation:
    """One broken promise."""

    kind: str
    subject: str
    detail: str


@dataclass(frozen=True)
class Expectation:
    """What the campaign knows of a job without asking Heimdall: its recipe, and whether it was told to cancel it."""

    recipe: str
    may_be_cancelled: bool = False
    is_reference: bool = False


@dataclass
class Evidence:
    """Where to look."""

    database_url: str
    artifacts: Path
    client_logs: Path
    expectations: Mapping[str, Expectation]
    leftover_processes: list[str] = field(default_factory=list)
    harmed_files: set[str] = field(default_factory=set)
    """Keys that the campaign itself damaged."""


Rows = list[dict[str, Any]]


def check(evidence: Evidence) -> list[Violation]:
    """Return every violation found."""
    tables = read_tables(evidence.database_url)
    return [
        *check_jobs(tables, evidence.expectations),
        *check_events(tables),
        *check_metrics(tables),
        *check_equality(tables, evidence.expectations),
        *check_clients(tables, evidence.client_logs),
        *check_files(tables, evidence.artifacts, evidence.harmed_files),
        *(Violation("process", "machine", f"left behind: {line}") for line in evidence.leftover_processes),
    ]


def read_tables(database_url: str) -> dict[str, Rows]:
    """Return all rows of the tables that matter, with JSON columns decoded."""
    names = ("jobs", "events", "metrics", "models", "datasets")
    if database_url.startswith("sqlite:///"):
        with sqlite3.connect(database_url.removeprefix("sqlite:///")) as connection:
            connection.row_factory = sqlite3.Row
            tables = {name: [dict(row) for row in connection.execute(f"SELECT * FROM {name}")] for name in names}
        connection.close()
    else:
        import psycopg
        from psycopg.rows import dict_row

        with psycopg.connect(database_url, row_factory=dict_row) as server:
            tables = {name: server.execute(f"SELECT * FROM {name}".encode()).fetchall() for name in names}
    for rows in tables.values():
        for row in rows:
            for name in ("payload", "checkpoint", "summary", "detail", "document"):
                if isinstance(row.get(name), str):
                    row[name] = json.loads(row[name])
    for model in tables["models"]:
        model["detail"] = {**model["summary"], **model["detail"]}
    return tables


def check_jobs(tables: dict[str, Rows], expectations: Mapping[str, Expectation]) -> Iterator[Violation]:
    """Every job is there and ended as its history implies."""
    found = {row["id"]: row for row in tables["jobs"]}
    for job_id in expectations.keys() - found.keys():
        yield Violation("job lost", job_id, "its row is gone")
    for job_id, row in found.items():
        expected = expectations.get(job_id)
        if expected is None:
            yield Violation("job unknown", job_id, "nobody created it")
            continue
        allowed = {"completed", "cancelled"} if expected.may_be_cancelled else {"completed"}
        if row["status"] not in allowed:
            yield Violation("job state", job_id, f"is {row['status']} ({row['error_message']}), expected {' or '.join(sorted(allowed))}")
        if (row["status"] == "completed") != (row["model_id"] is not None):
            yield Violation("job model", job_id, f"is {row['status']} with model {row['model_id']}")
        if row["status"] in FINAL and row["worker_id"] is not None:
            yield Violation("job lease", job_id, "is final and still leased")


def check_events(tables: dict[str, Rows]) -> Iterator[Violation]:
    """Numbers are dense, every move is legal, no attempt speaks after a later one, and the last word is the row's."""
    for row in tables["jobs"]:
        events = _events_of(tables, row["id"])
        numbers = [event["seq"] for event in events]
        if numbers != list(range(1, row["last_seq"] + 1)):
            yield Violation("event numbers", row["id"], f"{_describe_gaps(numbers)}, the row says {row['last_seq']}")
        yield from _replay(row, events)
    positions = [event["position"] for event in tables["events"]]
    if len(set(positions)) != len(positions):
        yield Violation("event numbers", "log", "a position was used twice")


def _replay(row: dict[str, Any], events: Rows) -> Iterator[Violation]:
    status, attempt = "pending", 0
    for event in events:
        kind, payload = event["type"], event["payload"]
        came_from = status
        if kind == "training_updated":
            status = payload["status"]
            is_legal = status == came_from or (came_from, status) == ("paused", "pending")
        else:
            sources, status = MOVES[kind]
            is_legal = came_from in sources
        if not is_legal:
            yield Violation("event order", row["id"], f"{kind} ({event['seq']}) came while {came_from}")
        if payload.get("status") != status:
            yield Violation("event order", row["id"], f"{kind} ({event['seq']}) says {payload.get('status')}, leads to {status}")
        spoke = payload.get("attempt") if kind == "training_progress" else payload["job"]["attempt"]
        if spoke < attempt:
            yield Violation("fence", row["id"], f"attempt {spoke} wrote {kind} ({event['seq']}) after attempt {attempt} had begun")
        attempt = max(attempt, spoke)
    if status != row["status"]:
        yield Violation("event order", row["id"], f"the log ends {status}, the row is {row['status']}")
    if attempt != row["attempt"]:
        yield Violation("event order", row["id"], f"the log ends with attempt {attempt}, the row says {row['attempt']}")


def check_metrics(tables: dict[str, Rows]) -> Iterator[Violation]:
    """One row per epoch, from an attempt that there was, and the row is the last thing an event said of that epoch."""
    for row in tables["jobs"]:
        metrics = _metrics_of(tables, row["id"])
        epochs = [metric["epoch"] for metric in metrics]
        if epochs != list(range(1, len(epochs) + 1)):
            yield Violation("metric rows", row["id"], f"epochs {epochs}")
        if row["status"] == "completed" and len(epochs) != row["current_epoch"]:
            yield Violation("metric rows", row["id"], f"{len(epochs)} rows, {row['current_epoch']} epochs done")
        said = {event["payload"]["epoch"]: event["payload"] for event in _events_of(tables, row["id"]) if _is_epoch(event)}
        for metric in metrics:
            last = said.get(metric["epoch"])
            if last is None or (last["val_loss"], last["attempt"]) != (metric["val_loss"], metric["attempt"]):
                yield Violation("metric rows", row["id"], f"epoch {metric['epoch']} is not what its last event said")


def check_equality(tables: dict[str, Rows], expectations: Mapping[str, Expectation]) -> Iterator[Violation]:
    """A disturbed run has the numbers and the weights of the undisturbed run of its recipe."""
    weights = {model["training_job_id"]: model["detail"]["weights_sha256"] for model in _with_job(tables["models"])}
    references = {expected.recipe: job_id for job_id, expected in expectations.items() if expected.is_reference}
    done = {row["id"] for row in tables["jobs"] if row["status"] == "completed"}
    for job_id, expected in expectations.items():
        reference = references.get(expected.recipe)
        if reference is None:
            yield Violation("reference", job_id, f"no undisturbed run of {expected.recipe}")
        elif job_id in done and job_id != reference:
            if weights.get(job_id) is None or weights.get(job_id) != weights.get(reference):
                yield Violation("weights", job_id, f"{weights.get(job_id)} is not {weights.get(reference)} of {expected.recipe}")
            if _canonical(_metrics_of(tables, job_id)) != _canonical(_metrics_of(tables, reference)):
                yield Violation("curve", job_id, f"is not that of the undisturbed run of {expected.recipe}")


def check_clients(tables: dict[str, Rows], folder: Path) -> Iterator[Violation]:
    """What each client noted is the job's log, in order, none missing and none twice."""
    for path in sorted(folder.glob("*.jsonl")):
        job_id = path.name.split(".")[0]
        stored = {event["seq"]: event for event in _events_of(tables, job_id)}
        last_seq = max(stored, default=0)
        seen = [json.loads(line) for line in path.read_text().splitlines()]
        numbers = [frame["seq"] for frame in seen]
        if numbers != list(range(1, last_seq + 1)):
            yield Violation("client", job_id, f"{path.name}: {_describe_gaps(numbers)} of {last_seq}")
        for frame in seen:
            event = stored.get(frame["seq"])
            if event is not None and (frame["event"], frame["sha256"]) != (event["type"], hash_payload(event["payload"])):
                yield Violation("client", job_id, f"{path.name}: frame {frame['seq']} differs from the log")


def hash_payload(payload: Any) -> str:  # noqa: ANN401
    """Return sha256 over the canonical JSON of a frame's data."""
    return hashlib.sha256(json.dumps(payload, sort_keys=True, separators=(",", ":")).encode()).hexdigest()


def check_files(tables: dict[str, Rows], root: Path, harmed: set[str]) -> Iterator[Violation]:
    """No row without its file, no file without a row, and every hash right."""
    expected: dict[str, str | None] = {}
    for row in tables["jobs"]:
        checkpoint = row["checkpoint"] or {}
        for pointer in (checkpoint, checkpoint.get("previous") or {}):
            if pointer:
                expected[pointer["key"]] = pointer["sha256"]
    for model in tables["models"]:
        expected[model["detail"]["onnx_path"]] = model["detail"]["sha256"]
        for name in ("samples_key", "evaluation_key"):
            if model["detail"].get(name):
                expected[model["detail"][name]] = None
    for key, sha256 in expected.items():
        path = root / key
        if key in harmed:
            continue
        if not path.is_file():
            yield Violation("file missing", key, "a row points to it")
        elif sha256 is not None and hashlib.sha256(path.read_bytes()).hexdigest() != sha256:
            yield Violation("file damaged", key, "its SHA-256 is not the row's")
    known = {row["id"] for row in tables["datasets"]}
    for path in sorted(path for path in root.rglob("*") if path.is_file()):
        key = path.relative_to(root).as_posix()
        is_data = key.startswith("datasets/") and key.split("/")[1] in known
        if key not in expected and not is_data:
            yield Violation("file orphaned", key, "no row points to it")


def _events_of(tables: dict[str, Rows], job_id: str) -> Rows:
    return sorted((event for event in tables["events"] if event["job_id"] == job_id), key=lambda event: event["seq"])


def _metrics_of(tables: dict[str, Rows], job_id: str) -> Rows:
    return sorted((metric for metric in tables["metrics"] if metric["job_id"] == job_id), key=lambda metric: metric["epoch"])


def _with_job(models: Rows) -> Iterator[dict[str, Any]]:
    for model in models:
        if model["detail"].get("training_job_id"):
            yield {**model, "training_job_id": model["detail"]["training_job_id"]}


def _is_epoch(event: dict[str, Any]) -> bool:
    return event["type"] == "training_progress" and event["payload"].get("epoch") is not None


def _canonical(metrics: Rows) -> str:
    return json.dumps([{name: value for name, value in row.items() if name not in TIMING} for row in metrics], sort_keys=True, default=str)


def _describe_gaps(numbers: list[int]) -> str:
    if len(set(numbers)) != len(numbers):
        return f"{len(numbers) - len(set(numbers))} numbers came twice"
    missing = sorted(set(range(1, max(numbers, default=0) + 1)) - set(numbers))
    return f"missing {missing[:5]}" if missing else f"{len(numbers)} numbers" + ("" if numbers == sorted(numbers) else ", out of order")
