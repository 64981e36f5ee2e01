"""The lifecycles that diagrams are tested on: those of the examples, those of the tests, and random ones with hostile names."""

from __future__ import annotations

import os
import random
from collections.abc import Callable
from dataclasses import replace
from functools import cache
from typing import Any, ClassVar

from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column

from examples.inventory.app import app as inventory
from examples.loans.app import app as loans
from examples.orders.app import app as orders
from examples.purchases.app import app as purchases
from tests.lifecycles import incident, insurance_claim, kubernetes_job, payment_intent, pull_request
from tests.unit.cli.sample_app import app as sample
from usecasecore import Lifecycle, Transition, state_column, version_column
from usecasecore.diagrams import Binding, Diagram, Edge, EdgeKind, diagram_of
from usecasecore.diagrams.overlay import LegendItem, Mark, Overlay, Status

# How many random lifecycles the tests draw; 500 were drawn by hand.
COUNT = int(os.environ.get("USECASECORE_RANDOM_DIAGRAMS", "40"))

# Drawn in any case. 344: arrows from a composite state into itself, at which Graphviz failed to find the ranks.
FOUND = (344,)

HOSTILE = (
    'he said "hi"',
    "<b>bold</b>",
    "<script>alert(1)</script>",
    "</svg>]]>",
    "a\nb\r\nc",
    "\t tab",
    "end",
    "state",
    "note",
    "class",
    "digraph",
    "subgraph",
    "[*]",
    "--> [*]",
    "a --> b : c",
    "😀 emoji 👩‍👩‍👧",
    "ü" * 200,
    "x" * 200,
    "%%{init: {'theme': 'dark'}}%%",
    "%% comment",
    "a:b;c",
    r"\N \G \l {x|y}",
    "\\",
    "';",
    "@enduml",
    "@startuml",
    "!include x",
    "$ucc %date()",
    "-- ",
    "<!-- x -->",
    "a & b &lt; &#60; #35; #quot;",
    "1. list",
    "**bold** _it_ `code` ~~no~~ [l](http://x.y) www.example.com",
    "```",
    "| cell |",
    "\x00\x1b[31m\u202e",
    "\ud800",
    "\u2028",
    "}",
    "{",
    "a/b",
    "ﬂ°quot¶ß",
    "_x2f_",
    "_",
    "9",
    "A",
    "a",
    "usecasecore-model {}",
    "// usecasecore-model {}",
    f"x\n%% usecasecore-digest sha256:{'0' * 64}",
    '<usecasecore xmlns="urn:usecasecore:diagram">usecasecore-digest',
)
TRIGGERS = ("go", "end", "state", "note", "class", "edge", "node", "graph", "style", "größe", "x_2", "_x2f_", "__", "click")


def examples() -> dict[str, Diagram]:
    """The lifecycles of all examples, of the command line's tests, and those that others run, by application and name."""
    real = (payment_intent, pull_request, kubernetes_job, insurance_claim, incident)
    applications = {"orders": orders, "loans": loans, "inventory": inventory, "purchases": purchases, "sample": sample}
    applications |= {module.__name__.rpartition(".")[2]: module.app for module in real}
    return {
        f"{name}:{lifecycle.name}": diagram_of(lifecycle, application)
        for name, application in applications.items()
        for lifecycle in application.lifecycles.values()
    }


@cache
def randoms(count: int = COUNT) -> dict[str, Diagram]:
    """So many random diagrams, the same ones in every process."""
    return {f"random {seed}": random_diagram(random.Random(seed)) for seed in (*range(count), *FOUND)}


def everything() -> dict[str, Diagram]:
    return {**examples(), **randoms()}


def overlaid(diagram: Diagram) -> Overlay:
    """An overlay with every status, and texts that no overlay of ours has."""
    dice = random.Random(ascii(diagram.name))
    statuses = (*Status, None)
    states = {node.name: _mark(dice, statuses[number % len(statuses)]) for number, node in enumerate(diagram.nodes)}
    edges = {edge.id: _mark(dice, statuses[number % len(statuses)]) for number, edge in enumerate(diagram.edges)}
    legend = tuple(LegendItem(dice.choice(HOSTILE), status) for status in statuses)
    return Overlay(dice.choice(HOSTILE), dice.choice(HOSTILE), states, edges, legend, tuple(dice.sample(HOSTILE, 3)))


def _mark(dice: random.Random, status: Status | None) -> Mark:
    steps = tuple(dice.sample(range(1, 100), dice.randint(0, 2)))
    details = tuple(dice.sample(HOSTILE, dice.choice([len(steps), 1])))
    text = dice.choice([*HOSTILE, "", ""])
    data = (("count", dice.choice(HOSTILE)),)
    return Mark(text, details, status, dice.choice([None, 0, 0.5, 1]), steps, dice.choice(HOSTILE), data)


def random_diagram(dice: random.Random) -> Diagram:
    """The diagram of a mapped lifecycle, with use cases, events and deletions that no application would dare to name."""
    diagram = diagram_of(random_lifecycle(dice))
    if dice.random() < 0.3:
        return diagram
    edges = [replace(edge, bindings=tuple(_bindings(dice)), unbound=dice.random() < 0.2) for edge in diagram.edges]
    edges += [
        Edge(
            f"deletion-{number}",
            EdgeKind.DELETION,
            dice.choice([None, diagram.nodes[-1].name]),
            None,
            bindings=tuple(_bindings(dice)),
        )
        for number in range(dice.randint(0, 2))
    ]
    unbound = tuple(_bindings(dice))
    return replace(diagram, edges=tuple(edges), application=dice.choice(HOSTILE), unbound_use_cases=unbound)


def random_lifecycle(dice: random.Random) -> Lifecycle:
    """A lifecycle of a new mapped class: flat or nested, with hostile names, guards of both kinds and internal transitions."""
    separator = dice.choice(["/%/", "::", "->"])
    names = [name for name in dice.sample(HOSTILE, dice.randint(3, 12)) if separator not in name]
    states: list[Any] = []
    leaves: list[str] = []
    every: list[str] = []
    for name in names:
        description = dice.choice([*HOSTILE, ""])
        inner = [inside for inside in dice.sample(HOSTILE, dice.randint(1, 4)) if separator not in inside and inside not in names]
        every.append(name)
        if dice.random() < 0.3 and inner:
            initial = {"initial": inner[0]} if dice.random() < 0.7 else {}
            states.append({"name": name, "children": inner, "description": description, **initial})
            every += [f"{name}{separator}{inside}" for inside in inner]
        else:
            states.append({"name": name, "description": description, "final": dice.random() < 0.1})
            leaves.append(name)
    transitions = [
        Transition(
            dice.choice(TRIGGERS),
            dice.choice(every),
            dice.choice([*every, None]),
            conditions=[_guard(dice.choice(HOSTILE)) for _ in range(dice.randint(0, 2))],
            unless=[_guard(dice.choice(HOSTILE))] if dice.random() < 0.2 else None,
            description=dice.choice(HOSTILE),
        )
        for _ in range(dice.randint(2, 20))
    ]
    lifecycle = Lifecycle(
        states=states,
        initial=dice.choice(leaves or every),
        transitions=transitions,
        separator=separator,
        name=dice.choice(HOSTILE),
        description=dice.choice([*HOSTILE, ""]),
    )
    return mapped(lifecycle)


def mapped(declared: Lifecycle) -> Lifecycle:
    """The lifecycle, bound to a new class."""

    class Base(DeclarativeBase):
        pass

    class Row(Base):
        __tablename__ = "rows"
        id: Mapped[int] = mapped_column(primary_key=True)
        state: Mapped[str] = state_column(length=10_000)
        version: Mapped[int] = version_column()
        lifecycle: ClassVar = declared

    bound: Lifecycle = Row.lifecycle
    return bound


def _guard(name: str) -> Callable[[Any], bool]:
    def asked(aggregate: Any) -> bool:
        """<b>Refused</b> because | of "this" --> [*]."""
        return True

    asked.__name__ = name
    return asked


def _bindings(dice: random.Random) -> list[Binding]:
    return [
        Binding(
            dice.choice(HOSTILE), tuple(dice.sample(HOSTILE, dice.randint(0, 2))), tuple(dice.sample(HOSTILE, dice.randint(0, 1)))
        )
        for _ in range(dice.randint(0, 2))
    ]
