"""What has changed between two diagrams of a lifecycle, in sentences."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from usecasecore.diagrams.labels import guards_text
from usecasecore.diagrams.model import Diagram, Edge, EdgeKind, Node

__all__ = ["Change", "changes"]


@dataclass(frozen=True, slots=True)
class Change:
    """One thing that is different now.

    Attributes:
        kind: What happened to it.
        what: What it is, `state 'paid'`; of something that changed with how: `state 'paid' is final now`.
    """

    kind: Literal["added", "removed", "changed"]
    what: str

    def __str__(self) -> str:
        return f"{'~' if self.kind == 'changed' else '+' if self.kind == 'added' else '-'} {self.what}"


def changes(old: Diagram, new: Diagram) -> tuple[Change, ...]:
    """Return what is in one diagram and not in the other, and what differs in what both have."""
    return (*_about(old, new), *_states(old, new), *_edges(old, new), *_unbound(old, new), *_order(old, new))


def _about(old: Diagram, new: Diagram) -> Iterator[Change]:
    for attribute, what in (
        ("detail", "the detail"),
        ("title", "the title"),
        ("application", "the application"),
        ("description", "the description"),
        ("separator", "the separator of nested names"),
    ):
        yield from _differs(what, getattr(old, attribute), getattr(new, attribute))


def _states(old: Diagram, new: Diagram) -> Iterator[Change]:
    before, after = ({node.name: node for node in diagram.nodes} for diagram in (old, new))
    yield from (Change("removed", f"state {name!r}") for name in before if name not in after)
    yield from (Change("added", f"state {name!r}") for name in after if name not in before)
    for name in before:
        if name in after:
            yield from _state(before[name], after[name])


def _state(old: Node, new: Node) -> Iterator[Change]:
    what = f"state {new.name!r}"
    for attribute, word in (("initial", "the initial one"), ("final", "final"), ("resting", "one to rest in")):
        if getattr(old, attribute) != getattr(new, attribute):
            yield Change("changed", f"{what} is {word} now" if getattr(new, attribute) else f"{what} is not {word} any more")
    for attribute, word in (("value", "value"), ("initial_child", "initial child"), ("description", "description")):
        yield from _differs(f"{what}: the {word}", getattr(old, attribute), getattr(new, attribute))


def _edges(old: Diagram, new: Diagram) -> Iterator[Change]:
    before, after = list(old.edges), list(new.edges)
    pairs = _matched(before, after, lambda edge: (edge.kind, edge.source, edge.trigger, edge.dest, edge.guards))
    pairs += _matched(before, after, lambda edge: (edge.kind, edge.source, edge.trigger, edge.dest))
    pairs += _matched(before, after, lambda edge: (edge.kind, edge.source, edge.trigger))
    yield from (Change("removed", _named(edge)) for edge in before)
    yield from (Change("added", _named(edge)) for edge in after)
    for one, other in pairs:
        yield from _edge(one, other)


def _matched(before: list[Edge], after: list[Edge], key: Any) -> list[tuple[Edge, Edge]]:
    """Take out of both lists the edges that have equal keys, the first with the first."""
    waiting: dict[Any, list[Edge]] = {}
    for edge in after:
        waiting.setdefault(key(edge), []).append(edge)
    pairs = [(edge, same.pop(0)) for edge in before if (same := waiting.get(key(edge)))]
    taken = {id(edge) for pair in pairs for edge in pair}
    for edges in (before, after):
        edges[:] = [edge for edge in edges if id(edge) not in taken]
    return pairs


def _edge(old: Edge, new: Edge) -> Iterator[Change]:
    what = _named(old)
    if old.dest != new.dest:
        yield Change("changed", f"{what}: leads to {new.dest!r} now" if new.dest is not None else f"{what}: stays now")
    yield from _differs(f"{what}: the guards", guards_text(old), guards_text(new))
    if [str(guard) for guard in old.guards] == [str(guard) for guard in new.guards]:
        for asked, now in zip(old.guards, new.guards, strict=True):
            yield from _differs(f"{what}: the reason of {asked.name}", asked.reason, now.reason)
    yield from _differs(f"{what}: the use cases", ", ".join(old.use_cases), ", ".join(new.use_cases))
    for attribute in ("events", "jobs"):
        one, other = (_messages(edge, attribute) for edge in (old, new))
        yield from _differs(f"{what}: the {attribute}", one, other)
    yield from _differs(f"{what}: the description", old.description, new.description)
    if old.use_cases == new.use_cases:
        for first, second in zip(old.bindings, new.bindings, strict=True):
            yield from _differs(f"{what}: the description of {first.use_case}", first.description, second.description)
    if old.unbound != new.unbound and old.use_cases == new.use_cases:
        yield Change("changed", f"{what}: {'no use case is known for it' if new.unbound else 'not called unbound any more'}")


def _unbound(old: Diagram, new: Diagram) -> Iterator[Change]:
    before, after = ({binding.use_case for binding in diagram.unbound_use_cases} for diagram in (old, new))
    yield from (Change("removed", f"use case {name!r} that fires nothing") for name in sorted(before - after))
    yield from (Change("added", f"use case {name!r} that fires nothing") for name in sorted(after - before))


def _order(old: Diagram, new: Diagram) -> Iterator[Change]:
    for what, before, after in (
        ("states", [node.name for node in old.nodes], [node.name for node in new.nodes]),
        ("transitions", [edge.id for edge in old.edges], [edge.id for edge in new.edges]),
    ):
        if _common(before, after) != _common(after, before):
            yield Change("changed", f"the order of the {what}")


def _common(names: Sequence[str], others: Iterable[str]) -> list[str]:
    kept = set(others)
    return [name for name in names if name in kept]


def _messages(edge: Edge, attribute: str) -> str:
    return ", ".join(dict.fromkeys(name for binding in edge.bindings for name in getattr(binding, attribute)))


def _named(edge: Edge) -> str:
    if edge.kind is EdgeKind.CREATION:
        return f"creation in {edge.dest!r}"
    if edge.kind is EdgeKind.DELETION:
        return f"deletion from {edge.source!r}" if edge.source is not None else "deletion from any state"
    way = f"from {edge.source!r} to {edge.dest!r}" if edge.dest is not None else f"in {edge.source!r}"
    return f"transition {edge.trigger!r} {way}" if edge.trigger else f"transition {way}"


def _differs(what: str, old: object, new: object) -> Iterator[Change]:
    if old != new:
        yield Change("changed", f"{what}: {_value(old)}, now {_value(new)}")


def _value(value: object) -> str:
    return "none" if value in (None, "") else str(value) if isinstance(value, int) else f"{value}"
