"""Watching a job to its end, for ``train`` and ``job watch``."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from heimdall.cli.follow import JobFollower
from heimdall.cli.output import clean_text, format_metres, format_span
from heimdall.cli.progress import JobView
from heimdall.domain.errors import HeimdallError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from heimdall.cli.output import Output
    from heimdall.cli.session import Session


class JobEndedBadlyError(HeimdallError):
    """The job that was watched failed or was cancelled."""

    code = "job_failed"


def watch_job(session: Session, job: dict[str, Any], *, since: int = 0) -> dict[str, Any] | None:
    """Follow a job to its end and return it; None where the person let go with Ctrl-C (the job goes on).

    Raises
    ------
    JobEndedBadlyError
        The job failed or was cancelled.
    """
    out = session.out
    try:
        with JobView(out, job["name"]) as view:
            follower = JobFollower(session.client, job["id"], since=since, on_connection=view.show_connection)
            for frame in follower.frames():
                view.show(frame)
    except KeyboardInterrupt:
        short = job["id"]
        out.remark(
            f"\nLet go of '{job['name']}'; it goes on. Watch it again: heimdall job watch {short}\n"
            f"Pause it: heimdall job pause {short}    Cancel it: heimdall job cancel {short}"
        )
        return None
    # The row has what no single event has (device, model); a deleted job is no more than its last frame.
    return raise_for_bad_end(view.job if view.job.get("status") == "deleted" else session.client.get(f"/training/jobs/{job['id']}"))


def raise_for_bad_end(job: dict[str, Any]) -> dict[str, Any]:
    """Return a job that did not fail.

    Raises
    ------
    JobEndedBadlyError
        With the job's own sentence.
    """
    if job["status"] == "failed":
        raise JobEndedBadlyError(f"'{job['name']}' failed: {job.get('error_message') or 'no reason was stored'}")
    if job["status"] == "cancelled":
        raise JobEndedBadlyError(f"'{job['name']}' was cancelled after {job['current_epoch']} epochs.", code="job_cancelled")
    return dict(job)


def print_summary(session: Session, job: dict[str, Any], model: dict[str, Any] | None) -> None:
    """Print what came of a completed job."""
    metrics = (model or {}).get("final_metrics") or {}
    session.out.line()
    session.out.details(
        [
            ("job", f"{job['name']} ({job['id']})"),
            ("status", job["status"]),
            ("epochs", f"{job['current_epoch']} of {job['total_epochs']}, best {job.get('best_epoch')}"),
            ("time", format_span(job.get("started_at"), job.get("completed_at"))),
            ("best validation loss", job.get("best_val_loss")),
            ("median error", format_metres(metrics.get("val_error_median_m", job.get("best_val_error_median_m")))),
            ("68 % within", format_metres(metrics.get("val_error_p68_m"))),
            ("model", f"{model['name']} v{model['version']} ({model['id']})" if model else job.get("model_id")),
        ]
    )
    print_baselines(session.out, (model or {}).get("baselines") or [])
    if model:
        session.out.line(f"Take it with you: heimdall model export {model['id']}")


def print_baselines(out: Output, baselines: Sequence[dict[str, Any]]) -> None:
    """Print what classical methods reach on the same held-out examples."""
    for baseline in baselines:
        error = format_metres(baseline.get("error_median_m"))
        words = f"median error {error}" if error else f"does not apply here. {baseline.get('reason') or 'It was not run.'}"
        out.line(f"  beside it: {clean_text(baseline['name'])}, {clean_text(words)}")
