"""``heimdall train``: create a job and watch it."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from heimdall.cli.lookup import find_dataset
from heimdall.cli.options import keep_given, make_parameters
from heimdall.cli.output import clean_text
from heimdall.cli.session import Session, add_command
from heimdall.cli.table import cut
from heimdall.cli.watch import print_summary, watch_job
from heimdall.domain.errors import InvalidInputError
from heimdall.domain.jobs import TrainingJobConfig

app = typer.Typer(rich_markup_mode=None, add_completion=False)

_OPTIONS = make_parameters(TrainingJobConfig, skip=frozenset({"job_name", "dataset_id"}), flags={"model_architecture": "--architecture"})


@add_command(app, "train", parameters=_OPTIONS)
def train(
    session: Session,
    dataset: Annotated[
        str | None, typer.Option("--dataset", metavar="ID|NAME", help="Data set; may be left out where there is only one.")
    ] = None,
    name: Annotated[str | None, typer.Option("--name", help="Name of the job and its model. [default: ARCHITECTURE on DATASET]")] = None,
    detach: Annotated[bool, typer.Option("--detach", help="Create the job and return at once.")] = False,
    **values: Any,  # noqa: ANN401
) -> None:
    """Create a training job and watch it. Ctrl-C lets go of it; the job goes on."""
    client = session.client
    chosen = find_dataset(client, dataset) if dataset else _find_only_dataset(session)
    given = keep_given(values)
    architecture = given.get("model_architecture", TrainingJobConfig.model_fields["model_architecture"].default)
    body = {"job_name": (name or f"{architecture} on {chosen['name']}")[:255], "dataset_id": chosen["id"], **given}
    job = client.create("/training/jobs", body)
    session.out.remark(f"Created job {job['id']}: {job['name']}")
    if detach:
        session.out.result(job, lambda: session.out.line(f"Watch it: heimdall job watch {job['id']}"))
        return
    finished = watch_job(session, job)
    if finished is None:
        session.out.result(job, lambda: None)
        return
    model = client.get(f"/training/models/{finished['model_id']}") if finished.get("model_id") else None
    session.out.result({"job": finished, "model": model}, lambda: print_summary(session, finished, model))


def _find_only_dataset(session: Session) -> dict[str, Any]:
    ready = [item for item in session.client.get("/training/datasets")["datasets"] if item["status"] == "ready"]
    if len(ready) == 1:
        session.out.remark(f"Data set: {ready[0]['name']}, the only one")
        return dict(ready[0])
    if not ready:
        raise InvalidInputError("There is no ready data set. Make one: heimdall dataset generate NAME", field="dataset")
    names = ", ".join(f"'{cut(clean_text(item['name']), 40)}'" for item in ready[:5])
    more = f" and {len(ready) - 5} more: heimdall dataset list" if len(ready) > 5 else ""
    raise InvalidInputError(f"Say which data set: --dataset with one of {names}{more}.", field="dataset")
