"""Command-line options made from a Pydantic model: limits and defaults have one copy, the model's."""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from typing import TYPE_CHECKING, Annotated, Any, Optional

import annotated_types
import typer

if TYPE_CHECKING:
    from pydantic import BaseModel
    from pydantic.fields import FieldInfo


def make_parameters(
    model: type[BaseModel], *, skip: frozenset[str] = frozenset(), flags: Mapping[str, str] | None = None
) -> tuple[inspect.Parameter, ...]:
    """Return one option per field.

    An option that was not given is None and not sent: the default stays the server's.

    Parameters
    ----------
    model
        Schema of the request.
    skip
        Fields that the command fills itself.
    flags
        Field to flag, where it is not ``--field-name``.
    """
    names = flags or {}
    return tuple(
        _make_parameter(name, field, names.get(name, f"--{name.replace('_', '-')}"))
        for name, field in model.model_fields.items()
        if name not in skip
    )


def _make_parameter(name: str, field: FieldInfo, flag: str) -> inspect.Parameter:
    info: dict[str, Any] = {"help": _describe(field), "show_default": False}
    for limit in field.metadata:
        if isinstance(limit, annotated_types.Ge):
            info["min"] = limit.ge
        elif isinstance(limit, annotated_types.Le):
            info["max"] = limit.le
    # The type is known at run time only; typing.Optional builds it without a checker's help.
    annotation = Annotated[Optional[field.annotation], typer.Option(flag, **info)]  # type: ignore[name-defined]  # noqa: UP045
    return inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, default=None, annotation=annotation)


def _describe(field: FieldInfo) -> str:
    limits = [f"above {limit.gt:g}" for limit in field.metadata if isinstance(limit, annotated_types.Gt)]
    limits += [f"below {limit.lt:g}" for limit in field.metadata if isinstance(limit, annotated_types.Lt)]
    if not field.is_required() and field.default not in (None, ""):
        limits.append(f"default {field.default}")
    note = f"({', '.join(limits)})" if limits else ""
    return " ".join(filter(None, [(field.description or "").strip(), note]))


def keep_given(values: Mapping[str, Any]) -> dict[str, Any]:
    """Return the options that were given."""
    return {name: value for name, value in values.items() if value is not None}
