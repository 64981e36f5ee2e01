"""What the arrows of a diagram say, in lines; every format shows the same."""

from __future__ import annotations

from usecasecore.diagrams.model import Edge, EdgeKind

__all__ = ["edge_lines", "guards_text"]

UNBOUND = "no use case"


def edge_lines(edge: Edge) -> tuple[str, ...]:
    """Return the lines on an arrow: the trigger and its guards, the use cases, the events. Empty if there is nothing to say."""
    lines = [" ".join(filter(None, (_action(edge), guards_text(edge)))), ", ".join(edge.use_cases)]
    if edge.unbound:
        lines.append(f"({UNBOUND})")
    if edge.events:
        lines.append(f"⚡ {', '.join(edge.events)}")
    return tuple(line for line in lines if line)


def guards_text(edge: Edge) -> str:
    """Return `[a & !b]`, or nothing where no guard is asked."""
    return f"[{' & '.join(map(str, edge.guards))}]" if edge.guards else ""


def _action(edge: Edge) -> str:
    if edge.kind is EdgeKind.DELETION:
        return "delete"
    return edge.trigger
