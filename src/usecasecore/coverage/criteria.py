"""Criteria: what must have happened for a lifecycle to count as covered, and how far it has come.

Only what was committed covers anything, with two exceptions that lie in their nature: that a guard said no, and that a
command was refused in a state, are themselves what is to be seen. Everything short of that is kept apart as a level.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from enum import IntEnum, StrEnum
from functools import cached_property

from usecasecore.analysis.paths import candidates, steps
from usecasecore.coverage.data import Recorded
from usecasecore.coverage.declared import Declared, edge_keys
from usecasecore.coverage.facts import Fact, Kind
from usecasecore.lifecycle import Edge, Location

__all__ = ["Criterion", "Item", "Level", "Measured", "measure"]


class Criterion(StrEnum):
    """What is counted.

    Attributes:
        STATE: Each state: an aggregate was committed in it, or left it.
        TRANSITION: Each declared transition; one that is declared for several sources counts for each.
        GUARD: Each transition without guards, and of the others each guard both ways: it let the transition pass, which was
            committed, and it stopped it.
        MATRIX: Each state with each use case: committed where a trigger of the use case is declared for the state, refused elsewhere.
        PAIR: Each two transitions that can follow each other did so, on one aggregate.
    """

    STATE = "state"
    TRANSITION = "transition"
    GUARD = "guard"
    MATRIX = "matrix"
    PAIR = "pair"


class Level(IntEnum):
    """How far something has come; the next one is more than the one before.

    Attributes:
        DECLARED: It stands in the source; no test came near it.
        ATTEMPTED: Its trigger was fired in its state.
        STOPPED: A guard stopped it.
        REFUSED: The trigger was refused, as it is not declared for the state.
        ROLLED_BACK: The transition was made and rolled back.
        COMMITTED: It was committed.
    """

    DECLARED = 0
    ATTEMPTED = 1
    STOPPED = 2
    REFUSED = 3
    ROLLED_BACK = 4
    COMMITTED = 5

    def __str__(self) -> str:
        return _WORDS[self]


_WORDS = {
    Level.DECLARED: "never fired",
    Level.ATTEMPTED: "fired, to no end",
    Level.STOPPED: "stopped by a guard",
    Level.REFUSED: "refused",
    Level.ROLLED_BACK: "rolled back",
    Level.COMMITTED: "committed",
}
_LEVELS = {
    Kind.ATTEMPTED: Level.ATTEMPTED,
    Kind.STOPPED: Level.STOPPED,
    Kind.REFUSED: Level.REFUSED,
    Kind.ROLLED_BACK: Level.ROLLED_BACK,
    Kind.COMMITTED: Level.COMMITTED,
    Kind.CREATED: Level.COMMITTED,
    Kind.FOLLOWED: Level.COMMITTED,
}


@dataclass(frozen=True, slots=True)
class Item:
    """One thing that a criterion counts.

    Attributes:
        key: Identifies it within its lifecycle and criterion, in words; stable between runs.
        covered: Whether it counts.
        level: How far it has come.
        count: How often what counts was seen.
        tests: In which tests, sorted; empty where contexts were not recorded.
        location: Where it is declared.
        source: The state from which it happens; for a state, itself.
        edge: The transition that it is about; None for states and cells.
        guard: The guard that is to stop it; empty otherwise.
        use_case: Of a cell.
        before: Of a pair, the transition that comes first.
    """

    key: str
    covered: bool
    level: Level
    count: int
    tests: tuple[str, ...]
    location: Location
    source: str
    edge: Edge | None = None
    guard: str = ""
    use_case: str = ""
    before: Edge | None = None


@dataclass(frozen=True)
class Measured:
    """A lifecycle under one criterion.

    Attributes:
        declared: The lifecycle.
        criterion: What was counted.
        items: In the order declared.
    """

    declared: Declared
    criterion: Criterion
    items: tuple[Item, ...]

    @cached_property
    def covered(self) -> int:
        """How many items are covered."""
        return sum(item.covered for item in self.items)

    @property
    def total(self) -> int:
        """How many there are."""
        return len(self.items)

    @cached_property
    def missing(self) -> tuple[Item, ...]:
        """Those that are not covered."""
        return tuple(item for item in self.items if not item.covered)

    @property
    def percent(self) -> float:
        """From 0 to 100; 100 where there is nothing to cover. Compare counts, not this, where one item decides."""
        return 100.0 * self.covered / self.total if self.total else 100.0


def measure(recorded: Recorded, criterion: Criterion) -> Measured:
    """Return how far the tests have covered a lifecycle."""
    seen = _Seen(recorded)
    items = {
        Criterion.STATE: _states,
        Criterion.TRANSITION: _transitions,
        Criterion.GUARD: _guards,
        Criterion.MATRIX: _cells,
        Criterion.PAIR: _pairs,
    }[criterion]
    return Measured(recorded.declared, criterion, tuple(items(recorded.declared, seen)))


class _Seen:
    """The facts of one lifecycle, by what is asked of them."""

    def __init__(self, recorded: Recorded) -> None:
        self.facts: dict[Fact, Counter[str]] = {}
        for (fact, test), count in recorded.hits.items():
            self.facts.setdefault(fact, Counter())[test] += count
        self.by_edge: dict[str, list[Fact]] = {}
        self.by_source: dict[str, list[Fact]] = {}
        self.by_dest: dict[str, list[Fact]] = {}
        for fact in self.facts:
            self.by_edge.setdefault(fact.edge, []).append(fact)
            self.by_source.setdefault(fact.source, []).append(fact)
            self.by_dest.setdefault(fact.dest, []).append(fact)

    def total(self, facts: list[Fact]) -> tuple[int, tuple[str, ...]]:
        """Return how often these were seen, and in which tests."""
        count, tests = 0, set()
        for fact in facts:
            count += sum(self.facts[fact].values())
            tests |= set(self.facts[fact])
        return count, tuple(sorted(tests - {""}))


def _level(facts: list[Fact]) -> Level:
    return max((_LEVELS[fact.kind] for fact in facts), default=Level.DECLARED)


def _states(declared: Declared, seen: _Seen) -> Iterator[Item]:
    for node in declared.graph.states:
        if not node.resting:
            continue
        near = [*seen.by_source.get(node.name, ()), *seen.by_dest.get(node.name, ())]
        found = [fact for fact in near if fact.kind in (Kind.CREATED, Kind.COMMITTED)]
        count, tests = seen.total(list(dict.fromkeys(found)))
        yield Item(node.name, bool(found), _level(near), count, tests, declared.location, node.name)


def _transitions(declared: Declared, seen: _Seen) -> Iterator[Item]:
    sources = _sources(declared)
    for edge, key in _edges(declared):
        yield _transition(edge, key, seen, sources)


def _transition(edge: Edge, key: str, seen: _Seen, sources: Mapping[Edge, list[str]]) -> Item:
    near = list(seen.by_edge.get(key, ()))
    found = [fact for fact in near if fact.kind is Kind.COMMITTED]
    for source in sources.get(edge, [edge.source]):
        near += [one for one in seen.by_source.get(source, ()) if one.kind is Kind.ATTEMPTED and one.trigger == edge.trigger]
    count, tests = seen.total(found)
    return Item(key, bool(found), _level(near), count, tests, edge.location, edge.source, edge)


def _guards(declared: Declared, seen: _Seen) -> Iterator[Item]:
    sources = _sources(declared)
    for edge, key in _edges(declared):
        taken = _transition(edge, key, seen, sources)
        if not edge.conditions and not edge.unless:
            yield taken
        for guard in (*edge.conditions, *edge.unless):
            yield Item(
                f"{key} [{guard} lets it pass]",
                taken.covered,
                taken.level,
                taken.count,
                taken.tests,
                edge.location,
                edge.source,
                edge,
            )
            found = [fact for fact in seen.by_edge.get(key, ()) if fact.kind is Kind.STOPPED and fact.guard == guard]
            count, tests = seen.total(found)
            level = Level.STOPPED if found else taken.level
            yield Item(f"{key} [{guard} stops it]", bool(found), level, count, tests, edge.location, edge.source, edge, guard)


def _cells(declared: Declared, seen: _Seen) -> Iterator[Item]:
    possible = set(candidates(declared.graph))
    for use_case in declared.use_cases:
        if not use_case.triggers:
            continue
        for node in declared.graph.states:
            if not node.resting:
                continue
            near = [fact for fact in seen.by_source.get(node.name, ()) if fact.use_case == use_case.name]
            legal = any((node.name, trigger) in possible for trigger in use_case.triggers)
            found = [fact for fact in near if fact.kind is (Kind.COMMITTED if legal else Kind.REFUSED)]
            count, tests = seen.total(found)
            key = f"{use_case.name} in {node.name}{'' if legal else ' is refused'}"
            location = declared.location
            yield Item(key, bool(found), _level(near), count, tests, location, node.name, use_case=use_case.name)


def _pairs(declared: Declared, seen: _Seen) -> Iterator[Item]:
    keys = dict(_edges(declared))
    every = [step for step in steps(declared.graph) if step.edge in keys]
    pairs = dict.fromkeys((first.edge, second.edge) for first in every for second in every if first.dest == second.source)
    for first, second in pairs:
        before, after = keys[first], keys[second]
        found = [fact for fact in seen.by_edge.get(after, ()) if fact.kind is Kind.FOLLOWED and fact.before == before]
        count, tests = seen.total(found)
        level = Level.COMMITTED if found else Level.DECLARED
        yield Item(
            f"{before}, then {after}", bool(found), level, count, tests, second.location, second.source, second, before=first
        )


def _edges(declared: Declared) -> Iterator[tuple[Edge, str]]:
    for edge, key in zip(declared.graph.edges, edge_keys(declared.graph), strict=True):
        if edge.index not in declared.excluded:
            yield edge, key


def _sources(declared: Declared) -> dict[Edge, list[str]]:
    """Return each edge -> the resting states in which it may be taken."""
    found: dict[Edge, list[str]] = {}
    for (state, _), some in candidates(declared.graph).items():
        for step in some:
            found.setdefault(step.edge, []).append(state)
    return found
