"""The fixture of the REST and socket contract: the same suite on SQLite and on PostgreSQL."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.serving import Served, make_container, serve


@pytest.fixture(scope="module", params=["sqlite", pytest.param("postgresql", marks=pytest.mark.scaled)])
def served(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    folder: Path = tmp_path_factory.mktemp("served")
    url = None if request.param == "sqlite" else request.getfixturevalue("create_postgres_database")()
    container = make_container(folder, database_url=url, max_creates_per_minute=0, max_json_kb=64, max_upload_mb=1)
    with serve(container) as running:
        yield running
