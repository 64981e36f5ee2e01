"""What an overlay says in words and signs, for the formats that are text or are drawn by others."""

from __future__ import annotations

from collections.abc import Iterator

from usecasecore.diagrams.model import Diagram, Edge, Node
from usecasecore.diagrams.overlay import Mark, Overlay, Status
from usecasecore.diagrams.text import flat

__all__ = ["SIGNS", "heading", "mark_lines", "mark_of", "remarks"]

SIGNS = {
    Status.GOOD: "✓",
    Status.PARTIAL: "◐",
    Status.BAD: "✗",
    Status.CURRENT: "◉",
    Status.TAKEN: "●",
    Status.UNTAKEN: "○",
}
"""A character for each status, of a shape of its own."""


def heading(diagram: Diagram, overlay: Overlay | None) -> str:
    """Return the title: the diagram's, and what the overlay shows."""
    return diagram.title if overlay is None else f"{diagram.title}: {overlay.title}"


def mark_of(overlay: Overlay | None, one: Node | Edge) -> Mark | None:
    """Return what an overlay says about a state or an edge."""
    if overlay is None:
        return None
    return overlay.states.get(one.name) if isinstance(one, Node) else overlay.edges.get(one.id)


def mark_lines(mark: Mark | None) -> tuple[str, ...]:
    """Return what stands below a name, in lines: the sign, the numbers of steps, the text; then the details.

    Where each step has a detail of its own, they share a line.
    """
    if mark is None:
        return ()
    numbers = [f"#{step}" for step in mark.steps]
    if not mark.text and numbers and len(mark.details) == len(numbers):
        return tuple(f"{number} {flat(detail)}" for number, detail in zip(numbers, mark.details, strict=True))
    # A number is a sign of its own.
    sign = "" if mark.status is None or (mark.status is Status.TAKEN and numbers) else SIGNS[mark.status]
    first = " ".join(filter(None, (sign, *numbers, flat(mark.text) if mark.text else "")))
    return tuple(filter(None, (first, *map(flat, mark.details))))


def remarks(overlay: Overlay | None, *, drawn: bool = False) -> Iterator[str]:
    """Yield what must be known to read it: its signs, then its notes; what lines look like only where they are `drawn` by us."""
    if overlay is not None:
        for item in overlay.legend:
            if item.status is not None:
                yield f"{SIGNS[item.status]} {flat(item.text)}"
            elif drawn:
                yield flat(item.text)
        yield from map(flat, overlay.notes)
