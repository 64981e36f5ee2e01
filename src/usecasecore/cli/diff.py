"""`usecasecore lifecycle diff`: what has changed between two versions of the lifecycles, and what that means for rows."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from usecasecore.cli.discovery import find_application
from usecasecore.cli.failure import Failure, unknown
from usecasecore.cli.options import AppOption, Format, FormatOption
from usecasecore.cli.output import clean, heading, indented, note, print_json, print_lines

if TYPE_CHECKING:
    from usecasecore.diagrams import Diagram

__all__ = ["diff"]


def diff(
    old: Annotated[str, typer.Argument(metavar="A", help="A git revision, or JSON of `diagram export`: a file or a folder.")],
    new: Annotated[str | None, typer.Argument(metavar="[B]", help="The same; by default the application as it is.")] = None,
    names: Annotated[
        list[str] | None, typer.Option("--lifecycle", metavar="NAME", help="Only this one; may be repeated.")
    ] = None,
    app: AppOption = None,
    output: FormatOption = Format.TEXT,
) -> None:
    """Say what changed in states, transitions and guards, and which rows would be stranded. Exits with 1 if anything changed.

    A revision is unpacked into a folder of its own and imported there, by another process.
    """
    before, after = _diagrams(old, app), _diagrams(new, app)
    for name in names or ():
        if name not in before and name not in after:
            raise unknown("lifecycle", name, {*before, *after})
    wanted = [name for name in {**before, **after} if not names or name in names]
    differing = [one for name in wanted if (one := _compared(name, before.get(name), after.get(name)))]
    if output is Format.JSON:
        print_json({"lifecycles": differing})
    else:
        print_lines(line for one in differing for line in _text(one))
    note(f"{len(differing)} of {len(wanted)} lifecycles differ")
    if differing:
        raise typer.Exit(1)


def _diagrams(reference: str | None, app: str | None) -> dict[str, Diagram]:
    from usecasecore.diagrams.exporting import diagrams_of
    from usecasecore.diagrams.revisions import exported_diagrams, is_export, revision_diagrams
    from usecasecore.errors import DiagramError

    if reference is None:
        return {diagram.name: diagram for diagram in diagrams_of(find_application(app))}
    try:
        return exported_diagrams(reference) if is_export(reference) else revision_diagrams(reference, app, Path.cwd())
    except DiagramError as error:
        raise Failure(
            str(error), "A and B are git revisions, or files or folders that `usecasecore diagram export -f json` wrote"
        ) from error


def _compared(name: str, old: Diagram | None, new: Diagram | None) -> dict[str, Any] | None:
    from usecasecore.diagrams import changes
    from usecasecore.diagrams.stranded import stranded

    if old is None or new is None:
        return {"lifecycle": name, "change": "added" if old is None else "removed", "changes": [], "rows": []}
    found = changes(old, new)
    if not found:
        return None
    return {
        "lifecycle": name,
        "change": "changed",
        "changes": [{"kind": one.kind, "what": one.what} for one in found],
        "rows": [{"state": one.state, "value": one.value, "cause": one.cause, "cure": one.cure} for one in stranded(old, new)],
    }


_SIGNS = {"added": "+", "removed": "-", "changed": "~"}


def _text(one: dict[str, Any]) -> Iterator[str]:
    yield heading(f"{_SIGNS[one['change']]} {clean(one['lifecycle'])}")
    yield from indented(f"{_SIGNS[change['kind']]} {clean(change['what'])}" for change in one["changes"])
    for row in one["rows"]:
        yield clean(f"  ! rows that hold {row['value']!r}: {row['cause']}")
        yield clean(f"      {row['cure']}")
