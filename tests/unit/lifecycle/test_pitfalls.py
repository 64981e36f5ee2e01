"""pytransitions' documented pitfalls: what its own machine does, beside what a lifecycle does instead."""

from __future__ import annotations

import sys
import threading
import warnings
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from transitions import Machine
from transitions.extensions import HierarchicalMachine

from tests.unit.lifecycle.orders import thing
from usecasecore.errors import DefinitionError, GuardRejected, TransitionNotAllowed

GO: list[Any] = [["go", "a", "b"]]


class Model:
    """What pytransitions puts its methods on."""


def peer(transitions: Any, states: Any = ("a", "b", "c"), **options: Any) -> Any:
    model: Any = Model()
    Machine(model, states=list(states), transitions=transitions, initial="a", auto_transitions=False, **options)
    return model


def ours(transitions: Any, states: Any = ("a", "b", "c"), **body: Any) -> tuple[Any, Any]:
    cls = thing(list(states), transitions, body=body)
    row = cls()
    cls.lifecycle.enter_initial(row)
    return cls.lifecycle, row


@pytest.mark.parametrize("answer", ["yes", [1], object(), 2])
def test_a_truthy_answer_is_a_no_there_and_a_yes_here(answer: object) -> None:
    def transitions() -> list[Any]:
        return [{"trigger": "go", "source": "a", "dest": "b", "conditions": lambda *_: answer}]

    assert peer(transitions()).trigger("go") is False
    lifecycle, row = ours(transitions())
    assert lifecycle.fire(row, "go").dest == "b"


async def says_yes(*_: object) -> bool:
    return True


def test_a_coroutine_as_a_guard_is_a_silent_no_there_and_refused_at_definition_here() -> None:
    transitions: list[Any] = [{"trigger": "go", "source": "a", "dest": "b", "conditions": says_yes}]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)  # nobody awaits it
        assert peer(transitions).trigger("go") is False
    with pytest.raises(DefinitionError, match="is a coroutine function"):
        ours(transitions)


def fails(*_: object) -> None:
    raise ValueError("no")


@pytest.mark.parametrize(
    ("states", "role"),
    [(("a", {"name": "b", "on_enter": fails}), "on_enter"), (("a", "b"), "after")],
)
def test_a_callback_that_raises_after_the_state_was_set_leaves_the_new_state_on_the_object(states: Any, role: str) -> None:
    """Here too: so the runtime rolls back and discards the object, as `test_all_or_nothing` shows."""
    transitions: list[Any] = [{"trigger": "go", "source": "a", "dest": "b", **({"after": fails} if role == "after" else {})}]
    model = peer(transitions, states)
    lifecycle, row = ours(transitions, states)
    with pytest.raises(ValueError, match="no"):
        model.trigger("go")
    with pytest.raises(ValueError, match="no"):
        lifecycle.fire(row, "go")
    assert (model.state, row.state) == ("b", "b")


def test_an_empty_destination_is_an_internal_transition_there_and_refused_at_definition_here() -> None:
    model = peer([["go", "a", ""]])
    assert model.trigger("go") is True
    assert model.state == "a"
    with pytest.raises(DefinitionError, match="transition 'go': destination: there is no state ''"):
        ours([["go", "a", ""]])


@pytest.mark.parametrize(
    ("transition", "said"),
    [
        (["go", "a", "nowhere"], "there is no state 'nowhere'"),
        ({"trigger": "go", "source": "a", "dest": "b", "conditions": "is_nothing"}, "has no 'is_nothing'"),
        ({"trigger": "go", "source": "a", "dest": "b", "before": "do_nothing"}, "has no 'do_nothing'"),
    ],
)
def test_an_unknown_name_fails_when_it_is_fired_there_and_at_definition_here(transition: Any, said: str) -> None:
    model = peer([transition])
    with pytest.raises((ValueError, AttributeError)):
        model.trigger("go")
    with pytest.raises(DefinitionError, match=said):
        ours([transition])


def test_the_first_candidate_whose_guards_agree_is_made_in_both() -> None:
    transitions: list[Any] = [
        {"trigger": "go", "source": "a", "dest": "a", "unless": lambda *_: True},
        {"trigger": "go", "source": "a", "dest": "b"},
        {"trigger": "go", "source": "a", "dest": "c"},
    ]
    model = peer(transitions)
    lifecycle, row = ours(transitions)
    model.trigger("go")
    assert (model.state, lifecycle.fire(row, "go").dest) == ("b", "b")


def test_guards_that_refuse_are_a_mere_false_there_and_an_error_with_reasons_here() -> None:
    transitions: list[Any] = [{"trigger": "go", "source": "a", "dest": "b", "conditions": "small"}]
    model: Any = Model()
    model.small = lambda: False
    Machine(model, states=["a", "b"], transitions=transitions, initial="a", auto_transitions=False)
    assert model.trigger("go") is False
    lifecycle, row = ours(transitions, small=lambda self: False)
    with pytest.raises(GuardRejected, match="small"):
        lifecycle.fire(row, "go")


def test_going_to_any_state_is_possible_by_default_there_and_never_here() -> None:
    model: Any = Model()
    Machine(model, states=["a", "b"], transitions=[], initial="a")
    assert model.trigger("to_b") is True
    lifecycle, _ = ours(GO)
    assert lifecycle.triggers == ("go",)


def test_an_error_in_finalize_event_is_swallowed_there_and_the_option_is_refused_here() -> None:
    assert peer(GO, finalize_event=fails).trigger("go") is True
    options: Any = {"finalize_event": fails}
    with pytest.raises(DefinitionError, match="swallows what it raises"):
        thing(["a", "b"], GO, **options)


NESTED: list[Any] = ["off", {"name": "on", "initial": "low", "children": ["low", "high"]}]
MOVES: list[Any] = [["start", "off", "on"], ["raise_", "on_low", "on_high"], ["stop", "on", "off"]]
WALK = (("start", "on_low"), ("raise_", "on_high"), ("stop", "off"))


@pytest.fixture
def hasty_threads() -> Iterator[None]:
    before = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    yield
    sys.setswitchinterval(before)


def in_threads(one_walk: Any) -> int:
    """Return how many of 16 threads' walks went wrong."""
    barrier = threading.Barrier(16)

    def work(_: int) -> int:
        barrier.wait()
        return sum(not one_walk() for _ in range(40))

    with ThreadPoolExecutor(16) as pool:
        return sum(pool.map(work, range(16)))


@pytest.mark.usefixtures("hasty_threads")
def test_a_nested_machine_shared_by_threads_goes_wrong_there_and_never_here() -> None:
    machine: Any = HierarchicalMachine(model=None, states=NESTED, transitions=MOVES, initial="off", auto_transitions=False)

    def their_walk() -> bool:
        model: Any = Model()
        model.state = "off"
        try:
            return all(machine.trigger_event(model, trigger) and model.state == state for trigger, state in WALK)
        except Exception:  # noqa: BLE001 - it fails in many ways
            return False

    lifecycle = thing(NESTED, MOVES, "off").lifecycle

    def our_walk() -> bool:
        row = lifecycle.aggregate()
        lifecycle.enter_initial(row)
        try:
            return all(lifecycle.fire(row, trigger).dest == state for trigger, state in WALK)
        except TransitionNotAllowed:
            return False

    assert in_threads(our_walk) == 0
    assert any(in_threads(their_walk) for _ in range(10))
