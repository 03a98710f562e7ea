"""Shows a running job: a live bar on a terminal, one line an epoch elsewhere, nothing with ``--json``."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Final, Self

from heimdall.cli.output import Output, clean_text, format_duration, parse_instant
from heimdall.cli.table import flatten

if TYPE_CHECKING:
    from rich.console import Group
    from rich.live import Live
    from rich.progress import Progress, TaskID

    from heimdall.cli.follow import Frame

_ALL_PERCENT: Final = 100.0
_STATE_WORDS: Final = {
    "training_started": "running",
    "training_resumed": "running",
    "training_paused": "paused",
    "training_requeued": "back in the queue",
    "training_cancelled": "cancelled",
    "training_completed": "completed",
    "training_failed": "failed",
    "training_deleted": "deleted",
}


CAUSE_WORDS: Final = {
    "worker_stopped": "worker stopped, waiting for the next",
    "worker_ended": "worker lost, waiting for the next",
    "worker_silent": "worker lost, waiting for the next",
    "process_lost": "training process lost, back in the queue",
    "process_stuck": "training process hung, back in the queue",
}
"""By the ``cause`` of a ``training_requeued``; an older engine gives none."""


class JobView:
    """Draws what the frames of one job say.

    Parameters
    ----------
    out
        Where to.
    name
        The job's name.
    """

    def __init__(self, out: Output, name: str) -> None:
        self._out = out
        self._name = clean_text(name)
        self._is_live = not out.as_json and out.stdout.isatty()
        self._live: Live | None = None
        self._progress: Progress | None = None
        self._task: TaskID | None = None
        self._figures = ""
        self._state = ""
        self.job: dict[str, Any] = {}

    def __enter__(self) -> Self:
        if self._is_live:
            from rich.live import Live

            self._progress = self._make_progress()
            self._task = self._progress.add_task("", total=_ALL_PERCENT, state="", eta="")
            self._live = Live(get_renderable=self._render, console=self._out.console(), refresh_per_second=8)
            self._live.start()
        return self

    def __exit__(self, *_: object) -> None:
        if self._live is not None:
            self._live.stop()

    def _make_progress(self) -> Progress:
        from rich.progress import BarColumn, Progress, TextColumn

        return Progress(
            BarColumn(bar_width=None),
            TextColumn("[progress.percentage]{task.percentage:>3.0f} %"),
            TextColumn("{task.fields[state]}", markup=False, style="bold"),
            TextColumn("{task.fields[eta]}", markup=False, style="cyan"),
            expand=True,
        )

    def _render(self) -> Group:
        """Return three lines: whose bar it is, the bar, and the figures; 80 columns hold no two of them in one."""
        from rich.console import Group
        from rich.text import Text

        assert self._progress is not None
        name, figures = (Text(text, no_wrap=True, overflow="ellipsis") for text in (flatten(self._name), self._figures))
        return Group(name, self._progress, figures)

    def show(self, frame: Frame) -> None:
        """Take one frame."""
        event, data = frame["event"], frame["data"]
        if event == "connected":
            self.job = data["job"]
            self._state = self._describe_state(self.job)
            self._draw(self.job)
            return
        if isinstance(data.get("job"), dict):
            self.job = data["job"]
        if event == "training_progress" and data.get("epoch") is not None:
            self._show_epoch(data)
        elif event == "training_progress":
            self._draw(data, batch=data)
        else:
            self._show_change(event, data)

    def _show_epoch(self, data: dict[str, Any]) -> None:
        self._state = f"epoch {data['epoch']}/{data.get('total_epochs') or self.job.get('total_epochs', '?')}"
        self._figures = describe_figures(data)
        if not self._is_live:
            eta = describe_eta(data.get("estimated_completion"))
            self._out.remark("  ".join(filter(None, [self._state, self._figures, eta])))
        self._draw(data)

    def _show_change(self, event: str, data: dict[str, Any]) -> None:
        words = (
            CAUSE_WORDS.get(str(data.get("cause"))) or _STATE_WORDS.get(event) or self.job.get("notice") or self._describe_state(self.job)
        )
        if event in ("training_started", "training_resumed") and (self.job.get("attempt") or 1) > 1:
            words = f"running, attempt {self.job['attempt']}"
        if words and words != self._state and not self._is_live:
            self._out.remark(words)
        self._state = words
        self._draw(self.job or data)

    def show_connection(self, is_there: bool) -> None:
        """Say that the connection went or came back."""
        words = "" if is_there else "connection lost, trying again"
        if self._progress is not None and self._task is not None:
            self._progress.update(self._task, state=words or self._state)
        elif words:
            self._out.remark(words)

    def _draw(self, data: dict[str, Any], *, batch: dict[str, Any] | None = None) -> None:
        if self._progress is None or self._task is None:
            return
        state = self._state
        if batch and batch.get("total_batches"):
            state = f"epoch {batch['current_epoch']}/{self.job.get('total_epochs', '?')} {batch['batch']}/{batch['total_batches']}"
        percent = data.get("progress_percent") or 0.0
        eta = describe_eta(data.get("estimated_completion"))
        if percent >= _ALL_PERCENT and state.startswith("epoch"):
            state, eta = "writing and checking the model", ""
        self._progress.update(self._task, completed=percent, state=state, eta=eta)

    @staticmethod
    def _describe_state(job: dict[str, Any]) -> str:
        action = job.get("pending_action")
        return {"pause": "pausing", "cancel": "cancelling"}.get(action or "", str(job.get("status", "")))


def describe_figures(metric: dict[str, Any]) -> str:
    """Return ``loss 0.1234  val 0.2345  median 134 m``; a value that is no number is named, never dropped."""
    non_finite = metric.get("non_finite") or {}
    parts = []
    for label, name, unit, digits in (
        ("loss", "train_loss", "", ".4g"),
        ("val", "val_loss", "", ".4g"),
        ("median", "val_error_median_m", " m", ".1f"),
    ):
        value = metric.get(name)
        if value is not None:
            parts.append(f"{label} {value:{'.0f' if unit and value >= 1000 else digits}}{unit}")
        elif name in non_finite:
            parts.append(f"{label} {non_finite[name]}")
    return "  ".join(parts)


def describe_eta(instant: str | None, *, now: datetime | None = None) -> str:
    """Return the time left until an ISO 8601 instant, or nothing where none is known yet."""
    end = parse_instant(instant)
    if end is None:
        return ""
    return f"{format_duration((end - (now or datetime.now(UTC))).total_seconds())} left"
