"""`usecasecore explain`: the page of a code."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from usecasecore.cli.failure import unknown
from usecasecore.cli.options import Format, FormatOption
from usecasecore.cli.output import heading, print_json, print_lines

if TYPE_CHECKING:
    from usecasecore.code_pages import CodePages

__all__ = ["explain"]


def explain(
    code: Annotated[
        str, typer.Argument(metavar="CODE", help="As `lifecycle check` or `doctor` prints it, for example UCC101 or UCD201.")
    ],
    output: FormatOption = Format.TEXT,
) -> None:
    """Say what a code of `lifecycle check` or `doctor` means, and its cure; of `lifecycle check` with an example."""
    wanted = code.upper()
    pages = _pages_with(wanted, code)
    if output is Format.JSON:
        print_json({"code": wanted, "title": pages.title(wanted), "page": pages.page(wanted), "example": pages.example(wanted)})
    else:
        _, *rest = pages.page(wanted).rstrip().splitlines()
        print_lines([heading(f"{wanted}: {pages.title(wanted)}"), *rest])


def _pages_with(wanted: str, code: str) -> CodePages:
    # By where they lie: to import what finds them would import SQLAlchemy.
    from usecasecore.code_pages import CodePages

    books = CodePages("usecasecore.analysis", "UCC"), CodePages("usecasecore.diagnosis", "UCD")
    for book in books:
        if wanted in book.codes():
            return book
    raise unknown("code", code, (each for book in books for each in book.codes()))
