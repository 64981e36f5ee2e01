"""Group: a command that only has commands below it."""

from __future__ import annotations

import sys
from typing import Any

import typer
from typer.core import TyperGroup

from usecasecore.cli.failure import unknown

__all__ = ["Group", "group", "show_help"]


class Group(TyperGroup):
    """Names the nearest command for one that doesn't exist."""

    def get_command(self, ctx: Any, cmd_name: str) -> Any:
        """Return the command of that name.

        Raises:
            Failure: If there is none.
        """
        found = super().get_command(ctx, cmd_name)
        if found is None and not cmd_name.startswith("-"):
            raise unknown("command", f"{ctx.command_path} {cmd_name}", (f"{ctx.command_path} {name}" for name in self.commands))
        return found


def group(help: str) -> typer.Typer:  # noqa: A002 - typer's own word
    """Return a group without commands, which shows its help when it is called alone."""
    return typer.Typer(cls=Group, help=help, callback=show_help, invoke_without_command=True, rich_markup_mode=None)


def show_help(context: typer.Context) -> None:
    """Show the help of a group that was called without a command, and exit as for a usage error."""
    if context.invoked_subcommand is None:
        print(context.get_help(), file=sys.stderr)
        raise typer.Exit(2)
