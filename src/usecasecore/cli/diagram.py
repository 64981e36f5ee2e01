"""`usecasecore diagram`: pictures of lifecycles."""

from __future__ import annotations

import shlex
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from usecasecore.cli.discovery import find_application
from usecasecore.cli.failure import Failure, unknown
from usecasecore.cli.group import group
from usecasecore.cli.options import AppOption, Format, FormatOption, SchemaOption, UrlOption
from usecasecore.cli.output import (
    clean,
    knows_unicode,
    note,
    painted,
    print_bytes,
    print_hint,
    print_json,
    print_lines,
    terminal_width,
)
from usecasecore.cli.overlays import AggregateOption, OverlayOption, OverlayWanted, SinceOption, overlays_of

if TYPE_CHECKING:
    from usecasecore.application import Application
    from usecasecore.diagrams import Diagram, DiagramFormat, Finding

__all__ = ["commands"]

commands = group(
    "Pictures of the lifecycles, made from the declarations that run. Opens a database for --overlay and --aggregate only."
)

_STDOUT = "-"
# SGR codes of the parts of a drawing, by their roles.
_COLOURS = {
    "title": "1",
    "name": "1",
    "initial": "34",
    "initial_name": "1;34",
    "final": "35",
    "final_name": "1;35",
    "frame": "",
    "lane": "2",
    "trigger": "1",
    "dest": "36",
    "use_case": "",
    "muted": "2",
    "mark": "1;32",
    "warning": "33",
    "plain": "",
}


class DetailOption(StrEnum):
    """How much a diagram says."""

    STATES = "states"
    TRIGGERS = "triggers"
    FULL = "full"


@dataclass(frozen=True, slots=True)
class _Asked:
    """What is to be written, and where.

    Attributes:
        names: As given; empty for all lifecycles.
        output: The file or folder as given, or `-`.
        file: Whether `output` is one file.
        overlay: What is to be shown besides.
    """

    application: Application
    names: tuple[str, ...]
    diagrams: tuple[Diagram, ...]
    formats: tuple[DiagramFormat, ...]
    output: str
    file: bool
    overlay: OverlayWanted


@commands.command()
def export(
    names: Annotated[list[str] | None, typer.Argument(metavar="[NAME]...", help="Of lifecycles. By default all.")] = None,
    formats: Annotated[
        str | None,
        typer.Option(
            "--formats",
            "-f",
            metavar="FORMAT[,FORMAT]...",
            help="dot, mermaid, plantuml, json, scxml, md; through Graphviz svg, png, pdf. "
            "By default what the name of the output file says, else mermaid, and svg with an overlay.",
        ),
    ] = None,
    to: Annotated[
        str, typer.Option("--output", "-o", metavar="DIR|FILE|-", help="A folder, a file for one diagram, or - for the terminal.")
    ] = "diagrams",
    detail: Annotated[DetailOption, typer.Option("--detail", help="How much the diagrams say.")] = DetailOption.FULL,
    check: Annotated[
        bool, typer.Option("--check", help="Write nothing; exit 1 if a file is missing, stale or orphaned.")
    ] = False,
    overlay: OverlayOption = None,
    aggregate: AggregateOption = None,
    since: SinceOption = None,
    url: UrlOption = None,
    schema: SchemaOption = None,
    app: AppOption = None,
    output: FormatOption = Format.TEXT,
) -> None:
    """Write the diagrams, or check that those written are not stale.

    What is written with an overlay goes to files of their own, like order.flow.svg, which no check takes for a diagram
    that it knows.

    Example: usecasecore diagram export order -f svg,mermaid -o docs
    """
    wanted = OverlayWanted(overlay, aggregate, since, url, schema, app)
    if check and wanted.label is not None:
        raise Failure("--check compares declarations, and an overlay shows a database", "leave one of them out")
    application = find_application(app)
    asked = _asked(application, wanted.narrowed(tuple(names or ()), application), formats, to, detail, wanted)
    if check:
        _check(asked, _command(names or (), formats, to, detail, app), output)
    elif asked.output == _STDOUT:
        print_bytes(_rendered(asked)[0][1])
    else:
        _write(asked, output)


@commands.command()
def show(
    name: Annotated[str, typer.Argument(metavar="NAME", help="Of a lifecycle; `lifecycle list` shows them.")],
    width: Annotated[int | None, typer.Option("--width", min=1, help="In columns. By default that of the terminal.")] = None,
    ascii_only: Annotated[
        bool, typer.Option("--ascii", help="Draw with ASCII. By default where the locale knows no more.")
    ] = False,
    detail: Annotated[DetailOption, typer.Option("--detail", help="How much the diagram says.")] = DetailOption.FULL,
    overlay: OverlayOption = None,
    aggregate: AggregateOption = None,
    since: SinceOption = None,
    url: UrlOption = None,
    schema: SchemaOption = None,
    app: AppOption = None,
    output: FormatOption = Format.TEXT,
) -> None:
    """Draw a diagram in the terminal.

    Example: usecasecore diagram show order
    """
    from usecasecore.diagrams import Detail, diagram_of
    from usecasecore.diagrams.document import with_overlay
    from usecasecore.diagrams.terminal import draw

    wanted = OverlayWanted(overlay, aggregate, since, url, schema, app)
    application = find_application(app)
    if name not in application.lifecycles:
        raise unknown("lifecycle", name, application.lifecycles)
    wanted.narrowed((name,), application)
    diagram = diagram_of(application.lifecycles[name], application, Detail(detail.value))
    seen = overlays_of(wanted, (diagram,), application).get(name)
    if output is Format.JSON:
        print_json(with_overlay(diagram, seen))
        return
    lines = draw(diagram, width or terminal_width(), unicode=knows_unicode() and not ascii_only, overlay=seen)
    print_lines("".join(painted(piece.text, _COLOURS[piece.role]) for piece in line) for line in lines)


def _asked(
    application: Application, names: tuple[str, ...], formats: str | None, to: str, detail: DetailOption, overlay: OverlayWanted
) -> _Asked:
    from usecasecore.diagrams import Detail, DiagramFormat, diagram_of

    for name in names:
        if name not in application.lifecycles:
            raise unknown("lifecycle", name, application.lifecycles)
    path = Path(to)
    file = to != _STDOUT and not path.is_dir() and bool(path.suffix) and not to.endswith("/")
    chosen = _formats(formats, path if file else None, DiagramFormat.MERMAID if overlay.label is None else DiagramFormat.SVG)
    if overlay.label is not None and (unable := [each for each in chosen if not each.shows_overlays]):
        able = ", ".join(each for each in DiagramFormat if each.shows_overlays)
        raise Failure(f"{unable[0]} can't show an overlay", f"what can: {able}")
    wanted = dict.fromkeys(names or application.lifecycles)
    diagrams = tuple(diagram_of(application.lifecycles[name], application, Detail(detail.value)) for name in wanted)
    if (file or to == _STDOUT) and (len(diagrams) != 1 or len(chosen) != 1):
        where = "standard output" if to == _STDOUT else f"the file {to}"
        raise Failure(
            f"{where} takes one diagram in one format, not {len(diagrams)} in {len(chosen)}",
            f"name one lifecycle (known: {', '.join(application.lifecycles)}) and one format, or give a folder: -o diagrams",
        )
    return _Asked(application, names, diagrams, chosen, to, file, overlay)


def _formats(given: str | None, file: Path | None, default: DiagramFormat) -> tuple[DiagramFormat, ...]:
    from usecasecore.diagrams import DiagramFormat

    by_suffix = {each.suffix: each for each in DiagramFormat}
    meant = by_suffix.get(file.suffix.lower()) if file else None
    if given is None:
        if file and meant is None:
            raise Failure(f"the name {file.name} says no format", f"pass -f, or end it in one of {' '.join(by_suffix)}")
        return (meant or default,)
    chosen = []
    for name in given.split(","):
        if name.strip() not in list(DiagramFormat):
            raise unknown("format", name.strip(), DiagramFormat)
        chosen.append(DiagramFormat(name.strip()))
    if meant is not None and chosen != [meant]:
        raise Failure(
            f"{file} is the name of {meant}, and -f asks for {given}",
            "change one of them; no format is written under another's name",
        )
    return tuple(dict.fromkeys(chosen))


def _rendered(asked: _Asked) -> list[tuple[Path, bytes]]:
    from usecasecore.diagrams import render
    from usecasecore.diagrams.exporting import targets
    from usecasecore.errors import DiagramError, GraphvizMissing

    overlays = overlays_of(asked.overlay, asked.diagrams, asked.application)
    try:
        if asked.file or asked.output == _STDOUT:
            diagram = asked.diagrams[0]
            return [(Path(asked.output), render(diagram, asked.formats[0], overlays.get(diagram.name)))]
        return [
            (_overlaid(each.path, asked.overlay), render(each.diagram, each.format, overlays.get(each.diagram.name)))
            for each in targets(asked.diagrams, Path(asked.output), asked.formats)
        ]
    except GraphvizMissing as error:
        raise Failure(f"{error.format} is drawn by Graphviz, and {error.reason}", *error.ways) from error
    except DiagramError as error:
        raise Failure(str(error)) from error


def _overlaid(path: Path, overlay: OverlayWanted) -> Path:
    return path if overlay.label is None else path.with_name(f"{path.stem}.{overlay.label}{path.suffix}")


def _write(asked: _Asked, output: Format) -> None:
    from usecasecore.diagrams.exporting import write

    files = _rendered(asked)
    for path, content in files:
        try:
            write(path, content)
        except OSError as error:
            raise Failure(f"{path} can't be written: {error.strerror or error}") from error
    if output is Format.JSON:
        print_json({"written": [str(path) for path, _ in files]})
    else:
        print_lines(clean(path) for path, _ in files)


def _check(asked: _Asked, command: str, output: Format) -> None:
    if asked.output == _STDOUT:
        raise Failure("--check compares files, and - is none", "give the folder or file that the diagrams were written to")
    found = _findings(asked)
    if output is Format.JSON:
        print_json({"findings": [_as_data(finding) for finding in found]})
    else:
        print_lines(line for finding in found for line in _as_text(finding))
    orphans = [str(finding.path) for finding in found if finding.kind == "orphaned"]
    if len(orphans) < len(found):
        print_hint(f"to mend it: {command}")
    if orphans:
        print_hint(f"to remove what shows nothing any more: rm {shlex.join(orphans)}")
    if found:
        raise typer.Exit(1)
    note("the diagrams are up to date")


def _findings(asked: _Asked) -> Sequence[Finding]:
    from usecasecore.diagrams.exporting import Target, check, check_file
    from usecasecore.errors import DiagramError

    try:
        if asked.file:
            finding = check_file(Target(Path(asked.output), asked.formats[0], asked.diagrams[0]))
            return [finding] if finding else []
        detail = asked.diagrams[0].detail if asked.diagrams else None
        more = {"detail": detail} if detail is not None else {}
        return check(asked.application, asked.output, asked.formats, names=asked.names, **more)
    except DiagramError as error:
        raise Failure(str(error)) from error
    except OSError as error:
        raise Failure(f"{error.filename} can't be read: {error.strerror}") from error


def _as_data(finding: Finding) -> dict[str, Any]:
    return {
        "file": str(finding.path),
        "kind": finding.kind,
        "lifecycle": finding.lifecycle,
        "changes": [{"kind": change.kind, "what": change.what} for change in finding.changes],
        "detail": finding.detail,
    }


def _as_text(finding: Finding) -> Iterator[str]:
    path = clean(finding.path)
    if finding.kind == "missing":
        yield f"{path}: missing"
    elif finding.kind == "orphaned":
        yield f"{path}: orphaned: there is no lifecycle {clean(repr(finding.lifecycle))} any more, or its file has another name"
    else:
        yield f"{path}: stale" + (f": {finding.detail}" if finding.detail else "")
        yield from (f"  {clean(change)}" for change in finding.changes)


def _command(names: Sequence[str], formats: str | None, to: str, detail: DetailOption, app: str | None) -> str:
    """Return the command that was given, without --check."""
    options = ["-f", formats] if formats else []
    if to != "diagrams":
        options += ["-o", to]
    if detail is not DetailOption.FULL:
        options += ["--detail", detail.value]
    if app:
        options += ["--app", app]
    return shlex.join(["usecasecore", "diagram", "export", *names, *options])
