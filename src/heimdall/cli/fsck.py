"""``heimdall fsck``: rows against files, and what to do about the differences."""

from __future__ import annotations

from datetime import timedelta
from typing import Annotated, Any

import typer

from heimdall.cli.output import Output, clean_text
from heimdall.cli.session import AsJson, load_settings
from heimdall.cli.up import DataDir
from heimdall.domain.errors import HeimdallError

app = typer.Typer(rich_markup_mode=None, add_completion=False)


class DamageFoundError(HeimdallError):
    """Something is not as it should be and was not repaired."""

    code = "damage_found"


@app.command("fsck")
def examine(
    repair: Annotated[bool, typer.Option("--repair", help="Repair what can be; without it nothing is changed.")] = False,
    deep: Annotated[bool, typer.Option("--deep", help="Read every byte and compare hashes.")] = False,
    grace_minutes: Annotated[float, typer.Option(min=1, help="Files younger than this are left alone.")] = 60.0,
    data_dir: DataDir = None,
    as_json: AsJson = False,
) -> None:
    """Compare rows with files; safe while everything runs. Each finding says what --repair does."""
    from heimdall.bootstrap import build_container
    from heimdall.services.fsck import Fsck

    out = Output(as_json=as_json)
    container = build_container(load_settings(data_dir=data_dir))
    rows: list[dict[str, Any]] = []
    num_repairable = 0
    try:
        grace = timedelta(minutes=grace_minutes)
        fsck = Fsck(store=container.store, artifacts=container.artifacts, clock=container.clock, grace=grace)
        for finding in list(fsck.find(is_deep=deep)):
            is_repaired = bool(repair and finding.repair is not None and finding.repair())
            num_repairable += finding.repair is not None
            rows.append({"code": finding.code, "subject": finding.subject, "sentence": finding.sentence, "is_repaired": is_repaired})
            if not as_json:
                out.line(f"{'repaired' if is_repaired else 'found':<8}  {clean_text(finding.sentence)}")
    finally:
        container.close()
    left = sum(not row["is_repaired"] for row in rows)
    can_repair = not repair and num_repairable > 0
    out.result({"findings": rows, "num_left": left}, lambda: out.line(f"{len(rows)} found, {len(rows) - left} repaired."))
    if left:
        raise DamageFoundError(f"{left} finding(s) are not repaired." + (" Run it again with --repair." if can_repair else ""))
