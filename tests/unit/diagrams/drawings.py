"""Diagrams to draw, made by hand: nested, large, random, and with names that try to break out."""

from __future__ import annotations

import random
from collections.abc import Sequence
from typing import Any

from usecasecore.diagrams import Binding, Detail, Diagram, Edge, EdgeKind, Guard, Node
from usecasecore.diagrams.identifiers import identifier

HOSTILE = (
    "<script>alert(1)</script>",
    "\"quoted\" 'single'",
    "a]]>b",
    "line\nbreak\ttab",
    "\U0001f600\U0001f468\u200d\U0001f469\u200d\U0001f467 family",
    "x" * 200,
    "end",
    "\u202ereversed",
    "&amp; &lt;",
    "\x00\x1b[31mred",
    "日本語の状態",
    "--><!--",
    "\ud800",
    "</svg></style>",
    "' onload='alert(1)",
    "javascript:alert(1)",
    "{}; @import url(//x)",
)


def transition(source: str, dest: str | None, trigger: str, number: int = 0, **more: Any) -> Edge:
    own = f"transition-{identifier(source)}-{identifier(trigger)}-{number}"
    return Edge(own, EdgeKind.TRANSITION, source, dest, trigger, **more)


def diagram(
    states: Sequence[str], edges: Sequence[Edge], name: str = "case", parents: dict[str, str] | None = None, **more: Any
) -> Diagram:
    """A diagram that starts in the first leaf; a state in `parents` stands inside of another."""
    around = parents or {}
    children = {state: tuple(child for child in states if around.get(child) == state) for state in states}
    initial = next(state for state in states if not children[state])
    nodes = tuple(
        Node(
            id=f"state-{identifier(state)}",
            name=state,
            label=state.rpartition("/")[2] if state in around else state,
            value=state,
            parent=around.get(state),
            children=children[state],
            initial=state == initial,
            initial_child=children[state][0] if children[state] else None,
            final=not children[state] and not any(edge.source == state and edge.dest is not None for edge in edges),
            resting=not children[state],
            description=f"Where {state} is said.",
        )
        for state in states
    )
    creation = Edge("creation", EdgeKind.CREATION, None, initial, bindings=(Binding("OpenCase"),))
    return Diagram(name, name.title(), Detail.FULL, nodes, (creation, *edges), application="cases", **more)


def nested() -> Diagram:
    """Frames in frames; edges into, out of, inside and around them; internal, self and deleting edges."""
    states = ["draft", "review", "review/legal", "review/legal/first", "review/legal/second", "review/finance", "gone"]
    parents = {state: state.rpartition("/")[0] for state in states if "/" in state}
    guards = (Guard("is_complete", reason="all must be there"), Guard("is_locked", wanted=False))
    edges = [
        transition("draft", "draft", "touch"),
        transition("draft", None, "edit", guards=guards[1:], bindings=(Binding("EditDraft", ("draft.edited",)),)),
        transition("draft", "review", "submit", guards=guards, bindings=(Binding("SubmitDraft"),)),
        transition("review/legal/first", "review/legal/second", "next"),
        transition("review/legal/second", "review/legal", "again", unbound=True),
        transition("review", "review/finance", "skip_legal"),
        transition("review/legal", "review/finance", "approve"),
        transition("review", "draft", "reject"),
        transition("review", "review", "restart"),
        transition("review", None, "comment"),
        transition("review/finance", "gone", "end"),
        Edge("deletion-Drop-draft", EdgeKind.DELETION, "draft", None, bindings=(Binding("Drop"),)),
        Edge("deletion-Purge", EdgeKind.DELETION, None, None, bindings=(Binding("Purge"),)),
    ]
    return diagram(states, edges, parents=parents, unbound_use_cases=(Binding("LookAtCase"),), description="A case.")


def hostile(names: Sequence[str] = HOSTILE) -> Diagram:
    """Every name everywhere: as a state, a trigger, a guard and its reason, a use case, an event, a description."""
    count = len(names)
    edges = [
        transition(
            names[index],
            names[(index + 1) % count],
            names[(index + 5) % count],
            guards=(Guard(names[(index + 3) % count], reason=names[index]),),
            bindings=(Binding(names[(index + 2) % count], (names[(index + 4) % count],), description=names[index]),),
            description=names[index],
        )
        for index in range(count)
    ]
    return diagram(names, edges, name=names[0], description=names[1])


def randomly(seed: int, states: int = 12, edges: int = 24) -> Diagram:
    """A diagram of that size, some of its states inside of others; the same for the same numbers."""
    chance = random.Random(seed)
    names: list[str] = ["start"]
    parents: dict[str, str] = {}
    for number in range(1, states):
        around = chance.choice(names[1:]) if number > 2 and chance.random() < 0.3 else None
        name = f"{around}/s{number}" if around else f"s{number}" + "_long" * chance.randrange(3)
        names.append(name)
        if around:
            parents[name] = around
    made = []
    for number in range(edges):
        source, dest = chance.choice(names), chance.choice([*names, None])
        guards = (Guard(f"may_{number}"),) if chance.random() < 0.3 else ()
        bindings = (Binding(f"UseCase{number}", (f"event.{number}",)),) if chance.random() < 0.6 else ()
        made.append(transition(source, dest, f"go_{number % 9}", number, guards=guards, bindings=bindings, unbound=not bindings))
    return diagram(names, made, parents=parents)


def chain(states: int, edges: int) -> Diagram:
    """So many flat states, each leading to the next, and further edges that lead a few states on or back."""
    chance = random.Random(states)
    names = [f"state_{number}" for number in range(states)]
    made = [transition(names[index], names[index + 1], f"to_{index + 1}", index) for index in range(states - 1)]
    while len(made) < edges:
        source = chance.randrange(states)
        dest = min(max(source + chance.randrange(-6, 7), 0), states - 1)
        made.append(transition(names[source], names[dest], f"go_{len(made) % 11}", len(made)))
    return diagram(names, made)
