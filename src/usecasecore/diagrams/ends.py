"""Where the arrows at composite states start and end.

No layout engine draws an arrow between a state and the border around it, and Mermaid fails at it. So an arrow out of a
composite state to something inside starts at a stand-in inside, and one from inside to the composite state ends at the
state that is entered with it, or at a stand-in where an aggregate may rest in the composite state itself.
"""

from __future__ import annotations

from dataclasses import dataclass

from usecasecore.diagrams.model import Diagram, Edge, Node

__all__ = ["Ends", "StandIn", "ends_of"]

_LABELS = {"any": "any of these", "none": "none of these"}


@dataclass(frozen=True, slots=True)
class StandIn:
    """A point inside of a composite state that stands for any, or for none, of the states inside.

    Attributes:
        id: `any-` or `none-` and the state's id.
        inside: Full name of the composite state.
        label: `any of these`, or `none of these`.
    """

    id: str
    inside: str
    label: str


@dataclass(frozen=True, slots=True)
class Ends:
    """Both ends of an arrow.

    Attributes:
        tail: Where it starts; None for the initial point, and for a deletion from any state.
        head: Where it ends; None for a deletion.
    """

    tail: Node | StandIn | None
    head: Node | StandIn | None


def ends_of(diagram: Diagram) -> dict[str, Ends]:
    """Return the ends of each edge, by its id; those of internal transitions lead from a state to itself."""
    nodes = {node.name: node for node in diagram.nodes}
    return {edge.id: _ends(edge, nodes) for edge in diagram.edges}


def _ends(edge: Edge, nodes: dict[str, Node]) -> Ends:
    source = nodes[edge.source] if edge.source is not None else None
    if edge.internal:
        tail = source and (_stand_in("any", source) if source.composite else source)
        return Ends(tail, tail)
    dest = nodes[edge.dest] if edge.dest is not None else None
    if source is None or dest is None:
        return Ends(source, dest)
    leaves_inward = source.composite and _is_within(dest, source, nodes)
    enters_outward = dest.composite and _is_within(source, dest, nodes)
    return Ends(_stand_in("any", source) if leaves_inward else source, _landing(dest, nodes) if enters_outward else dest)


def _is_within(node: Node, outer: Node, nodes: dict[str, Node]) -> bool:
    while node is not outer and node.parent is not None:
        node = nodes[node.parent]
    return node is outer


def _landing(node: Node, nodes: dict[str, Node]) -> Node | StandIn:
    while node.initial_child is not None:
        node = nodes[node.initial_child]
    return _stand_in("none", node) if node.composite else node


def _stand_in(kind: str, node: Node) -> StandIn:
    return StandIn(f"{kind}-{node.id}", node.name, _LABELS[kind])
