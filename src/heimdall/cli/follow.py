"""Follows a job over its socket: every event once and in order, over any number of broken connections."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any, Final

from heimdall.cli.client import NoServerError
from heimdall.domain.errors import AuthenticationError, NotFoundError

if TYPE_CHECKING:
    from heimdall.cli.client import ServerClient

Frame = dict[str, Any]
FINAL_EVENTS: Final = frozenset({"training_completed", "training_failed", "training_cancelled", "training_deleted"})
FINAL_STATUSES: Final = frozenset({"completed", "failed", "cancelled"})
CLOSED_UNKNOWN_JOB: Final = 4404
_FIRST_WAIT_S: Final = 0.2
_LONGEST_WAIT_S: Final = 3.0


class JobFollower:
    """Reads one job's frames from ``since`` to its end.

    Parameters
    ----------
    client
        Of the server.
    job_id
        The job.
    since
        Last event already known; 0 replays all.
    patience_s
        How long the server may be away before following is given up.
    on_connection
        Told False when the connection is lost and True when it is back.
    wait
        Waits between two tries; replaced in tests.
    """

    def __init__(
        self,
        client: ServerClient,
        job_id: str,
        *,
        since: int = 0,
        patience_s: float = 60.0,
        on_connection: Callable[[bool], None] | None = None,
        wait: Callable[[float], None] = time.sleep,
    ) -> None:
        self._client = client
        self._job_id = job_id
        self.last_seq = since
        self._patience_s = patience_s
        self._on_connection = on_connection or (lambda _: None)
        self._wait = wait
        self._is_over = False
        self._lost_at: float | None = None
        self._wait_s = _FIRST_WAIT_S

    def frames(self) -> Iterator[Frame]:
        """Yield ``connected`` (once per connection), every event after ``since``, and the ticks that come.

        Raises
        ------
        NotFoundError
            There is no such job.
        AuthenticationError
            The server asks for a token.
        NoServerError
            Nothing answered for ``patience_s``.
        """
        from websockets.exceptions import ConnectionClosed, InvalidHandshake, InvalidStatus

        while not self._is_over:
            try:
                with self._client.connect_socket(f"/ws/training/{self._job_id}?since={self.last_seq}") as socket:
                    self._note_connected()
                    yield from self._read(socket)
            except ConnectionClosed as error:
                if error.rcvd is not None and error.rcvd.code == CLOSED_UNKNOWN_JOB:
                    raise NotFoundError(f"There is no job '{self._job_id}'. See: heimdall job list", field="job") from error
            except InvalidStatus as error:
                if error.response.status_code in (401, 403):
                    raise AuthenticationError(_read_refusal(error.response.body)) from error
            except (OSError, InvalidHandshake):
                pass  # away for now: counted below
            if not self._is_over:
                self._note_lost()

    def _read(self, socket: Any) -> Iterator[Frame]:  # noqa: ANN401
        for text in socket:
            frame: Frame = json.loads(text)
            if frame["event"] == "connected":
                yield frame
                job = frame["data"]["job"]
                if job["status"] in FINAL_STATUSES and frame["data"]["last_seq"] <= self.last_seq:
                    self._is_over = True
                    return
                continue
            seq = frame.get("seq")
            if seq is not None:
                if seq <= self.last_seq:
                    continue
                if seq > self.last_seq + 1:
                    return  # one is missing: connect again from the last one known
                self.last_seq = seq
                self._wait_s = _FIRST_WAIT_S
            yield frame
            if frame["event"] in FINAL_EVENTS:
                self._is_over = True
                return

    def _note_connected(self) -> None:
        if self._lost_at is not None:
            self._lost_at = None
            self._on_connection(True)

    def _note_lost(self) -> None:
        now = time.monotonic()
        if self._lost_at is None:
            self._lost_at = now
            self._on_connection(False)
        elif now - self._lost_at > self._patience_s:
            raise NoServerError(
                f"No Heimdall answers at {self._client.url} any more. Start it with 'heimdall up': the job goes on by itself. "
                f"Then watch it with: heimdall job watch {self._job_id}"
            )
        self._wait(self._wait_s)
        self._wait_s = min(self._wait_s * 2, _LONGEST_WAIT_S)


def _read_refusal(body: bytes | bytearray | None) -> str:
    """Return the server's own sentence for why it does not let a socket in."""
    try:
        return f"{json.loads(body or b'')['detail']} For the command line: set HEIMDALL_TOKEN to the server's token."
    except (ValueError, KeyError, TypeError):
        return "The server does not let this client in. Set HEIMDALL_TOKEN to its token."
