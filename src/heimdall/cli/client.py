"""HTTP and WebSocket client of a running Heimdall."""

from __future__ import annotations

import io
import os
import uuid
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Self
from urllib.parse import urlsplit

import httpx

from heimdall.domain.errors import HeimdallError, InvalidInputError, StorageFullError

if TYPE_CHECKING:
    from websockets.sync.client import ClientConnection

API_PREFIX: Final = "/api/v1"
_TIMEOUT: Final = httpx.Timeout(30.0, connect=3.0)
_SLOW_TIMEOUT: Final = httpx.Timeout(600.0, connect=3.0)
"""For an upload or import, whose answer comes after the server has read and checked everything."""
_MAX_FRAME_BYTES: Final = 64 * 1024 * 1024

OnProgress = Callable[[int], None]
"""Called with the bytes moved since the last call."""


class NoServerError(HeimdallError):
    """Nothing answers at the URL, or something that is not Heimdall."""

    code = "no_server"
    exit_code = 3


class ServerAnswerError(HeimdallError):
    """The server said no; its own words are passed on."""

    def __init__(self, detail: str, *, field: str | None, code: str, status: int) -> None:
        super().__init__(detail, field=field, code=code)
        self.status = status


def make_no_server_error(url: str) -> NoServerError:
    """Return the error with the sentence that says what to do."""
    return NoServerError(f"No Heimdall answers at {url}. Start one with: heimdall up, or name the one that runs: --url, HEIMDALL_URL.")


class ServerClient:
    """Talks to one server.

    Parameters
    ----------
    url
        ``http://host:port``, without a trailing slash.
    token
        Bearer token, if the server asks for one.
    transport
        Replaces the network, for tests.
    """

    def __init__(self, url: str, token: str | None = None, *, transport: httpx.BaseTransport | None = None) -> None:
        if urlsplit(url).scheme not in ("http", "https"):
            raise InvalidInputError(f"'{url}' is no server's URL. Write it like http://127.0.0.1:8001", field="url")
        self.url = url.rstrip("/")
        self._headers = {"Authorization": f"Bearer {token}"} if token else {}
        # A proxy from the environment must not stand between the command line and its own machine.
        is_local = urlsplit(url).hostname in ("127.0.0.1", "::1", "localhost")
        self._use_proxy = not is_local
        self._http = httpx.Client(base_url=self.url, headers=self._headers, timeout=_TIMEOUT, transport=transport, trust_env=not is_local)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Give back the connections."""
        self._http.close()

    def get(self, path: str, params: Mapping[str, Any] | None = None) -> Any:  # noqa: ANN401
        """Return the JSON that ``GET /api/v1PATH`` answers."""
        return self.request("GET", path, params=params)

    def get_text(self, path: str, params: Mapping[str, Any] | None = None) -> tuple[str, Mapping[str, str]]:
        """Return the text that ``GET /api/v1PATH`` answers, and the headers."""
        with self._translating_errors():
            response = self._http.get(API_PREFIX + path, params=params)
        self._raise_for_problem(response)
        return response.text, response.headers

    def post(self, path: str, body: Any = None) -> Any:  # noqa: ANN401
        """Send JSON and return the answer. Not repeated: the request may have acted."""
        return self.request("POST", path, json=body)

    def create(self, path: str, body: Any) -> Any:  # noqa: ANN401
        """Send JSON under an ``Idempotency-Key``: repeated after a broken connection, it still acts once."""
        headers = {"Idempotency-Key": str(uuid.uuid4())}
        for _ in range(2):
            try:
                return self.request("POST", path, json=body, headers=headers)
            except NoServerError as error:
                if not isinstance(error.__cause__, (httpx.ReadError, httpx.RemoteProtocolError, httpx.ReadTimeout)):
                    raise
        return self.request("POST", path, json=body, headers=headers)

    def delete(self, path: str, params: Mapping[str, Any] | None = None) -> Any:  # noqa: ANN401
        """Send DELETE and return the JSON, or None for an empty answer."""
        return self.request("DELETE", path, params=params)

    def patch(self, path: str, body: Any) -> Any:  # noqa: ANN401
        """Send PATCH and return the JSON."""
        return self.request("PATCH", path, json=body)

    def request(self, method: str, path: str, **options: Any) -> Any:  # noqa: ANN401
        """Send one request and return its JSON.

        Raises
        ------
        NoServerError
            Nothing answers, or it is not Heimdall.
        ServerAnswerError
            The server's own Problem.
        """
        with self._translating_errors():
            response = self._http.request(method, API_PREFIX + path, **options)
        self._raise_for_problem(response)
        return self._read_json(response) if response.content else None

    def upload(
        self, path: str, files: Sequence[Path], fields: Mapping[str, Any] | None = None, on_progress: OnProgress | None = None
    ) -> tuple[Any, int]:
        """Send files as multipart parts named ``file``; returns the JSON and the status.

        Raises
        ------
        InvalidInputError
            A file cannot be read.
        """
        with ExitStack() as stack:
            try:
                opened = [stack.enter_context(CountingFile(name, on_progress)) for name in files]
            except OSError as error:
                raise InvalidInputError(f"{error.filename}: {error.strerror}.", field="file") from error
            parts = [("file", (name.name, handle, "application/octet-stream")) for name, handle in zip(files, opened, strict=True)]
            form = {name: str(value) for name, value in (fields or {}).items() if value is not None}
            with self._translating_errors():
                response = self._http.post(API_PREFIX + path, files=parts, data=form, timeout=_SLOW_TIMEOUT)
        self._raise_for_problem(response)
        return self._read_json(response), response.status_code

    def download(
        self, path: str, params: Mapping[str, Any], choose_target: Callable[[str | None], Path], on_progress: OnProgress | None = None
    ) -> Path:
        """Stream an answer into a file that appears only when it is whole.

        Parameters
        ----------
        path, params
            What to get.
        choose_target
            Given the server's file name (or None), returns where to write.
        on_progress
            Told the bytes as they come.
        """
        with self._translating_errors(), self._http.stream("GET", API_PREFIX + path, params=params) as response:
            if response.is_error:
                response.read()
                self._raise_for_problem(response)
            target = choose_target(_read_file_name(response))
            partial = target.with_name(f".{target.name}.{os.getpid()}.partial")
            try:
                with partial.open("wb") as handle:
                    for chunk in response.iter_bytes():
                        handle.write(chunk)
                        if on_progress is not None:
                            on_progress(len(chunk))
                partial.replace(target)
            except OSError as error:
                raise StorageFullError(f"{target} cannot be written: {error.strerror}.") from error
            finally:
                partial.unlink(missing_ok=True)
        return target

    def connect_socket(self, path: str) -> ClientConnection:
        """Open a WebSocket below the server's URL; the caller closes it."""
        from websockets.sync.client import connect

        return connect(
            "ws" + self.url.removeprefix("http") + path,
            additional_headers=self._headers,
            proxy=True if self._use_proxy else None,
            open_timeout=5,
            close_timeout=1,
            max_size=_MAX_FRAME_BYTES,
        )

    @contextmanager
    def _translating_errors(self) -> Iterator[None]:
        try:
            yield
        except httpx.ConnectError as error:
            raise make_no_server_error(self.url) from error
        except httpx.ConnectTimeout as error:
            raise make_no_server_error(self.url) from error
        except httpx.TimeoutException as error:
            raise NoServerError(f"{self.url} did not answer in time. It may be busy; look at its log and try again.") from error
        except (httpx.TransportError, httpx.InvalidURL) as error:
            raise NoServerError(f"The connection to {self.url} broke: {error}. Try again.") from error

    def _raise_for_problem(self, response: httpx.Response) -> None:
        if not response.is_error:
            return
        try:
            problem = response.json()
            detail, code = problem["detail"], problem["code"]
        except (ValueError, KeyError, TypeError) as error:
            raise self._make_stranger_error(response.status_code) from error
        if response.status_code in (401, 403) and "Authorization" not in self._headers:
            detail = f"{detail} Set HEIMDALL_TOKEN to the server's token."
        raise ServerAnswerError(str(detail), field=problem.get("field"), code=str(code), status=response.status_code)

    def _read_json(self, response: httpx.Response) -> Any:  # noqa: ANN401
        try:
            return response.json()
        except ValueError as error:
            raise self._make_stranger_error(response.status_code) from error

    def _make_stranger_error(self, status: int) -> NoServerError:
        return NoServerError(
            f"{self.url} answers {status}, but not as Heimdall does: another program may use that port. Name the server with --url.",
            code="not_heimdall",
        )


class CountingFile(io.BufferedReader):
    """A file that tells how many bytes were read from it."""

    def __init__(self, path: Path, on_progress: OnProgress | None) -> None:
        super().__init__(io.FileIO(path))
        self._on_progress = on_progress

    def read(self, size: int | None = -1, /) -> bytes:
        """Read and report."""
        data = super().read(size)
        if self._on_progress is not None:
            self._on_progress(len(data))
        return data


def _read_file_name(response: httpx.Response) -> str | None:
    """Return the last path component of the server's file name, so that an answer cannot choose a folder."""
    header = response.headers.get("content-disposition", "")
    name = header.partition("filename=")[2].partition(";")[0].strip().strip('"')
    base = name.replace("\\", "/").rsplit("/", 1)[-1]
    return base if base not in ("", ".", "..") else None
