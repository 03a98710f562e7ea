"""Names that sender and worker share."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, Literal

RUN_JOB: Final = "heimdall.run_job"
BUILD_DATASET: Final = "heimdall.build_dataset"
DEFAULT_PREFIX: Final = "heimdall"
EMBEDDED_URL: Final = "heimdall-folder://localhost"

EMBEDDED_FOLDER: Final = "broker"
"""Where the embedded broker lies in the data folder."""

QueueKind = Literal["cpu", "gpu", "dataset"]
QUEUE_KINDS: Final[tuple[QueueKind, ...]] = ("cpu", "gpu", "dataset")


@dataclass(frozen=True)
class QueueNames:
    """Full names of the queues; ``prefix`` keeps installations on one broker apart."""

    prefix: str = DEFAULT_PREFIX

    def of(self, kind: QueueKind) -> str:
        """Return the broker's name of a queue."""
        return f"{self.prefix}.{kind}"
