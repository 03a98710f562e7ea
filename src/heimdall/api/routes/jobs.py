"""Jobs: create, list, watch, pause, resume, cancel, continue, delete."""

from __future__ import annotations

from typing import Annotated, Literal

import orjson
from fastapi import APIRouter, Header, Query, Request
from starlette.concurrency import run_in_threadpool
from starlette.responses import Response

from heimdall.api.bodies import body_schema, read_json
from heimdall.api.deps import JobId, Since, check_rate, services
from heimdall.api.documentation import Route, errors
from heimdall.api.frames import write_frame
from heimdall.api.responses import entity_response, is_unchanged, json_response, make_etag, page_body
from heimdall.api.schemas import ContinueJob, CreatedJob, EventPage, JobPage, TrainingJob
from heimdall.domain.base import format_instant
from heimdall.domain.errors import IllegalTransitionError, InvalidInputError
from heimdall.domain.events import EventFrame, EventType
from heimdall.domain.jobs import Job, JobStatus, TrainingJobConfig
from heimdall.domain.ports import JobQuery, JobSort

router = APIRouter(prefix="/api/v1/training", tags=["jobs"], route_class=Route)

MAX_PAGE = 200
MAX_EVENTS = 5000


@router.get("/jobs", summary="List jobs", response_model=JobPage, responses={304: {"description": "Unchanged."}, **errors(422)})
def list_jobs(
    request: Request,
    status: Annotated[list[str], Query(description="only these states; repeat it or separate by commas")] = [],  # noqa: B006
    q: Annotated[str | None, Query(max_length=200, description="text in name, id, architecture or data set")] = None,
    dataset_id: Annotated[str | None, Query(max_length=100, description="only jobs on this data set")] = None,
    sort: Annotated[JobSort, Query(description="order of the list")] = "newest",
    limit: Annotated[int, Query(ge=1, le=MAX_PAGE, description="jobs a page")] = 50,
    cursor: Annotated[str | None, Query(max_length=1000, description="`next_cursor` of the page before")] = None,
) -> Response:
    """Return one page, without metrics. Send the ``ETag`` back as ``If-None-Match``: 304 while no job changed."""
    query = JobQuery(statuses=_read_statuses(status), text=q, dataset_id=dataset_id, sort=sort, limit=limit, cursor=cursor)
    jobs = services(request).jobs
    # Taken before the page: a change between the two makes the validator too old, never too new.
    etag = make_etag(jobs.list_fingerprint(), request.url.query)
    headers = {"ETag": etag, "Cache-Control": "no-cache"}
    if is_unchanged(request, etag):
        return Response(status_code=304, headers=headers)
    page = jobs.find(query)
    return json_response(page_body("jobs", page.items, total=page.total, next_cursor=page.next_cursor), headers=headers)


@router.post(
    "/jobs",
    summary="Create a job",
    status_code=201,
    response_model=CreatedJob,
    responses=errors(409, 413, 415, 422, 429),
    openapi_extra=body_schema(TrainingJobConfig),
)
async def create_job(
    request: Request,
    idempotency_key: Annotated[
        str | None, Header(max_length=255, description="a repeated create with the same key returns the first job")
    ] = None,
) -> Response:
    """Store a job and send it to a worker. It stays ``pending`` until one takes it."""
    check_rate(request)
    config = await read_json(request, TrainingJobConfig)
    job, _ = await run_in_threadpool(services(request).jobs.create, config, idempotency_key=idempotency_key)
    return _created(request, job)


@router.get("/jobs/{job_id}", summary="Show a job", response_model=TrainingJob, responses=errors(404))
def get_job(request: Request, job_id: JobId) -> Response:
    """Return the job as it is now; ``last_seq`` is where a socket goes on."""
    return entity_response(services(request).jobs.get(job_id))


@router.delete(
    "/jobs/{job_id}",
    summary="Cancel an active job, or delete a final one",
    response_model=TrainingJob,
    responses={204: {"description": "The final job is deleted; its model stays."}, **errors(404, 409)},
)
def delete_job(
    request: Request,
    job_id: JobId,
    expect: Annotated[
        Literal["active", "final"] | None,
        Query(description="409 where the job is not so: a cancel that comes too late must not delete"),
    ] = None,
) -> Response:
    """Active: ask for its cancellation (200). Final: delete it with its metrics, checkpoints and logs (204)."""
    jobs = services(request).jobs
    status = jobs.get(job_id).status
    if expect is not None and status.is_final != (expect == "final"):
        raise IllegalTransitionError(f"The job is {status}, which is not {expect}. Look at it again before you decide.")
    if not status.is_final:
        return entity_response(jobs.cancel(job_id))
    jobs.delete(job_id)
    return Response(status_code=204)


def pause_job(request: Request, job_id: JobId) -> Response:
    """Ask the worker to stop between two optimizer steps; ``pending_action`` says so until it has. A pending job pauses at once."""
    return entity_response(services(request).jobs.pause(job_id), 202)


def resume_job(request: Request, job_id: JobId) -> Response:
    """Put a paused job back in the queue; it goes on exactly where it stopped."""
    return entity_response(services(request).jobs.resume(job_id), 202)


for _path in ("/pause/{job_id}", "/jobs/{job_id}/pause"):
    router.add_api_route(
        _path, pause_job, methods=["POST"], summary="Pause a job", status_code=202, response_model=TrainingJob, responses=errors(404, 409)
    )
for _path in ("/resume/{job_id}", "/jobs/{job_id}/resume"):
    router.add_api_route(
        _path, resume_job, methods=["POST"], summary="Resume a job", status_code=202, response_model=TrainingJob, responses=errors(404, 409)
    )


@router.post(
    "/jobs/{job_id}/continue",
    summary="Continue a final job with a new one",
    status_code=201,
    response_model=CreatedJob,
    responses=errors(404, 409, 413, 415, 422, 429),
    openapi_extra=body_schema(ContinueJob, is_required=False),
)
async def continue_job(request: Request, job_id: JobId) -> Response:
    """Make a new job from the last checkpoint of a completed, failed or cancelled one; more epochs may be asked for."""
    check_rate(request)
    change = await read_json(request, ContinueJob, is_required=False)
    job = await run_in_threadpool(services(request).jobs.continue_job, job_id, epochs=change.epochs, job_name=change.job_name)
    return _created(request, job)


@router.get("/jobs/{job_id}/events", summary="Read a job's event log", response_model=EventPage, responses=errors(404, 422))
def list_events(
    request: Request,
    job_id: JobId,
    since: Since = 0,
    limit: Annotated[int, Query(ge=1, le=MAX_EVENTS, description="events at most")] = 1000,
    kind: Annotated[Literal["all", "lifecycle"], Query(description="lifecycle leaves out the epochs")] = "all",
) -> Response:
    """Return the frames after ``since`` in order, each as the job's socket sends it."""
    jobs = services(request).jobs
    frames: list[EventFrame] = []
    while True:
        page, last_seq = jobs.events(job_id, since=since, limit=limit)
        frames += page if kind == "all" else [frame for frame in page if frame.event is not EventType.PROGRESS]
        if kind == "all" or len(page) < limit or len(frames) >= limit:
            break
        since = page[-1].seq or last_seq
    body = [orjson.Fragment(_write(frame)) for frame in frames[:limit]]
    return json_response(orjson.dumps({"events": body, "last_seq": last_seq}))


@router.get(
    "/jobs/{job_id}/logs",
    summary="Read a job's text log",
    response_class=Response,
    responses={200: {"content": {"text/plain": {"schema": {"type": "string"}}}}, **errors(404, 422)},
)
def read_logs(request: Request, job_id: JobId, since: Since = 0) -> Response:
    """Return lines after line ``since``, each with its instant; ``X-Last-Line`` numbers the last of them."""
    lines = services(request).jobs.logs(job_id, since=since)
    text = "".join(f"{format_instant(line.timestamp)} {line.text}\n" for line in lines)
    last = lines[-1].number if lines else since
    return Response(text, headers={"X-Last-Line": str(last)}, media_type="text/plain")


def _created(request: Request, job: Job) -> Response:
    body = CreatedJob.model_construct(**job.__dict__, job_id=job.id)
    return entity_response(body, 201, {"Location": f"/api/v1/training/jobs/{job.id}"})


def _write(frame: EventFrame) -> bytes:
    return write_frame(frame.event, frame.data, timestamp=frame.timestamp, job_id=frame.job_id, seq=frame.seq, job_seq=frame.job_seq)


def _read_statuses(given: list[str]) -> frozenset[JobStatus]:
    names = [name.strip() for text in given for name in text.split(",") if name.strip()]
    known = {status.value for status in JobStatus}
    unknown = [name for name in names if name not in known]
    if unknown:
        raise InvalidInputError(f"There is no status '{unknown[0][:50]}'. Choose from: {', '.join(JobStatus)}.", field="status")
    return frozenset(JobStatus(name) for name in names)
