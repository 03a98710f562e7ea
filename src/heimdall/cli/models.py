"""``heimdall model``: see trained models, take them away and bring them in."""

from __future__ import annotations

import statistics
from pathlib import Path
from typing import Annotated, Any

import typer

from heimdall.cli.confirm import Yes, confirm_loss
from heimdall.cli.lookup import find_model
from heimdall.cli.output import clean_text, format_instant_local, format_metres, format_share, format_size
from heimdall.cli.session import AsJson, Session, add_command, load_settings
from heimdall.cli.table import Column
from heimdall.cli.transfer import TransferBar, pick_target
from heimdall.cli.watch import print_baselines
from heimdall.domain.errors import HeimdallError, InvalidInputError

app = typer.Typer(rich_markup_mode=None, add_completion=False, no_args_is_help=True, help="List, export, import and verify models.")

ModelReference = Annotated[str, typer.Argument(metavar="MODEL", help="Id, beginning of an id, NAME (newest version) or NAME@VERSION.")]
BundlePath = Annotated[Path, typer.Argument(metavar="FILE", help="A .heimdall file.")]


class NotVerifiedError(HeimdallError):
    """The model ran, and its outputs are not those that the bundle promises."""

    code = "verification_failed"


@add_command(app, "list")
def list_models(session: Session) -> None:
    """List models, newest first."""
    answer = session.client.get("/training/models")
    columns = (
        Column("id"),
        Column("name", is_name=True),
        Column("version", is_number=True),
        Column("architecture", rank=2),
        Column("parameters", is_number=True, rank=5),
        Column("median error", is_number=True),
        Column("val loss", is_number=True, rank=3),
        Column("verification", rank=1),
        Column("from", rank=6),
        Column("created", rank=4),
    )
    rows = [
        (
            model["id"][:8],
            model["name"],
            f"v{model['version']}",
            model["architecture"],
            model.get("parameters_count"),
            describe_error(model),
            (model.get("final_metrics") or {}).get("val_loss"),
            (model.get("verification") or {}).get("status"),
            "bundle" if model.get("imported_from") else "trained here",
            format_instant_local(model["created_at"]),
        )
        for model in answer["models"]
    ]
    session.out.result(answer, lambda: session.out.table(columns, rows, empty="No models. Train one: heimdall train"))


@add_command(app, "show")
def show_model(session: Session, model: ModelReference) -> None:
    """Show one model with its lineage, measurements and baselines."""
    found = session.client.get(f"/training/models/{find_model(session.client, model)['id']}")
    session.out.result(found, lambda: _print_model(session, found))


def _print_model(session: Session, model: dict[str, Any]) -> None:
    metrics, performance = model.get("final_metrics") or {}, model.get("performance") or {}
    radius, latency, speedup = (
        format_metres(model.get("accuracy_radius_m")),
        performance.get("inference_latency_ms"),
        performance.get("onnx_speedup_factor"),
    )
    session.out.details(
        [
            ("id", model["id"]),
            ("name", f"{model['name']} v{model['version']}"),
            ("architecture", model["architecture"]),
            ("parameters", model.get("parameters_count")),
            ("median error", describe_error(model)),
            ("68 % within", format_metres(metrics.get("val_error_p68_m"))),
            ("95 % within", format_metres(metrics.get("val_error_p95_m"))),
            (f"within {radius}" if radius else "validation accuracy", format_share(metrics.get("val_accuracy"))),
            ("inside 68 % ellipse", format_share(metrics.get("val_coverage_68"))),
            ("validation loss", metrics.get("val_loss")),
            ("one example takes", f"{latency:.2g} ms" if latency is not None else None),
            ("faster than PyTorch", f"{speedup:.1f} times" if speedup is not None else None),
            ("data set", model.get("dataset_name") or model.get("dataset_id")),
            ("job", model.get("training_job_id")),
            ("imported from bundle", model.get("imported_from")),
            ("ONNX", f"{format_size(model['size_bytes'])}, opset {model['onnx_opset']}, sha256 {model['sha256']}"),
            ("created", format_instant_local(model["created_at"])),
        ]
    )
    print_baselines(session.out, model.get("baselines") or [])
    _print_verification(session, model.get("verification") or {})


@add_command(app, "evaluation")
def show_evaluation(session: Session, model: ModelReference) -> None:
    """Show errors on held-out examples and the size of the ellipses; --json gives all."""
    found = session.client.get(f"/training/models/{find_model(session.client, model)['id']}/evaluation")
    levels, radii = found["ellipse_levels"] or (), found["ellipse_radii"] or ()
    errors = sorted(error for error in found["error_m"] if error is not None)
    session.out.result(
        found,
        lambda: session.out.details(
            [
                ("held-out examples", found["total"]),
                ("shown here", found["num_rows"]),
                ("median error", format_metres(statistics.median(errors)) if errors else None),
                *(
                    (f"radius of the {format_share(level)} ellipse", f"{radius:.2f} standard deviations")
                    for level, radius in zip(levels, radii, strict=True)
                ),
            ]
        ),
    )


@add_command(app, "export")
def export_model(
    session: Session,
    model: ModelReference,
    output: Annotated[Path | None, typer.Option("--output", "-o", help="File or folder. [default: NAME-vVERSION.heimdall here]")] = None,
    config: Annotated[bool, typer.Option("--config/--no-config", help="With the training settings.")] = True,
    metrics: Annotated[bool, typer.Option("--metrics/--no-metrics", help="With the measurements.")] = True,
    normalization: Annotated[bool, typer.Option("--normalization/--no-normalization", help="With the feature statistics.")] = True,
    samples: Annotated[bool, typer.Option("--samples/--no-samples", help="With examples by which the receiver verifies it.")] = True,
    num_samples: Annotated[int, typer.Option(min=1, max=10, help="How many examples.")] = 5,
    description: Annotated[str | None, typer.Option(help="Words for the receiver.")] = None,
    force: Annotated[bool, typer.Option("--force", help="Replace a file that is there.")] = False,
) -> None:
    """Write a model as one .heimdall file."""
    found = find_model(session.client, model)
    query: dict[str, Any] = {
        "include_config": config,
        "include_metrics": metrics,
        "include_normalization": normalization,
        "include_samples": samples,
        "num_samples": num_samples,
    }
    if description is not None:
        query["description"] = description

    def choose_target(server_name: str | None) -> Path:
        return pick_target(output, server_name or f"model-{found['id'][:8]}.heimdall", force=force)

    with TransferBar(session.out, "Writing", None) as bar:
        written = session.client.download(f"/training/models/{found['id']}/export", query, choose_target, bar.advance)
    size = written.stat().st_size
    payload = {"path": str(written), "size_bytes": size, "model_id": found["id"]}
    session.out.result(payload, lambda: session.out.line(f"Wrote {written} ({format_size(size)})."))


@add_command(app, "import")
def import_model(session: Session, file: BundlePath) -> None:
    """Bring in a .heimdall file; it is checked and run before it counts."""
    if not file.is_file():
        raise InvalidInputError(f"There is no file {file}.", field="file")
    with TransferBar(session.out, "Sending", file.stat().st_size) as bar:
        answer, status = session.client.upload("/training/models/import", [file], None, bar.advance)

    def show() -> None:
        session.out.line(f"Model {answer['model_id']}" + (", which was here already." if status == 200 else " is here now."))
        _print_verification(session, answer.get("verification") or {})

    session.out.result(answer, show)


@add_command(app, "rename")
def rename_model(session: Session, model: ModelReference, name: Annotated[str, typer.Argument(help="The new name.")]) -> None:
    """Give a model another name."""
    found = find_model(session.client, model)
    changed = session.client.patch(f"/training/models/{found['id']}", {"name": name})
    session.out.result(changed, lambda: session.out.line(f"Now '{clean_text(changed['name'])}' v{changed['version']}."))


@add_command(app, "delete")
def delete_model(
    session: Session,
    model: ModelReference,
    yes: Yes = False,
    confirm_name: Annotated[str | None, typer.Option(help="The model's name; needed where the model is in use.")] = None,
) -> None:
    """Delete a model; one that is in use asks for its name. Its job keeps its history."""
    from heimdall.cli.client import ServerAnswerError

    found = find_model(session.client, model)
    confirm_loss(session, describe_model_loss(found), yes=yes)
    path = f"/training/models/{found['id']}"
    try:
        session.client.delete(path, {"confirm_name": confirm_name} if confirm_name else None)
    except ServerAnswerError as error:
        if error.code != "confirm_name" or yes or confirm_name is not None or session.out.as_json:
            raise
        session.out.remark(error.detail)
        session.client.delete(path, {"confirm_name": typer.prompt("Its name", err=True)})
    session.out.result({"deleted": found["id"]}, lambda: session.out.line(f"Deleted '{clean_text(found['name'])}' v{found['version']}."))


def describe_error(model: dict[str, Any]) -> str | None:
    """Return the median error; of an imported model whose samples were not run it is only what the file says."""
    error = format_metres((model.get("final_metrics") or {}).get("val_error_median_m"))
    is_claim = model.get("imported_from") and (model.get("verification") or {}).get("status") != "verified"
    return f"{error} by its file" if error and is_claim else error


def describe_model_loss(model: dict[str, Any]) -> str:
    """Return what goes with a model and how to keep it."""
    error = describe_error(model)
    figures = ", ".join(filter(None, [str(model["architecture"]), format_size(model["size_bytes"]), error and f"median error {error}"]))
    return f"The model '{model['name']}' v{model['version']} ({figures}). To keep a copy first: heimdall model export {model['id']}."


@app.command("verify")
def verify_bundle(file: BundlePath, as_json: AsJson = False) -> None:
    """Check a .heimdall file here, without a server: form, hashes, network, samples run again."""
    from heimdall.cli.output import Output
    from heimdall.cli.verify import verify_file

    if not file.is_file():
        raise InvalidInputError(f"There is no file {file}.", field="file")
    session = Session(settings=load_settings(), out=Output(as_json=as_json))
    payload = verify_file(session.settings, file)
    verification = payload["verification"]

    def show() -> None:
        session.out.details(
            [(key.replace("_", " "), value) for key, value in payload["bundle"].items() if isinstance(value, (str, int, float))]
        )
        _print_verification(session, verification)

    session.out.result(payload, show)
    if verification["status"] == "failed":
        raise NotVerifiedError(f"{file} did not prove itself: {verification['matched']} of {verification['total']} samples agree.")


def _describe_difference(verification: dict[str, Any]) -> str:
    if verification.get("max_abs_diff") is None:
        return ""
    unit = verification.get("max_abs_diff_unit")
    return f"largest difference {verification['max_abs_diff']:.2g}" + (f" {unit}" if unit else "")


def _print_verification(session: Session, verification: dict[str, Any]) -> None:
    if not verification:
        return
    figures = [
        f"{verification['matched']} of {verification['total']} samples agree" if verification.get("total") is not None else "",
        _describe_difference(verification),
        f"{verification['latency_ms']:.2f} ms an example" if verification.get("latency_ms") is not None else "",
    ]
    session.out.line(f"Verification: {verification['status']}" + "".join(f", {text}" for text in figures if text))
    for check in verification.get("checks") or []:
        detail = f": {clean_text(check['detail'])}" if check.get("detail") else ""
        session.out.line(f"  {check['status']:<8} {clean_text(check['name'])}{detail}")
