"""The build of one data set, in a process of its own: ``python -m heimdall.worker.dataset_child``."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence

from heimdall.worker.lifeline import bind_to_parent


def main(arguments: Sequence[str] | None = None) -> int:
    """Build the data set that the arguments name; the service stores a failure as the data set's own status."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--dataset-id", required=True)
    parser.add_argument("--parent-pid", type=int, required=True)
    options = parser.parse_args(arguments)
    bind_to_parent(options.parent_pid)

    from heimdall.bootstrap import build_container
    from heimdall.logs import configure_logging
    from heimdall.settings import Settings

    settings = Settings()
    configure_logging(settings, "dataset")
    container = build_container(settings)
    try:
        container.datasets.build(options.dataset_id)
    finally:
        container.close()
    return 0


if __name__ == "__main__":
    sys.exit(main())
