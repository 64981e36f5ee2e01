"""The command line: parses what is asked, prints what others say. Starts without SQLAlchemy and pydantic."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from itertools import takewhile
from typing import Annotated, Any, NoReturn

import typer
from typer.main import get_command

from usecasecore.cli import (
    adopt,
    aggregate,
    anchors,
    attempts,
    audit,
    coverage,
    db,
    diagram,
    doctor,
    erasure,
    explain,
    idempotency,
    lifecycle,
    outbox,
    run,
    usecase,
    verification,
)
from usecasecore.cli.failure import Failure
from usecasecore.cli.group import Group, show_help
from usecasecore.cli.output import print_failure, print_lines, print_traceback, speak_utf8

__all__ = ["main"]

NAME = "usecasecore"

# typer raises click's usage errors, from click or from a copy of its own, and exports none of their bases.
_UsageError: type[Exception] = typer.BadParameter.__bases__[0]

_app = typer.Typer(
    cls=Group,
    help="Look at lifecycles, use cases and the ledger. Exit codes: 0 fine, 1 findings, 2 usage, configuration or internal.",
    invoke_without_command=True,
    add_completion=False,
    rich_markup_mode=None,
)
db.commands.command()(adopt.adopt)
_app.add_typer(lifecycle.commands, name="lifecycle")
_app.add_typer(diagram.commands, name="diagram")
_app.add_typer(usecase.commands, name="usecase")
_app.add_typer(aggregate.commands, name="aggregate")
audit.commands.command("attempts")(attempts.attempts)
audit.commands.command("anchor")(anchors.anchor)
audit.commands.command("erase")(erasure.erase)
_app.add_typer(coverage.commands, name="coverage")
_app.add_typer(audit.commands, name="audit")
_app.add_typer(outbox.commands, name="outbox")
_app.add_typer(idempotency.commands, name="idempotency")
_app.add_typer(db.commands, name="db")
_app.command("verify")(verification.verify)
_app.command()(doctor.doctor)
_app.command()(explain.explain)
_app.command()(run.run)


@_app.callback()
def _root(
    context: typer.Context,
    show_version: Annotated[bool, typer.Option("--version", help="Show the version and exit.")] = False,
    debug: Annotated[bool, typer.Option("--debug", help="Show a traceback with each error.")] = False,
) -> None:
    if show_version:
        print_lines([f"{NAME} {_version()}"])
        raise typer.Exit
    show_help(context)


def main(arguments: Sequence[str] | None = None) -> NoReturn:
    """Run the command line, by default on the arguments of the process, and exit.

    Raises:
        SystemExit: Always: 0 fine, 1 findings, 2 usage, configuration or internal.
    """
    speak_utf8()
    sys.exit(_run(sys.argv[1:] if arguments is None else list(arguments)))


def _run(arguments: list[str]) -> int:
    # A usage error may come up before any option is read.
    debug = "--debug" in takewhile(lambda argument: argument.startswith("-"), arguments)
    try:
        code: Any = get_command(_app).main(arguments, prog_name=NAME, standalone_mode=False)
    except Exception as error:  # noqa: BLE001 - nobody is above who could
        failure = _failure_of(error)
        if debug:
            print_traceback(error, failure.secrets)
        print_failure(failure)
        return 2
    return code if isinstance(code, int) else 0


def _failure_of(error: Exception) -> Failure:
    if isinstance(error, Failure):
        return error
    if isinstance(error, _UsageError):
        usage: Any = error
        text = usage.format_message().replace("Value error, ", "").rstrip(".")
        path = usage.ctx.command_path if usage.ctx else NAME
        return Failure(text[:1].lower() + text[1:], f"`{path} --help` shows what is accepted")
    hint = f"this is a defect of {NAME}; run `{NAME} --debug ...` to see where"
    return Failure(f"{type(error).__name__}: {error}", hint)


def _version() -> str:
    from importlib.metadata import PackageNotFoundError, version

    try:
        return version(NAME)
    except PackageNotFoundError:
        return "(not installed)"
