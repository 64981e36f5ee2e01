"""Diagrams as files: written, and checked later without drawing them again."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from usecasecore.application import Application
from usecasecore.diagrams.building import diagram_of
from usecasecore.diagrams.changes import Change, changes
from usecasecore.diagrams.document import digest
from usecasecore.diagrams.formats import DiagramFormat, render, shown_by, stamped_digest
from usecasecore.diagrams.model import Detail, Diagram
from usecasecore.errors import DiagramError

if TYPE_CHECKING:
    from usecasecore.diagrams.overlay import Overlay

__all__ = ["Finding", "Target", "check", "diagrams_of", "export", "targets"]

_UNSAFE = re.compile(r"^[.-]|[^A-Za-z0-9._-]")
_LONGEST = 100
# Windows opens devices under these names, whatever the suffix.
_RESERVED = {"con", "prn", "aux", "nul", *(f"{port}{number}" for port in ("com", "lpt") for number in range(1, 10))}


@dataclass(frozen=True, slots=True)
class Target:
    """A file that is to show a diagram.

    Attributes:
        path: Where it is, or is to be.
        format: What it is written as.
        diagram: What it is to show.
    """

    path: Path
    format: DiagramFormat
    diagram: Diagram


@dataclass(frozen=True, slots=True)
class Finding:
    """A file that isn't as the declarations would have it.

    Attributes:
        path: The file.
        kind: `missing`; `stale` if it shows what was; `orphaned` if it shows a lifecycle that isn't there any more.
        lifecycle: Name of the lifecycle that it shows.
        changes: What has changed since a stale file was made.
        detail: More about it, where there is more to say.
    """

    path: Path
    kind: Literal["missing", "stale", "orphaned"]
    lifecycle: str
    changes: tuple[Change, ...] = ()
    detail: str = ""


def diagrams_of(application: Application, names: Iterable[str] = (), detail: Detail = Detail.FULL) -> tuple[Diagram, ...]:
    """Return the diagrams of the lifecycles of those names, or of all, in the order of the application.

    Raises:
        KeyError: If there is no lifecycle of such a name.
    """
    wanted = list(dict.fromkeys(names)) or list(application.lifecycles)
    return tuple(diagram_of(application.lifecycles[name], application, detail) for name in wanted)


def targets(diagrams: Iterable[Diagram], folder: Path, formats: Iterable[DiagramFormat]) -> tuple[Target, ...]:
    """Return the file in a folder for each diagram and format: `order.svg`, `order.payment.mmd`.

    Raises:
        DiagramError: If two lifecycles would share a file where upper and lower case are one.
    """
    found: dict[str, Target] = {}
    for diagram in diagrams:
        for format in dict.fromkeys(formats):  # noqa: A001 - the word for it
            name = f"{_stem(diagram.name)}{format.suffix}"
            other = found.setdefault(name.casefold(), Target(folder / name, format, diagram))
            if other.diagram is not diagram:
                raise DiagramError(
                    f"the lifecycles {other.diagram.name!r} and {diagram.name!r} would both be written to {name}; export them apart"
                )
    return tuple(found.values())


def export(
    application: Application,
    folder: str | os.PathLike[str],
    formats: Iterable[DiagramFormat | str] = (DiagramFormat.MERMAID,),
    *,
    names: Iterable[str] = (),
    detail: Detail = Detail.FULL,
    overlays: Mapping[str, Overlay] | None = None,
) -> tuple[Path, ...]:
    """Write the diagrams of an application's lifecycles into a folder, which is made if it isn't there.

    Everything is drawn before the first file is written, and each file is replaced as a whole.

    Args:
        formats: What to write each diagram as.
        names: Names of the lifecycles; all of them if none are given.
        detail: How much the diagrams say.
        overlays: Name of a lifecycle -> what to show on it besides.

    Returns:
        The files.

    Raises:
        KeyError: If there is no lifecycle of such a name.
        ValueError: If there is no such format.
        GraphvizMissing: If a format takes Graphviz, and none is installed that makes it.
        DiagramError: If a diagram can't be made.
    """
    wanted = targets(diagrams_of(application, names, detail), Path(folder), map(DiagramFormat, formats))
    known = overlays or {}
    contents = [(target.path, render(target.diagram, target.format, known.get(target.diagram.name))) for target in wanted]
    for path, content in contents:
        write(path, content)
    return tuple(path for path, _ in contents)


def check(
    application: Application,
    folder: str | os.PathLike[str],
    formats: Iterable[DiagramFormat | str] = (DiagramFormat.MERMAID,),
    *,
    names: Iterable[str] = (),
    detail: Detail = Detail.FULL,
) -> tuple[Finding, ...]:
    """Return what is wrong with the files that `export` wrote with these arguments; nothing if all show what is declared.

    Digests are compared, and nothing is drawn: no renderer is needed, and none that is newer makes a difference. Where all
    lifecycles are checked, files of those formats that show other lifecycles of the application are found too.

    Raises:
        KeyError: If there is no lifecycle of such a name.
        ValueError: If there is no such format.
    """
    asked = [DiagramFormat(each) for each in formats]
    named = tuple(names)
    wanted = targets(diagrams_of(application, named, detail), Path(folder), asked)
    found = [finding for target in wanted if (finding := check_file(target))]
    if not named:
        found += _orphans(Path(folder), asked, {target.path for target in wanted}, application)
    return tuple(found)


def check_file(target: Target) -> Finding | None:
    """Return what is wrong with a file; None if it shows what is declared."""
    name = target.diagram.name
    try:
        content = target.path.read_bytes()
    except FileNotFoundError:
        return Finding(target.path, "missing", name)
    if stamped_digest(content, target.format) == digest(target.diagram):
        return None
    old = shown_by(content, target.format)
    if old is None:
        return Finding(target.path, "stale", name, detail="it doesn't say what it shows, or not so that this version can read it")
    found = changes(old, target.diagram)
    return Finding(target.path, "stale", name, found, "" if found else "it was made by another version")


def write(path: Path, content: bytes) -> None:
    """Write a file as a whole, so that nobody ever reads half of it; its folder is made."""
    path.parent.mkdir(parents=True, exist_ok=True)
    beside = path.with_name(f".{os.getpid()}.tmp")
    try:
        beside.write_bytes(content)
        beside.replace(path)
    finally:
        beside.unlink(missing_ok=True)


def _orphans(folder: Path, formats: list[DiagramFormat], known: set[Path], application: Application) -> Iterator[Finding]:
    if not folder.is_dir():
        return
    for path in sorted(folder.iterdir()):
        format = next((each for each in formats if path.suffix == each.suffix), None)  # noqa: A001
        if format is None or path in known or not path.is_file():
            continue
        shown = shown_by(path.read_bytes(), format)
        # Several applications may share a folder.
        if shown is not None and shown.application in (None, application.name):
            yield Finding(path, "orphaned", shown.name)


def _stem(name: str) -> str:
    stem = _UNSAFE.sub(lambda found: f"_x{ord(found.group()):x}_", name)
    if len(stem) > _LONGEST or stem.casefold().partition(".")[0] in _RESERVED:
        return f"{stem[: _LONGEST - 13]}-{sha256(name.encode(errors='surrogatepass')).hexdigest()[:12]}"
    return stem
