"""Random declarations, flat and nested, in the formats that pytransitions takes too, and classes mapped with them."""

from __future__ import annotations

import string
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from enum import Enum
from typing import Any

from hypothesis import strategies as st
from sqlalchemy import Column, Integer, Table
from sqlalchemy.orm import registry

from usecasecore.lifecycle import Lifecycle, StateType, VersionType

TRIGGERS = ("go", "run", "hop")
Config = dict[str, Any]


@dataclass
class Example:
    states: list[Config]
    transitions: list[Config]
    initial: Any
    walk: Sequence[str]


class Model:
    """What both machines move: it logs each call, and so each guard knows how often it was asked."""

    def __init__(self) -> None:
        self.log: list[str] = []


def call(tag: str) -> Callable[..., None]:
    return lambda event, tag=tag: event.model.log.append(tag)


def ask(tag: str, table: Sequence[bool]) -> Callable[..., bool]:
    """Return a guard that answers by a table of truth: the n-th time by its n-th line, and then from the start."""

    def answer(event: Any) -> bool:
        event.model.log.append(tag)
        asked: int = event.model.log.count(tag)
        return table[(asked - 1) % len(table)]

    return answer


def labels() -> Iterator[str]:
    yield from string.ascii_uppercase
    yield from (f"{letter}{letter}" for letter in string.ascii_uppercase)


@st.composite
def nested_examples(draw: st.DrawFn) -> Example:
    unused = labels()

    def state(depth: int) -> Config:
        label = next(unused)
        children = [state(depth + 1) for _ in range(draw(st.integers(0, 2 if depth < 2 else 0)))]
        made: Config = {
            "name": label,
            "on_enter": [call(f"enter {label}")],
            "on_exit": [call(f"exit {label}")],
            "on_final": [call(f"final {label}")],
            "final": draw(st.booleans()),
        }
        if children:
            made["initial"] = draw(st.sampled_from([None, *(child["name"] for child in children)]))
            inside = names_of(children)
            if draw(st.booleans()):
                # In pytransitions, "*" to "=" inside of a state never applies: its sources come out as full names.
                made["transitions"] = draw(transitions(inside, wildcard_to_same=False))
            made["children"] = children
        return made

    states = [state(0) for _ in range(draw(st.integers(1, 3)))]
    names = names_of(states)
    return Example(
        states,
        draw(transitions(names)),
        draw(st.sampled_from(names)),
        draw(st.lists(st.sampled_from(TRIGGERS), min_size=1, max_size=8)),
    )


@st.composite
def flat_examples(draw: st.DrawFn) -> Example:
    names = list(string.ascii_uppercase[: draw(st.integers(1, 4))])
    states = [{"name": name, "on_enter": [call(f"enter {name}")], "on_exit": [call(f"exit {name}")]} for name in names]
    walk = draw(st.lists(st.sampled_from(TRIGGERS), min_size=1, max_size=8))
    return Example(states, draw(transitions(names)), draw(st.sampled_from(names)), walk)


def names_of(states: list[Config], prefix: str = "") -> list[str]:
    found = []
    for state in states:
        found += [prefix + state["name"], *names_of(state.get("children", []), f"{prefix}{state['name']}_")]
    return found


@st.composite
def transitions(draw: st.DrawFn, names: list[str], *, wildcard_to_same: bool = True) -> list[Config]:
    made = []
    tables = st.lists(st.lists(st.booleans(), min_size=1, max_size=3), max_size=2)
    for number in range(draw(st.integers(1, 6))):
        source = draw(st.sampled_from(names) | st.lists(st.sampled_from(names), min_size=1, max_size=3) | st.just("*"))
        dest = draw(st.sampled_from(names) | st.sampled_from(["=", None]))
        if source == "*" and dest == "=" and not wildcard_to_same:
            dest = None
        tag = f"{number} of {names[0]}"
        made.append(
            {
                "trigger": draw(st.sampled_from(TRIGGERS)),
                "source": source,
                "dest": dest,
                "conditions": [ask(f"ask {tag}", table) for table in draw(tables)] or None,
                "unless": [ask(f"doubt {tag}", table) for table in draw(tables)] or None,
                "prepare": call(f"prepare {tag}"),
                "before": call(f"before {tag}"),
                "after": call(f"after {tag}"),
            }
        )
    return made


@st.composite
def enumerated(draw: st.DrawFn, examples: st.SearchStrategy[Example], *, texts: bool) -> Example:
    """Draw an example and declare its states by the members of an enum: by texts other than their names, or by numbers."""
    example = draw(examples)
    every = sorted({part for name in names_of(example.states) for part in name.split("_")})
    value: Callable[[int, str], object] = (
        (lambda _, label: f"{label.lower()}!") if texts and draw(st.booleans()) else lambda place, _: place
    )
    kind: Any = Enum("kind", {label: value(place, label) for place, label in enumerate(every)})  # type: ignore[misc]  # as drawn

    def renamed(state: Config) -> Config:
        return {
            **state,
            "name": kind[state["name"]],
            **({"children": list(map(renamed, state["children"]))} if "children" in state else {}),
        }

    def reference(name: Any) -> Any:
        # A number can't be part of a full name, and each label is in one place only.
        return kind[name.rpartition("_")[2]] if isinstance(name, str) and name not in ("*", "=") and draw(st.booleans()) else name

    for one in example.transitions:
        for end in ("source", "dest"):
            one[end] = [reference(name) for name in one[end]] if isinstance(one[end], list) else reference(one[end])
    # Of members, pytransitions can start in one of the top level only; another it would add there.
    initial = kind[example.initial.partition("_")[0]]
    return Example(list(map(renamed, example.states)), example.transitions, initial, example.walk)


def lifecycle_of(example: Example) -> Lifecycle:
    class Row(Model):
        lifecycle = Lifecycle(states=example.states, transitions=example.transitions, initial=example.initial)

    mappings = registry()
    table = Table(
        "row",
        mappings.metadata,
        Column("id", Integer, primary_key=True),
        Column("state", StateType(), nullable=False),
        Column("version", VersionType(), nullable=False),
    )
    mappings.map_imperatively(Row, table)
    return Row.lifecycle
