"""One Heimdall per data folder, one program per port: the checks before anything starts."""

from __future__ import annotations

import errno
import fcntl
import json
import os
import socket
from dataclasses import dataclass
from pathlib import Path
from typing import Final
from urllib.parse import urlsplit

from heimdall.domain.errors import ConflictError, InvalidInputError, UnavailableError

LOCK_NAME: Final = "heimdall.lock"
_LOOPBACK_NAMES: Final = frozenset({"localhost", "::1"})
_ANY_ADDRESS: Final = frozenset({"0.0.0.0", "::", ""})


class DataFolderLock:
    """Holds the data folder for this process; given back by the system however the process ends.

    Parameters
    ----------
    data_dir
        The folder; made if it is not there.

    Raises
    ------
    ConflictError
        Another Heimdall holds it; the sentence has its URL.
    UnavailableError
        The folder cannot be made or written.
    """

    def __init__(self, data_dir: Path) -> None:
        path = data_dir / LOCK_NAME
        try:
            data_dir.mkdir(parents=True, exist_ok=True, mode=0o700)
            self._fd = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
        except OSError as error:
            raise UnavailableError(
                f"The data folder {data_dir} cannot be used: {error.strerror}. Choose another with --data-dir.", field="data_dir"
            ) from error
        try:
            fcntl.flock(self._fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            holder = read_holder(data_dir)
            os.close(self._fd)
            where = f"at {holder['url']} (PID {holder.get('pid')})" if holder.get("url") else "and is just starting"
            raise ConflictError(
                f"A Heimdall already runs on {data_dir} {where}. Use that one, stop it, or choose another folder with --data-dir.",
                code="already_running",
            ) from error

    def write_holder(self, url: str) -> None:
        """Leave a note for a second instance."""
        text = json.dumps({"pid": os.getpid(), "url": url}).encode()
        os.ftruncate(self._fd, 0)
        os.pwrite(self._fd, text, 0)

    def release(self) -> None:
        """Give the folder back."""
        os.ftruncate(self._fd, 0)
        os.close(self._fd)


def read_holder(data_dir: Path) -> dict[str, object]:
    """Return ``pid`` and ``url`` of who holds the folder, or nothing where nobody wrote it."""
    try:
        note = json.loads((data_dir / LOCK_NAME).read_text())
    except (OSError, ValueError):
        return {}
    return note if isinstance(note, dict) else {}


@dataclass(frozen=True)
class RunningInstance:
    """A Heimdall that holds a data folder."""

    pid: int
    url: str


def find_running(data_dir: Path) -> RunningInstance | None:
    """Return the Heimdall that runs on this folder, None where none does (a note left by a killed one does not count)."""
    holder = read_holder(data_dir)
    url, pid = holder.get("url"), holder.get("pid")
    if not isinstance(url, str) or not isinstance(pid, int):
        return None
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return None
    except PermissionError:
        pass  # it lives, as another user's
    return RunningInstance(pid, url)


def claim_port(host: str, port: int) -> int:
    """Prove that ``port`` can be listened on; 0 finds a free one. Returns the number.

    Raises
    ------
    ConflictError
        Another program has it.
    InvalidInputError
        The host is no address of this machine, or the port needs rights.
    """
    try:
        family, _, _, _, address = socket.getaddrinfo(host or "0.0.0.0", port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)[0]
        with socket.socket(family, socket.SOCK_STREAM) as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind(address)
            probe.listen(1)
            return int(probe.getsockname()[1])
    except socket.gaierror as error:
        raise InvalidInputError(f"'{host}' is no address of this machine: {error.strerror}.", field="host") from error
    except OSError as error:
        if error.errno == errno.EADDRINUSE:
            raise ConflictError(
                f"Port {port} on {host} is taken by another program. Choose another, for example: heimdall up --port {port + 1}",
                field="port",
                code="port_taken",
            ) from error
        raise InvalidInputError(
            f"Cannot listen on {host}:{port}: {error.strerror}. Choose another --host or --port.", field="port"
        ) from error


def make_browser_url(host: str, port: int) -> str:
    """Return the URL by which this machine reaches a server that listens on ``host``."""
    shown = {"0.0.0.0": "127.0.0.1", "": "127.0.0.1", "::": "[::1]"}.get(host) or (f"[{host}]" if ":" in host else host)
    return f"http://{shown}:{port}"


def probe_url(url: str) -> int | None:
    """Ask ``/health/ready`` at a URL of :func:`make_browser_url`; returns the status, None for no answer."""
    address = urlsplit(url)
    return probe_ready(address.hostname or "", address.port or 80)


def probe_ready(host: str, port: int, *, timeout_s: float = 1.0) -> int | None:
    """Ask ``/health/ready`` by hand (no HTTP library: the supervisor stays small); returns the status, None for no answer."""
    target = {"::": "::1"}.get(host, "127.0.0.1") if host in _ANY_ADDRESS else host
    name = f"[{target}]" if ":" in target else target
    request = f"GET /health/ready HTTP/1.1\r\nHost: {name}:{port}\r\nConnection: close\r\n\r\n"
    try:
        with socket.create_connection((target, port), timeout=timeout_s) as connection:
            connection.sendall(request.encode())
            status_line = connection.recv(64)
    except OSError:
        return None
    words = status_line.split(b" ", 2)
    return int(words[1]) if len(words) > 1 and words[0].startswith(b"HTTP/") and words[1].isdigit() else None
