"""Shared fixtures: the real data folder, and Heimdall as a user starts it."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from hypothesis import settings

from tests.instance import Heimdall

ROOT = Path(__file__).parents[1]
IS_CI = bool(os.environ.get("CI"))

# A busy machine is no failure: examples are bounded in number, not in time.
settings.register_profile("heimdall", deadline=None)
settings.load_profile("heimdall")


def skip_or_fail(reason: str) -> None:
    """Skip with a printed reason on a user's machine; fail in CI, where everything must run."""
    if IS_CI:
        pytest.fail(f"needed in CI: {reason}")
    pytest.skip(reason)


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Browser tests come last: Playwright's driver keeps an event loop on this thread until the run ends."""
    items.sort(key=lambda item: ROOT / "tests" / "e2e" in item.path.parents)


@pytest.fixture(scope="session")
def data_root() -> Path:
    """The folder of real measured data beside the checkout."""
    folder = ROOT.parent / "shared" / "data"
    if not folder.is_dir():
        skip_or_fail(f"no real data at {folder}")
    return folder


@pytest.fixture
def launch(tmp_path: Path) -> Iterator[Callable[..., Heimdall]]:
    """Start any number of instances; whatever is left at the end is killed."""
    started: list[Heimdall] = []

    def start(name: str = "data", **env: str) -> Heimdall:
        instance = Heimdall(tmp_path / name, env)
        started.append(instance)
        instance.start()
        return instance

    yield start
    for instance in started:
        instance.kill_everything()
        instance.client.close()


@pytest.fixture(scope="module")
def heimdall(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Heimdall]:
    """One instance for a module of tests that do not break it; stopped by Ctrl-C at the end."""
    instance = Heimdall(tmp_path_factory.mktemp("up") / "data")
    try:
        instance.start()
        yield instance
        assert instance.stop() == 0
    finally:
        instance.kill_everything()
        instance.client.close()
