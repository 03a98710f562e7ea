from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

from tests.unit.cli.fakes import FakeServer

Run = Callable[..., tuple[int, str, str]]


def make_entry(position: int, **changes: Any) -> dict[str, Any]:
    return {
        "position": position, "timestamp": "2026-01-02T03:04:05.000000Z", "who": "u-1", "name": "ada", "role": "operator", "means": "oidc",
        "client": "10.0.0.7", "request_id": "r", "action": "delete", "subject": "job", "subject_id": "j-1", "subject_name": "run",
        "detail": {}, **changes,
    }  # fmt: skip


def test_it_joins_pages_up_to_the_limit_and_passes_filters_on(run_cli: Run) -> None:
    pages = [{"entries": [make_entry(9), make_entry(8)], "next_before": 8}, {"entries": [make_entry(7)], "next_before": None}]
    server = FakeServer({"GET /audit": pages})
    code, out, _ = run_cli("audit", "--limit", "5", "--who", "u-1", "--subject", "j-1", "--json", server=server)
    assert code == 0
    assert [entry["position"] for entry in json.loads(out)["entries"]] == [9, 8, 7]
    assert [dict(request.url.params) for request in server.requests] == [
        {"who": "u-1", "subject_id": "j-1", "limit": "5"},
        {"who": "u-1", "subject_id": "j-1", "limit": "3", "before": "8"},
    ]


def test_a_name_cannot_steer_the_terminal(run_cli: Run) -> None:
    server = FakeServer({"GET /audit": {"entries": [make_entry(1, subject_name="\x1b[2Jgone[bold]")], "next_before": None}})
    _, out, _ = run_cli("audit", server=server)
    assert "\x1b" not in out
    assert "gone[bold]" in out
    assert "ada" in out
