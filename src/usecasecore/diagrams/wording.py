"""What a drawing says to those who point at a part of it, or have it read out: in full, whatever there was room for."""

from __future__ import annotations

from collections.abc import Iterator

from usecasecore.diagrams.lettering import fold, printable
from usecasecore.diagrams.model import Diagram, Edge, EdgeKind, Node
from usecasecore.diagrams.overlay import Mark

__all__ = ["edge_words", "state_words", "summary"]


def summary(diagram: Diagram) -> str:
    """Return what the whole shows, in a few sentences."""
    transitions = sum(edge.kind is EdgeKind.TRANSITION for edge in diagram.edges)
    counted = f"{_several(len(diagram.nodes), 'state')} and {_several(transitions, 'transition')}"
    final = [printable(node.name) for node in diagram.nodes if node.final]
    parts = [fold(diagram.description), f"{counted}.", f"It starts in {printable(diagram.initial.name)}."]
    if final:
        parts.append(f"Final: {', '.join(final)}.")
    return " ".join(filter(None, parts))


def _several(number: int, noun: str) -> str:
    return f"{number} {noun}{'' if number == 1 else 's'}"


def state_words(node: Node, mark: Mark | None) -> Iterator[str]:
    """Yield everything about a state, in lines."""
    signs = [name for name in ("initial", "final", "composite") if getattr(node, name)]
    yield printable(f"state {node.name}") + (f" ({', '.join(signs)})" if signs else "")
    yield from filter(None, (fold(node.description), *_marked(mark)))


def edge_words(edge: Edge, mark: Mark | None) -> Iterator[str]:
    """Yield everything about an edge, in lines."""
    yield printable(_way(edge))
    for guard in edge.guards:
        asked = f"only if {'' if guard.wanted else 'not '}{guard.name}"
        yield printable(f"{asked}: {guard.reason}" if guard.reason else asked)
    for binding in edge.bindings:
        yield printable(f"use case {binding.use_case}") + (f": {fold(binding.description)}" if binding.description else "")
    if edge.unbound:
        yield "no use case"
    if edge.events:
        yield printable(f"emits {', '.join(edge.events)}")
    yield from filter(None, (fold(edge.description), *_marked(mark)))


def _marked(mark: Mark | None) -> Iterator[str]:
    return map(fold, mark.title.splitlines() if mark else ())


def _way(edge: Edge) -> str:
    match edge.kind:
        case EdgeKind.CREATION:
            return f"creation, into {edge.dest}"
        case EdgeKind.DELETION:
            return f"deletion, from {edge.source if edge.source is not None else 'any state'}"
        case EdgeKind.TRANSITION:
            named = edge.trigger or "transition"
            return f"{named}, in {edge.source}" if edge.dest is None else f"{named}, from {edge.source} to {edge.dest}"
