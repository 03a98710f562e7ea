"""``heimdall job``: see and steer training jobs."""

from __future__ import annotations

import json
import time
from typing import Annotated, Any, Final

import typer

from heimdall.cli.confirm import Yes, confirm_loss
from heimdall.cli.follow import FINAL_STATUSES, JobFollower
from heimdall.cli.lookup import find_job
from heimdall.cli.options import keep_given
from heimdall.cli.output import clean_text, count, format_instant_local, format_metres, format_size, format_span
from heimdall.cli.session import Session, add_command
from heimdall.cli.table import Column
from heimdall.cli.watch import print_summary, raise_for_bad_end, watch_job
from heimdall.domain.errors import ConflictError, IllegalTransitionError
from heimdall.domain.jobs import JobStatus

app = typer.Typer(
    rich_markup_mode=None, add_completion=False, no_args_is_help=True, help="List, watch, pause, resume, cancel and delete jobs."
)


def complete_statuses(incomplete: str) -> list[str]:
    """Return what a shell may complete the last of several states to."""
    done, comma, begun = incomplete.rpartition(",")
    return [f"{done}{comma}{status}" for status in JobStatus if status.startswith(begun)]


JobReference = Annotated[str, typer.Argument(metavar="JOB", help="Id, beginning of an id, or name.")]
_LOG_POLL_S: Final = 0.5
_SHOWN_ABOVE: Final = frozenset({"job_name", "dataset_id", "model_architecture"})


@add_command(app, "list")
def list_jobs(
    session: Session,
    status: Annotated[
        list[str] | None,
        typer.Option(
            "--status",
            metavar="STATUS",
            autocompletion=complete_statuses,
            help=f"Only jobs in these states, separated by commas: {', '.join(JobStatus)}.",
        ),
    ] = None,
    text: Annotated[str | None, typer.Option("--search", help="Only jobs with this in name, id, architecture or data set.")] = None,
    limit: Annotated[int, typer.Option(min=1, max=200, help="How many, newest first.")] = 50,
    cursor: Annotated[str | None, typer.Option(help="Go on where the last list ended (its next_cursor).")] = None,
) -> None:
    """List jobs, newest first."""
    query = keep_given({"q": text, "limit": limit, "cursor": cursor, "status": read_statuses(status or []) or None})
    page = session.client.get("/training/jobs", query)
    session.out.result(page, lambda: _print_page(session, page))


def read_statuses(given: list[str]) -> list[str]:
    """Return the states of ``--status a,b --status c``. BadParameter names one that there is not."""
    names = [name.strip() for text in given for name in text.split(",") if name.strip()]
    unknown = next((name for name in names if name not in set(JobStatus)), None)
    if unknown is not None:
        raise typer.BadParameter(f"there is no state '{unknown}'. Choose from: {', '.join(JobStatus)}.", param_hint="--status")
    return names


def _print_page(session: Session, page: dict[str, Any]) -> None:
    columns = (
        Column("id"),
        Column("name", is_name=True),
        Column("status"),
        Column("done", is_number=True, rank=1),
        Column("epoch", is_number=True),
        Column("best val loss", is_number=True, rank=2),
        Column("median error", is_number=True),
        Column("created", rank=3),
    )
    rows = [
        (
            job["id"][:8],
            job["name"],
            describe_status(job),
            f"{job['progress_percent']:.0f} %",
            f"{job['current_epoch']}/{job['total_epochs']}",
            job.get("best_val_loss"),
            format_metres(job.get("best_val_error_median_m")),
            format_instant_local(job["created_at"]),
        )
        for job in page["jobs"]
    ]
    session.out.table(columns, rows, empty="No jobs. Create one: heimdall train")
    if page.get("next_cursor"):
        session.out.remark(f"{len(page['jobs'])} of {page['total']}. More: heimdall job list --cursor {page['next_cursor']}")


@add_command(app, "show")
def show_job(session: Session, job: JobReference) -> None:
    """Show one job with everything known of it."""
    found = find_job(session.client, job)
    session.out.result(found, lambda: _print_job(session, found))


def _print_job(session: Session, job: dict[str, Any]) -> None:
    device, config = job.get("device") or {}, job["config"]
    session.out.details(
        [
            ("id", job["id"]),
            ("name", job["name"]),
            ("status", describe_status(job)),
            ("error", job.get("error_message")),
            ("notice", job.get("notice")),
            ("progress", f"{job['progress_percent']:.0f} %, epoch {job['current_epoch']} of {job['total_epochs']}"),
            ("attempt", job["attempt"]),
            ("device", device.get("name")),
            ("data set", job["dataset_id"]),
            ("architecture", config["model_architecture"]),
            ("best epoch", job.get("best_epoch")),
            ("best validation loss", job.get("best_val_loss")),
            ("best median error", format_metres(job.get("best_val_error_median_m"))),
            ("created", format_instant_local(job["created_at"])),
            ("started", format_instant_local(job.get("started_at"))),
            ("ends about", format_instant_local(job.get("estimated_completion"))),
            ("completed", format_instant_local(job.get("completed_at"))),
            ("took", format_span(job.get("started_at"), job.get("completed_at"))),
            ("continued from", job.get("continued_from")),
            ("model", job.get("model_id")),
        ]
    )
    session.out.line("settings")
    session.out.details([(f"  {name}", value) for name, value in config.items() if name not in _SHOWN_ABOVE])
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
def delete_job(session: Session, job: JobReference, yes: Yes = False) -> None:
    """Delete a final job with its metrics, checkpoints and log. Its model stays."""
    found = find_job(session.client, job)
    if found["status"] not in FINAL_STATUSES:
        raise ConflictError(
            f"'{found['name']}' is {found['status']}. Cancel it first: heimdall job cancel {found['id']}", code="job_active"
        )
    confirm_loss(session, describe_job_loss(found), yes=yes)
    session.client.delete(f"/training/jobs/{found['id']}", {"expect": "final"})
    session.out.result({"deleted": found["id"]}, lambda: session.out.line(f"Deleted '{clean_text(found['name'])}'."))


def describe_job_loss(job: dict[str, Any]) -> str:
    """Return what goes with a job and what stays."""
    checkpoint = job.get("checkpoint")
    size = f" ({format_size(checkpoint['size_bytes'])} for epoch {checkpoint['epoch']})" if checkpoint else ""
    loss = f"'{job['name']}', {job['status']}: the metrics of {count(job['current_epoch'], 'epoch')}, its checkpoints{size} and its log."
    end = " It cannot be continued any more." if checkpoint else ""
    return loss + end + (f" Its model {job['model_id'][:8]} stays." if job.get("model_id") else " It has no model.")


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
                    session.out.remark("There is no line of this job: it has written nothing, or its log was removed by age.")
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
