from __future__ import annotations

import io
import json
import re
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from rich.cells import cell_len

from heimdall.cli.output import Output
from heimdall.cli.progress import JobView, describe_eta, describe_figures
from heimdall.cli.train import _OPTIONS
from heimdall.cli.watch import print_baselines
from heimdall.domain.jobs import TrainingJobConfig
from tests.unit.cli.fakes import FakeServer, FakeSocket, connected, frame, make_job

Run = Callable[..., tuple[int, str, str]]
JOB = make_job()
DATASETS = {"datasets": [{"id": "d1", "name": "July", "status": "ready"}], "total": 1}
MODEL = {"id": "m1", "name": "first", "version": 1, "final_metrics": {"val_error_median_m": 133.4}, "baselines": []}
EPOCH = {"train_loss": 1.5, "val_loss": 1.25, "val_error_median_m": 140.06, "total_epochs": 3, "progress_percent": 33.3}


def serve_training(*frames: dict[str, Any], **ending: Any) -> FakeServer:
    final = make_job(status="completed", model_id="m1", current_epoch=3, best_epoch=2, last_seq=len(frames), **ending)
    return FakeServer(
        {
            "GET /training/datasets": DATASETS,
            "POST /training/jobs": {**JOB, "job_id": JOB["id"]},
            f"GET /training/jobs/{JOB['id']}": final,
            "GET /training/models/m1": MODEL,
        },
        [FakeSocket([connected(JOB), *frames])],
    )


def test_options_are_the_schemas_fields() -> None:
    assert {option.name for option in _OPTIONS} == set(TrainingJobConfig.model_fields) - {"job_name", "dataset_id"}


def test_only_what_was_given_is_sent_so_that_defaults_stay_the_servers(run_cli: Run) -> None:
    server = serve_training()
    assert run_cli("train", "--epochs", "3", "--dataset", "July", "--name", "first", "--detach", server=server)[0] == 0
    body = json.loads(next(request for request in server.requests if request.method == "POST").content)
    assert body == {"job_name": "first", "dataset_id": "d1", "epochs": 3}


def test_training_ends_with_a_summary_and_the_model(run_cli: Run) -> None:
    frames = (frame("training_started", 1, job=JOB), frame("training_progress", 2, epoch=1, **EPOCH), frame("training_completed", 3))
    code, out, err = run_cli("train", server=serve_training(*frames))
    assert code == 0
    assert "epoch 1/3  loss 1.5  val 1.25  median 140.1 m" in err
    assert "median error  " in out
    assert "heimdall model export m1" in out


def test_json_is_one_document_with_job_and_model(run_cli: Run) -> None:
    code, out, err = run_cli("train", "--json", server=serve_training(frame("training_completed", 1)))
    answer = json.loads(out)
    assert (code, err, answer["job"]["status"], answer["model"]["id"]) == (0, "", "completed", "m1")


def test_failed_job_is_exit_code_one_with_its_sentence(run_cli: Run) -> None:
    server = serve_training(frame("training_failed", 1))
    server.routes[f"GET /training/jobs/{JOB['id']}"] = make_job(status="failed", error_message="Loss became nan in epoch 2.")
    code, out, err = run_cli("train", server=server)
    assert (code, out) == (1, "")
    assert "Loss became nan in epoch 2." in err


def test_ctrl_c_lets_go_and_says_how_to_steer_the_job(run_cli: Run) -> None:
    server = serve_training()
    server._sockets = iter([FakeSocket([connected(JOB)], KeyboardInterrupt())])
    code, _, err = run_cli("train", server=server)
    assert code == 0
    for command in ("watch", "pause", "cancel"):
        assert f"heimdall job {command} {JOB['id']}" in err
    assert {request.method for request in server.requests if "jobs" in request.url.path} == {"POST"}


def test_choice_between_data_sets_is_asked_for(run_cli: Run) -> None:
    ready = {"status": "ready"}
    two = {"datasets": [{"id": "1", "name": "July", **ready}, {"id": "2", "name": "August", **ready}], "total": 2}
    code, _, err = run_cli("train", server=FakeServer({"GET /training/datasets": two}))
    assert code == 1
    assert "'July', 'August'" in err


def test_value_that_is_no_number_is_named() -> None:
    assert describe_figures({"train_loss": None, "val_loss": 2.0, "non_finite": {"train_loss": "nan"}}) == "loss nan  val 2"


def test_no_estimate_no_words() -> None:
    assert describe_eta(None) == ""


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_live_bar_shows_name_epoch_figures_and_lost_connection() -> None:
    stream = Terminal()
    with JobView(Output(as_json=False, stdout=stream, stderr=stream), "a [red]name") as view:
        view.show(connected(JOB))
        view.show(frame("training_progress", 1, epoch=1, **EPOCH))
        view.show(frame("training_progress", None, current_epoch=2, batch=3, total_batches=9, progress_percent=40.0))
        view.show_connection(False)
        view.show_connection(True)
        view.show(frame("training_completed", 2, job=make_job(status="completed", progress_percent=100.0)))
    text = stream.getvalue()
    assert "a [red]name" in text
    assert "completed" in text
    assert "val 1.25" in text


def test_eighty_columns_hold_name_bar_epoch_figures_and_time_left_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    stream = Terminal()
    soon = (datetime.now(UTC) + timedelta(seconds=100)).isoformat()
    with JobView(Output(as_json=False, stdout=stream, stderr=stream), "long name " * 25) as view:
        view.show(connected(make_job(name="long name " * 25)))
        view.show(frame("training_progress", 1, epoch=1, estimated_completion=soon, **EPOCH))
    lines = [line for line in re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", stream.getvalue()).replace("\r", "\n").splitlines() if line.strip()]
    name, bar, figures = lines[-3:]
    assert name.startswith("long name")
    assert name.endswith("…")
    assert all(words in bar for words in ("━━━", "33 %", "epoch 1/3", " left"))
    assert figures.strip() == "loss 1.5  val 1.25  median 140.1 m"
    assert max(map(cell_len, lines)) <= 80


def test_a_baseline_that_does_not_apply_says_so_and_not_as_an_error() -> None:
    written = io.StringIO()
    out = Output(as_json=False, stdout=written)
    print_baselines(out, [{"name": "kNN", "error_median_m": 12.0}, {"name": "MAP", "reason": "This data set has no toa_offset_us."}])
    assert written.getvalue() == (
        "  beside it: kNN, median error 12 m\n  beside it: MAP, does not apply here. This data set has no toa_offset_us.\n"
    )
