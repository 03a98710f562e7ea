"""Entry point of ``heimdall``. Each command is imported only when it is called: ``--help`` stays under 0.3 s."""

from __future__ import annotations

import importlib
import json
import sys
from typing import TYPE_CHECKING, Annotated, Any, Final

import typer
from typer.core import TyperGroup

from heimdall import __version__
from heimdall.domain.errors import HeimdallError

if TYPE_CHECKING:
    from collections.abc import Sequence

EXIT_ERROR: Final = 1
EXIT_USAGE: Final = 2
EXIT_UNREACHABLE: Final = 3

COMMANDS: Final = {
    "up": ("heimdall.cli.up", "Start everything: server, worker and page."),
    "serve": ("heimdall.cli.up", "Start the server alone (REST, socket and page)."),
    "worker": ("heimdall.cli.up", "Start one worker alone."),
    "train": ("heimdall.cli.train", "Create a training job and watch it."),
    "job": ("heimdall.cli.jobs", "List, watch, pause, resume, cancel and delete jobs."),
    "dataset": ("heimdall.cli.datasets", "List, generate, import and delete data sets."),
    "model": ("heimdall.cli.models", "List, export, import and verify models."),
    "audit": ("heimdall.cli.audit", "Show who did what."),
    "backup": ("heimdall.cli.backup", "Save the whole instance in one file, while it runs."),
    "restore": ("heimdall.cli.backup", "Verify a backup and put it into an empty instance."),
    "fsck": ("heimdall.cli.fsck", "Compare rows with files, and repair what a crash left."),
    "doctor": ("heimdall.cli.doctor", "Check this machine and say what is missing."),
    "config": ("heimdall.cli.config", "Print every setting with its value and meaning."),
}
"""Command to the module that holds it and the line that ``heimdall --help`` shows."""


class LazyGroup(TyperGroup):
    """Lists commands from :data:`COMMANDS` and imports the one that is called."""

    def resolve_command(self, ctx: Any, args: list[str]) -> Any:  # noqa: ANN401
        """Put the real command in the place of its stub, then resolve as always."""
        if args and args[0] in COMMANDS:
            self.commands[args[0]] = load_command(args[0])
        return super().resolve_command(ctx, args)


def load_command(name: str) -> Any:  # noqa: ANN401
    """Import the module of a command and return what it registers under ``name``."""
    module = importlib.import_module(COMMANDS[name][0])
    built: Any = typer.main.get_command(module.app)
    return built.commands[name] if name in getattr(built, "commands", {}) else built


def _build_app() -> typer.Typer:
    app = typer.Typer(
        cls=LazyGroup,
        name="heimdall",
        help="Trains neural networks that find radio transmitters.",
        no_args_is_help=True,
        rich_markup_mode=None,
        pretty_exceptions_enable=False,
        add_completion=True,
    )
    app.callback()(_root)
    for name, (_, text) in COMMANDS.items():
        app.command(name, help=text)(_stub)
    return app


def _stub() -> None:
    raise AssertionError("a stub command was run: LazyGroup did not replace it")


def _print_version(value: bool) -> None:
    if value:
        text = json.dumps({"version": __version__}) if "--json" in sys.argv else f"heimdall {__version__}"
        typer.echo(text)
        raise typer.Exit


def _root(
    version: Annotated[bool, typer.Option("--version", help="Print the version and exit.", is_eager=True, callback=_print_version)] = False,
    as_json: Annotated[bool, typer.Option("--json", hidden=True)] = False,
) -> None:
    """Trains neural networks that find radio transmitters."""


app = _build_app()


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command line and end the process: 0 well, 1 error, 2 usage, 3 server not reachable."""
    words = list(sys.argv[1:] if arguments is None else arguments)
    while len(words) > 1 and words[0] == "--json" and "--version" not in words:
        words = [*words[1:], words[0]]
    sys.exit(run(words))


def run(words: list[str]) -> int:
    """Run the command line and return its exit code."""
    as_json = "--json" in words
    try:
        code = app(words, prog_name="heimdall", standalone_mode=False)
    except HeimdallError as error:
        return report_error(error.code, error.detail, error.field, as_json=as_json, exit_code=getattr(error, "exit_code", EXIT_ERROR))
    except typer.Abort:
        return report_error("aborted", "Nothing was done.", None, as_json=as_json, exit_code=EXIT_ERROR)
    except _UsageProblem as problem:
        return report_usage(problem, as_json=as_json)
    return code if isinstance(code, int) else 0


def report_usage(problem: Any, *, as_json: bool) -> int:  # noqa: ANN401
    """Write what is wrong with the words of a command, and where its help stands."""
    from heimdall.cli.flags import describe_usage

    if type(problem).__name__ == "NoArgsIsHelpError":
        problem.show()
        return EXIT_USAGE
    path = problem.ctx.command_path if getattr(problem, "ctx", None) else "heimdall"
    return report_error("usage", f"{describe_usage(problem)} See: {path} --help", None, as_json=as_json, exit_code=EXIT_USAGE)


def report_error(code: str, detail: str, field: str | None, *, as_json: bool, exit_code: int) -> int:
    """Write one error to standard error and return the exit code."""
    text = json.dumps({"code": code, "detail": detail, "field": field}, ensure_ascii=False) if as_json else detail
    typer.echo(text, err=True)
    return exit_code


# Typer does not export the base of its usage errors; the public BadParameter descends from it.
_UsageProblem: Any = next(base for base in typer.BadParameter.__mro__ if base.__name__ == "ClickException")


if __name__ == "__main__":
    main()
