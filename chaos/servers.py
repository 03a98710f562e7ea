"""PostgreSQL and Redis that belong to one campaign, so that breaking them disturbs nobody else."""

from __future__ import annotations

import contextlib
import os
import pwd
import shutil
import socket
import subprocess
import time
from collections.abc import Callable
from pathlib import Path


class MissingServerError(Exception):
    """A program that this round needs is not installed or does not answer."""


def find_free_port() -> int:
    """Return a port that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def wait_until(is_met: Callable[[], bool], timeout_s: float, what: str) -> None:
    """Look until a condition holds. TimeoutError."""
    deadline = time.monotonic() + timeout_s
    while not is_met():
        if time.monotonic() > deadline:
            raise TimeoutError(f"not within {timeout_s:g} s: {what}")
        time.sleep(0.05)


def is_listening(port: int) -> bool:
    """Return whether something accepts connections on a local port."""
    with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), timeout=1):
        return True
    return False


class PostgresServer:
    """A cluster of its own in a temporary folder."""

    def __init__(self, folder: Path) -> None:
        programs = sorted(Path("/usr/lib/postgresql").glob("*/bin"))
        if not programs:
            raise MissingServerError("PostgreSQL is not installed (no /usr/lib/postgresql/*/bin).")
        self._bin = programs[-1]
        self.port = find_free_port()
        self._folder = folder / "postgres"
        self._folder.mkdir()
        self._user: str | None = None
        if os.getuid() == 0:  # PostgreSQL refuses to run as root
            self._user = "postgres"
            for path in [folder, *folder.parents][:2]:
                path.chmod(path.stat().st_mode | 0o011)
            shutil.chown(self._folder, "postgres")
        data = str(self._folder / "data")
        try:
            self._run(["initdb", "-D", data, "-A", "trust", "-U", "postgres", "--no-sync"])
            self.start()
            self._run(["createdb", "-h", "127.0.0.1", "-p", str(self.port), "-U", "postgres", "heimdall"])
        except BaseException:  # Ctrl-C too: nobody else knows of the cluster yet
            self.close()
            raise
        self.url = f"postgresql://postgres@127.0.0.1:{self.port}/heimdall"

    def start(self) -> None:
        """Start the cluster and wait for it."""
        options = f"-p {self.port} -k {self._folder} -c listen_addresses=127.0.0.1"
        self._run(["pg_ctl", "-D", str(self._folder / "data"), "-l", str(self._folder / "log"), "-w", "-o", options, "start"])

    def stop(self, mode: str = "fast") -> None:
        """Stop the cluster; ``immediate`` is a crash."""
        self._run(["pg_ctl", "-D", str(self._folder / "data"), "-m", mode, "-w", "stop"])

    def close(self) -> None:
        """Stop for good."""
        with contextlib.suppress(subprocess.CalledProcessError):
            self.stop("immediate")

    def _run(self, command: list[str]) -> None:
        identity = pwd.getpwnam(self._user) if self._user else None
        subprocess.run(
            [str(self._bin / command[0]), *command[1:]],
            check=True,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            cwd="/",
            user=identity.pw_uid if identity else None,
            group=identity.pw_gid if identity else None,
            timeout=60,
        )


class RedisServer:
    """A Redis of its own that keeps nothing on disk: a restart loses every message."""

    def __init__(self, folder: Path) -> None:
        if shutil.which("redis-server") is None:
            raise MissingServerError("redis-server is not installed.")
        self.port = find_free_port()
        self.url = f"redis://127.0.0.1:{self.port}/0"
        self._folder = folder
        self._process: subprocess.Popen[bytes] | None = None
        try:
            self.start()
        except BaseException:
            self.close()
            raise

    def start(self) -> None:
        """Start the server and wait for it."""
        command = ["redis-server", "--bind", "127.0.0.1", "--port", str(self.port), "--save", "", "--appendonly", "no"]
        self._process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, cwd=self._folder)
        wait_until(lambda: is_listening(self.port), 10, "Redis listens")

    def stop(self) -> None:
        """Kill the server."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()

    close = stop
