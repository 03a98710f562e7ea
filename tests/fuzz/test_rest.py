"""schemathesis over the whole description, in sequences too: no 5xx, and no answer that the description does not know."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from tests.serving import make_container, serve
from tests.unit.services.bundle_world import World, add_model

CHECKS = (
    "not_a_server_error,status_code_conformance,content_type_conformance,response_schema_conformance,response_headers_conformance,"
    "unsupported_method,allow_header_conformance,ensure_resource_availability,ignored_auth"
)
"""All but three: the API takes types strictly (415.0 is no epoch count), an empty query parameter counts as absent, and DELETE of an
active job cancels it, so that it is still there (``use_after_free``); what was deleted is gone by ``tests/contract/test_rest.py``."""
SECONDS = 25
TOKEN = "a token for this test"


@pytest.mark.slow
def test_no_request_breaks_the_server_and_every_answer_is_documented(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    # It shows wrong tokens by the hundred and wants to see each refused as such.
    monkeypatch.setattr("heimdall.api.guesses.PER_MINUTE", 1_000_000)
    limits = {"max_creates_per_minute": 0, "max_imports_per_minute": 0, "max_json_kb": 64}
    with serve(make_container(tmp_path / "data", token=TOKEN, **limits)) as served:
        served.api.headers["Authorization"] = f"Bearer {TOKEN}"
        served.create_job(served.add_dataset())
        inside = served.container
        add_model(World(tmp_path, inside.store, inside.artifacts, inside.verifier, inside.bundles, inside.models))
        command = [
            *(sys.executable, "-m", "schemathesis.cli", "run", f"{served.url}/openapi.json"),
            *("--checks", CHECKS, "--phases", "coverage,fuzzing,stateful", "--mode", "all", "--max-examples", "10"),
            *("--max-time", str(SECONDS), "--seed", "1", "--workers", "1", "--suppress-health-check", "all", "--no-color"),
            *("--warnings", "off", "--header", f"Authorization: Bearer {TOKEN}"),
        ]
        ended = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path, timeout=240, check=False)
        assert served.client.get("/health/ready").status_code == 200
    assert ended.returncode == 0, ended.stdout[-12_000:] + ended.stderr[-2000:]
