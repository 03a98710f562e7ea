"""``heimdall backup`` and ``heimdall restore``: the whole instance in one file, and back."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from heimdall.cli.output import Output, format_size
from heimdall.cli.session import AsJson, load_settings
from heimdall.cli.transfer import TransferBar
from heimdall.cli.up import DataDir

if TYPE_CHECKING:
    from heimdall.domain.backups import BackupManifest

app = typer.Typer(rich_markup_mode=None, add_completion=False)

BackupPath = Annotated[Path, typer.Argument(metavar="PATH", help="The backup, one .tar file.")]


@app.command("backup")
def write_backup(
    path: Annotated[Path, typer.Argument(metavar="PATH", help="File to write, or a folder that gets a file named by the time.")],
    skip_damaged: Annotated[bool, typer.Option("--skip-damaged", help="Leave out what is missing or changed, and name it.")] = False,
    data_dir: DataDir = None,
    as_json: AsJson = False,
) -> None:
    """Save every row and every file that belongs to one, as they are at one moment. Jobs go on meanwhile."""
    from heimdall.bootstrap import build_container, make_backups

    out = Output(as_json=as_json)
    settings = load_settings(data_dir=data_dir)
    container = build_container(settings)
    try:
        with TransferBar(out, "Saving", None) as bar:
            target, manifest = make_backups(container).write(path, skip_damaged=skip_damaged, progress=bar.advance)
    finally:
        container.close()

    def show() -> None:
        out.line(f"Wrote {target} ({format_size(target.stat().st_size)}): {_describe(manifest)}.")
        for item in manifest.left_out:
            out.line(f"  left out {item.key}: {item.reason}")

    out.result({"path": str(target), **_to_json(manifest)}, show)


@app.command("restore")
def restore_backup(
    path: BackupPath,
    replace: Annotated[bool, typer.Option("--replace", help="Replace everything that is here.")] = False,
    check: Annotated[bool, typer.Option("--check", help="Only verify the backup; touch nothing.")] = False,
    data_dir: DataDir = None,
    as_json: AsJson = False,
) -> None:
    """Verify a backup and put it into an empty instance. Jobs that ran when it was made go on from their checkpoints."""
    from heimdall.bootstrap import build_container, make_restores
    from heimdall.cli.instance import DataFolderLock

    out = Output(as_json=as_json)
    settings = load_settings(data_dir=data_dir)
    lock = None if check else DataFolderLock(settings.data_dir)
    container = build_container(settings)
    try:
        restores = make_restores(container)
        with TransferBar(out, "Verifying" if check else "Restoring", None) as bar:
            if check:
                manifest = restores.verify(path, bar.advance)
            else:
                container.store.migrate()
                manifest = restores.restore(path, is_replacing=replace, progress=bar.advance)
    finally:
        container.close()
        if lock is not None:
            lock.release()
    done = f"{path} is whole" if check else f"Restored {path}"
    out.result(_to_json(manifest), lambda: out.line(f"{done}: {_describe(manifest)}, made {manifest.created_at:%Y-%m-%d %H:%M:%S} UTC."))


def _describe(manifest: BackupManifest) -> str:
    counts = [
        f"{manifest.rows.get(table, 0)} {words}" for table, words in (("jobs", "jobs"), ("models", "models"), ("datasets", "data sets"))
    ]
    return f"{', '.join(counts)}, {len(manifest.artifacts)} files of {format_size(manifest.size_bytes)}"


def _to_json(manifest: BackupManifest) -> dict[str, Any]:
    return manifest.model_dump(mode="json", exclude={"tables", "artifacts"}) | {
        "num_files": len(manifest.artifacts),
        "size_bytes": manifest.size_bytes,
    }
