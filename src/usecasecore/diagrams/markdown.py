"""A diagram as a Markdown page: the Mermaid block, and tables that say the same."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence

from usecasecore.diagrams import stamp
from usecasecore.diagrams.labels import UNBOUND, edge_label
from usecasecore.diagrams.marking import heading, mark_lines, mark_of, remarks
from usecasecore.diagrams.mermaid import mermaid_lines
from usecasecore.diagrams.model import Diagram, Edge, EdgeKind, Node
from usecasecore.diagrams.overlay import Overlay
from usecasecore.diagrams.text import flat, shown

__all__ = ["to_markdown"]

# Underscores between letters or digits and dots after them are plain; everything else in ASCII may be markup somewhere.
_UNSAFE = re.compile(
    r"(?<![^\W_])[_.]|_(?![^\W_])|(?<=\d)\.(?![^\W_])|(?<=www)\.|[^\w ,.()\u0080-\U0010ffff]", re.IGNORECASE | re.ASCII
)


def to_markdown(diagram: Diagram, overlay: Overlay | None = None) -> str:
    """Return the diagram as a page of GitHub's Markdown, with the stamp in comments; with an overlay there is none."""
    above, below = stamp.comments(diagram, "<!--", " -->", overlay)
    return above + "".join(f"{line}\n" for line in _lines(diagram, overlay)) + ("\n" if below else "") + below


def _lines(diagram: Diagram, overlay: Overlay | None) -> Iterator[str]:
    yield from ("", f"# {_text(flat(heading(diagram, overlay)))}", "")
    if diagram.description:
        yield from (_text(flat(diagram.description)), "")
    yield from ("```mermaid", *mermaid_lines(diagram, overlay), "```", "")
    yield from (f"- {_text(remark)}" for remark in remarks(overlay))
    yield from ("",) if any(remarks(overlay)) else ()
    marked = _text(flat(overlay.title)) if overlay else ""
    edges = [(*_edge(edge), _marks(overlay, edge)) for edge in diagram.edges]
    yield from _table(("Transition", "From", "To", "Guards", "Use case", "Emits", marked), edges)
    states = [(_text(node.name), _text(node.description), _marks(overlay, node)) for node in diagram.nodes]
    if any(described or mark for _, described, mark in states):
        yield ""
        yield from _table(("State", "Description", marked), states)
    reasons = {guard: None for edge in diagram.edges for guard in edge.guards if guard.reason}
    if reasons:
        yield ""
        yield from _table(("Guard", "Refuses because"), [(_text(str(guard)), _text(guard.reason)) for guard in reasons])
    if diagram.unbound_use_cases:
        names = ", ".join(_text(binding.use_case) for binding in diagram.unbound_use_cases)
        yield from ("", f"Use cases that fire nothing: **{names}**")


def _edge(edge: Edge) -> tuple[str, ...]:
    label = edge_label(edge)
    if edge.kind is EdgeKind.CREATION:
        source, dest = "", _text(edge.dest or "")
    elif edge.kind is EdgeKind.DELETION:
        source, dest = _text(edge.source or "any state"), ""
    else:
        source, dest = _text(edge.source or ""), _text(edge.dest) if edge.dest is not None else "(stays)"
    use_cases = f"**{UNBOUND}**" if edge.unbound else _text(", ".join(edge.use_cases))
    guards = ", ".join(_text(str(guard)) for guard in edge.guards)
    return (_text(label.action or "create"), source, dest, guards, use_cases, _text(", ".join(edge.events)))


def _marks(overlay: Overlay | None, one: Node | Edge) -> str:
    return ", ".join(map(_text, mark_lines(mark_of(overlay, one))))


def _table(headings: Sequence[str], rows: Sequence[Sequence[str]]) -> Iterator[str]:
    kept = [index for index in range(len(headings)) if any(row[index] for row in rows)]
    yield _row([headings[index] for index in kept])
    yield _row(["---"] * len(kept))
    yield from (_row([row[index] for index in kept]) for row in rows)


def _row(cells: Sequence[str]) -> str:
    return f"| {' | '.join(cells)} |"


def _text(text: str) -> str:
    return _UNSAFE.sub(lambda found: f"&#{ord(found.group())};", shown(text))
