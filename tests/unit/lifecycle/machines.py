"""Random declarations, flat and nested, in the formats that pytransitions takes too, and classes mapped with them."""

from __future__ import annotations

import string
import zlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
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
    initial: str
    walk: Sequence[str]


class Model:
    """What both machines move: it logs each call, and answers each guard by what was logged so far."""

    def __init__(self) -> None:
        self.log: list[str] = []


def call(tag: str) -> Callable[..., None]:
    return lambda event, tag=tag: event.model.log.append(tag)


def ask(tag: str) -> Callable[..., bool]:
    def answer(event: Any) -> bool:
        event.model.log.append(tag)
        return zlib.crc32(f"{tag}{len(event.model.log)}".encode()) % 3 != 0

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
                "conditions": [ask(f"ask {tag}")] if draw(st.booleans()) else None,
                "unless": [ask(f"doubt {tag}")] if draw(st.booleans()) else None,
                "prepare": call(f"prepare {tag}"),
                "before": call(f"before {tag}"),
                "after": call(f"after {tag}"),
            }
        )
    return made


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
