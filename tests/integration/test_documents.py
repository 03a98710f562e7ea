"""The commands of README and how-tos, run as they stand: what a page shows is what a person gets."""

from __future__ import annotations

import csv
import os
import random
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from heimdall.cli.supervisor import SEEDED_MARK
from tests.conftest import ROOT
from tests.documents import Command, list_labels, read_commands, read_fences
from tests.instance import Heimdall, wait_until

README = ROOT / "README.md"
OWN_DATA = ROOT / "docs" / "howto" / "bring-your-own-data.md"


@pytest.fixture(scope="module")
def heimdall(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Heimdall]:
    """A first start as the README tells it, demo data set included."""
    instance = Heimdall(tmp_path_factory.mktemp("documents") / "data", {"HEIMDALL_SEED_DEMO": "true"})
    try:
        instance.start()
        wait_until((instance.data_dir / SEEDED_MARK).exists, 60, instance.log_tail)
        yield instance
    finally:
        instance.kill_everything()
        instance.client.close()


@pytest.fixture(scope="module")
def desk(tmp_path_factory: pytest.TempPathFactory, data_root: Path) -> Path:
    """A folder in which the pages' commands find what they name: the program and the files."""
    folder = tmp_path_factory.mktemp("desk")
    program = folder / ".venv" / "bin" / "heimdall"
    program.parent.mkdir(parents=True)
    program.write_text(f'#!/bin/sh\nexec "{sys.executable}" -m heimdall.cli.main "$@"\n')
    program.chmod(0o755)
    for name in ("powder", "locards"):
        (folder / name).symlink_to(data_root / name)
    for name in ("my.csv", "walk-1.csv", "walk-2.csv"):
        write_walk(folder / name)
    return folder


def write_walk(path: Path) -> None:
    """Write a table with the columns that the how-to shows: 200 transmissions on a walk, heard by three receivers."""
    [columns] = [body.splitlines()[0].split(",") for body in read_fences(OWN_DATA, "csv")]
    random_source = random.Random(path.name)
    with path.open("w", newline="") as stream:
        table = csv.DictWriter(stream, columns)
        table.writeheader()
        for number in range(200):
            place = {"tx_latitude": f"{45 + number * 2e-4:.6f}", "tx_longitude": f"{7.6 + random_source.random() / 50:.6f}"}
            for index, receiver in enumerate(("roof", "hill", "tower")):
                heard = {
                    "example_id": f"{path.stem}-{number}",
                    "timestamp": f"2026-05-04T{10 + number // 60:02d}:{number % 60:02d}:00Z",
                    "receiver_id": receiver,
                    "receiver_latitude": 45.01 + index / 50,
                    "receiver_longitude": 7.6 + index / 50,
                    "rssi_dbm": f"{-random_source.uniform(60, 110):.1f}" if random_source.random() > 0.1 else "",
                }
                table.writerow({**heard, **place})


def run(command: Command, desk: Path, instance: Heimdall) -> None:
    path = f"{desk / '.venv' / 'bin'}{os.pathsep}{os.environ['PATH']}"
    environment = {**os.environ, "PATH": path, "HEIMDALL_DATA_DIR": str(instance.data_dir), "HEIMDALL_URL": instance.url}
    environment.pop("COLUMNS", None)  # pytest-xdist pretends a terminal of 80 columns, into which the pages' tables do not fit
    found = subprocess.run(
        ["bash", "-c", command.text],
        cwd=desk,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
        timeout=280,
        stdin=subprocess.DEVNULL,
    )
    output = found.stdout + found.stderr
    assert found.returncode == 0, f"$ {command.text}\n{output}"
    broken = command.find_broken_promise(output)
    assert broken is None, f"$ {command.text}\nshows no line like: {broken}\n{output}"


def is_start(command: Command) -> bool:
    return command.text == "make up"


def test_readme_starts_as_it_says(heimdall: Heimdall) -> None:
    [start] = [command for command in read_commands(README) if is_start(command)]
    assert start.promised
    assert start.find_broken_promise(heimdall.log_tail()) is None
    assert not heimdall.url.endswith(":8001")  # the page's port is the default, the test's is a free one


@pytest.mark.slow
@pytest.mark.shared_data
@pytest.mark.timeout(900)
@pytest.mark.parametrize("page", [README, OWN_DATA], ids=lambda page: page.name)
def test_every_command_of_the_page_does_what_the_page_shows(page: Path, heimdall: Heimdall, desk: Path) -> None:
    commands = [command for command in read_commands(page) if not is_start(command)]
    assert len(commands) >= 4
    for command in commands:
        run(command, desk, heimdall)


def test_command_that_shows_something_else_is_caught() -> None:
    command = Command("heimdall model list", ("id        name   median error", "3f2a01bc  first  134 m", "Wrote my.heimdall (272.0 kB)."))
    assert list_labels(command.promised[1]) == ["first"]
    assert command.find_broken_promise("id  name  median error\nab  first  1 m\nWrote my.heimdall (1 kB).") is None
    assert command.find_broken_promise("id  name  median\nab  first  1 m\nWrote my.heimdall (1 kB).") == command.promised[0]
