"""The report as pictures: the diagram of each lifecycle, with what was covered."""

from __future__ import annotations

import re
from collections.abc import Iterator

from usecasecore.coverage.overlay import diagram_of_declared, recorded_overlay
from usecasecore.coverage.summary import Line, Summary
from usecasecore.diagrams.svg import to_svg

__all__ = ["picture", "pictures"]


def pictures(summary: Summary) -> Iterator[tuple[str, str]]:
    """Yield file name and picture of each lifecycle.

    Raises:
        DiagramError: If there is no Graphviz, or if it can't lay one out.
    """
    for number, line in enumerate(summary.lines):
        name = re.sub(r"[^\w.-]+", "-", line.title).strip("-")
        yield f"{name}.svg", picture(line, number)


def picture(line: Line, number: int, *, row: str = "") -> str:
    """Return the picture of one lifecycle.

    Args:
        line: The lifecycle.
        number: Its place among those that share a page.
        row: See `recorded_overlay`.

    Raises:
        DiagramError: If there is no Graphviz, or if it can't lay one out.
    """
    diagram = diagram_of_declared(line.recorded.declared)
    return to_svg(diagram, recorded_overlay(line.recorded, diagram, row=row), prefix=f"c{number}")
