"""Models: list, look, rename, delete, export and import."""

from __future__ import annotations

from contextlib import AsyncExitStack
from pathlib import Path
from typing import Annotated, Any

import orjson
from fastapi import APIRouter, Query, Request
from starlette.concurrency import run_in_threadpool
from starlette.responses import Response

from heimdall.api.bodies import body_schema, read_json
from heimdall.api.deps import ModelId, check_rate, check_room, services
from heimdall.api.documentation import Route, errors
from heimdall.api.import_stream import LINES_SCHEMA, LINES_TYPE, stream_import, wants_lines
from heimdall.api.measurements import Measurements
from heimdall.api.ratelimit import Gate
from heimdall.api.responses import FileStream, entity_response, json_response, page_body, tagged_response
from heimdall.api.schemas import ImportResult, ModelPage, RenameModel
from heimdall.api.uploads import UPLOAD_SCHEMA, receive_bundle
from heimdall.domain.errors import HeimdallError
from heimdall.domain.models import ExportOptions, OnCheck, TrainedModelDetail

router = APIRouter(prefix="/api/v1/training/models", tags=["models"], route_class=Route)


@router.get("", summary="List models", response_model=ModelPage, responses={304: {"description": "Unchanged."}, **errors()})
def list_models(request: Request) -> Response:
    """Return all models, newest first, without their detail."""
    models = services(request).models.find_all()
    return tagged_response(request, page_body("models", models, total=len(models)))


@router.post(
    "/import",
    summary="Import a bundle",
    status_code=201,
    response_model=ImportResult,
    responses={
        200: {
            "description": "The same bundle is already here; or the lines of an import, whose last line says how it ended.",
            "model": ImportResult,
            "content": {LINES_TYPE: {"schema": LINES_SCHEMA}},
        },
        **errors(409, 413, 415, 422, 429),
    },
    openapi_extra=UPLOAD_SCHEMA,
)
async def import_model(request: Request) -> Response:
    """Check a ``.heimdall`` file, run its model in a limited child process, and store it. A failure leaves nothing and names the check.

    With ``Accept: application/x-ndjson`` each check is told as it is done, a line of JSON for each.
    """
    check_rate(request, is_bundle=True)
    await check_room(request)
    gate: Gate = request.app.state.import_gate
    measurements: Measurements = request.app.state.measurements
    async with AsyncExitStack() as stack:
        path = await stack.enter_async_context(receive_bundle(request))
        await stack.enter_async_context(gate.enter())

        async def work(on_check: OnCheck | None = None) -> tuple[int, ImportResult]:
            with measurements.import_seconds.time():
                model, is_new = await _import(request, measurements, path, on_check)
            return 201 if is_new else 200, ImportResult(model_id=model.id, verification=model.verification, model=model)

        if wants_lines(request):
            return stream_import(work, stack.pop_all())
        status, result = await work()
    return entity_response(result, status, {"Location": f"/api/v1/training/models/{result.model_id}"})


@router.get("/{model_id}", summary="Show a model", response_model=TrainedModelDetail, responses=errors(404))
def get_model(request: Request, model_id: ModelId) -> Response:
    """Return a model with its inputs, outputs, lineage, baselines and verification."""
    return entity_response(services(request).models.get(model_id))


@router.patch(
    "/{model_id}",
    summary="Rename a model",
    response_model=TrainedModelDetail,
    responses=errors(404, 409, 413, 415, 422),
    openapi_extra=body_schema(RenameModel),
)
async def rename_model(request: Request, model_id: ModelId) -> Response:
    """Give the model another name; its version is the next one under that name."""
    change = await read_json(request, RenameModel)
    return entity_response(await run_in_threadpool(services(request).models.rename, model_id, change.name))


@router.delete("/{model_id}", summary="Delete a model", status_code=204, responses=errors(404, 409))
def delete_model(
    request: Request,
    model_id: ModelId,
    confirm_name: Annotated[str | None, Query(max_length=255, description="the model's name, needed while the model is in use")] = None,
) -> Response:
    """Remove the model and its files; jobs keep their history. A model in use asks for its name (409, code ``confirm_name``)."""
    services(request).models.delete(model_id, confirm_name=confirm_name)
    return Response(status_code=204)


@router.get(
    "/{model_id}/export",
    summary="Export a model as a bundle",
    response_class=Response,
    responses={200: {"content": {"application/octet-stream": {"schema": {"type": "string", "format": "binary"}}}}, **errors(404, 422)},
)
def export_model(request: Request, model_id: ModelId, options: Annotated[ExportOptions, Query()]) -> Response:
    """Stream a ``.heimdall`` file, named after the model and its version."""
    name, chunks = services(request).bundles.export(model_id, options)
    headers = {"Content-Disposition": f"attachment; filename={name}"}
    return FileStream.start(chunks, media_type="application/octet-stream", headers=headers)


@router.get("/{model_id}/evaluation", summary="Show truth and prediction of a model", response_model=dict[str, Any], responses=errors(404))
def get_evaluation(request: Request, model_id: ModelId) -> Response:
    """Return what the model said on the held-out examples, beside the truth, in the model's local frame.

    An ellipse that is to hold the share ``ellipse_levels[k]`` is that of ``covariance_m2`` with a radius of ``ellipse_radii[k]`` standard
    deviations, as calibration found it (1.18, 1.51 and 2.45 where a Gaussian's are right). Both are null of models trained before these
    were kept.
    """
    return json_response(orjson.dumps(services(request).models.evaluation(model_id), option=orjson.OPT_SERIALIZE_NUMPY))


async def _import(request: Request, measurements: Measurements, path: Path, on_check: OnCheck | None) -> tuple[TrainedModelDetail, bool]:
    try:
        model, is_new = await run_in_threadpool(services(request).bundles.import_file, path, on_check)
    except HeimdallError as error:
        measurements.import_verdicts.labels(error.code).inc()
        raise
    verdict = model.verification.status if is_new and model.verification is not None else "unverified" if is_new else "known"
    measurements.import_verdicts.labels(verdict).inc()
    return model, is_new
