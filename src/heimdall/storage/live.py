"""The doorbell and the ticks: lossy helpers beside the event log, never in its way."""

from __future__ import annotations

from pathlib import Path

from heimdall.domain.ports import LiveChannel
from heimdall.storage.engines import parse_database_url


def open_live_channel(url: str, data_dir: Path) -> LiveChannel:
    """Return the channel that fits the database; opens nothing before first use.

    Parameters
    ----------
    url
        The database URL, as for ``SqlStore``.
    data_dir
        Folder for ``live.sqlite`` (SQLite only).
    """
    parsed = parse_database_url(url)
    if parsed.get_backend_name() == "sqlite":
        from heimdall.storage.live_sqlite import SqliteLive

        return SqliteLive(Path(parsed.database or ""), data_dir / "live.sqlite")
    from heimdall.storage.live_postgresql import PostgresqlLive

    return PostgresqlLive(parsed.set(drivername="postgresql").render_as_string(hide_password=False))
