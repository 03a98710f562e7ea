from __future__ import annotations

import json
from collections.abc import Callable

import httpx
import pytest
from rich.cells import cell_len

from heimdall.cli.jobs import parse_log
from tests.unit.cli.fakes import FakeServer, FakeSocket, connected, frame, make_job

Run = Callable[..., tuple[int, str, str]]
JOB_ID = make_job()["id"]


def serve_job(**changes: object) -> FakeServer:
    return FakeServer({f"GET /training/jobs/{JOB_ID}": make_job(**changes)})


def test_list_shows_rows_and_how_to_go_on(run_cli: Run) -> None:
    page = {"jobs": [make_job(name="a [bold] name", progress_percent=33.3)], "total": 9, "next_cursor": "abc"}
    server = FakeServer({"GET /training/jobs": page})
    code, out, err = run_cli("job", "list", "--status", "running", "--status", "paused", "--limit", "1", server=server)
    assert code == 0
    assert "a [bold] name" in out
    assert "heimdall job list --cursor abc" in err
    assert server.requests[0].url.params.get_list("status") == ["running", "paused"]


def test_json_list_is_the_servers_page(run_cli: Run) -> None:
    page = {"jobs": [make_job()], "total": 1, "next_cursor": None}
    assert json.loads(run_cli("job", "list", "--json", server=FakeServer({"GET /training/jobs": page}))[1]) == page


def test_name_with_terminal_codes_cannot_steer_the_terminal(run_cli: Run) -> None:
    server = FakeServer({"GET /training/jobs": {"jobs": [make_job(name="\x1b[2Jgone")], "total": 1, "next_cursor": None}})
    assert "\x1b" not in run_cli("job", "list", server=server)[1]


def test_pause_says_that_it_was_asked_and_not_that_it_is_done(run_cli: Run) -> None:
    server = serve_job()
    server.routes[f"POST /training/jobs/{JOB_ID}/pause"] = httpx.Response(202, json=make_job(pending_action="pause"))
    assert run_cli("job", "pause", JOB_ID, server=server)[:2] == (0, "'first' is pausing.\n")


def test_cancel_of_a_final_job_deletes_nothing(run_cli: Run) -> None:
    server = serve_job(status="completed")
    code, _, err = run_cli("job", "cancel", JOB_ID, server=server)
    assert code == 1
    assert "is completed already" in err
    assert {request.method for request in server.requests} == {"GET"}


def test_cancel_and_delete_say_what_they_expect_so_that_neither_becomes_the_other(run_cli: Run) -> None:
    server = serve_job()
    server.routes[f"DELETE /training/jobs/{JOB_ID}"] = make_job(pending_action="cancel")
    assert run_cli("job", "cancel", JOB_ID, server=server)[1] == "'first' is cancelling.\n"
    assert server.requests[-1].url.params["expect"] == "active"
    server = serve_job(status="cancelled")
    server.routes[f"DELETE /training/jobs/{JOB_ID}"] = httpx.Response(204)
    assert run_cli("job", "delete", JOB_ID, "--yes", server=server)[0] == 0
    assert server.requests[-1].url.params["expect"] == "final"


def test_delete_names_epochs_checkpoints_and_what_stays(run_cli: Run, at_terminal: Callable[[str], None]) -> None:
    at_terminal("n\n")
    checkpoint = {"size_bytes": 720_536, "epoch": 12}
    server = serve_job(status="completed", current_epoch=12, checkpoint=checkpoint, model_id="0abc0abc-1")
    code, _, err = run_cli("job", "delete", JOB_ID, server=server)
    assert code == 1
    assert "'first', completed: the metrics of 12 epochs, its checkpoints (720.5 kB for epoch 12) and its log." in err
    assert "It cannot be continued any more. Its model 0abc0abc stays." in err
    assert {request.method for request in server.requests} == {"GET"}


def test_delete_with_json_needs_yes(run_cli: Run) -> None:
    server = serve_job(status="failed", current_epoch=1)
    code, out, err = run_cli("job", "delete", JOB_ID, "--json", server=server)
    assert (code, out, json.loads(err)["code"]) == (2, "", "confirmation_needed")
    assert "the metrics of 1 epoch, its checkpoints and its log. It has no model. To delete it, add --yes." in json.loads(err)["detail"]
    assert {request.method for request in server.requests} == {"GET"}


def test_states_are_separated_by_commas_or_repeated(run_cli: Run) -> None:
    server = FakeServer({"GET /training/jobs": {"jobs": [], "total": 0}})
    assert run_cli("job", "list", "--status", "running, paused", "--status", "failed", server=server)[0] == 0
    assert server.requests[0].url.params.get_list("status") == ["running", "paused", "failed"]


def test_state_that_there_is_not_is_a_usage_error_with_the_choice(run_cli: Run) -> None:
    code, _, err = run_cli("job", "list", "--status", "running,done", server=FakeServer())
    assert code == 2
    assert err.startswith("--status: there is no state 'done'. Choose from: pending, running, paused, completed, failed, cancelled.")
    assert "Value error" not in err


@pytest.mark.parametrize("width", [80, 120])
def test_long_names_are_cut_so_that_no_line_is_wider_than_the_terminal(run_cli: Run, monkeypatch: pytest.MonkeyPatch, width: int) -> None:
    monkeypatch.setenv("COLUMNS", str(width))
    jobs = [make_job(name="L" * 255, best_val_loss=7.131, best_val_error_median_m=7050.2), make_job(name="漢" * 100), make_job(name="a\nb")]
    out = run_cli("job", "list", server=FakeServer({"GET /training/jobs": {"jobs": jobs, "total": 3}}))[1]
    assert "…" in out
    assert len(out.splitlines()) == 2 + len(jobs)
    assert max(cell_len(line) for line in out.splitlines()) <= width
    assert all(words in out for words in ("7050 m", "running", "L" * 15))


def test_pipe_gets_whole_names(run_cli: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("COLUMNS", raising=False)
    out = run_cli("job", "list", server=FakeServer({"GET /training/jobs": {"jobs": [make_job(name="L" * 255)], "total": 1}}))[1]
    assert "L" * 255 in out


def test_show_has_units_and_one_setting_a_line(run_cli: Run) -> None:
    done = {
        "status": "completed",
        "completed_at": "2026-01-02T03:05:20.000000Z",
        "best_val_error_median_m": 133.44,
        "progress_percent": 100.0,
    }
    out = run_cli("job", "show", JOB_ID, server=serve_job(**done))[1]
    for words in ("133.4 m", "100 %, epoch 0 of 3", "took               1:14", "\n  epochs  3\n"):
        assert words in out, out


def test_delete_of_an_active_job_is_refused_before_asking(run_cli: Run) -> None:
    code, _, err = run_cli("job", "delete", JOB_ID, server=serve_job(status="running"))
    assert code == 1
    assert "Cancel it first" in err


def test_reference_may_be_the_beginning_of_an_id_or_a_name(run_cli: Run) -> None:
    jobs = [make_job(), make_job(id="22222222-2222-4333-8444-555555555555", name="second")]
    server = FakeServer({"GET /training/jobs": {"jobs": jobs, "total": 2, "next_cursor": None}})
    for reference in ("2222", "second"):
        assert json.loads(run_cli("job", "show", reference, "--json", server=server)[1])["name"] == "second"


def test_reference_that_fits_several_names_their_ids(run_cli: Run) -> None:
    jobs = [make_job(), make_job(id="22222222-2222-4333-8444-555555555555")]
    code, _, err = run_cli("job", "show", "first", server=FakeServer({"GET /training/jobs": {"jobs": jobs, "total": 2}}))
    assert code == 1
    assert jobs[0]["id"] in err
    assert jobs[1]["id"] in err


def test_watch_with_json_prints_every_frame_and_fails_with_the_job(run_cli: Run) -> None:
    frames = [connected(make_job(last_seq=2)), frame("training_started", 1), frame("training_failed", 2)]
    server = serve_job(status="failed", error_message="Validation loss is not finite.")
    server._sockets = iter([FakeSocket(frames)])
    code, out, err = run_cli("job", "watch", JOB_ID, "--json", server=server)
    assert [json.loads(line) for line in out.splitlines()] == frames
    assert (code, json.loads(err)["code"]) == (1, "job_failed")
    assert "Validation loss is not finite." in json.loads(err)["detail"]


def test_logs_follow_until_the_job_is_final_and_print_each_line_once(run_cli: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("heimdall.cli.jobs._LOG_POLL_S", 0)
    pieces = [("2026-01-01T00:00:00Z one\n", 1), ("", 1), ("2026-01-01T00:00:01Z two\n2026-01-01T00:00:02Z \n", 3), ("", 3)]
    server = serve_job()
    running, final = make_job(), make_job(status="completed")
    server.routes[f"GET /training/jobs/{JOB_ID}"] = [running, running, running, final]
    server.routes[f"GET /training/jobs/{JOB_ID}/logs"] = [
        httpx.Response(200, text=text, headers={"X-Last-Line": str(last)}) for text, last in pieces
    ]
    code, out, _ = run_cli("job", "logs", JOB_ID, "--follow", "--json", server=server)
    rows = [json.loads(line) for line in out.splitlines()]
    assert code == 0
    assert [(row["number"], row["text"]) for row in rows] == [(1, "one"), (2, "two"), (3, "")]


def test_empty_log_has_no_lines() -> None:
    assert parse_log("", 0) == []
