"""``python -m heimdall.api``: the server, with its settings from the environment."""

from __future__ import annotations

import gc
import sys

# What is imported stays: looking for garbage in it would only make the start longer. The server turns it on again.
gc.disable()

from heimdall.api.server import run_server  # noqa: E402
from heimdall.domain.errors import HeimdallError  # noqa: E402
from heimdall.settings import Settings  # noqa: E402


def main() -> int:
    """Serve until a signal; print a plain sentence where that cannot be."""
    load_lightly()
    try:
        return run_server(Settings())
    except HeimdallError as error:
        print(f"heimdall: {error.detail}", file=sys.stderr)  # noqa: T201
        return 2


def load_lightly() -> None:
    """Import two libraries without the parts that a server never uses; a tenth of the start (``bench/startup.py``).

    FastAPI builds validators for the whole OpenAPI language at its import, which only the writer of ``/openapi.json``
    needs: those models are built at their first use instead. structlog imports rich to colour tracebacks, which our
    log lines never do (``heimdall.logs``).
    """
    from pydantic import BaseModel

    BaseModel.model_config["defer_build"] = True
    try:
        import fastapi.openapi.models  # noqa: F401
    finally:
        del BaseModel.model_config["defer_build"]
    if "rich" not in sys.modules:
        sys.modules["rich"] = None  # type: ignore[assignment]
        try:
            import structlog  # noqa: F401
        finally:
            del sys.modules["rich"]


if __name__ == "__main__":
    sys.exit(main())
