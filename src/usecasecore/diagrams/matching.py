"""Which edges of a diagram a transition went along, that is known by its trigger and its states only."""

from __future__ import annotations

from collections.abc import Iterator

from usecasecore.diagrams.model import Diagram, Edge, EdgeKind

__all__ = ["Matching"]


class Matching:
    """Finds edges by what audit entries say."""

    def __init__(self, diagram: Diagram) -> None:
        self.diagram = diagram
        self.nodes = {node.name: node for node in diagram.nodes}
        self.leading: dict[str | None, list[Edge]] = {}
        for edge in diagram.edges:
            self.leading.setdefault(edge.source, []).append(edge)

    def edges(self, trigger: str | None, source: str | None, dest: str | None, use_case: str | None = None) -> tuple[Edge, ...]:
        """Return the edges that may have been taken: none if the way isn't declared, several if they can't be told apart.

        Args:
            trigger: What was fired; None for a creation and a deletion.
            source: Full name of the state before; None for a creation.
            dest: Full name of the state after; None for a deletion.
            use_case: Who deleted.
        """
        if dest is None:
            return tuple(self._deletions(source, use_case))
        if trigger is None:
            return tuple(edge for edge in self.leading.get(None, ()) if edge.kind is EdgeKind.CREATION and edge.dest == dest)
        # What is declared for the state itself goes before what is declared for a state around it.
        for around in self._outward(source):
            found = tuple(edge for edge in self.leading.get(around, ()) if self._fits(edge, trigger, str(source), dest))
            if found:
                return found
        return ()

    def _deletions(self, source: str | None, use_case: str | None) -> Iterator[Edge]:
        for around in (*self._outward(source), None):
            for edge in self.leading.get(around, ()):
                if edge.kind is EdgeKind.DELETION and use_case in edge.use_cases:
                    yield edge
                    return

    def _fits(self, edge: Edge, trigger: str, source: str, dest: str) -> bool:
        if edge.kind is not EdgeKind.TRANSITION or edge.trigger not in ("", trigger):
            return False
        return dest == (source if edge.dest is None else self._entered(edge.dest))

    def _entered(self, name: str) -> str:
        node = self.nodes[name]
        while node.initial_child is not None:
            node = self.nodes[node.initial_child]
        return node.name

    def _outward(self, name: str | None) -> Iterator[str]:
        while name is not None and name in self.nodes:
            yield name
            name = self.nodes[name].parent
