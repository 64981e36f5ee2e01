"""What pytransitions' machines accept as states, transitions and options works here, or is refused with what to write instead."""

from __future__ import annotations

from typing import Any

import pytest
from transitions import Machine, State
from transitions.extensions import HierarchicalMachine
from transitions.extensions import states as peer_states
from transitions.extensions.nesting import NestedState
from transitions.extensions.states import Error, Tags, Timeout, Volatile, add_state_features

from tests.unit.lifecycle.orders import thing
from usecasecore.errors import DefinitionError
from usecasecore.lifecycle import Lifecycle


def walk(cls: Any, *triggers: str) -> list[str]:
    row = cls()
    cls.lifecycle.enter_initial(row)
    return [cls.lifecycle.fire(row, trigger).dest for trigger in triggers]


def peer_walk(states: Any, transitions: Any, initial: str, *triggers: str) -> list[str]:
    machine: Any = HierarchicalMachine(states=states, transitions=transitions, initial=initial, auto_transitions=False)
    found = []
    for trigger in triggers:
        machine.trigger(trigger)
        found.append(machine.state)
    return found


def counter() -> HierarchicalMachine:
    return HierarchicalMachine(
        states=["1", "2", "3", "done"],
        initial="1",
        transitions=[["increase", "1", "2"], ["increase", "2", "3"], ["done", "3", "done"], ["reset", "*", "1"]],
    )


REMAPPED: list[Any] = [
    ("a machine", lambda: ["off", {"name": "counting", "children": counter(), "remap": {"done": "off"}}]),
    (
        "states and transitions",
        lambda: [
            "off",
            {
                "name": "counting",
                "initial": "1",
                "children": ["1", "2", "3", "done"],
                "remap": {"done": "off"},
                "transitions": [["increase", "1", "2"], ["increase", "2", "3"], ["done", "3", "done"], ["reset", "*", "1"]],
            },
        ],
    ),
]


@pytest.mark.parametrize("make", [make for _, make in REMAPPED], ids=[name for name, _ in REMAPPED])
def test_states_are_reused_inside_of_another_and_remapped_to_those_outside(make: Any) -> None:
    triggers = ("start", "increase", "reset", "increase", "increase", "done", "start")
    outer: list[Any] = [["start", "off", "counting"]]
    ours = thing(make(), outer, "off")
    assert ours.lifecycle.states == ("off", "counting_1", "counting_2", "counting_3")
    assert walk(ours, *triggers) == peer_walk(make(), outer, "off", *triggers)
    assert walk(ours, *triggers)[-2:] == ["off", "counting_1"]


def test_what_only_starts_in_a_state_that_is_left_out_is_left_out_too() -> None:
    states: list[Any] = [
        "off",
        {"name": "on", "initial": "a", "children": ["a", "b"], "remap": {"b": "off"}, "transitions": [["go", ["a", "b"], "b"]]},
    ]
    cls = thing(states, [["start", "off", "on"]], "off")
    assert [(edge.trigger, edge.source, edge.dest, edge.scope) for edge in cls.lifecycle.graph.edges] == [
        ("go", "on_a", "off", None),
        ("start", "off", "on", None),
    ]


def test_a_remap_to_a_state_that_there_is_not_is_refused() -> None:
    states: list[Any] = ["off", {"name": "on", "children": ["a", "b"], "remap": {"b": "of"}, "transitions": [["go", "a", "b"]]}]
    with pytest.raises(DefinitionError, match=r"transition 'go': destination: there is no state 'of'; did you mean 'off'\?"):
        thing(states, [["start", "off", "on_a"]], "off")


def test_the_transitions_inside_of_a_nested_state_object_are_kept() -> None:
    machine = HierarchicalMachine(
        states=["off", {"name": "on", "initial": "a", "children": ["a", "b"], "transitions": [["go", "a", "b"]]}],
        auto_transitions=False,
    )
    cls = thing(list(machine.states.values()), [["start", "off", "on"]], "off")
    assert walk(cls, "start", "go") == ["on_a", "on_b"]


def test_a_machine_beside_the_states_is_refused() -> None:
    with pytest.raises(DefinitionError, match="give it as the `children` of one"):
        thing(["off", counter()], [], "off")


@pytest.mark.parametrize(
    ("features", "options", "said"),
    [
        ([Timeout], {"timeout": 5, "on_timeout": "expire"}, "enqueue a job with `run_at=...`"),
        ([Tags], {"tags": ["urgent"]}, "ask for them by `lifecycle.within"),
        ([Error], {"accepted": True}, "ask for them by `lifecycle.within"),
        ([Volatile], {}, "whose behaviour would not run"),
        ([vars(peer_states)["Retry"]], {"retries": 3, "on_failure": "failed"}, "count the attempts in a column"),
    ],
)
def test_a_state_object_with_a_feature_is_refused_as_its_dict_would_be(features: list[Any], options: Any, said: str) -> None:
    machine_class: Any = add_state_features(*features)(type("Featured", (Machine,), {}))
    state = machine_class(states=[{"name": "a", **options}], initial="a").states["a"]
    with pytest.raises(DefinitionError, match=said):
        thing([state, "b"], [["go", "a", "b"]], "b")


class Loud(State):
    def enter(self, event_data: Any) -> None:
        raise AssertionError


class Named(NestedState):
    """A subclass that does nothing of its own."""


def test_a_state_class_with_behaviour_of_its_own_is_refused_and_one_without_is_taken() -> None:
    with pytest.raises(DefinitionError, match=r"state 'a' is a Loud, whose behaviour would not run; give a State, and callbacks"):
        thing([Loud("a"), "b"], [["go", "a", "b"]], "b")
    assert thing([Named("a"), "b"], [["go", "a", "b"]], "a").lifecycle.states == ("a", "b")


OPTIONS: dict[str, tuple[Any, str]] = {
    "model": (object(), "attribute of the mapped class"),
    "send_event": (False, "a callback that takes `event` gets it"),
    "auto_transitions": (True, "write the transitions that there are"),
    "ordered_transitions": (True, "write the transitions out"),
    "ignore_invalid_triggers": (True, r"declare an internal transition"),
    "queued": ("model", "fire what follows by `context.fire`"),
    "before_state_change": ("f", "the `before` of each transition"),
    "after_state_change": ("f", "the `after` of each transition"),
    "prepare_event": ("f", "the `prepare` of each transition"),
    "finalize_event": ("f", "swallows what it raises"),
    "on_exception": ("f", "catch it around `runtime.execute`"),
    "on_final": ("f", "give it to the final states"),
    "model_attribute": ("status", "state column by `column`"),
    "model_override": (True, "puts no methods on the class"),
}


@pytest.mark.parametrize("name", OPTIONS)
def test_an_option_of_the_machine_is_refused_with_what_to_write_instead(name: str) -> None:
    value, said = OPTIONS[name]
    options: Any = {name: value}
    with pytest.raises(DefinitionError, match=said) as caught:
        Lifecycle(states=["a"], transitions=[], initial="a", **options)
    assert __file__ in str(caught.value)


def test_every_option_of_pytransitions_machines_is_either_taken_or_answered() -> None:
    from inspect import signature

    taken = {"self", "states", "transitions", "initial", "name", "kwargs"}
    for machine in (Machine, HierarchicalMachine):
        assert set(signature(machine.__init__).parameters) - taken <= OPTIONS.keys()


def test_options_that_ask_for_what_a_lifecycle_does_anyway_are_taken() -> None:
    cls = thing(
        ["a", "b"],
        [["go", "a", "b"]],
        model=None,
        send_event=True,
        auto_transitions=False,
        ordered_transitions=False,
        ignore_invalid_triggers=False,
        queued=False,
    )
    assert walk(cls, "go") == ["b"]


def test_all_wrong_options_are_told_at_once_and_a_mistyped_one_with_the_nearest() -> None:
    options: Any = {"queued": True, "seperator": "/"}
    with pytest.raises(DefinitionError) as caught:
        Lifecycle(states=["a"], transitions=[], initial="a", **options)
    assert len(caught.value.problems) == 2
    assert "a lifecycle has no 'seperator'; did you mean 'separator'?" in caught.value.problems[1]


def test_methods_named_after_states_are_called_after_what_is_declared_as_pytransitions_does() -> None:
    calls: list[str] = []
    body = {
        "noted": lambda self: calls.append("declared"),
        "on_enter_b": lambda self: calls.append("on_enter_b"),
        "on_exit_a": lambda self, event: calls.append(f"on_exit_a {event.transition.dest}"),
        "on_enter_c_x": lambda self: calls.append("on_enter_c_x"),
    }
    states: list[Any] = ["a", {"name": "b", "on_enter": "noted"}, {"name": "c", "initial": "x", "children": ["x"]}]
    transitions: list[Any] = [["go", "a", "b"], ["on", "b", "c"]]
    walk(thing(states, transitions, body=body), "go", "on")
    ours, calls[:] = list(calls), []

    model: Any = type("Model", (), {**body, "noted": lambda self, event: calls.append("declared")})()
    for name in ("on_enter_b", "on_enter_c_x"):
        setattr(type(model), name, lambda self, event, name=name: calls.append(name))
    HierarchicalMachine(model, states=states, transitions=transitions, initial="a", auto_transitions=False, send_event=True)
    model.go()
    model.on()
    assert ours == calls == ["on_exit_a b", "declared", "on_enter_b", "on_enter_c_x"]


def test_a_method_that_is_named_and_declared_is_called_once() -> None:
    calls: list[str] = []
    body = {"on_enter_b": lambda self: calls.append("b")}
    walk(thing(["a", {"name": "b", "on_enter": "on_enter_b"}], [["go", "a", "b"]], body=body), "go")
    assert calls == ["b"]
