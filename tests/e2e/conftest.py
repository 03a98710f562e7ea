"""One real `heimdall up` with the demo data set, and a real chromium that fails a test on any word in its console."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Browser, Page, expect, sync_playwright

from tests.conftest import ROOT, skip_or_fail
from tests.e2e.studio import Studio, Watch

CHROMIUM_FLAGS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]
PATIENCE_MS = 30_000
"""A busy machine is no failure; a condition that never comes is."""


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    here = Path(__file__).parent
    for item in items:
        if here in item.path.parents:
            item.add_marker(pytest.mark.browser)


@pytest.fixture(scope="package")
def browser() -> Iterator[Browser]:
    found = os.environ.get("CHROMIUM") or shutil.which("chromium") or shutil.which("chromium-browser")
    if found is None:
        skip_or_fail("no chromium on this machine; install it (Debian: apt-get install chromium) or name it in CHROMIUM")
    if not (ROOT / "frontend" / "dist" / "index.html").is_file():
        pytest.fail("the page is not built: run `make install` (or `npm --prefix frontend run build`) first")
    expect.set_options(timeout=PATIENCE_MS)
    with sync_playwright() as playwright:
        launched = playwright.chromium.launch(executable_path=found, args=CHROMIUM_FLAGS)
        yield launched
        launched.close()


@pytest.fixture(scope="package")
def studio(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Studio]:
    """The instance that most tests share; none of them breaks it."""
    instance = Studio(tmp_path_factory.mktemp("studio") / "data", {"HEIMDALL_SEED_DEMO": "true"})
    try:
        instance.start()
        instance.wait_demo()
        yield instance
        assert instance.stop() == 0
    finally:
        instance.kill_everything()
        instance.client.close()


@pytest.fixture(autouse=True)
def _quiet_after(request: pytest.FixtureRequest) -> Iterator[None]:
    """No test leaves a job running for the next one."""
    yield
    if "studio" in request.fixturenames:
        request.getfixturevalue("studio").cancel_active()


@pytest.fixture
def open_page(browser: Browser, request: pytest.FixtureRequest) -> Iterator[Callable[..., Page]]:
    """Open a page in a fresh context: ``open_page("/training", width=360, theme="dark")``; its console must stay silent.

    ``slowness=6`` gives it a sixth of the processor.
    """
    for name in {"served", "frail"} & set(request.fixturenames):
        request.getfixturevalue(name)  # so that its server outlives the pages: theirs would complain that it is gone
    contexts = []
    watches: list[Watch] = []

    def open_at(path: str = "/training", *, width: int = 1440, height: int = 900, theme: str = "light", **options: Any) -> Page:
        base: Studio = options.pop("studio", None) or request.getfixturevalue("studio")
        slowness = options.pop("slowness", 1)
        is_phone = width < 600
        context = browser.new_context(
            base_url=base.url,
            viewport={"width": width, "height": height},
            color_scheme="dark" if theme == "dark" else "light",
            has_touch=is_phone,
            accept_downloads=True,
            **options,
        )
        context.set_default_timeout(PATIENCE_MS)
        contexts.append(context)
        page = context.new_page()
        watches.append(Watch(page))
        context.new_cdp_session(page).send("Emulation.setCPUThrottlingRate", {"rate": slowness})
        page.goto(path)
        # What is seen first comes with the document; from here on it is alive.
        page.wait_for_selector("#root > [inert]", state="detached")
        return page

    yield open_at
    for context in contexts:
        context.close()
    faults = [fault for watch in watches for fault in watch.faults]
    assert not faults, "the browser complained:\n" + "\n".join(faults)


@pytest.fixture
def page(open_page: Callable[..., Page]) -> Page:
    """The Training page at 1440 px, light."""
    return open_page()
