"""``heimdall dataset``: see, make, import and delete data sets."""

from __future__ import annotations

import time
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any, Final

import typer

from heimdall.cli.lookup import find_dataset
from heimdall.cli.options import keep_given, make_parameters
from heimdall.cli.output import clean_text, format_instant_local, format_size
from heimdall.cli.session import Session, add_command
from heimdall.cli.sources import list_source_files
from heimdall.cli.transfer import TransferBar
from heimdall.domain.datasets import ImportDatasetConfig, SyntheticDatasetConfig
from heimdall.domain.errors import HeimdallError

app = typer.Typer(rich_markup_mode=None, add_completion=False, no_args_is_help=True, help="List, generate, import and delete data sets.")

DatasetReference = Annotated[str, typer.Argument(metavar="DATASET", help="Id, beginning of an id, or name.")]
Detach = Annotated[bool, typer.Option("--detach", help="Return at once; the worker goes on.")]
_POLL_S: Final = 0.25
_NUM_REJECTED_SHOWN: Final = 10


class DatasetFailedError(HeimdallError):
    """A data set could not be made; its own sentence says why."""

    code = "dataset_failed"


class ImportKind(StrEnum):
    """What can be imported."""

    POWDER = "powder"
    LOCARDS = "locards"
    RSSI_CSV = "rssi-csv"
    RSSI_PARQUET = "rssi-parquet"


@add_command(app, "list")
def list_datasets(session: Session) -> None:
    """List data sets, newest first."""
    answer = session.client.get("/training/datasets")
    rows = [
        (
            item["id"][:8],
            item["name"],
            item["kind"],
            item["status"],
            item["num_examples"],
            item.get("num_receivers"),
            (item.get("split") or {}).get("column"),
            format_size(item.get("size_bytes") or 0),
            format_instant_local(item["created_at"]),
        )
        for item in answer["datasets"]
    ]
    columns: tuple[Any, ...] = (
        "id",
        "name",
        "kind",
        "status",
        ("examples", "right"),
        ("receivers", "right"),
        "split by",
        ("size", "right"),
    )
    empty = "No data sets. Make one: heimdall dataset generate NAME"
    session.out.result(answer, lambda: session.out.table((*columns, "created"), rows, empty=empty))


@add_command(app, "show")
def show_dataset(session: Session, dataset: DatasetReference) -> None:
    """Show one data set with its receivers, features and import report."""
    found = session.client.get(f"/training/datasets/{find_dataset(session.client, dataset)['id']}")
    session.out.result(found, lambda: print_dataset(session, found))


@add_command(app, "generate", parameters=make_parameters(SyntheticDatasetConfig, skip=frozenset({"kind", "name"})))
def generate_dataset(
    session: Session,
    name: Annotated[str, typer.Argument(help="Name of the data set.")],
    detach: Detach = False,
    **values: Any,  # noqa: ANN401
) -> None:
    """Simulate a network of receivers and make a data set of it."""
    created = session.client.post("/training/datasets", {"kind": "synthetic", "name": name, **keep_given(values)})
    _finish(session, created, detach=detach)


@add_command(app, "import", parameters=make_parameters(ImportDatasetConfig, skip=frozenset({"kind", "name"})))
def import_dataset(
    session: Session,
    kind: Annotated[ImportKind, typer.Argument(help="Form of the files.")],
    paths: Annotated[list[Path], typer.Argument(metavar="PATH", help="Files, or the folder that holds them.")],
    name: Annotated[str | None, typer.Option("--name", help="Name of the data set. [default: the folder's or file's]")] = None,
    detach: Detach = False,
    **values: Any,  # noqa: ANN401
) -> None:
    """Import measured data: POWDER, LocaRDS, or own RSSI as CSV or Parquet."""
    files = list_source_files(kind.value, paths)
    fields = {"kind": kind.value, "name": name or paths[0].resolve().stem, **keep_given(values)}
    total = sum(file.stat().st_size for file in files)
    with TransferBar(session.out, f"Sending {len(files)} files", total) as bar:
        created, _ = session.client.upload("/training/datasets", files, fields, bar.advance)
    _finish(session, created, detach=detach)


@add_command(app, "delete")
def delete_dataset(
    session: Session, dataset: DatasetReference, yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")] = False
) -> None:
    """Delete a data set that no active job uses. Models trained on it stay."""
    found = find_dataset(session.client, dataset)
    if not yes and not session.out.as_json:
        typer.confirm(f"Delete '{clean_text(found['name'])}' ({found['num_examples']} examples)?", abort=True)
    session.client.delete(f"/training/datasets/{found['id']}")
    session.out.result({"deleted": found["id"]}, lambda: session.out.line(f"Deleted '{clean_text(found['name'])}'."))


def _finish(session: Session, created: dict[str, Any], *, detach: bool) -> None:
    """Follow a data set until it can be used and print what came of it."""
    path = f"/training/datasets/{created['id']}"
    if detach:
        session.out.result(created, lambda: session.out.line(f"Building {created['id']}. See: heimdall dataset show {created['id']}"))
        return
    try:
        with TransferBar(session.out, "Building", 100) as bar:
            current, shown = created, 0.0
            while current["status"] == "building":
                time.sleep(_POLL_S)
                current = session.client.get(path)
                bar.advance(current["progress_percent"] - shown)
                shown = current["progress_percent"]
    except KeyboardInterrupt:
        session.out.remark(f"\nThe worker goes on building it. See: heimdall dataset show {created['id']}")
        session.out.result(created, lambda: None)
        return
    if current["status"] == "failed":
        raise DatasetFailedError(f"'{current['name']}' was not made: {current.get('error_message') or 'no reason was stored'}")
    session.out.result(current, lambda: print_dataset(session, current))


def print_dataset(session: Session, item: dict[str, Any]) -> None:
    """Print one data set for a person."""
    split, frame = item.get("split") or {}, item.get("frame") or {}
    origin = f"{frame['latitude']:.5f} N {frame['longitude']:.5f} E" if frame else None
    leak = " (neighbours may leak into the validation split)" if split.get("is_leaky") else ""
    session.out.details(
        [
            ("id", item["id"]),
            ("name", item["name"]),
            ("status", item["status"]),
            ("error", item.get("error_message")),
            ("kind", item["kind"]),
            ("examples", item["num_examples"]),
            ("receivers", ", ".join(receiver["name"] for receiver in item.get("receivers") or [])),
            ("features", ", ".join(feature["name"] for feature in item.get("features") or [])),
            ("held out by", f"{split['column']}, {split['num_groups']} groups{leak}" if split else None),
            ("origin", origin),
            ("accuracy radius, m", item.get("accuracy_radius_m")),
            ("size", format_size(item.get("size_bytes") or 0)),
            ("content hash", item.get("content_hash")),
            ("source", item.get("source")),
            ("created", format_instant_local(item["created_at"])),
        ]
    )
    if item.get("report"):
        _print_report(session, item["report"])


def _print_report(session: Session, report: dict[str, Any]) -> None:
    out = session.out
    out.line(f"\nRead {report['num_rows']} rows: took {report['num_accepted']}, left out {report['num_rejected']}.")
    for reason, count in sorted((report.get("reasons") or {}).items(), key=lambda pair: -pair[1]):
        out.line(f"  {count:>8}  {clean_text(reason)}")
    rejected = report.get("rejected") or []
    for row in rejected[:_NUM_REJECTED_SHOWN]:
        out.line(f"  row {row['row']}: {clean_text(row['reason'])}")
    if report["num_rejected"] > _NUM_REJECTED_SHOWN:
        out.line(f"  and {report['num_rejected'] - min(len(rejected), _NUM_REJECTED_SHOWN)} more; --json lists the first {len(rejected)}")
    for note in report.get("notes") or []:
        out.line(f"  {clean_text(note)}")
