"""The words of a schema in the words of the command line: a field of a request is a flag of the command that sends it."""

from __future__ import annotations

import inspect
import re
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any, Final, get_args

from typer.models import OptionInfo

from heimdall.domain.sentences import describe_fault

if TYPE_CHECKING:
    from heimdall.domain.errors import HeimdallError

_FIELD_OF_PARAMETER: Final = {"name": "job_name", "name_option": "name", "dataset": "dataset_id"}
"""Parameters that fill a field of another name."""

_USAGE: Final = re.compile(r"Invalid value for (?:'(?P<name>[^']+)'[^:]*|(?P<bare>[^:]+)): (?P<message>.*)", re.DOTALL)


def list_flags(parameters: Iterable[inspect.Parameter]) -> dict[str, str]:
    """Return the flag of each field that a command's options fill."""
    flags: dict[str, str] = {}
    for parameter in parameters:
        info = next((item for item in get_args(parameter.annotation)[1:] if isinstance(item, OptionInfo)), None)
        if info is None:
            continue
        # Inside Annotated, Typer keeps the first declaration where the default would be.
        declared = [text for text in (info.default, *(info.param_decls or ())) if isinstance(text, str) and text.startswith("--")]
        flag = declared[0].partition("/")[0] if declared else f"--{parameter.name.replace('_', '-')}"
        flags[parameter.name] = flag
        if parameter.name in _FIELD_OF_PARAMETER:
            flags[_FIELD_OF_PARAMETER[parameter.name]] = flag
    return flags


def name_flags(error: HeimdallError, flags: Mapping[str, str]) -> None:
    """Put flags in the place of field names in an error's sentence; the field itself stays for programs."""
    for field, flag in flags.items():
        # A field of one word may be a word of the sentence: it is a name only where the sentence begins with it.
        place = rf"\b{field}\b" if "_" in field else rf"(?:(?<=^)|(?<=\. )){field}(?= (?:should|must|is required))"
        error.detail = re.sub(rf"(?<![-\w]){place}", flag, error.detail)
    known = flags.get(error.field or "")
    if known and known not in error.detail and known.strip("-").replace("-", " ") not in error.detail.lower():
        error.detail = f"{known}: {error.detail}"


def describe_usage(problem: Any) -> str:  # noqa: ANN401
    """Return the sentence of a usage error, without the parser's own words."""
    text = str(problem.format_message())
    found = _USAGE.fullmatch(text)
    if found is None:
        return text if text.endswith((".", "?")) else f"{text}."
    name, message = found["name"] or found["bare"], found["message"].removeprefix("Value error, ")
    return describe_fault(name, message) if message.startswith("Input should") else f"{name}: {message}"
