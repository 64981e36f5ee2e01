"""`usecasecore explain`: the page of a check."""

from __future__ import annotations

from typing import Annotated

import typer

from usecasecore.cli.failure import unknown
from usecasecore.cli.options import Format, FormatOption
from usecasecore.cli.output import heading, print_json, print_lines

__all__ = ["explain"]


def explain(
    code: Annotated[str, typer.Argument(metavar="CODE", help="As `lifecycle check` prints it, for example UCC101.")],
    output: FormatOption = Format.TEXT,
) -> None:
    """Say what a code of `lifecycle check` means, with an example and its cure."""
    from usecasecore.analysis import pages

    wanted = code.upper()
    if wanted not in pages.codes():
        raise unknown("code", code, pages.codes())
    if output is Format.JSON:
        print_json({"code": wanted, "title": pages.title(wanted), "page": pages.page(wanted), "example": pages.example(wanted)})
    else:
        _, *rest = pages.page(wanted).rstrip().splitlines()
        print_lines([heading(f"{wanted}: {pages.title(wanted)}"), *rest])
