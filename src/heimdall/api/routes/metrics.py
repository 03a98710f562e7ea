"""Metrics of a job: for charts, and in full."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Query, Request
from starlette.responses import Response

from heimdall.api.deps import JobId, services
from heimdall.api.documentation import Route, errors
from heimdall.api.metric_rows import write_rows
from heimdall.api.responses import FileStream, is_unchanged, json_response, make_etag
from heimdall.domain.base import make_file_stem
from heimdall.domain.errors import InvalidInputError
from heimdall.domain.metrics import VALUE_FIELDS, TrainingMetric
from heimdall.services.metrics import MAX_POINTS, MIN_POINTS

router = APIRouter(prefix="/api/v1/training/jobs/{job_id}", tags=["metrics"], route_class=Route)


@router.get(
    "/metrics",
    summary="Read a job's metrics",
    response_model=list[TrainingMetric],
    responses={304: {"description": "Unchanged."}, **errors(404, 422)},
)
def list_metrics(
    request: Request,
    job_id: JobId,
    since_epoch: Annotated[int, Query(ge=0, description="only epochs after this one")] = 0,
    until_epoch: Annotated[int | None, Query(ge=1, description="only epochs up to and with this one")] = None,
    max_points: Annotated[
        int | None,
        Query(
            ge=MIN_POINTS, le=MAX_POINTS, description="rows at most: thinned so that every series keeps its minima, maxima, first and last"
        ),
    ] = None,
    series: Annotated[
        str | None, Query(max_length=500, description="only these values, by name, separated by commas: smaller, finer where thinned")
    ] = None,
) -> Response:
    """Return rows by epoch, the whole run by default. A value that is not finite is null and named in ``non_finite``.

    Send the ``ETag`` back as ``If-None-Match``: 304 while the job did not change.
    """
    if until_epoch is not None and until_epoch <= since_epoch:
        raise InvalidInputError(
            "until_epoch must be greater than since_epoch, because rows after since_epoch are asked for.", field="until_epoch"
        )
    names = _read_series(series)
    with services(request).metrics.open(job_id) as reading:
        etag = make_etag(job_id, str(reading.version), request.url.query)
        headers = {"ETag": etag, "Cache-Control": "no-cache"}
        if is_unchanged(request, etag):
            return Response(status_code=304, headers=headers)
        chunks = reading.iterate(series=names, since_epoch=since_epoch, until_epoch=until_epoch, max_points=max_points)
        body = write_rows(job_id, names, chunks)
    return json_response(body, headers=headers)


@router.get(
    "/metrics.csv",
    summary="Download a job's metrics",
    response_class=Response,
    responses={200: {"content": {"text/csv": {"schema": {"type": "string"}}}}, **errors(404)},
)
def download_metrics(request: Request, job_id: JobId) -> Response:
    """Stream every epoch in full resolution. A value that is not finite is written as ``nan``, ``inf`` or ``-inf``."""
    container = services(request)
    job = container.jobs.get(job_id)
    headers = {"Content-Disposition": f"attachment; filename={make_file_stem(job.name) or job.id}-metrics.csv"}
    return FileStream.start(container.metrics.iterate_csv(job_id), media_type="text/csv; charset=utf-8", headers=headers)


def _read_series(given: str | None) -> tuple[str, ...]:
    """Return the wanted series in the order of storage, all of them where none is named."""
    if given is None:
        return VALUE_FIELDS
    names = {name.strip() for name in given.split(",")} - {""}
    unknown = sorted(names - set(VALUE_FIELDS))
    if unknown or not names:
        what = f"There is no series '{unknown[0][:50]}'." if unknown else "No series is named."
        raise InvalidInputError(f"{what} Choose from: {', '.join(VALUE_FIELDS)}.", field="series")
    return tuple(name for name in VALUE_FIELDS if name in names)
