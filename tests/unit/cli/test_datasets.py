from __future__ import annotations

import io
import json
from collections.abc import Callable
from pathlib import Path

import pytest

from heimdall.cli.sources import list_source_files
from heimdall.domain.errors import InvalidInputError
from tests.unit.cli.fakes import FakeServer

Run = Callable[..., tuple[int, str, str]]
REPORT = {
    "num_rows": 10, "num_accepted": 8, "num_rejected": 2, "reasons": {"no position": 2},
    "rejected": [{"row": 3, "reason": "no position"}, {"row": 7, "reason": "no position"}], "notes": [],
}  # fmt: skip
BUILDING = {
    "id": "d1", "name": "July", "status": "building", "kind": "powder", "num_examples": 0, "progress_percent": 0.0,
    "created_at": "2026-01-02T03:04:05.000000Z",
}  # fmt: skip
READY = {**BUILDING, "status": "ready", "num_examples": 8, "progress_percent": 100.0, "report": REPORT}


@pytest.fixture
def powder(tmp_path: Path) -> Path:
    folder = tmp_path / "powder"
    folder.mkdir()
    for name in ("single_tx_july.csv", "single_tx_april.csv", "location_coordinates.json", "LICENSE"):
        (folder / name).write_text("x")
    return folder


@pytest.fixture(autouse=True)
def _no_wait(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("heimdall.cli.datasets._POLL_S", 0)


def test_folder_gives_the_files_its_kind_needs(powder: Path) -> None:
    names = [file.name for file in list_source_files("powder", [powder])]
    assert names == ["single_tx_april.csv", "single_tx_july.csv", "location_coordinates.json"]


def test_folder_that_lacks_one_is_refused_with_what_is_needed(powder: Path) -> None:
    (powder / "location_coordinates.json").unlink()
    with pytest.raises(InvalidInputError, match=r"has no location_coordinates\.json; 'powder' needs single_tx_\*\.csv and"):
        list_source_files("powder", [powder])


def test_path_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(InvalidInputError, match="There is no file or folder"):
        list_source_files("rssi-csv", [tmp_path / "nothing.csv"])


def test_two_files_of_one_name_are_refused(tmp_path: Path) -> None:
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "rows.csv").write_text("x")
    with pytest.raises(InvalidInputError, match=r"called rows\.csv"):
        list_source_files("rssi-csv", [tmp_path / "a", tmp_path / "b"])


def test_import_follows_until_ready_and_prints_what_was_left_out_and_why(run_cli: Run, powder: Path) -> None:
    server = FakeServer({"POST /training/datasets": BUILDING, "GET /training/datasets/d1": [BUILDING, BUILDING, READY]})
    code, out, _ = run_cli("dataset", "import", "powder", str(powder), "--cell-m", "200", server=server)
    assert code == 0
    assert "Read 10 rows: took 8, left out 2." in out
    assert "row 3: no position" in out
    sent = server.requests[0].content
    assert all(words in sent for words in (b'name="cell_m"\r\n\r\n200.0', b'name="kind"\r\n\r\npowder', b'name="name"\r\n\r\npowder'))


def test_data_set_that_failed_is_exit_code_one_with_its_sentence(run_cli: Run) -> None:
    failed = {**BUILDING, "status": "failed", "error_message": "Column latitude is missing."}
    server = FakeServer({"POST /training/datasets": BUILDING, "GET /training/datasets/d1": failed})
    code, _, err = run_cli("dataset", "generate", "July", "--json", server=server)
    assert code == 1
    assert json.loads(err)["detail"].endswith("Column latitude is missing.")


def test_generate_sends_only_what_was_given(run_cli: Run) -> None:
    server = FakeServer({"POST /training/datasets": READY})
    assert run_cli("dataset", "generate", "net", "--num-examples", "500", "--detach", server=server)[0] == 0
    assert json.loads(server.requests[0].content) == {"kind": "synthetic", "name": "net", "num_examples": 500}


def test_delete_asks_first_and_no_answer_means_no(run_cli: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.stdin", io.StringIO())
    server = FakeServer({"GET /training/datasets": {"datasets": [READY], "total": 1}})
    code, _, err = run_cli("dataset", "delete", "July", server=server)
    assert code == 1
    assert "Nothing was done." in err
    assert {request.method for request in server.requests} == {"GET"}
