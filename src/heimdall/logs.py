"""One log for every process: one line per event, readable by a person or as JSON.

``14:03:22 worker    job started  job=ab12cd34… attempt=1``

Code logs with ``structlog.get_logger()``: a past-tense event name and ids as fields. What libraries
say through :mod:`logging` takes the same form. This module imports only the standard library at
load, so that the supervisor, which has no need of structlog, can use :func:`render_line`.
"""

from __future__ import annotations

import json
import logging
import os
import sys
from collections.abc import Mapping, MutableMapping
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Final, Literal, Protocol, TextIO

if TYPE_CHECKING:
    import structlog

LogFormat = Literal["line", "json"]

_QUIET_LIBRARIES: Final = (
    "alembic", "amqp", "asyncio", "celery", "fsspec", "h11", "httpcore", "httpx", "kombu", "multipart", "onnxscript", "torch",
    "urllib3", "uvicorn", "websockets",
)  # fmt: skip
"""Their warnings are shown, their chatter is not: the product says itself what happened."""

_RESERVED: Final = frozenset(vars(logging.makeLogRecord({}))) | {"message", "asctime", "fields", "taskName"}
_COMPONENT_WIDTH: Final = 9
_ID_LENGTH: Final = 36
_NAME_LENGTH: Final = 48
"""Of a job's or data set's name in a line; the id beside it says which one is meant."""

_DIM, _RED, _YELLOW, _BOLD, _RESET = "\x1b[2m", "\x1b[31m", "\x1b[33m", "\x1b[1m", "\x1b[0m"


class LogSettings(Protocol):
    """The part of the settings that the log needs."""

    @property
    def log_format(self) -> LogFormat:
        """Form of a line."""

    @property
    def log_level(self) -> str:
        """Least important level shown."""


def configure_logging(settings: LogSettings, component: str, *, stream: TextIO | None = None) -> None:
    """Send structlog, :mod:`logging` and :mod:`warnings` to standard error in the one form.

    Call once at the start of a process; calling again replaces the set-up.

    Parameters
    ----------
    settings
        ``log_format`` and ``log_level``.
    component
        Who speaks: ``api``, ``worker``, ``job``, ``heimdall``.
    stream
        Where to, instead of standard error.
    """
    target = stream or sys.stderr
    level = getattr(logging, settings.log_level.upper())
    handler = logging.StreamHandler(target)
    handler.setFormatter(EventFormatter(component, log_format=settings.log_format, has_color=has_color(target)))
    root = logging.getLogger()
    for old in list(root.handlers):
        root.removeHandler(old)
    root.addHandler(handler)
    root.setLevel(level)
    for name in _QUIET_LIBRARIES:
        logging.getLogger(name).setLevel(max(level, logging.WARNING))
    logging.captureWarnings(True)
    _configure_structlog(level)


def _configure_structlog(level: int) -> None:
    structlog = _import_structlog()
    structlog.configure(
        processors=[structlog.contextvars.merge_contextvars, _to_record],
        wrapper_class=structlog.make_filtering_bound_logger(level),
        logger_factory=structlog.stdlib.LoggerFactory(),
        cache_logger_on_first_use=False,
    )


def _import_structlog() -> Any:  # noqa: ANN401
    """Import structlog without Rich: its development console would load Rich, 0.07 s and 7 MB a process, for nothing."""
    is_hidden = "structlog" not in sys.modules and "rich" not in sys.modules
    if is_hidden:
        sys.modules["rich"] = None  # type: ignore[assignment]
    try:
        import structlog
    finally:
        if is_hidden:
            del sys.modules["rich"]
    return structlog


def _to_record(_: structlog.typing.WrappedLogger, __: str, event_dict: MutableMapping[str, Any]) -> tuple[tuple[str, str], dict[str, Any]]:
    event = event_dict.pop("event", "")
    exc_info = event_dict.pop("exc_info", None)
    return ("%s", event), {"exc_info": exc_info, "extra": {"fields": dict(event_dict)}}


class EventFormatter(logging.Formatter):
    """Writes a record as one line, with its traceback (if any) below, or as one JSON object.

    Parameters
    ----------
    component
        Who speaks.
    log_format
        ``line`` or ``json``.
    has_color
        Whether the reader is a terminal that shows colours.
    """

    def __init__(self, component: str, *, log_format: LogFormat = "line", has_color: bool = False) -> None:
        super().__init__()
        self.component = component
        self.log_format = log_format
        self.has_color = has_color

    def format(self, record: logging.LogRecord) -> str:
        """Return the text of one event."""
        fields = dict(getattr(record, "fields", None) or {})
        fields.update({key: value for key, value in vars(record).items() if key not in _RESERVED and not key.startswith("_")})
        when = datetime.fromtimestamp(record.created, UTC)
        trace = self.formatException(record.exc_info) if record.exc_info and record.exc_info[0] is not None else ""
        level = record.levelname.lower()
        if self.log_format == "json":
            if trace:
                fields["traceback"] = trace
            if record.name not in ("root", "heimdall"):
                fields.setdefault("logger", record.name)
            return render_json(when, self.component, record.getMessage(), fields, level=level)
        line = render_line(when, self.component, record.getMessage(), fields, level=level, has_color=self.has_color)
        return f"{line}\n{trace}" if trace else line


def render_line(
    when: datetime, component: str, event: str, fields: Mapping[str, Any], *, level: str = "info", has_color: bool = False
) -> str:
    """Return one readable line: local time, who, what, ``name=value`` pairs. Ids are cut to eight characters."""
    is_name = " " not in event
    words = event.replace("_", " ") if is_name else " ".join(event.split())
    pairs = " ".join(f"{_short_key(key, value)}={_short_value(key, value)}" for key, value in fields.items() if value is not None)
    clock = when.astimezone().strftime("%H:%M:%S")
    mark = {"warning": "warning: ", "error": "error: ", "critical": "error: "}.get(level, "")
    if has_color:
        clock = f"{_DIM}{clock}{_RESET}"
        mark = f"{_RED if mark.startswith('error') else _YELLOW}{mark}{_RESET}" if mark else ""
        words = f"{_BOLD}{words}{_RESET}" if component == "heimdall" else words
        pairs = f"{_DIM}{pairs}{_RESET}" if pairs else ""
    return f"{clock} {component:<{_COMPONENT_WIDTH}} {mark}{words}" + (f"  {pairs}" if pairs else "")


def render_json(when: datetime, component: str, event: str, fields: Mapping[str, Any], *, level: str = "info") -> str:
    """Return one JSON object on one line; a value JSON does not know becomes text."""
    timestamp = when.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")
    body = {"timestamp": timestamp, "level": level, "component": component, "event": event}
    return json.dumps({**fields, **body}, default=str, ensure_ascii=False)


def has_color(stream: TextIO) -> bool:
    """Say whether ``stream`` is a terminal whose user did not forbid colours (``NO_COLOR``)."""
    return stream.isatty() and not os.environ.get("NO_COLOR") and os.environ.get("TERM") != "dumb"


def _short_key(key: str, value: object) -> str:
    return key[:-3] if key.endswith("_id") and isinstance(value, str) and len(value) == _ID_LENGTH else key


def _short_value(key: str, value: object) -> str:
    if isinstance(value, float):
        return f"{value:.4g}"
    text = " ".join(str(value).split())
    if len(text) == _ID_LENGTH and text.count("-") == 4:
        return f"{text[:8]}…"
    if key.endswith("_name") and len(text) > _NAME_LENGTH:
        text = f"{text[: _NAME_LENGTH - 1]}…"
    return f'"{text}"' if " " in text or not text else text
