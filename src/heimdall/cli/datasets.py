"""``heimdall dataset``: see, preview, make, import and delete data sets."""

from __future__ import annotations

import time
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any, Final

import typer

from heimdall.cli.confirm import Yes, confirm_loss
from heimdall.cli.lookup import find_dataset
from heimdall.cli.options import keep_given, make_parameters
from heimdall.cli.output import clean_text, count, format_instant_local, format_metres, format_place, format_size
from heimdall.cli.session import Session, add_command
from heimdall.cli.sources import list_source_files, split_name
from heimdall.cli.table import Column
from heimdall.cli.transfer import TransferBar, pick_target
from heimdall.domain.datasets import VOICE_WAVEFORMS, ImportDatasetConfig, SyntheticDatasetConfig
from heimdall.domain.errors import ConflictError, HeimdallError
from heimdall.domain.jobs import ACTIVE_STATUSES

app = typer.Typer(
    rich_markup_mode=None, add_completion=False, no_args_is_help=True, help="List, preview, generate, import and delete data sets."
)

DatasetReference = Annotated[str, typer.Argument(metavar="DATASET", help="Id, beginning of an id, or name.")]
NameOption = Annotated[str | None, typer.Option("--name", metavar="NAME", help="Name of the data set.")]
Detach = Annotated[bool, typer.Option("--detach", help="Return at once; the worker goes on.")]
LEAKS_OF_ROWS: Final = "Single rows are held out, and neighbours of a held-out row are trained on: figures may be too good."
LEAKS_OF_SMALL_GROUPS: Final = (
    "Hardly two examples share a group, so this holds out little more than single rows: figures may be too good. More examples help."
)
_POLL_S: Final = 0.25
_NUM_REJECTED_SHOWN: Final = 10
_NUM_RECEIVERS_NAMED: Final = 10
_NUM_RECEIVERS_SHOWN: Final = 5


class DatasetFailedError(HeimdallError):
    """A data set could not be made; its own sentence says why."""

    code = "dataset_failed"


class ImportKind(StrEnum):
    """What can be imported."""

    POWDER = "powder"
    LOCARDS = "locards"
    RSSI_CSV = "rssi-csv"
    RSSI_PARQUET = "rssi-parquet"
    RECORDINGS = "recordings"


class ExportFormat(StrEnum):
    """What samples can leave as."""

    SIGMF = "sigmf"


@add_command(app, "list")
def list_datasets(session: Session) -> None:
    """List data sets, newest first."""
    answer = session.client.get("/training/datasets")
    columns = (
        Column("id"),
        Column("name", is_name=True),
        Column("kind", rank=2),
        Column("status"),
        Column("examples", is_number=True),
        Column("receivers", is_number=True, rank=4),
        Column("split by", rank=3),
        Column("size", is_number=True, rank=1),
        Column("created", rank=5),
    )
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
    session.out.result(answer, lambda: session.out.table(columns, rows, empty="No data sets. Make one: heimdall dataset generate NAME"))


@add_command(app, "show")
def show_dataset(
    session: Session,
    dataset: DatasetReference,
    receivers: Annotated[bool, typer.Option("--receivers", help="Name every receiver.")] = False,
) -> None:
    """Show one data set with its receivers, features and import report."""
    found = session.client.get(f"/training/datasets/{find_dataset(session.client, dataset)['id']}")
    session.out.result(found, lambda: print_dataset(session, found, has_all_receivers=receivers))


@add_command(app, "generate", parameters=make_parameters(SyntheticDatasetConfig, skip=frozenset({"kind", "name"})))
def generate_dataset(
    session: Session,
    name: Annotated[str | None, typer.Argument(help="Name of the data set; --name says the same.")] = None,
    name_option: NameOption = None,
    voice: Annotated[
        list[Path] | None, typer.Option("--voice", metavar="FILE", help="WAV of your own that is sent, or an archive; may be repeated.")
    ] = None,
    detach: Detach = False,
    **values: Any,  # noqa: ANN401
) -> None:
    """Simulate a network of receivers and make a data set of it."""
    if (name is None) == (name_option is None):
        raise typer.BadParameter("say the name of the data set once, as NAME or with --name.", param_hint="--name")
    fields = {"kind": "synthetic", "name": name_option if name is None else name, **keep_given(values)}
    if voice and not (fields.get("signal") == "captures" and fields.get("waveform") in VOICE_WAVEFORMS):
        raise typer.BadParameter(
            f"needs --signal captures and --waveform {' or '.join(VOICE_WAVEFORMS)}: nothing else sends a voice.", param_hint="--voice"
        )
    created = _send(session, "recordings", voice, fields) if voice else session.client.post("/training/datasets", fields)
    _finish(session, created, detach=detach)


@add_command(app, "preview", parameters=make_parameters(SyntheticDatasetConfig, skip=frozenset({"kind", "name", "description"})))
def preview_dataset(
    session: Session,
    target_m: Annotated[float, typer.Option("--target-m", min=0.001, max=1e6, help="68 % radius that you need, m.")] = 30.0,
    **values: Any,  # noqa: ANN401
) -> None:
    """Say what can be reached with these receivers, clocks and signals, before anything is generated or trained."""
    body = {"kind": "synthetic", "name": "preview", **keep_given(values)}
    answer = session.client.post(f"/training/datasets/preview?target_m={target_m:g}", body)
    session.out.result(answer, lambda: _print_preview(session, answer))


def _print_preview(session: Session, answer: dict[str, Any]) -> None:
    out = session.out
    for sentence in answer["sentences"]:
        out.line(sentence)
    rows = [
        (
            item["num_receivers"],
            f"{100 * item['share']:.0f} %",
            f"{item['error_p68_m']:.0f} m",
            "-" if item["timing_needed_ns"] is None else f"{item['timing_needed_ns']:.0f} ns",
        )
        for item in answer["by_receivers"]
    ]
    columns = [Column(name, is_number=True) for name in ("heard by", "of all", "68 % within", f"needed for {answer['target_m']:g} m")]
    out.line("")
    out.table(columns, rows, empty="No transmission is heard.")


@add_command(app, "import", parameters=make_parameters(ImportDatasetConfig, skip=frozenset({"kind", "name"})))
def import_dataset(
    session: Session,
    kind: Annotated[ImportKind, typer.Argument(help="Form of the files.")],
    paths: Annotated[
        list[Path], typer.Argument(metavar="PATH... [NAME]", help="Files, or the folder that holds them; --name or a last word names it.")
    ],
    name_option: NameOption = None,
    detach: Detach = False,
    **values: Any,  # noqa: ANN401
) -> None:
    """Import measured data: POWDER, LocaRDS, own RSSI as CSV or Parquet, or own IQ recordings in an archive."""
    sources, name = (paths, name_option) if name_option is not None else split_name(paths)
    if name_option is None:
        session.out.remark(f"Name: {clean_text(name)}")
    fields = {"kind": kind.value, "name": name, **keep_given(values)}
    _finish(session, _send(session, kind.value, sources, fields), detach=detach)


def _send(session: Session, kind: str, paths: list[Path], fields: dict[str, Any]) -> dict[str, Any]:
    files = list_source_files(kind, paths)
    total = sum(file.stat().st_size for file in files)
    with TransferBar(session.out, f"Sending {count(len(files), 'file')}", total) as bar:
        created, _ = session.client.upload("/training/datasets", files, fields, bar.advance)
    return dict(created)


@add_command(app, "export")
def export_dataset(
    session: Session,
    dataset: DatasetReference,
    form: Annotated[ExportFormat, typer.Option("--format", help="A tar of SigMF collections, one an example.")] = ExportFormat.SIGMF,
    output: Annotated[Path | None, typer.Option("--output", "-o", help="File or folder. [default: NAME-sigmf.tar here]")] = None,
    max_examples: Annotated[int | None, typer.Option(min=1, help="Only so many, from the first on.")] = None,
    force: Annotated[bool, typer.Option("--force", help="Replace a file that is there.")] = False,
) -> None:
    """Write the samples of a data set; import it anywhere with: heimdall dataset import recordings FILE."""
    found = find_dataset(session.client, dataset)

    def choose_target(server_name: str | None) -> Path:
        return pick_target(output, server_name or f"dataset-{found['id'][:8]}.tar", force=force)

    with TransferBar(session.out, "Writing", None) as bar:
        query = {} if max_examples is None else {"max_examples": max_examples}
        written = session.client.download(f"/training/datasets/{found['id']}/export", query, choose_target, bar.advance)
    size = written.stat().st_size
    payload = {"path": str(written), "size_bytes": size, "dataset_id": found["id"], "format": form.value}
    session.out.result(payload, lambda: session.out.line(f"Wrote {written} ({format_size(size)})."))


@add_command(app, "delete")
def delete_dataset(session: Session, dataset: DatasetReference, yes: Yes = False) -> None:
    """Delete a data set that no active job uses. Models trained on it stay."""
    found = find_dataset(session.client, dataset)
    if not yes:
        users = {"dataset_id": found["id"], "limit": 1}
        if active := session.client.get("/training/jobs", {**users, "status": ",".join(sorted(ACTIVE_STATUSES))})["total"]:
            raise ConflictError(
                f"'{found['name']}' was not deleted: {count(active, 'job')} still {'needs' if active == 1 else 'need'} it. "
                "Let them end or cancel them first. See: heimdall job list --status pending,running,paused",
                code="dataset_in_use",
            )
        jobs = session.client.get("/training/jobs", users)["total"]
        confirm_loss(session, describe_dataset_loss(found, jobs), yes=yes)
    session.client.delete(f"/training/datasets/{found['id']}")
    session.out.result({"deleted": found["id"]}, lambda: session.out.line(f"Deleted '{clean_text(found['name'])}'."))


def describe_dataset_loss(item: dict[str, Any], num_jobs: int) -> str:
    """Return what goes with a data set and what stays."""
    loss = f"'{item['name']}': {count(item['num_examples'], 'example')}, {format_size(item.get('size_bytes') or 0)}."
    if num_jobs == 0:
        return f"{loss} No job used it."
    return f"{loss} {count(num_jobs, 'job')} used it: metrics and models stay, but none of them can be continued."


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


def print_dataset(session: Session, item: dict[str, Any], *, has_all_receivers: bool = False) -> None:
    """Print one data set for a person."""
    frame = item.get("frame") or {}
    session.out.details(
        [
            ("id", item["id"]),
            ("name", item["name"]),
            ("description", item.get("description")),
            ("status", describe_dataset_status(item)),
            ("error", item.get("error_message")),
            ("kind", item["kind"]),
            ("examples", item["num_examples"]),
            ("receivers", describe_receivers(item.get("receivers") or [], has_all=has_all_receivers)),
            ("features", ", ".join(describe_feature(feature) for feature in item.get("features") or [])),
            ("held out by", describe_split(item.get("split"))),
            ("origin", format_place(frame["latitude"], frame["longitude"]) if frame else None),
            ("accuracy radius", format_metres(item.get("accuracy_radius_m"))),
            ("size", format_size(item.get("size_bytes") or 0)),
            ("content hash", item.get("content_hash")),
            ("source", item.get("source")),
            ("created", format_instant_local(item["created_at"])),
        ]
    )
    if item.get("report"):
        _print_report(session, item["report"])


def describe_dataset_status(item: dict[str, Any]) -> str:
    """Return the state, with how far it is while it is being made."""
    return f"building, {item.get('progress_percent') or 0:.0f} %" if item["status"] == "building" else str(item["status"])


def describe_receivers(receivers: list[dict[str, Any]], *, has_all: bool) -> str:
    """Return the receivers' names; of many only how many there are and the first, unless ``has_all``."""
    names = [str(receiver["name"]) for receiver in receivers]
    if has_all or len(names) <= _NUM_RECEIVERS_NAMED:
        return ", ".join(names)
    shown = ", ".join(names[:_NUM_RECEIVERS_SHOWN])
    return f"{len(names)}: {shown} and {len(names) - _NUM_RECEIVERS_SHOWN} more; --receivers names all"


def describe_feature(feature: dict[str, Any]) -> str:
    """Return a feature with its unit, where its name does not end in it."""
    name, unit = str(feature["name"]), str(feature.get("unit") or "")
    return name if unit in ("", "1") or name.endswith(f"_{unit.lower()}") else f"{name} ({unit})"


def describe_split(split: dict[str, Any] | None) -> str | None:
    """Return how examples are held out, and why a figure on this split may be too good."""
    if not split:
        return None
    edge = f" of {split['cell_m']:g} m" if split.get("cell_m") else ""
    text = f"{split['column']}{edge}, {count(split['num_groups'], 'group')}"
    if split.get("is_leaky"):
        text += ". " + LEAKS_OF_ROWS if split["column"] == "row" else ". " + LEAKS_OF_SMALL_GROUPS
    return text


def _print_report(session: Session, report: dict[str, Any]) -> None:
    out = session.out
    out.line(f"\nRead {report['num_rows']} rows: took {report['num_accepted']}, left out {report['num_rejected']}.")
    for reason, num_rows in sorted((report.get("reasons") or {}).items(), key=lambda pair: -pair[1]):
        out.line(f"  {num_rows:>8}  {clean_text(reason)}")
    rejected = report.get("rejected") or []
    for row in rejected[:_NUM_REJECTED_SHOWN]:
        out.line(f"  row {row['row']}: {clean_text(row['reason'])}")
    if report["num_rejected"] > _NUM_REJECTED_SHOWN:
        out.line(f"  and {report['num_rejected'] - min(len(rejected), _NUM_REJECTED_SHOWN)} more; --json lists the first {len(rejected)}")
    for note in report.get("notes") or []:
        out.line(f"  {clean_text(note)}")
