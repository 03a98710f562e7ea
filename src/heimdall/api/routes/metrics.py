"""Metrics of a job: for charts, and in full."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Query, Request
from starlette.responses import Response

from heimdall.api.deps import JobId, services
from heimdall.api.documentation import errors
from heimdall.api.metric_rows import write_metrics
from heimdall.api.responses import FileStream, json_response
from heimdall.domain.errors import InvalidInputError
from heimdall.domain.metrics import TrainingMetric
from heimdall.services.metrics import MAX_POINTS, MIN_POINTS

router = APIRouter(prefix="/api/v1/training/jobs/{job_id}", tags=["metrics"])


@router.get("/metrics", summary="Read a job's metrics", response_model=list[TrainingMetric], responses=errors(404, 422))
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
) -> Response:
    """Return rows by epoch, the whole run by default. A value that is not finite is null and named in ``non_finite``."""
    if until_epoch is not None and until_epoch <= since_epoch:
        raise InvalidInputError(
            "until_epoch must be greater than since_epoch, because rows after since_epoch are asked for.", field="until_epoch"
        )
    rows = services(request).metrics.find(job_id, since_epoch=since_epoch, until_epoch=until_epoch, max_points=max_points)
    return json_response(write_metrics(rows))


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
    headers = {"Content-Disposition": f"attachment; filename=metrics-{job.id}.csv"}
    return FileStream.start(container.metrics.iterate_csv(job_id), media_type="text/csv; charset=utf-8", headers=headers)
