"""Finds the checkpoint that an attempt goes on from: the newest one that is still what was written."""

from __future__ import annotations

import hashlib
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

from heimdall.domain.errors import CheckpointDamagedError, NotFoundError
from heimdall.domain.jobs import Checkpoint, CheckpointFilePointer
from heimdall.domain.ports import ArtifactStore


@dataclass(frozen=True)
class FoundCheckpoint:
    """A checkpoint whose bytes are right, and what was wrong with the newer one, if anything was."""

    pointer: Checkpoint
    path: Path
    damage: str | None = None


def find_checkpoint(artifacts: ArtifactStore, newest: Checkpoint, stack: ExitStack) -> FoundCheckpoint:
    """Open the newest good checkpoint; its file stays there until ``stack`` closes.

    Raises
    ------
    CheckpointDamagedError
        None is good. Training never restarts silently.
    """
    damages: list[str] = []
    for pointer in (newest, newest.previous):
        if pointer is None:
            continue
        damage, path = _open(artifacts, pointer, stack)
        if path is not None:
            is_newest = pointer is newest
            kept = newest if is_newest else Checkpoint(**pointer.model_dump())
            return FoundCheckpoint(kept, path, None if is_newest else damages[0])
        damages.append(f"The checkpoint of epoch {pointer.epoch} (step {pointer.step}) {damage}")
    raise CheckpointDamagedError(f"{'. '.join(damages)}. There is no older one to go on from. Start a new job; this one's curve stays.")


def _open(artifacts: ArtifactStore, pointer: CheckpointFilePointer, stack: ExitStack) -> tuple[str, Path | None]:
    try:
        path = stack.enter_context(artifacts.local(pointer.key))
        with path.open("rb") as file:
            digest = hashlib.file_digest(file, "sha256").hexdigest()
    except NotFoundError:
        return "is gone", None
    except OSError as error:
        return f"cannot be read ({error.strerror})", None
    return ("", path) if digest == pointer.sha256 else ("is damaged: its SHA-256 differs", None)
