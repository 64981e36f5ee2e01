"""What a changed lifecycle means for the rows that live by the old one."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from usecasecore.diagrams.model import Diagram, EdgeKind, Node

__all__ = ["Stranded", "stranded"]


@dataclass(frozen=True, slots=True)
class Stranded:
    """A state in which rows may live that the new lifecycle does not know.

    Attributes:
        state: Its full name in the old lifecycle.
        value: What the column of such a row holds.
        cause: One sentence: why such a row has no place any more.
        cure: One sentence: where it could go.
    """

    state: str
    value: str | int
    cause: str
    cure: str


def stranded(old: Diagram, new: Diagram) -> tuple[Stranded, ...]:
    """Return the states of the old diagram whose rows the new lifecycle would refuse, in the order declared.

    Such a row can still be loaded, but no trigger is possible for it (`UndeclaredState`), and the CHECK of the column can't be
    brought up to date while there is one.
    """
    known = {node.value for node in new.nodes if node.resting}
    return tuple(_stranded(node, old, new) for node in old.nodes if node.resting and node.value not in known)


def _stranded(node: Node, old: Diagram, new: Diagram) -> Stranded:
    now = next((one for one in new.nodes if one.name == node.name), None)
    if now is None:
        cause = f"The state {node.name!r} is removed: a row in it can't be fired any more, and the column's CHECK refuses it."
        return Stranded(node.name, node.value, cause, _cure(node, old, new))
    if not now.resting:
        cause = f"The state {node.name!r} is not one to rest in any more: a row in it can't be fired."
        landing = _landing(now, new)
        return Stranded(node.name, node.value, cause, f"Move such rows on to {landing!r}, before the new version runs.")
    cause = f"The state {node.name!r} is stored as {now.value!r} now: a row that holds {node.value!r} can't be fired."
    return Stranded(node.name, node.value, cause, f"Update such rows to {now.value!r} in a migration.")


def _cure(node: Node, old: Diagram, new: Diagram) -> str:
    if (renamed := _same_ways(node, old, new)) is not None:
        return f"If it is called {renamed!r} now, update such rows in a migration; let both names be declared while both versions run."
    there = {one.name for one in new.nodes}
    onward = [edge for edge in old.edges if edge.source in _around(node, old) and edge.kind is EdgeKind.TRANSITION]
    goals = list(dict.fromkeys(edge.dest for edge in onward if edge.dest in there))
    if goals:
        ways = " or ".join(map(repr, goals))
        return f"Bring such rows to {ways}, where it used to lead, before the new version runs; `unprotected` does it without a use case."
    return "Decide where such rows belong and bring them there before the new version runs; or keep the state declared, without a way to it."


def _same_ways(node: Node, old: Diagram, new: Diagram) -> str | None:
    """Return the one new state that the same triggers lead to and from."""
    before = _ways(node.name, old)
    known = {one.name for one in old.nodes}
    alike = [one.name for one in new.nodes if one.name not in known and one.resting and _ways(one.name, new) == before]
    return alike[0] if len(alike) == 1 and before else None


def _ways(name: str, diagram: Diagram) -> set[tuple[str, str, str | None]]:
    def other(end: str | None) -> str | None:
        return "itself" if end == name else end

    edges = [edge for edge in diagram.edges if edge.kind is EdgeKind.TRANSITION]
    return {("from", edge.trigger, other(edge.dest)) for edge in edges if edge.source == name} | {
        ("to", edge.trigger, other(edge.source)) for edge in edges if edge.dest == name
    }


def _around(node: Node, diagram: Diagram) -> set[str]:
    parents = {one.name: one.parent for one in diagram.nodes}
    return set(_upward(node.name, parents))


def _upward(name: str | None, parents: dict[str, str | None]) -> Iterator[str]:
    while name is not None:
        yield name
        name = parents[name]


def _landing(node: Node, diagram: Diagram) -> str:
    nodes = {one.name: one for one in diagram.nodes}
    while node.initial_child is not None:
        node = nodes[node.initial_child]
    return node.name
