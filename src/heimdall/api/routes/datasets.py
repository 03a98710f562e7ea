"""Data sets: list, preview, generate, import, delete."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import APIRouter, Query, Request
from starlette.concurrency import run_in_threadpool
from starlette.responses import Response

from heimdall.api.bodies import body_schema, media_type, read_json
from heimdall.api.deps import DatasetId, check_rate, check_room, services
from heimdall.api.documentation import Route, errors
from heimdall.api.responses import FileStream, entity_response, page_body, tagged_response
from heimdall.api.schemas import DatasetPage
from heimdall.api.uploads import read_fields, receive_multipart
from heimdall.domain.datasets import Dataset, DatasetPreview, ImportDatasetConfig, SyntheticDatasetConfig
from heimdall.domain.errors import InvalidInputError

router = APIRouter(prefix="/api/v1/training/datasets", tags=["data sets"], route_class=Route)

MAX_FILES = 64

_CREATE_SCHEMA: dict[str, Any] = {
    "requestBody": {
        "required": True,
        "content": {
            "application/json": {"schema": {"$ref": "#/components/schemas/SyntheticDatasetConfig"}},
            "multipart/form-data": {
                "schema": {"anyOf": [{"$ref": f"#/components/schemas/{form}"} for form in ("ImportDatasetForm", "VoiceDatasetForm")]}
            },
        },
    }
}


@router.get("", summary="List data sets", response_model=DatasetPage, responses={304: {"description": "Unchanged."}, **errors()})
def list_datasets(request: Request) -> Response:
    """Return all data sets, newest first: what the create dialog offers."""
    datasets = services(request).datasets.find_all()
    return tagged_response(request, page_body("datasets", datasets, total=len(datasets)))


@router.post(
    "",
    summary="Generate or import a data set",
    status_code=201,
    response_model=Dataset,
    responses=errors(409, 413, 415, 422, 429),
    openapi_extra=_CREATE_SCHEMA,
)
async def create_dataset(request: Request) -> Response:
    """Take a synthetic configuration as JSON, or the files of an importer as multipart, each as a part named ``file``.

    A synthetic configuration may come as multipart, too: its files (WAV, or archives of WAV) are then the voice that is sent.

    The data set is ``building`` until a worker has made it.
    """
    check_rate(request)
    await check_room(request)
    is_import = media_type(request) == "multipart/form-data"
    dataset = await (_import(request) if is_import else _generate(request))
    return entity_response(dataset, 201, {"Location": f"/api/v1/training/datasets/{dataset.id}"})


@router.post(
    "/preview",
    summary="Say what a simulated network can reach",
    response_model=DatasetPreview,
    responses=errors(413, 415, 422, 429),
    openapi_extra=body_schema(SyntheticDatasetConfig),
)
async def preview_dataset(
    request: Request, target_m: Annotated[float, Query(gt=0, le=1e6, description="m, 68 % radius asked for")] = 30.0
) -> Response:
    """Return the physical limit of a synthetic configuration in figures and sentences; nothing is stored."""
    check_rate(request)
    config = await read_json(request, SyntheticDatasetConfig)
    return entity_response(await run_in_threadpool(services(request).datasets.preview, config, target_m))


@router.get("/{dataset_id}", summary="Show a data set", response_model=Dataset, responses=errors(404))
def get_dataset(request: Request, dataset_id: DatasetId) -> Response:
    """Return the data set with its features, receivers, split and import report."""
    return entity_response(services(request).datasets.get(dataset_id))


@router.delete("/{dataset_id}", summary="Delete a data set", status_code=204, responses=errors(404, 409))
def delete_dataset(request: Request, dataset_id: DatasetId) -> Response:
    """Remove the data set and its files; 409 while active jobs use it."""
    services(request).datasets.delete(dataset_id)
    return Response(status_code=204)


@router.get(
    "/{dataset_id}/export",
    summary="Export a data set as SigMF",
    response_class=Response,
    responses={200: {"content": {"application/x-tar": {"schema": {"type": "string", "format": "binary"}}}}, **errors(404, 409, 422)},
)
def export_dataset(
    request: Request,
    dataset_id: DatasetId,
    max_examples: Annotated[int | None, Query(ge=1, le=10_000_000, description="only so many, from the first on")] = None,
) -> Response:
    """Stream the samples of a data set as a tar of SigMF collections, one an example; import it as `recordings`."""
    name, chunks = services(request).datasets.export_sigmf(dataset_id, max_examples=max_examples)
    headers = {"Content-Disposition": f"attachment; filename={name}"}
    return FileStream.start(chunks, media_type="application/x-tar", headers=headers)


async def _generate(request: Request) -> Dataset:
    config = await read_json(request, SyntheticDatasetConfig)
    return await run_in_threadpool(services(request).datasets.create_synthetic, config)


async def _import(request: Request) -> Dataset:
    async with receive_multipart(request, max_files=MAX_FILES) as upload:
        if upload.fields.get("kind") == "synthetic":
            voice = [(file.name, file.path) for file in upload.files]
            return await run_in_threadpool(services(request).datasets.create_synthetic, read_fields(upload, SyntheticDatasetConfig), voice)
        config = read_fields(upload, ImportDatasetConfig)
        if not upload.files:
            raise InvalidInputError("No file came with the request. Send each one as a part named 'file'.", field="file")
        files = [(file.name, file.path) for file in upload.files]
        return await run_in_threadpool(services(request).datasets.create_import, config, files)
