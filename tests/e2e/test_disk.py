"""A data folder at its quota, on the page."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator

import pytest
from playwright.sync_api import Page, expect

from tests.e2e.studio import Studio


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Studio]:
    """An instance with a quota of 1 MB, above which its folder lies once the database is made and a file beside it."""
    data_dir = tmp_path_factory.mktemp("full") / "data"
    (data_dir / "artifacts").mkdir(parents=True)
    (data_dir / "artifacts" / "big").write_bytes(b"x" * 1_500_000)
    instance = Studio(data_dir, {"HEIMDALL_DISK_QUOTA_MB": "1"})
    try:
        instance.start()
        yield instance
        assert instance.stop() == 0
    finally:
        instance.kill_everything()
        instance.client.close()


@pytest.mark.parametrize(("width", "theme"), [(1440, "light"), (360, "dark")])
def test_a_full_quota_is_said_with_what_to_do(open_page: Callable[..., Page], served: Studio, width: int, theme: str) -> None:
    page = open_page(studio=served, width=width, theme=theme)
    warning = page.get_by_test_id("warning")
    expect(warning).to_contain_text(re.compile(r"The data folder holds \d+ MB of its quota of 1 MB\."))
    expect(warning).to_contain_text("Delete jobs, models or data sets that are not needed, or raise HEIMDALL_DISK_QUOTA_MB.")
    expect(warning).to_contain_text("what runs goes on")
    assert page.evaluate("() => document.documentElement.scrollWidth <= innerWidth")
    expect(page.get_by_role("heading", name="No training jobs yet")).to_be_visible()


def test_there_is_no_banner_while_there_is_room(open_page: Callable[..., Page], studio: Studio) -> None:
    page = open_page(studio=studio)
    page.wait_for_function(
        "() => performance.getEntriesByType('resource').some(one => one.name.endsWith('/health/warnings') && one.responseEnd)"
    )
    expect(page.get_by_test_id("warning")).to_have_count(0)
