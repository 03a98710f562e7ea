"""What every command starts with: checked settings, a place to print to, and a client of the server."""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Annotated, Any

import typer

from heimdall.cli.flags import list_flags, name_flags
from heimdall.cli.instance import find_running, make_browser_url
from heimdall.cli.output import Output
from heimdall.domain.errors import HeimdallError, InvalidInputError
from heimdall.domain.sentences import describe_fault

if TYPE_CHECKING:
    from heimdall.cli.client import ServerClient
    from heimdall.settings import Settings

AsJson = Annotated[bool, typer.Option("--json", help="Print JSON: the result on standard output, an error on standard error.")]
Url = Annotated[
    str | None, typer.Option("--url", metavar="URL", help="Server to talk to; default: HEIMDALL_URL, else the one that runs here.")
]

_COMMON = (
    inspect.Parameter("url", inspect.Parameter.KEYWORD_ONLY, default=None, annotation=Url),
    inspect.Parameter("as_json", inspect.Parameter.KEYWORD_ONLY, default=False, annotation=AsJson),
)


@dataclass(frozen=True)
class Session:
    """One run of one command."""

    settings: Settings
    out: Output

    @cached_property
    def client(self) -> ServerClient:
        """Client of the server that the settings name; nothing is sent before the first request."""
        from heimdall.cli.client import ServerClient

        return ServerClient(find_server_url(self.settings), read_token(self.settings))


def load_settings(**flags: Any) -> Settings:  # noqa: ANN401
    """Return settings from the environment, with flags that were given on top.

    Raises
    ------
    InvalidInputError
        Naming the variable or flag at fault.
    """
    from pydantic import ValidationError
    from pydantic_settings import SettingsError

    from heimdall.settings import Settings

    given = {name: value for name, value in flags.items() if value is not None}
    try:
        return Settings(**given)
    except ValidationError as error:
        first = error.errors()[0]
        name = str(first["loc"][0]) if first["loc"] else "settings"
        shown = f"--{name.replace('_', '-')}" if name in given else f"HEIMDALL_{name.upper()}"
        sentence = describe_fault(f"{shown} is {first['input']!r}; it", first["msg"])
        raise InvalidInputError(f"{sentence} 'heimdall config' explains it.", field=name) from error
    except SettingsError as error:
        found = re.search(r'field "(\w+)"', str(error))
        name = f"HEIMDALL_{found[1].upper()}" if found else "A setting"
        raise InvalidInputError(f"{name} should be a list in JSON, for example '[\"cpu\"]'. 'heimdall config' explains it.") from error


def find_server_url(settings: Settings) -> str:
    """Return where to look for the server: the URL that was set, the Heimdall on the data folder, or host and port."""
    running = find_running(settings.data_dir)
    return settings.url or (running.url if running else make_browser_url(settings.host, settings.port))


def read_token(settings: Settings) -> str | None:
    """Return the token; an empty variable is none."""
    return (settings.token.get_secret_value() or None) if settings.token else None


def add_command(
    app: typer.Typer, name: str, *, parameters: tuple[inspect.Parameter, ...] = ()
) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """Register ``function(session, **options)`` as a command with ``--url`` and ``--json``.

    Parameters
    ----------
    app
        Group to register in.
    name
        Name of the command.
    parameters
        Further options, made from a schema; they reach the function as keyword arguments.
    """

    def register(function: Callable[..., None]) -> Callable[..., None]:
        own = [
            parameter.replace(kind=inspect.Parameter.KEYWORD_ONLY)
            for parameter in list(inspect.signature(function, eval_str=True).parameters.values())[1:]
            if parameter.kind is not inspect.Parameter.VAR_KEYWORD
        ]

        flags = list_flags([*own, *parameters])

        def run(**values: Any) -> None:  # noqa: ANN401
            out = Output(as_json=values.pop("as_json"))
            session = Session(settings=load_settings(url=values.pop("url")), out=out)
            try:
                function(session, **values)
            except HeimdallError as error:
                name_flags(error, flags)
                raise
            finally:
                if "client" in vars(session):
                    session.client.close()

        run.__name__ = function.__name__
        run.__doc__ = function.__doc__
        run.__signature__ = inspect.Signature([*own, *parameters, *_COMMON])  # type: ignore[attr-defined]
        run.__annotations__ = {}
        app.command(name)(run)
        return function

    return register
