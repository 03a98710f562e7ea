"""``heimdall job``: see and steer training jobs."""

from __future__ import annotations

import json
import time
from typing import Annotated, Any, Final

import typer

from heimdall.cli.follow import FINAL_STATUSES, JobFollower
from heimdall.cli.lookup import find_job
from heimdall.cli.options import keep_given
from heimdall.cli.output import clean_text, format_instant_local
from heimdall.cli.session import Session, add_command
from heimdall.cli.watch import print_summary, raise_for_bad_end, watch_job
from heimdall.domain.errors import ConflictError, IllegalTransitionError
from heimdall.domain.jobs import JobStatus

app = typer.Typer(
    rich_markup_mode=None, add_completion=False, no_args_is_help=True, help="List, watch, pause, resume, cancel and delete jobs."
)

JobReference = Annotated[str, typer.Argument(metavar="JOB", help="Id, beginning of an id, or name.")]
_LOG_POLL_S: Final = 0.5


@add_command(app, "list")
def list_jobs(
    session: Session,
    status: Annotated[list[JobStatus] | None, typer.Option("--status", help="Only jobs in this state; may be given again.")] = None,
    text: Annotated[str | None, typer.Option("--search", help="Only jobs with this in name, id, architecture or data set.")] = None,
    limit: Annotated[int, typer.Option(min=1, max=200, help="How many, newest first.")] = 50,
    cursor: Annotated[str | None, typer.Option(help="Go on where the last list ended (its next_cursor).")] = None,
) -> None:
    """List jobs, newest first."""
    query = keep_given({"q": text, "limit": limit, "cursor": cursor, "status": [item.value for item in status] if status else None})
    page = session.client.get("/training/jobs", query)
    session.out.result(page, lambda: _print_page(session, page))


def _print_page(session: Session, page: dict[str, Any]) -> None:
    rows = [
        (
            job["id"][:8],
            job["name"],
            describe_status(job),
            f"{job['progress_percent']:.0f} %",
            f"{job['current_epoch']}/{job['total_epochs']}",
            job.get("best_val_loss"),
            job.get("best_val_error_median_m"),
            format_instant_local(job["created_at"]),
        )
        for job in page["jobs"]
    ]
    numbers: tuple[Any, ...] = (("progress", "right"), ("epoch", "right"), ("best val loss", "right"), ("median error m", "right"))
    session.out.table(("id", "name", "status", *numbers, "created"), rows, empty="No jobs. Create one: heimdall train")
    if page.get("next_cursor"):
        session.out.remark(f"{len(page['jobs'])} of {page['total']}. More: heimdall job list --cursor {page['next_cursor']}")


@add_command(app, "show")
def show_job(session: Session, job: JobReference) -> None:
    """Show one job with everything known of it."""
    found = find_job(session.client, job)
    session.out.result(found, lambda: _print_job(session, found))


def _print_job(session: Session, job: dict[str, Any]) -> None:
    device = job.get("device") or {}
    session.out.details(
        [
            ("id", job["id"]),
            ("name", job["name"]),
            ("status", describe_status(job)),
            ("error", job.get("error_message")),
            ("progress", f"{job['progress_percent']:.1f} %, epoch {job['current_epoch']} of {job['total_epochs']}"),
            ("attempt", job["attempt"]),
            ("device", device.get("name")),
            ("data set", job["dataset_id"]),
            ("architecture", job["config"]["model_architecture"]),
            ("best epoch", job.get("best_epoch")),
            ("best validation loss", job.get("best_val_loss")),
            ("best median error, m", job.get("best_val_error_median_m")),
            ("created", format_instant_local(job["created_at"])),
            ("started", format_instant_local(job.get("started_at"))),
            ("ends about", format_instant_local(job.get("estimated_completion"))),
            ("completed", format_instant_local(job.get("completed_at"))),
            ("continued from", job.get("continued_from")),
            ("model", job.get("model_id")),
            ("settings", ", ".join(f"{name}={value}" for name, value in job["config"].items() if value is not None)),
        ]
    )
    if job.get("error_detail"):
        session.out.line("\n" + clean_text(job["error_detail"]))


@add_command(app, "watch")
def watch(
    session: Session,
    job: JobReference,
    since: Annotated[int, typer.Option(min=0, help="With --json: start after this event.")] = 0,
) -> None:
    """Watch a job to its end. With --json every frame of the socket is one line."""
    found = find_job(session.client, job)
    if session.out.as_json:
        for frame in JobFollower(session.client, found["id"], since=since).frames():
            session.out.line(json.dumps(frame, ensure_ascii=False))
        raise_for_bad_end(session.client.get(f"/training/jobs/{found['id']}"))
        return
    finished = watch_job(session, found, since=0)
    if finished is not None:
        model = session.client.get(f"/training/models/{finished['model_id']}") if finished.get("model_id") else None
        print_summary(session, finished, model)


@add_command(app, "pause")
def pause_job(session: Session, job: JobReference) -> None:
    """Pause a job between two optimizer steps; nothing is lost."""
    found = find_job(session.client, job)
    changed = session.client.post(f"/training/jobs/{found['id']}/pause")
    session.out.result(changed, lambda: session.out.line(f"'{clean_text(changed['name'])}' is {describe_status(changed)}."))


@add_command(app, "resume")
def resume_job(session: Session, job: JobReference) -> None:
    """Let a paused job go on exactly where it stopped."""
    found = find_job(session.client, job)
    changed = session.client.post(f"/training/jobs/{found['id']}/resume")
    session.out.result(changed, lambda: session.out.line(f"'{clean_text(changed['name'])}' is {describe_status(changed)}."))


@add_command(app, "cancel")
def cancel_job(session: Session, job: JobReference) -> None:
    """Cancel a job that is not final; its metrics and checkpoints stay."""
    found = find_job(session.client, job)
    if found["status"] in FINAL_STATUSES:
        raise IllegalTransitionError(f"'{found['name']}' is {found['status']} already. To remove it: heimdall job delete {found['id']}")
    # Without "expect", a cancel that comes just after the end would delete the job.
    changed = session.client.delete(f"/training/jobs/{found['id']}", {"expect": "active"})
    session.out.result(changed, lambda: session.out.line(f"'{clean_text(found['name'])}' is {describe_status(changed)}."))


@add_command(app, "continue")
def continue_job(
    session: Session,
    job: JobReference,
    epochs: Annotated[int | None, typer.Option(min=1, help="Epochs in all, more than were done; default: as before.")] = None,
    name: Annotated[str | None, typer.Option(help="Name of the new job.")] = None,
    detach: Annotated[bool, typer.Option("--detach", help="Create the job and return at once.")] = False,
) -> None:
    """Train on from the last checkpoint of a final job, as a new job."""
    found = find_job(session.client, job)
    created = session.client.post(f"/training/jobs/{found['id']}/continue", keep_given({"epochs": epochs, "job_name": name}))
    session.out.remark(f"Created job {created['id']}: {created['name']}")
    finished = None if detach else watch_job(session, created)
    if finished is None:
        session.out.result(created, lambda: session.out.line(f"Watch it: heimdall job watch {created['id']}") if detach else None)
        return
    model = session.client.get(f"/training/models/{finished['model_id']}") if finished.get("model_id") else None
    session.out.result({"job": finished, "model": model}, lambda: print_summary(session, finished, model))


@add_command(app, "delete")
def delete_job(session: Session, job: JobReference, yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")] = False) -> None:
    """Delete a final job with its metrics, checkpoints and log. Its model stays."""
    found = find_job(session.client, job)
    if found["status"] not in FINAL_STATUSES:
        raise ConflictError(
            f"'{found['name']}' is {found['status']}. Cancel it first: heimdall job cancel {found['id']}", code="job_active"
        )
    if not yes and not session.out.as_json:
        typer.confirm(f"Delete '{clean_text(found['name'])}' with its metrics, checkpoints and log?", abort=True)
    session.client.delete(f"/training/jobs/{found['id']}", {"expect": "final"})
    session.out.result({"deleted": found["id"]}, lambda: session.out.line(f"Deleted '{clean_text(found['name'])}'."))


@add_command(app, "logs")
def show_logs(
    session: Session,
    job: JobReference,
    follow: Annotated[bool, typer.Option("--follow", "-f", help="Go on until the job ends.")] = False,
) -> None:
    """Print what a job wrote. With --json every line is an object with number, timestamp and text."""
    found = find_job(session.client, job)
    path, last = f"/training/jobs/{found['id']}/logs", 0
    try:
        while True:
            # The state is read before the lines: what is final then has no line to come.
            is_over = not follow or session.client.get(f"/training/jobs/{found['id']}")["status"] in FINAL_STATUSES
            text, headers = session.client.get_text(path, {"since": last})
            last = int(headers.get("X-Last-Line", last))
            lines = parse_log(text, last)
            for line in lines:
                session.out.line(json.dumps(line, ensure_ascii=False) if session.out.as_json else clean_text(line["text"]))
            if is_over and not lines:
                if last == 0:
                    session.out.remark("The job has written nothing.")
                return
            if not lines:
                time.sleep(_LOG_POLL_S)
    except KeyboardInterrupt:
        return


def parse_log(text: str, last: int) -> list[dict[str, Any]]:
    """Return ``number timestamp text`` of each line; ``last`` is the number of the last one."""
    rows = text.split("\n")[:-1]
    first = last - len(rows) + 1
    parts = (row.partition(" ") for row in rows)
    return [{"number": first + index, "timestamp": instant, "text": words} for index, (instant, _, words) in enumerate(parts)]


def describe_status(job: dict[str, Any]) -> str:
    """Return the job's state, or what was asked of it and is not done yet."""
    asked = {"pause": "pausing", "cancel": "cancelling"}.get(job.get("pending_action") or "")
    return asked or str(job["status"])
