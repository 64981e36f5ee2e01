"""One machine serves all threads."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from tests.unit.lifecycle.orders import thing
from usecasecore.errors import GuardRejected
from usecasecore.lifecycle import Transition

THREADS, ROUNDS = 16, 150

FLAT = (
    ["a", "b", "c"],
    [Transition("go", "a", "b", "agrees"), Transition("on", "b", "c"), Transition("back", ["b", "c"], "a")],
    "a",
)
FLAT_WALK = [("go", "b"), ("on", "c"), ("back", "a")]

NESTED = (
    [
        "idle",
        {"name": "busy", "initial": "first", "children": ["first", {"name": "second", "children": ["x", "y"], "initial": "x"}]},
    ],
    [
        Transition("go", "idle", "busy", "agrees"),
        Transition("on", "busy_first", "busy_second"),
        Transition("turn", "busy_second_x", "busy_second_y"),
        Transition("back", "busy", "idle"),
    ],
    "idle",
)
NESTED_WALK = [("go", "busy_first"), ("on", "busy_second_x"), ("turn", "busy_second_y"), ("back", "idle")]


@pytest.fixture(autouse=True)
def switching_all_the_time() -> Iterator[None]:
    before = sys.getswitchinterval()
    sys.setswitchinterval(2e-5)  # more often, and on a busy machine the threads do little but switch
    yield
    sys.setswitchinterval(before)


@pytest.mark.parametrize(("declared", "walk"), [(FLAT, FLAT_WALK), (NESTED, NESTED_WALK)], ids=["flat", "nested"])
def test_16_threads_each_get_their_own_states_and_refusals(declared: Any, walk: list[tuple[str, str]]) -> None:
    cls = thing(*declared, body={"agrees": lambda self, event: event.kwargs["command"] == self.total})
    lifecycle = cls.lifecycle

    def run(number: int) -> list[str]:
        row, wrong = cls(total=number), []
        for _ in range(ROUNDS):
            try:
                lifecycle.fire(row, "go", command=number + 1)
                wrong.append("the guard was passed")
            except GuardRejected as error:
                if error.failures != (("agrees", "'agrees' is not true"),):
                    wrong.append(f"failures: {error.failures}")
            for trigger, expected in walk:
                fired = lifecycle.fire(row, trigger, command=number)
                if (fired.dest, row.state) != (expected, expected):
                    wrong.append(f"{trigger}: {fired.dest}, {row.state}")
        return wrong

    with ThreadPoolExecutor(THREADS) as pool:
        assert [wrong for found in pool.map(run, range(THREADS)) for wrong in found] == []
