"""``python -m heimdall.api``: the server, with its settings from the environment."""

from __future__ import annotations

import gc
import sys

# What is imported stays: looking for garbage in it would only make the start longer. The server turns it on again.
gc.disable()

from heimdall.api.allocator import share_one_arena  # noqa: E402
from heimdall.api.lightness import load_lightly  # noqa: E402


def main() -> int:
    """Serve until a signal; print a plain sentence where that cannot be."""
    share_one_arena()
    load_lightly()
    from heimdall.api.server import run_server
    from heimdall.domain.errors import HeimdallError
    from heimdall.settings import Settings

    try:
        return run_server(Settings())
    except HeimdallError as error:
        print(f"heimdall: {error.detail}", file=sys.stderr)  # noqa: T201
        return 2


if __name__ == "__main__":
    sys.exit(main())
