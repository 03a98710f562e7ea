"""``heimdall audit``: who did what on the server, newest first."""

from __future__ import annotations

from typing import Annotated, Any, Final

import typer

from heimdall.cli.output import format_instant_local
from heimdall.cli.session import Session, add_command
from heimdall.cli.table import Column

app = typer.Typer(rich_markup_mode=None, add_completion=False)

_PAGE = 1000


@add_command(app, "audit")
def list_audit(
    session: Session,
    limit: Annotated[int, typer.Option(min=1, help="Entries at most.")] = 50,
    who: Annotated[str | None, typer.Option(help="Only what this one did.")] = None,
    action: Annotated[str | None, typer.Option(help="Only this kind of act: create, pause, delete, export, import, ...")] = None,
    subject: Annotated[str | None, typer.Option(metavar="ID", help="Only what was done to this job, data set or model.")] = None,
) -> None:
    """Show who did what, newest first. The server shows it to administrators."""
    asked = {name: value for name, value in {"who": who, "action": action, "subject_id": subject}.items() if value is not None}
    entries: list[dict[str, Any]] = []
    before: int | None = None
    while len(entries) < limit:
        page = session.client.get("/audit", {**asked, "limit": min(_PAGE, limit - len(entries)), **({"before": before} if before else {})})
        entries += page["entries"]
        before = page["next_before"]
        if before is None:
            break
    session.out.result({"entries": entries}, lambda: _show(session, entries))


_COLUMNS: Final = (
    Column("when"),
    Column("who", is_name=True),
    Column("role", rank=2),
    Column("from", rank=3),
    Column("did"),
    Column("to", rank=1),
    Column("name", is_name=True),
    Column("id"),
)


def _show(session: Session, entries: list[dict[str, Any]]) -> None:
    rows = [
        (
            format_instant_local(entry["timestamp"]),
            entry["name"] or entry["who"],
            entry["role"],
            entry["client"],
            entry["action"].replace("_", " "),
            entry["subject"],
            entry["subject_name"] or (entry["detail"] or {}).get("reason"),
            (entry["subject_id"] or "")[:8] or None,
        )
        for entry in entries
    ]
    session.out.table(_COLUMNS, rows, empty="Nothing was done yet.")
