"""A progress bar for bytes and percents; silent with ``--json`` and where nobody looks."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Self

from heimdall.domain.errors import ConflictError, InvalidInputError

if TYPE_CHECKING:
    from rich.progress import Progress, TaskID

    from heimdall.cli.output import Output


class TransferBar:
    """Shows how far something of known size is.

    Parameters
    ----------
    out
        Where to.
    label
        What it is.
    total
        Size in the unit of :meth:`advance`; None where unknown.
    """

    def __init__(self, out: Output, label: str, total: float | None) -> None:
        self._out = out
        self._label = label
        self._total = total
        self._progress: Progress | None = None
        self._task: TaskID | None = None

    def __enter__(self) -> Self:
        if self._out.as_json or not self._out.stdout.isatty():
            self._out.remark(f"{self._label} …")
            return self
        from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeRemainingColumn

        columns = (TextColumn("{task.description}", markup=False), BarColumn(), TaskProgressColumn(), TimeRemainingColumn())
        self._progress = Progress(*columns, console=self._out.console(), transient=True)
        self._task = self._progress.add_task(self._label, total=self._total)
        self._progress.start()
        return self

    def __exit__(self, *_: object) -> None:
        if self._progress is not None:
            self._progress.stop()

    def advance(self, amount: float) -> None:
        """Say that ``amount`` more is done."""
        if self._progress is not None and self._task is not None:
            self._progress.advance(self._task, amount)


def pick_target(output: Path | None, name: str, *, force: bool) -> Path:
    """Return where a download goes: into the folder or file that was named, else under its own name here.

    Raises
    ------
    ConflictError
        Where it is there already, and must not be replaced.
    InvalidInputError
        Where its folder is not there.
    """
    target = output / name if output and output.is_dir() else output or Path(name)
    if target.exists() and not force:
        raise ConflictError(f"{target} is there already. Replace it with --force, or name another file with --output.", field="output")
    if not target.parent.is_dir():
        raise InvalidInputError(f"There is no folder {target.parent}.", field="output")
    return target
