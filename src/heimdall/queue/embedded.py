"""The embedded broker: a Celery transport that is a folder, with a bell, and needs no server.

A message is one small file that appears by rename, so that nobody reads half of it; whoever removes the
file has the message. Each consumer owns a bell (a FIFO); a sender writes one byte to every bell, so a
waiting worker starts within milliseconds and an idle one sleeps. Where no FIFO can be made, the consumer
looks twenty times a second. Losing any of it loses no job: the database is the truth and the sweeper sends again.

See ``docs/adr/0005-embedded-broker.md`` for the measurements against the other transports.
"""

from __future__ import annotations

import contextlib
import errno
import json
import logging
import os
import re
import select
import time
import uuid
from collections import deque
from collections.abc import Callable
from pathlib import Path
from queue import Empty
from typing import Any, Final

from kombu.exceptions import ChannelError
from kombu.transport import TRANSPORT_ALIASES, virtual
from kombu.utils.scheduling import FairCycle

from heimdall.queue.names import EMBEDDED_URL

_LOOK_WITHOUT_BELL_S: Final = 0.05
_MAX_DRAIN_S: Final = 0.5
"""s after which the worker's loop gets its turn (it asks for 2 s), so that a stop takes effect soon; so it is the time between two looks
while no bell rings, and the longest that a freed prefetch slot goes unnoticed."""
_QUEUE_NAME: Final = re.compile(r"\A[A-Za-z0-9_-][A-Za-z0-9._-]*\Z")

logger = logging.getLogger(__name__)


def make_private_folder(folder: Path) -> None:
    """Make a folder and the broker's folders above it, for this user only (``mkdir`` gives parents the default mode)."""
    if folder.is_dir():
        return
    if folder.name != "broker":
        make_private_folder(folder.parent)
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)


class Bell:
    """A consumer's FIFO: rings when a message was put anywhere in the folder."""

    def __init__(self, folder: Path) -> None:
        make_private_folder(folder)
        self._path = folder / f"{os.getpid()}-{uuid.uuid4().hex[:8]}.bell"
        self._descriptor: int | None = None
        with contextlib.suppress(OSError):  # a file system without FIFOs: looking often is enough
            os.mkfifo(self._path, 0o600)
            # Opened for both, so that it never reads as closed while nobody rings.
            self._descriptor = os.open(self._path, os.O_RDWR | os.O_NONBLOCK | os.O_CLOEXEC)

    def wait(self, timeout_s: float) -> bool:
        """Return at a ring or after the time-out; False where nothing can have come meanwhile."""
        if self._descriptor is None:
            time.sleep(min(timeout_s, _LOOK_WITHOUT_BELL_S))
            return True
        if not select.select([self._descriptor], [], [], timeout_s)[0]:
            return False
        with contextlib.suppress(BlockingIOError):
            os.read(self._descriptor, 4096)
        return True

    def close(self) -> None:
        """Remove the FIFO."""
        if self._descriptor is not None:
            os.close(self._descriptor)
            self._descriptor = None
        self._path.unlink(missing_ok=True)


def ring_bells(folder: Path) -> None:
    """Wake every consumer; bells whose owner is gone are removed. Never raises."""
    try:
        paths = list(folder.iterdir())
    except OSError:
        return
    for path in paths:
        try:
            descriptor = os.open(path, os.O_WRONLY | os.O_NONBLOCK | os.O_CLOEXEC)
        except OSError as error:
            if error.errno == errno.ENXIO:
                path.unlink(missing_ok=True)
            continue
        with contextlib.suppress(OSError):  # full: it is ringing already
            os.write(descriptor, b".")
        os.close(descriptor)


class Channel(virtual.Channel):
    """Queues as folders below ``transport_options['folder']``."""

    do_restore = False

    def __init__(self, connection: Any, **kwargs: Any) -> None:  # noqa: ANN401
        super().__init__(connection, **kwargs)  # type: ignore[no-untyped-call]
        self._root = Path(connection.client.transport_options["folder"])
        self._listed: dict[str, deque[str]] = {}

    def _folder(self, queue: str) -> Path:
        if not _QUEUE_NAME.match(queue):
            raise ChannelError(f"Invalid queue name: {queue!r}")
        return self._root / "queues" / queue

    def _put(self, queue: str, message: dict[str, Any], **_: Any) -> None:  # noqa: ANN401
        folder = self._folder(queue)
        make_private_folder(folder)
        name = f"{time.time_ns():020d}-{uuid.uuid4().hex}"
        temporary = folder / f".{name}"
        try:
            with open(temporary, "x", opener=_open_private, encoding="utf-8") as stream:
                json.dump(message, stream, separators=(",", ":"), default=str)
            temporary.rename(folder / name)
        except OSError:
            temporary.unlink(missing_ok=True)
            raise
        ring_bells(self._root / "bells")

    def _get(self, queue: str, timeout: float | None = None) -> Any:  # noqa: ANN401
        folder = self._folder(queue)
        names = self._listed.setdefault(queue, deque())
        if not names:
            names.extend(sorted(self._list(folder)))
        while names:
            path = folder / names.popleft()
            try:
                content = path.read_bytes()
                path.unlink()
            except FileNotFoundError:
                continue  # another worker has it
            try:
                return json.loads(content)
            except ValueError:
                logger.warning("ignored a message that is no JSON: %s", path.name)
        raise Empty

    @staticmethod
    def _list(folder: Path) -> list[str]:
        try:
            return [name for name in os.listdir(folder) if not name.startswith(".")]
        except FileNotFoundError:
            return []

    def _size(self, queue: str) -> int:
        return len(self._list(self._folder(queue)))

    def _purge(self, queue: str) -> int:
        folder = self._folder(queue)
        names = self._list(folder)
        for name in names:
            (folder / name).unlink(missing_ok=True)
        return len(names)

    def _delete(self, queue: str, *_: Any, **__: Any) -> None:  # noqa: ANN401
        self._purge(queue)
        with contextlib.suppress(OSError):
            self._folder(queue).rmdir()


def _open_private(path: str, flags: int) -> int:
    return os.open(path, flags | os.O_CLOEXEC, 0o600)


class Transport(virtual.Transport):
    """The folder as a kombu transport."""

    Channel = Channel
    driver_type = "folder"
    driver_name = "folder"
    default_port = 0  # type: ignore[assignment]
    implements = virtual.Transport.implements.extend(asynchronous=False, exchange_type=frozenset(["direct"]))

    def __init__(self, client: Any, **kwargs: Any) -> None:  # noqa: ANN401
        super().__init__(client, **kwargs)  # type: ignore[no-untyped-call]
        self._root = Path(client.transport_options["folder"])
        self._bell: Bell | None = None
        self._cycle: FairCycle = self.cycle  # type: ignore[assignment]

    def drain_events(self, connection: Any, timeout: float | None = None, **_: Any) -> None:  # noqa: ANN401
        """Deliver one message, or raise ``socket.timeout`` (earlier than asked for, at the latest then)."""
        if self._bell is None:
            self._bell = Bell(self._root / "bells")
        deliver: Callable[..., Any] = self._deliver
        deadline = time.monotonic() + min(timeout if timeout is not None else _MAX_DRAIN_S, _MAX_DRAIN_S)
        while True:
            with contextlib.suppress(Empty):
                self._cycle.get(deliver, timeout=timeout)  # type: ignore[no-untyped-call]
                return
            left_s = deadline - time.monotonic()
            if left_s <= 0 or not self._bell.wait(left_s):
                raise TimeoutError  # the worker asks again at once, and that is the next look

    def close_connection(self, connection: Any) -> None:  # noqa: ANN401
        """Close the channels and take the bell away."""
        super().close_connection(connection)  # type: ignore[no-untyped-call]
        if self._bell is not None:
            self._bell.close()
            self._bell = None

    def driver_version(self) -> str:
        """Return the version of the folder's form."""
        return "1"


TRANSPORT_ALIASES[EMBEDDED_URL.partition(":")[0]] = f"{__name__}:Transport"
