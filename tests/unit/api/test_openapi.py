"""The API description is committed, fresh and tells the truth about what is always there."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import orjson
import pytest

from heimdall.api.openapi import describe_api, write_openapi
from heimdall.services.metrics import MAX_POINTS, MIN_POINTS

ROOT = Path(__file__).parents[3]


@pytest.fixture(scope="module")
def document() -> dict[str, Any]:
    return describe_api()


def test_the_committed_description_is_fresh() -> None:
    assert (ROOT / "openapi.json").read_bytes() == write_openapi(), "run: make gen"


def test_every_name_of_the_contract_is_there(document: dict[str, Any]) -> None:
    names = {
        "TrainingJob", "TrainingJobConfig", "TrainingMetric", "TrainedModel", "TrainedModelDetail", "ExportOptions", "JobPage", "ModelPage",
        "DatasetPage", "Dataset", "Architecture", "ArchitecturePage", "Verification", "Problem", "EventFrame", "EventPage", "ImportResult",
        "CreatedJob", "SyntheticDatasetConfig", "ImportDatasetConfig", "ContinueJob", "RenameModel", "Baseline",
    }  # fmt: skip
    assert names <= set(document["components"]["schemas"])


def test_every_route_of_the_contract_is_there(document: dict[str, Any]) -> None:
    jobs = "/api/v1/training/jobs"
    expected = {
        (jobs, "get"), (jobs, "post"), (f"{jobs}/{{job_id}}", "get"), (f"{jobs}/{{job_id}}", "delete"),
        ("/api/v1/training/pause/{job_id}", "post"), ("/api/v1/training/resume/{job_id}", "post"),
        (f"{jobs}/{{job_id}}/pause", "post"), (f"{jobs}/{{job_id}}/resume", "post"), (f"{jobs}/{{job_id}}/continue", "post"),
        (f"{jobs}/{{job_id}}/metrics", "get"), (f"{jobs}/{{job_id}}/metrics.csv", "get"), (f"{jobs}/{{job_id}}/events", "get"),
        (f"{jobs}/{{job_id}}/logs", "get"), ("/api/v1/training/architectures", "get"), ("/api/v1/training/datasets", "get"),
        ("/api/v1/training/datasets", "post"), ("/api/v1/training/datasets/{dataset_id}", "get"),
            ("/api/v1/training/datasets/preview", "post"),
        ("/api/v1/training/datasets/{dataset_id}", "delete"), ("/api/v1/training/datasets/{dataset_id}/export", "get"),
        ("/api/v1/training/models", "get"),
        ("/api/v1/training/models/{model_id}", "get"), ("/api/v1/training/models/{model_id}", "patch"),
        ("/api/v1/training/models/{model_id}", "delete"), ("/api/v1/training/models/{model_id}/export", "get"),
        ("/api/v1/training/models/{model_id}/evaluation", "get"), ("/api/v1/training/models/import", "post"),
        ("/api/v1/audit", "get"), ("/api/v1/whoami", "get"), ("/api/v1/health/live", "get"), ("/api/v1/health/ready", "get"),
        ("/api/v1/health/warnings", "get"),
    }  # fmt: skip
    assert {(path, method) for path, operations in document["paths"].items() for method in operations} == expected


def test_every_operation_has_words_and_errors_are_problems(document: dict[str, Any]) -> None:
    for path, operations in document["paths"].items():
        for operation in operations.values():
            assert operation["summary"], path
            assert operation["description"], path
            for status, response in operation["responses"].items():
                if status[0] in "45" and "ready" not in path:
                    assert response["content"]["application/json"]["schema"]["$ref"].endswith("/Problem"), (path, status)


def test_what_the_server_sends_is_always_whole_and_what_it_reads_has_defaults(document: dict[str, Any]) -> None:
    schemas = document["components"]["schemas"]
    assert set(schemas["TrainingJob"]["required"]) == set(schemas["TrainingJob"]["properties"])
    assert set(schemas["TrainingJobConfig"]["required"]) == {"job_name", "dataset_id"}
    epochs = schemas["TrainingJobConfig"]["properties"]["epochs"]
    assert (epochs["minimum"], epochs["maximum"], epochs["default"]) == (1, 100_000, 50)


def test_every_reference_leads_somewhere(document: dict[str, Any]) -> None:
    def references(node: Any) -> list[str]:
        if isinstance(node, dict):
            own = [node["$ref"]] if "$ref" in node else []
            return own + [found for child in node.values() for found in references(child)]
        return [found for child in node for found in references(child)] if isinstance(node, list) else []

    names = {reference.removeprefix("#/components/schemas/") for reference in references(document)}
    assert names <= set(document["components"]["schemas"])
    assert orjson.loads(write_openapi()) == document


def test_bounds_of_max_points_stand_in_the_description(document: dict[str, Any]) -> None:
    parameters = document["paths"]["/api/v1/training/jobs/{job_id}/metrics"]["get"]["parameters"]
    [found] = [parameter for parameter in parameters if parameter["name"] == "max_points"]
    number = found["schema"]["anyOf"][0]
    assert (number["minimum"], number["maximum"]) == (MIN_POINTS, MAX_POINTS)
