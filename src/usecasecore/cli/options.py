"""The options that several commands share."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated, TypeAlias

import typer

__all__ = ["AppOption", "Format", "FormatOption", "SchemaOption", "UrlOption"]


class Format(StrEnum):
    """How data is printed."""

    TEXT = "text"
    JSON = "json"


AppOption: TypeAlias = Annotated[
    str | None,
    typer.Option(
        "--app",
        metavar="MODULE:ATTRIBUTE",
        help="An Application, a Runtime, or a function that makes one. "
        "Else USECASECORE_APP, else [tool.usecasecore] app in the nearest pyproject.toml.",
    ),
]
UrlOption: TypeAlias = Annotated[
    str | None,
    typer.Option("--url", metavar="URL", help="The database. Else USECASECORE_URL, else that of the Runtime that --app finds."),
]
SchemaOption: TypeAlias = Annotated[
    str | None, typer.Option("--schema", metavar="NAME", help="The schema that the ledger lives in. By default the connection's.")
]
FormatOption: TypeAlias = Annotated[Format, typer.Option("--format", help="How to print the data.")]
