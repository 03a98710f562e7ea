from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import httpx

from heimdall.cli.models import describe_error
from tests.unit.cli.fakes import FakeServer

Run = Callable[..., tuple[int, str, str]]
VERIFIED = {"status": "verified", "matched": 5, "total": 5, "max_abs_diff": 1e-6, "max_abs_diff_unit": "m", "latency_ms": 0.2, "checks": []}


def make_model(version: int) -> dict[str, object]:
    return {
        "id": f"{version}0000000-aaaa", "name": "net", "version": version, "architecture": "deepsets-s", "size_bytes": 1000,
        "onnx_opset": 18, "sha256": "ab", "created_at": "2026-01-02T03:04:05.000000Z", "verification": VERIFIED,
    }  # fmt: skip


def serve_models() -> FakeServer:
    models = [make_model(2), make_model(1)]
    routes: dict[str, object] = {"GET /training/models": {"models": models, "total": 2}}
    for model in models:
        header = {"content-disposition": f"attachment; filename=net-v{model['version']}.heimdall"}
        routes[f"GET /training/models/{model['id']}"] = model
        routes[f"GET /training/models/{model['id']}/export"] = httpx.Response(200, content=b"bundle", headers=header)
    return FakeServer(routes)


def test_name_means_the_newest_version_and_at_means_one(run_cli: Run) -> None:
    for reference, version in (("net", 2), ("net@1", 1), ("1000", 1)):
        assert json.loads(run_cli("model", "show", reference, "--json", server=serve_models())[1])["version"] == version


def test_an_evaluation_says_how_large_the_ellipses_are(run_cli: Run) -> None:
    found = {
        "total": 1003, "num_rows": 3, "error_m": [10.0, None, 30.0, 20.0],
        "ellipse_levels": [0.5, 0.68, 0.95], "ellipse_radii": [1.0, 1.51, 3.9],
    }  # fmt: skip
    routes: dict[str, object] = {"GET /training/models": {"models": [make_model(2)], "total": 1}}
    path = "GET /training/models/20000000-aaaa/evaluation"
    _, out, _ = run_cli("model", "evaluation", "net", server=FakeServer(routes | {path: found}))
    assert "3.90 standard deviations" in out
    assert "radius of the 95" in out
    assert "20" in out
    assert json.loads(run_cli("model", "evaluation", "net", "--json", server=FakeServer(routes | {path: found}))[1]) == found
    before = found | {"ellipse_levels": None, "ellipse_radii": None}
    assert "standard deviations" not in run_cli("model", "evaluation", "net", server=FakeServer(routes | {path: before}))[1]


def test_export_takes_the_servers_name_and_never_overwrites_unasked(run_cli: Run, tmp_path: Path) -> None:
    target = tmp_path / "net-v2.heimdall"
    server = serve_models()
    assert run_cli("model", "export", "net", "-o", str(tmp_path), "--no-metrics", server=server)[0] == 0
    assert target.read_bytes() == b"bundle"
    assert server.requests[-1].url.params["include_metrics"] == "false"
    target.write_bytes(b"mine")
    code, _, err = run_cli("model", "export", "net", "-o", str(tmp_path), server=serve_models())
    assert code == 1
    assert "--force" in err
    assert target.read_bytes() == b"mine"
    assert run_cli("model", "export", "net", "-o", str(tmp_path), "--force", server=serve_models())[0] == 0
    assert target.read_bytes() == b"bundle"


def test_import_says_what_was_verified_and_whether_it_was_here(run_cli: Run, tmp_path: Path) -> None:
    bundle = tmp_path / "net.heimdall"
    bundle.write_bytes(b"{}")
    for status, words in ((201, "is here now"), (200, "was here already")):
        answer = httpx.Response(status, json={"model_id": "m1", "verification": VERIFIED})
        code, out, _ = run_cli("model", "import", str(bundle), server=FakeServer({"POST /training/models/import": answer}))
        assert code == 0
        assert words in out
        assert "verified, 5 of 5 samples agree, largest difference 1e-06 m," in out


def test_file_that_is_not_there_is_named_before_anything_is_sent(run_cli: Run) -> None:
    for command in ("import", "verify"):
        code, _, err = run_cli("model", command, "nothing.heimdall", server=FakeServer())
        assert code == 1
        assert "There is no file nothing.heimdall." in err


def test_delete_names_the_model_and_how_to_keep_it(run_cli: Run, at_terminal: Callable[[str], None]) -> None:
    at_terminal("n\n")
    code, _, err = run_cli("model", "delete", "net@1", server=serve_models())
    assert code == 1
    assert "The model 'net' v1 (deepsets-s, 1.0 kB). To keep a copy first: heimdall model export 10000000-aaaa." in err


def test_delete_with_json_needs_yes_and_passes_the_servers_question_on(run_cli: Run) -> None:
    server = serve_models()
    code, _, err = run_cli("model", "delete", "net", "--json", server=server)
    assert (code, json.loads(err)["code"]) == (2, "confirmation_needed")
    question = {"code": "confirm_name", "detail": "The model is in use: a job. Repeat its name 'net'.", "field": "confirm_name"}
    server.routes["DELETE /training/models/20000000-aaaa"] = [httpx.Response(409, json=question), httpx.Response(204)]
    code, _, err = run_cli("model", "delete", "net", "--yes", server=server)
    assert (code, err) == (1, "--confirm-name: The model is in use: a job. Repeat its name 'net'.\n")
    assert run_cli("model", "delete", "net", "--yes", "--confirm-name", "net", server=server)[0] == 0


def test_show_has_units_and_shares_in_percent(run_cli: Run) -> None:
    server = serve_models()
    metrics = {"val_error_median_m": 133.44, "val_accuracy": 0.8123, "val_coverage_68": 0.69}
    more = {
        "final_metrics": metrics,
        "accuracy_radius_m": 200.0,
        "performance": {"inference_latency_ms": 0.1626, "onnx_speedup_factor": 5.966},
    }
    server.routes["GET /training/models/20000000-aaaa"] = {**make_model(2), **more}
    out = run_cli("model", "show", "net", server=server)[1]
    for name, value in (
        ("median error", "133.4 m"),
        ("within 200 m", "81.2 %"),
        ("inside 68 % ellipse", "69.0 %"),
        ("one example takes", "0.16 ms"),
    ):
        assert any(line.startswith(name) and line.endswith(value) for line in out.splitlines()), (name, out)


def test_a_model_in_use_asks_a_person_for_its_name(run_cli: Run, at_terminal: Callable[[str], None]) -> None:
    refusal = httpx.Response(409, json={"code": "confirm_name", "detail": "The model is in use.", "field": "confirm_name"})
    server = serve_models()
    server.routes["DELETE /training/models/20000000-aaaa"] = [refusal, httpx.Response(204)]
    at_terminal("y\nnet\n")
    code, out, err = run_cli("model", "delete", "net", server=server)
    assert (code, server.requests[-1].url.params["confirm_name"]) == (0, "net"), err
    assert "Deleted 'net' v2" in out
    assert "in use" in err


def test_an_error_that_nobody_checked_is_the_files_word() -> None:
    model = {"final_metrics": {"val_error_median_m": 134.0}, "imported_from": "b", "verification": {"status": "unverified"}}
    assert describe_error(model) == "134 m by its file"
    assert describe_error(model | {"verification": {"status": "verified"}}) == "134 m"
    assert describe_error(model | {"imported_from": None}) == "134 m"
