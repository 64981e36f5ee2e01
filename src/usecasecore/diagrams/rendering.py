"""Runs Graphviz: the `dot` program where there is one, else the program in the wheel `graphviz-pure`."""

from __future__ import annotations

import shutil
import subprocess
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path

from usecasecore.errors import GraphvizFailed, GraphvizMissing

__all__ = ["Graphviz", "bounds", "installed", "render"]

_WHEEL = "graphviz-pure"
_EXTRA = 'pip install "usecasecore[diagrams]"'
_PROGRAM = "install Graphviz (https://graphviz.org/download/), so that `dot` is on the PATH"
# What the wheel doesn't make.
_PROGRAM_ONLY = frozenset({"pdf"})
_SECONDS = 120


_LARGE = 120


def bounds(edges: int) -> dict[str, str]:
    """Return the graph attributes that keep the time of a layout in proportion to the graph; none for one of a usual size.

    Graphviz looks for fewer crossings and shorter edges until nothing gets better, which takes seven seconds at 600 edges; with its
    iterations bounded by the number of nodes half a second, and a picture of that size is not read as a whole anyway.
    """
    return {"nslimit": "1", "nslimit1": "1", "mclimit": "0.2", "searchsize": "20"} if edges > _LARGE else {}


@dataclass(frozen=True, slots=True)
class Graphviz:
    """A program that lays out and draws DOT.

    Attributes:
        program: Where it is.
        complete: False for the wheel, which makes no PDF.
    """

    program: Path
    complete: bool = True

    def makes(self, format: str) -> bool:  # noqa: A002 - Graphviz's word
        """Return whether it makes the format."""
        return self.complete or format not in _PROGRAM_ONLY


def installed() -> tuple[Graphviz, ...]:
    """Return the Graphviz programs of this machine and environment, the one to ask first first."""
    found = []
    if dot := shutil.which("dot"):
        found.append(Graphviz(Path(dot)))
    if wheel := _in_wheel():
        found.append(Graphviz(wheel, complete=False))
    return tuple(found)


def render(dot: str, format: str) -> bytes:  # noqa: A002 - Graphviz's word
    """Return what Graphviz makes of a graph, in one of its formats: `svg`, `png`, `pdf`, or `json` for the layout.

    Raises:
        GraphvizMissing: If no installed Graphviz makes the format; another format is never made instead.
        GraphvizFailed: If it can't draw the graph.
    """
    here = installed()
    for graphviz in here:
        if graphviz.makes(format):
            return _run(graphviz.program, dot, format)
    if here:
        reason = f"the wheel {_WHEEL} makes none"
        raise GraphvizMissing(format=format, reason=reason, ways=[_PROGRAM])
    ways = [_PROGRAM] if format in _PROGRAM_ONLY else [_PROGRAM, f"run `{_EXTRA}`"]
    raise GraphvizMissing(format=format, reason="none is installed", ways=ways)


def _in_wheel() -> Path | None:
    try:
        files = metadata.files(_WHEEL) or []
    except metadata.PackageNotFoundError:
        return None
    programs = (Path(str(file.locate())).resolve() for file in files if file.stem == _WHEEL and file.parent.name != _WHEEL)
    return next((program for program in programs if program.is_file()), None)


def _run(program: Path, dot: str, format: str) -> bytes:  # noqa: A002
    try:
        done = subprocess.run([program, f"-T{format}"], input=dot.encode(), capture_output=True, timeout=_SECONDS, check=False)
    except subprocess.TimeoutExpired as error:
        raise GraphvizFailed(program=str(program), detail=f"it was stopped after {_SECONDS} s") from error
    except OSError as error:
        raise GraphvizFailed(program=str(program), detail=str(error)) from error
    if done.returncode or not done.stdout:
        told = done.stderr.decode(errors="replace").strip() or f"exit code {done.returncode}, and nothing made"
        raise GraphvizFailed(program=str(program), detail=told)
    return done.stdout
