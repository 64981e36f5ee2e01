"""What the arrows of a diagram say; every format shows the same."""

from __future__ import annotations

from dataclasses import dataclass

from usecasecore.diagrams.model import Edge, EdgeKind
from usecasecore.diagrams.text import shown

__all__ = ["UNBOUND", "EdgeLabel", "edge_label", "edge_lines", "guards_text"]

UNBOUND = "no use case"


@dataclass(frozen=True, slots=True)
class EdgeLabel:
    """The parts of what an arrow says; each is empty if there is nothing to say.

    Attributes:
        action: The trigger, `create` or `delete`.
        guards: `[a & !b]`.
        use_cases: The use cases that go along, separated by commas; `no use case` where that stands out.
        events: `emits a, b`.
    """

    action: str
    guards: str
    use_cases: str
    events: str


def edge_label(edge: Edge) -> EdgeLabel:
    """Return what an arrow says. A creation that no use case is known for says nothing."""
    action = shown(edge.trigger)
    if edge.kind is EdgeKind.DELETION:
        action = "delete"
    elif edge.kind is EdgeKind.CREATION and (edge.bindings or edge.unbound):
        action = "create"
    events = f"emits {shown(', '.join(edge.events))}" if edge.events else ""
    return EdgeLabel(action, guards_text(edge), UNBOUND if edge.unbound else shown(", ".join(edge.use_cases)), events)


def edge_lines(edge: Edge) -> tuple[str, ...]:
    """Return what an arrow says in lines: the trigger and its guards, the use cases, the events."""
    label = edge_label(edge)
    use_cases = f"({label.use_cases})" if edge.unbound else label.use_cases
    return tuple(filter(None, (f"{label.action} {label.guards}".strip(), use_cases, label.events)))


def guards_text(edge: Edge) -> str:
    """Return `[a & !b]`, or nothing where no guard is asked."""
    return shown(f"[{' & '.join(map(str, edge.guards))}]") if edge.guards else ""
