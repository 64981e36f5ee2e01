"""What is missing, and how to cover it: the way there, the test that comes nearest, and a test to start from."""

from __future__ import annotations

import keyword
import re
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass

from usecasecore.analysis.paths import Walk, shortest_to_edges, shortest_to_states
from usecasecore.coverage.criteria import Item, Measured
from usecasecore.coverage.data import Recorded
from usecasecore.coverage.declared import Declared, DeclaredUseCase
from usecasecore.coverage.facts import Kind

__all__ = ["Missing", "missing"]

_REACHING = (Kind.CREATED, Kind.COMMITTED)


@dataclass(frozen=True, slots=True)
class Missing:
    """An item that is not covered.

    Attributes:
        item: The item.
        way: The shortest way there, in triggers: `create` first, the item's own last; empty where no way leads there.
        nearest: The test that comes nearest, of several the one that does least; empty where none comes near.
        nearest_state: The state in which that test has the aggregate.
        stub: Source of a test that would cover it, as far as it can be written without knowing what it is about.
    """

    item: Item
    way: tuple[str, ...]
    nearest: str
    nearest_state: str
    stub: str


def missing(recorded: Recorded, measured: Measured) -> tuple[Missing, ...]:
    """Return what a lifecycle's tests leave out, in the order declared."""
    if not measured.missing:
        return ()
    search = _Search(recorded)
    return tuple(search.found(item) for item in measured.missing)


class _Search:
    def __init__(self, recorded: Recorded) -> None:
        self._declared = recorded.declared
        graph = recorded.declared.graph
        self._to_states, self._to_edges = shortest_to_states(graph), shortest_to_edges(graph)
        reached = [(fact.dest or fact.source, test) for fact, test in recorded.hits if test and fact.kind in _REACHING]
        does = Counter(test for _, test in reached)
        self._tests = dict(sorted(reached, key=lambda one: (does[one[1]], one[1]), reverse=True))

    def found(self, item: Item) -> Missing:
        before = self._walk_before(item)
        if before is None:
            return Missing(item, (), "", "", "")
        way = ("create", *before.triggers)
        if item.edge is not None:
            way = (*way, item.edge.trigger)
        nearest, state = self._nearest(before)
        return Missing(item, way, nearest, state, "\n".join(_stub(self._declared, item, before)))

    def _walk_before(self, item: Item) -> Walk | None:
        """Return the shortest walk to where the item happens; None if there is none."""
        if item.before is not None:
            return self._to_edges.get(item.before)
        if item.edge is not None and (walk := self._to_edges.get(item.edge)) is not None:
            return Walk(walk.start, walk.steps[:-1])
        return self._to_states.get(item.source)

    def _nearest(self, walk: Walk) -> tuple[str, str]:
        for state in reversed(walk.states):
            if state in self._tests:
                return self._tests[state], state
        return "", ""


def _stub(declared: Declared, item: Item, before: Walk) -> Iterator[str]:
    creator = next((one for one in declared.use_cases if one.creates), None)
    steps = [(_firing(declared, step.trigger), step.trigger) for step in before.steps]
    last = _last(declared, item)
    if item.guard or item.use_case:
        yield "import pytest"
    used = [creator, *(one for one, _ in steps), *([last[0]] if last else [])]
    for module, names in sorted(_imports(used).items()):
        yield f"from {module} import {', '.join(sorted(names))}"
    if item.guard or item.use_case:
        yield "from usecasecore.errors import GuardRejected, TransitionNotAllowed"
    yield ""
    yield ""
    yield f"def test_{_words(item.key)}(runtime):"
    yield f"    created = {_execute(creator, 'create')}"
    for use_case, trigger in steps:
        yield f"    {_execute(use_case, trigger)}"
    if last is not None:
        use_case, trigger = last
        yield from _ending(item, _execute(use_case, trigger))


def _ending(item: Item, call: str) -> Iterator[str]:
    if item.guard:
        yield f"    with pytest.raises(GuardRejected):  # {item.guard} stops it"
        yield f"        {call}"
    elif item.use_case and item.key.endswith(" is refused"):
        yield "    with pytest.raises(TransitionNotAllowed):"
        yield f"        {call}"
    else:
        yield f"    {call}"


def _last(declared: Declared, item: Item) -> tuple[DeclaredUseCase | None, str] | None:
    if item.use_case:
        use_case = next(one for one in declared.use_cases if one.name == item.use_case)
        return use_case, use_case.triggers[0]
    return None if item.edge is None else (_firing(declared, item.edge.trigger), item.edge.trigger)


def _firing(declared: Declared, trigger: str) -> DeclaredUseCase | None:
    return next((one for one in declared.use_cases if trigger in one.triggers), None)


def _imports(used: list[DeclaredUseCase | None]) -> dict[str, set[str]]:
    found: dict[str, set[str]] = {}
    for one in used:
        if one is not None:
            found.setdefault(one.module, set()).add(one.command.partition(".")[0])
    return found


def _execute(use_case: DeclaredUseCase | None, trigger: str) -> str:
    if use_case is None:
        return f"runtime.execute(...)  # no use case does {trigger!r}"
    given = [f"{one.name}={f'created.{one.name}' if one.is_key else '...'}" for one in use_case.required]
    return f"runtime.execute({use_case.command}({', '.join(given)}))"


def _words(text: str) -> str:
    words = "_".join(re.findall(r"\w+", text)).lower()
    return f"{words}_" if keyword.iskeyword(words) else words
