"""From what a person types (id, beginning of an id, name) to the one thing meant."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, Final

from heimdall.domain.errors import ConflictError, NotFoundError

if TYPE_CHECKING:
    from heimdall.cli.client import ServerClient

_UUID: Final = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}", re.IGNORECASE)
_MIN_PREFIX: Final = 4
Record = dict[str, Any]


def find_job(client: ServerClient, reference: str) -> Record:
    """Return the job of an id, a unique beginning of one, or a unique name."""
    if _UUID.fullmatch(reference):
        return _as_record(client.get(f"/training/jobs/{reference}"))
    return choose_one(client.get("/training/jobs", {"q": reference, "limit": 200})["jobs"], reference, "job")


def find_dataset(client: ServerClient, reference: str) -> Record:
    """Return the data set of an id, a unique beginning of one, or a unique name."""
    return choose_one(client.get("/training/datasets")["datasets"], reference, "data set")


def find_model(client: ServerClient, reference: str) -> Record:
    """Return the model of an id, a unique beginning of one, ``NAME`` (its newest version) or ``NAME@VERSION``."""
    models = client.get("/training/models")["models"]
    name, _, version = reference.rpartition("@")
    if name and version.isdigit():
        models = [model for model in models if model["name"] == name and model["version"] == int(version)]
        return choose_one(models, name, "model")
    versions = sorted((model for model in models if model["name"] == reference), key=lambda model: int(model["version"]))
    return versions[-1] if versions else choose_one(models, reference, "model")


def choose_one(records: list[Record], reference: str, noun: str) -> Record:
    """Return the record meant: exact id, then exact name, then a beginning of the id (four letters or more).

    Raises
    ------
    NotFoundError
        None fits.
    ConflictError
        Several do; the sentence names them.
    """
    exact = [record for record in records if record["id"] == reference]
    named = [record for record in records if record["name"] == reference]
    begun = [record for record in records if len(reference) >= _MIN_PREFIX and record["id"].startswith(reference.lower())]
    found = exact or named or begun
    if not found:
        command = noun.replace(" ", "")
        raise NotFoundError(f"There is no {noun} '{reference}'. See: heimdall {command} list", field=command)
    if len(found) > 1:
        ids = ", ".join(record["id"] for record in found[:5])
        raise ConflictError(f"{len(found)} {noun}s are called '{reference}'. Name one by its id: {ids}.", code="ambiguous")
    return found[0]


def _as_record(answer: Any) -> Record:  # noqa: ANN401
    return dict(answer)
