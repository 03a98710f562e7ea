"""Checks a bundle on this machine, with a database that nothing is written to."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from heimdall.settings import Settings


def verify_file(settings: Settings, file: Path) -> dict[str, Any]:
    """Return what the bundle says of itself and what its verification found.

    The services are wired to an empty folder of their own, so that the person's data folder is neither
    needed nor touched.

    Raises
    ------
    BundleError
        The first check that failed.
    """
    from heimdall.bootstrap import build_container

    with tempfile.TemporaryDirectory(prefix="heimdall-verify-") as folder:
        alone = settings.model_copy(update={"data_dir": Path(folder), "database_url": None, "broker_url": None, "artifacts_url": None})
        container = build_container(alone)
        try:
            summary, verification = container.bundles.verify_file(file)
        finally:
            container.close()
    bundle = summary.model_dump(mode="json") if hasattr(summary, "model_dump") else dict(vars(summary))
    return {"bundle": bundle, "verification": verification.model_dump(mode="json")}
