"""Makes the demo data set, once, beside a running server: ``python -m heimdall.cli.seed``."""

from __future__ import annotations

import sys

from heimdall.domain.errors import HeimdallError
from heimdall.logs import configure_logging


def main() -> int:
    """Make the demo data set where there is none; returns the exit code."""
    from heimdall.bootstrap import build_container
    from heimdall.settings import Settings

    settings = Settings()
    configure_logging(settings, "seed")
    import structlog

    container = build_container(settings)
    try:
        container.store.migrate()
        container.datasets.ensure_demo()  # says itself what it made
    except HeimdallError as error:
        structlog.get_logger().error("demo_data_set_failed", reason=error.detail)
        return 1
    finally:
        container.close()
    return 0


if __name__ == "__main__":
    sys.exit(main())
