from __future__ import annotations

import io
import json
from collections.abc import Callable
from pathlib import Path

import httpx
import pytest

from heimdall.cli.sources import list_source_files, split_name
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


def test_preview_sends_the_configuration_and_prints_sentences_and_a_table(run_cli: Run) -> None:
    row = {"num_receivers": 4, "share": 0.25, "error_p68_m": 353.2, "timing_needed_ns": 61.8}
    answer = {
        "target_m": 50,
        "sentences": ["±50 m needs 62 ns."],
        "by_receivers": [{**row, "num_receivers": 2, "timing_needed_ns": None}, row],
    }
    server = FakeServer({"POST /training/datasets/preview": answer})
    code, out, _ = run_cli("dataset", "preview", "--waveform", "dmr", "--target-m", "50", server=server)
    assert code == 0
    assert "±50 m needs 62 ns." in out
    assert all(words in out for words in ("25 %", "353 m", "62 ns"))
    assert server.requests[0].url.params["target_m"] == "50"
    assert json.loads(server.requests[0].content) == {"kind": "synthetic", "name": "preview", "waveform": "dmr"}


def test_name_of_a_generated_set_stands_alone_or_behind_its_flag_but_once(run_cli: Run) -> None:
    for words in (["net"], ["--name", "net"]):
        server = FakeServer({"POST /training/datasets": READY})
        assert run_cli("dataset", "generate", *words, "--detach", server=server)[0] == 0
        assert json.loads(server.requests[0].content)["name"] == "net"
    for words in ([], ["net", "--name", "net"]):
        code, _, err = run_cli("dataset", "generate", *words, server=FakeServer())
        assert (code, err.startswith("--name: say the name of the data set once")) == (2, True)


def test_a_voice_that_nothing_would_send_is_refused_before_it_leaves(run_cli: Run, tmp_path: Path) -> None:
    voice = tmp_path / "voice.wav"
    voice.write_bytes(b"RIFF")
    for flags in ([], ["--signal", "captures"], ["--signal", "captures", "--waveform", "dmr"]):
        server = FakeServer()
        code, _, err = run_cli("dataset", "generate", "net", "--voice", str(voice), *flags, server=server)
        assert (code, server.requests) == (2, [])
        assert err.startswith("--voice: needs --signal captures and --waveform nbfm-voice"), err


def test_name_of_an_imported_set_is_its_flag_or_the_last_word_or_the_folders(run_cli: Run, powder: Path) -> None:
    for words, name in (([], b"powder"), (["POWDER July"], b"POWDER July"), (["--name", "July"], b"July")):
        server = FakeServer({"POST /training/datasets": READY})
        code, _, err = run_cli("dataset", "import", "powder", str(powder), *words, "--detach", server=server)
        assert code == 0, err
        assert b'name="name"\r\n\r\n' + name + b"\r\n" in server.requests[0].content


def test_file_that_is_not_there_never_becomes_the_name(powder: Path) -> None:
    for missing in ("walk-2.csv", "data/walk"):
        assert split_name([powder, Path(missing)]) == ([powder, Path(missing)], "powder")
    assert split_name([Path("nowhere")]) == ([Path("nowhere")], "nowhere")


def test_refusal_of_a_value_names_the_flag_to_a_person_and_the_field_to_a_program(run_cli: Run) -> None:
    problem = {"code": "invalid_input", "detail": "tx_power_max_dbm must not be below tx_power_min_dbm.", "field": "tx_power_max_dbm"}
    server = FakeServer({"POST /training/datasets": httpx.Response(422, json=problem)})
    code, _, err = run_cli("dataset", "generate", "net", server=server)
    assert (code, err) == (1, "--tx-power-max-dbm must not be below --tx-power-min-dbm.\n")
    assert json.loads(run_cli("dataset", "generate", "net", "--json", server=server)[2])["field"] == "tx_power_max_dbm"


def serve_deletion(num_jobs: int = 2, num_active: int = 0) -> FakeServer:
    return FakeServer(
        {
            "GET /training/datasets": {"datasets": [{**READY, "size_bytes": 2_200_000}], "total": 1},
            "GET /training/jobs": [{"jobs": [], "total": num_active}, {"jobs": [], "total": num_jobs}],
            "DELETE /training/datasets/d1": httpx.Response(204),
        }
    )


def test_delete_names_the_loss_and_no_answer_means_no(run_cli: Run, at_terminal: Callable[[str], None]) -> None:
    at_terminal("n\n")
    server = serve_deletion()
    code, _, err = run_cli("dataset", "delete", "July", server=server)
    assert code == 1
    assert "'July': 8 examples, 2.2 MB. 2 jobs used it: metrics and models stay, but none of them can be continued." in err
    assert "Nothing was done." in err
    assert {request.method for request in server.requests} == {"GET"}


def test_delete_of_a_set_in_use_asks_nothing_and_names_the_way(run_cli: Run, at_terminal: Callable[[str], None]) -> None:
    at_terminal("y\n")
    server = serve_deletion(num_active=1)
    code, _, err = run_cli("dataset", "delete", "July", server=server)
    assert code == 1
    assert "'July' was not deleted: 1 job still needs it. Let them end or cancel them first." in err
    assert "Delete it?" not in err
    assert {request.method for request in server.requests} == {"GET"}
    assert server.requests[-1].url.params["status"] == "paused,pending,running"


def test_delete_after_yes_at_the_terminal_or_on_the_command_line(run_cli: Run, at_terminal: Callable[[str], None]) -> None:
    at_terminal("y\n")
    assert run_cli("dataset", "delete", "July", server=serve_deletion())[:2] == (0, "Deleted 'July'.\n")
    assert json.loads(run_cli("dataset", "delete", "July", "--yes", "--json", server=serve_deletion())[1]) == {"deleted": "d1"}


def test_delete_without_a_terminal_or_with_json_needs_yes_and_says_so(run_cli: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.stdin", io.StringIO("y\n"))
    for words in ([], ["--json"]):
        server = serve_deletion(num_jobs=0)
        code, out, err = run_cli("dataset", "delete", "July", *words, server=server)
        assert (code, out) == (2, "")
        assert "No job used it. To delete it, add --yes." in err
        assert {request.method for request in server.requests} == {"GET"}


def test_split_that_may_flatter_says_why_in_a_sentence(run_cli: Run) -> None:
    split = {"column": "cell", "num_groups": 93, "seed": 0, "cell_m": 2000.0, "is_leaky": True}
    server = FakeServer({"GET /training/datasets": {"datasets": [READY]}, "GET /training/datasets/d1": {**READY, "split": split}})
    out = run_cli("dataset", "show", "July", server=server)[1]
    assert "cell of 2000 m, 93 groups. Hardly two examples share a group" in out
    assert "More examples help." in out


def test_show_has_units_and_long_names_whole(run_cli: Run) -> None:
    item = {
        **READY, "name": "L" * 255, "size_bytes": 41_100, "accuracy_radius_m": 1000.0, "frame": {"latitude": 44.97, "longitude": -8.15},
        "features": [{"name": "rssi_dbm", "unit": "dBm"}, {"name": "strength", "unit": "dB"}],
    }  # fmt: skip
    server = FakeServer({"GET /training/datasets": {"datasets": [item]}, "GET /training/datasets/d1": item})
    out = run_cli("dataset", "show", "d1", server=server)[1]
    for words in ("L" * 255, "1000 m", "41.1 kB", "44.97000° N, 8.15000° W", "rssi_dbm, strength (dB)"):
        assert words in out


def test_show_counts_many_receivers_and_names_all_on_demand(run_cli: Run) -> None:
    item = {**READY, "receivers": [{"name": f"site {number}"} for number in range(40)]}
    server = FakeServer({"GET /training/datasets": {"datasets": [item]}, "GET /training/datasets/d1": item})
    out = run_cli("dataset", "show", "July", server=server)[1]
    assert "40: site 0, site 1, site 2, site 3, site 4 and 35 more; --receivers names all" in out
    assert "site 39" in run_cli("dataset", "show", "July", "--receivers", server=server)[1]


def test_export_writes_the_one_form_there_is_and_refuses_another(run_cli: Run, tmp_path: Path) -> None:
    item = {**READY, "id": "d1"}
    name = {"Content-Disposition": "attachment; filename=July-sigmf.tar"}
    routes = {
        "GET /training/datasets": {"datasets": [item]},
        "GET /training/datasets/d1": item,
        "GET /training/datasets/d1/export": httpx.Response(200, content=b"tar", headers=name),
    }
    for number, words in enumerate([(), ("--format", "sigmf")]):
        folder = tmp_path / str(number)
        folder.mkdir()
        code, out, err = run_cli("dataset", "export", "July", "-o", str(folder), "--json", *words, server=FakeServer(dict(routes)))
        assert code == 0, err
        assert json.loads(out)["format"] == "sigmf"
        assert (folder / "July-sigmf.tar").read_bytes() == b"tar"
    code, _, err = run_cli("dataset", "export", "July", "--format", "wav", server=FakeServer(routes))
    assert code == 2
    assert "'wav' is not one of 'sigmf'" in err
