"""Writes the API description: ``python -m heimdall.api.openapi > openapi.json``. Needs no database and no services."""

from __future__ import annotations

import sys
from typing import Any, Final

import orjson
from fastapi import FastAPI
from pydantic import BaseModel
from pydantic.json_schema import models_json_schema

import heimdall
from heimdall.api.documentation import Route
from heimdall.api.errors import ERROR_TEXTS
from heimdall.api.links import add_links
from heimdall.api.routes import add_api_routes
from heimdall.api.schemas import ContinueJob, Problem, RenameModel
from heimdall.domain.datasets import ImportDatasetConfig, SyntheticDatasetConfig
from heimdall.domain.events import EventFrame
from heimdall.domain.jobs import TrainingJobConfig
from heimdall.domain.metrics import TrainingMetric
from heimdall.domain.models import ExportOptions

_REF: Final = "#/components/schemas/{model}"
_INPUTS: Final[tuple[type[BaseModel], ...]] = (
    TrainingJobConfig, ContinueJob, RenameModel, SyntheticDatasetConfig, ImportDatasetConfig, ExportOptions,
)  # fmt: skip
"""Read by the server: a field with a default may be left out. In every other schema all fields are always there."""
_OUTPUTS: Final[tuple[type[BaseModel], ...]] = (Problem, EventFrame, TrainingMetric)
_DESCRIPTION: Final = """Trains neural networks that find radio transmitters.

Errors are `Problem {code, detail, field}`. Instants are UTC, ISO 8601 with `Z`. An empty query parameter counts as absent.
Sockets: `/ws/training/{job_id}?since=SEQ` (without `since`: the job's whole log) and `/ws/training?since=SEQ` for all jobs
(without `since`: from now on), each message an `EventFrame`; first `connected`, then every event after `since`, then live.
`docs/reference/events.md` lists all events.

Before any route a request may be refused for its size or slowness (408, 414, 431), or where too many connections are open
(503): `docs/howto/expose.md`.
"""


_SECURITY: Final = (
    "The server's token (`HEIMDALL_TOKEN`) or a token of its OpenID Connect provider. Not needed on a server that listens on its own "
    "machine alone and has neither. In the browser a cookie stands for it. 403 names the role that is needed."
)


def describe_api() -> dict[str, Any]:
    """Return the OpenAPI document, the same text for the same code."""
    app = FastAPI(
        title="Heimdall",
        version=heimdall.__version__,
        description=_DESCRIPTION,
        separate_input_output_schemas=False,
        redirect_slashes=False,
    )
    add_api_routes(app)
    app.router.routes[:] = [route.described() if isinstance(route, Route) else route for route in app.router.routes]
    document = app.openapi()
    schemas = document["components"]["schemas"]
    for model in (*_INPUTS, *_OUTPUTS):
        schemas.pop(model.__name__, None)
    _, extra = models_json_schema([(model, "validation") for model in (*_INPUTS, *_OUTPUTS)], ref_template=_REF)
    schemas.update(extra["$defs"])
    for unused in ("HTTPValidationError", "ValidationError"):
        schemas.pop(unused, None)
    inputs = {model.__name__ for model in _INPUTS}
    for name, schema in schemas.items():
        _drop_titles(schema)
        if name not in inputs and "properties" in schema:
            schema["required"] = sorted(schema["properties"])
    _add_upload_form(schemas)
    for address, path in document["paths"].items():
        for operation in path.values():
            _describe_errors(operation, is_free="/health/" in address)
    document["components"]["securitySchemes"] = {"bearer": {"type": "http", "scheme": "bearer", "description": _SECURITY}}
    document["security"] = [{"bearer": []}]
    add_links(document)
    return document


def write_openapi() -> bytes:
    """Return the document as it is committed: sorted, indented, with a final newline."""
    return orjson.dumps(describe_api(), option=orjson.OPT_SORT_KEYS | orjson.OPT_INDENT_2 | orjson.OPT_APPEND_NEWLINE)


def _add_upload_form(schemas: dict[str, Any]) -> None:
    """Describe the form that imports a data set: the fields of its configuration, and its files."""
    config = schemas["ImportDatasetConfig"]
    files = {
        "type": "array",
        "items": {"type": "string", "format": "binary"},
        "minItems": 1,
        "description": "Each file as a part of this name.",
    }
    schemas["ImportDatasetForm"] = {
        **config,
        "description": "An import of measurements: how to read the files, and the files themselves.",
        "properties": {**config["properties"], "file": files},
        "required": [*config.get("required", []), "file"],
    }
    config = schemas["SyntheticDatasetConfig"]
    schemas["VoiceDatasetForm"] = {
        **config,
        "description": "A simulation of voice, and the recordings that are sent.",
        "properties": {**config["properties"], "file": files},
        "required": [*config.get("required", []), "kind", "file"],
    }


def _describe_errors(operation: dict[str, Any], *, is_free: bool) -> None:
    everywhere = (400,) if is_free else (400, 401, 403, 429)
    for status in everywhere:
        operation["responses"].setdefault(str(status), {"description": ERROR_TEXTS[status]})
    if is_free:
        operation["security"] = []
    problem = {"application/json": {"schema": {"$ref": _REF.format(model="Problem")}}}
    for status, response in operation["responses"].items():
        if status[0] in "45" and "Readiness" not in str(response.get("content")):
            response["content"] = problem
        if status in ("204", "304"):
            response.pop("content", None)


def _drop_titles(schema: dict[str, Any]) -> None:
    """Remove the titles that pydantic makes of field names: they say nothing."""
    for field in schema.get("properties", {}).values():
        if isinstance(field, dict):
            field.pop("title", None)


if __name__ == "__main__":
    sys.stdout.buffer.write(write_openapi())
