"""Asking before something is lost."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Annotated

import typer

from heimdall.cli.output import clean_text
from heimdall.domain.errors import HeimdallError

if TYPE_CHECKING:
    from heimdall.cli.session import Session

Yes = Annotated[bool, typer.Option("--yes", "-y", help="Do not ask. Needed with --json and where no terminal can answer.")]


class NotConfirmedError(HeimdallError):
    """Something would be lost, and nobody can be asked whether that is meant."""

    code = "confirmation_needed"
    exit_code = 2


def confirm_loss(session: Session, loss: str, *, yes: bool) -> None:
    """Return where the person, or ``--yes``, agrees to ``loss``.

    Parameters
    ----------
    session
        Of the command.
    loss
        What would be deleted and what stays, as sentences that begin with the thing.
    yes
        Whether ``--yes`` was given.

    Raises
    ------
    NotConfirmedError
        Nobody can be asked, and ``--yes`` was not given.
    typer.Abort
        The person said no.
    """
    if yes:
        return
    loss = clean_text(loss)
    if session.out.as_json or not sys.stdin.isatty():
        raise NotConfirmedError(f"Nothing was deleted, because it would be lost: {loss} To delete it, add --yes.")
    # Not typer.confirm: it writes a space to standard output, where the result belongs.
    print(f"{loss}\nDelete it? [y/N] ", end="", file=session.out.stderr, flush=True)
    if sys.stdin.readline().strip().lower() not in ("y", "yes"):
        raise typer.Abort
