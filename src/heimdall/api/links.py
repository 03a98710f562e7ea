"""Which answer names what another route asks for: the links of the API description, for readers and for tests that walk them."""

from __future__ import annotations

from typing import Any, Final

_TRAINING: Final = "/api/v1/training"
_JOB: Final = f"{_TRAINING}/jobs/{{job_id}}"
_DATASET: Final = f"{_TRAINING}/datasets/{{dataset_id}}"
_MODEL: Final = f"{_TRAINING}/models/{{model_id}}"

_OF_JOB: Final = (
    ("get", _JOB),
    ("delete", _JOB),
    ("post", f"{_JOB}/pause"),
    ("post", f"{_JOB}/resume"),
    ("post", f"{_JOB}/continue"),
    ("get", f"{_JOB}/metrics"),
    ("get", f"{_JOB}/metrics.csv"),
    ("get", f"{_JOB}/events"),
    ("get", f"{_JOB}/logs"),
)
_OF_DATASET: Final = (("get", _DATASET), ("delete", _DATASET))
_OF_MODEL: Final = (("get", _MODEL), ("get", f"{_MODEL}/export"), ("get", f"{_MODEL}/evaluation"), ("patch", _MODEL), ("delete", _MODEL))

_LINKS: Final = (
    (("post", f"{_TRAINING}/jobs", "201"), "job_id", "$response.body#/job_id", _OF_JOB),
    (("get", f"{_TRAINING}/jobs", "200"), "job_id", "$response.body#/jobs/0/id", _OF_JOB),
    (("post", f"{_JOB}/continue", "201"), "job_id", "$response.body#/job_id", _OF_JOB[:2]),
    (("post", f"{_TRAINING}/datasets", "201"), "dataset_id", "$response.body#/id", _OF_DATASET),
    (("get", f"{_TRAINING}/datasets", "200"), "dataset_id", "$response.body#/datasets/0/id", _OF_DATASET),
    (("post", f"{_TRAINING}/models/import", "201"), "model_id", "$response.body#/model_id", _OF_MODEL),
    (("get", f"{_TRAINING}/models", "200"), "model_id", "$response.body#/models/0/id", _OF_MODEL),
)
"""Where an id comes from, the parameter it becomes, and the routes that take it."""


def add_links(document: dict[str, Any]) -> None:
    """Write the links into the answers of an API description."""
    paths = document["paths"]
    for (method, path, status), parameter, expression, targets in _LINKS:
        links = paths[path][method]["responses"][status].setdefault("links", {})
        for target_method, target_path in targets:
            operation = paths[target_path][target_method]["operationId"]
            links[operation] = {"operationId": operation, "parameters": {parameter: expression}}
