"""What pytransitions takes, a lifecycle takes."""

from __future__ import annotations

import enum
from collections.abc import Callable
from enum import Enum, IntEnum, StrEnum
from typing import Any

import pytest
from transitions import State
from transitions.extensions.nesting import NestedState

from tests.unit.lifecycle.orders import OrderState, mapped, thing
from usecasecore.lifecycle import Edge, Lifecycle, LifecycleGraph, Transition


class Plain(Enum):
    DRAFT = "draft"
    PAID = "paid"


class Mixed(str, Enum):  # noqa: UP042 - the older form is still common
    DRAFT = "draft"
    PAID = "paid"


class Number(Enum):
    DRAFT = 1
    PAID = 2


class Ordinal(IntEnum):
    DRAFT = 1
    PAID = 2


class Strings(StrEnum):
    DRAFT = "draft"
    PAID = "paid"


class Crossed(StrEnum):
    """Each one's name is the other one's value."""

    a = "b"
    b = "a"


def edges(graph: LifecycleGraph) -> list[tuple[str, str, str | None]]:
    return [(edge.trigger, edge.source, edge.dest) for edge in graph.edges]


@pytest.mark.parametrize("states", [Plain, Mixed, Strings, list(Strings)])
def test_states_with_string_values_are_called_and_stored_by_their_value(states: Any) -> None:
    cls = thing(states, [["pay", "draft", "paid"]], "draft")
    assert [(node.name, node.value) for node in cls.lifecycle.graph.states] == [("draft", "draft"), ("paid", "paid")]


@pytest.mark.parametrize("states", [Number, Ordinal])
def test_states_with_integer_values_are_called_by_their_name_and_stored_by_their_value(states: Any) -> None:
    lifecycle = Lifecycle(states=states, initial=states.DRAFT, transitions=[["pay", 1, "PAID"]])
    cls = mapped({"lifecycle": lifecycle}, states=states)
    assert [(node.name, node.value) for node in cls.lifecycle.graph.states] == [("DRAFT", 1), ("PAID", 2)]
    row = cls()
    cls.lifecycle.enter_initial(row)
    assert cls.lifecycle.fire(row, "pay").dest == "PAID"
    assert row.state is states.PAID


@pytest.mark.parametrize(
    "transition",
    [
        Transition("pay", Strings.DRAFT, Strings.PAID),
        Transition("pay", "DRAFT", "PAID"),
        Transition("pay", "draft", "paid"),
        ["pay", Strings.DRAFT, "paid"],
        ("pay", ["draft"], "PAID"),
        {"trigger": "pay", "source": [Strings.DRAFT], "dest": Strings.PAID},
    ],
)
def test_a_transition_names_its_states_by_member_name_or_value(transition: Any) -> None:
    cls = thing(Strings, [transition], Strings.DRAFT)
    assert edges(cls.lifecycle.graph) == [("pay", "draft", "paid")]


def test_where_a_name_is_another_ones_value_a_string_means_the_value() -> None:
    cls = thing(Crossed, [["go", "a", "b"]], "a")
    assert edges(cls.lifecycle.graph) == [("go", "a", "b")]
    assert cls.lifecycle.state_of(cls(state="a")) == Crossed.b.value


def test_states_may_be_strings_dicts_members_and_state_objects() -> None:
    cls = thing(["a", {"name": "b", "final": True}, Strings.DRAFT, State("c"), State(Strings.PAID)], [["go", "a", "c"]])
    assert cls.lifecycle.states == ("a", "b", "draft", "c", "paid")
    assert cls.lifecycle.graph.state("b").final


def test_a_state_object_can_be_a_source_and_a_destination() -> None:
    first, second = State("a"), State("b")
    cls = thing([first, second], [Transition("go", first, second)], first)
    assert edges(cls.lifecycle.graph) == [("go", "a", "b")]


def test_one_state_needs_no_list() -> None:
    assert thing("a", [["stay", "a", "="]]).lifecycle.states == ("a",)


def test_a_star_means_every_state_and_an_enum_class_its_members() -> None:
    cls = thing(["a", "b"], [["go", "*", "b"], ["back", "*", "="]])
    assert edges(cls.lifecycle.graph) == [("go", "a", "b"), ("go", "b", "b"), ("back", "a", "a"), ("back", "b", "b")]
    assert edges(thing(Strings, [["go", Strings, "paid"]], "draft").lifecycle.graph) == [
        ("go", "draft", "paid"),
        ("go", "paid", "paid"),
    ]


def test_same_leaves_and_enters_its_state_and_none_does_neither() -> None:
    log: list[str] = []
    states = [{"name": "a", "on_enter": lambda: log.append("enter"), "on_exit": lambda: log.append("exit")}]
    cls = thing(states, [Transition("again", "a", "=", after=lambda: log.append("after")), Transition("note", "a", None)])
    row = cls(state="a")
    assert cls.lifecycle.fire(row, "again").dest == "a"
    assert log == ["exit", "enter", "after"]
    fired = cls.lifecycle.fire(row, "note")
    assert (fired.source, fired.dest, fired.edge.dest) == ("a", "a", None)
    assert log == ["exit", "enter", "after"]


def test_a_trigger_may_be_a_member_of_a_string_enum() -> None:
    trigger = StrEnum("trigger", {"PAY": "pay"})
    assert thing(Strings, [[trigger.PAY, "draft", "paid"]], "draft").lifecycle.triggers == ("pay",)


def test_every_callback_of_a_transition_can_be_given_by_position_as_in_pytransitions() -> None:
    log: list[str] = []
    names = ("condition", "unless", "before", "after", "prepare")

    def calling(name: str) -> Callable[[], bool]:
        def call() -> bool:
            log.append(name)
            return name == "condition"

        return call

    calls = {name: calling(name) for name in names}
    cls = thing(
        ["a", "b"],
        [Transition("go", "a", "b", calls["condition"], calls["unless"], calls["before"], calls["after"], calls["prepare"])],
    )
    cls.lifecycle.fire(cls(state="a"), "go")
    assert log == ["prepare", "condition", "unless", "before", "after"]


NESTED = [
    "draft",
    {
        "name": "shipping",
        "initial": "packed",
        "children": ["packed", {"name": "sent", "children": ["air", "sea"]}],
        "transitions": [["send", "packed", "sent"], Transition("load", "sent", "sent_air")],
    },
    "done",
]


def test_nested_states_are_called_and_stored_by_their_full_name() -> None:
    cls = thing(NESTED, [["ship", "draft", "shipping"], ["finish", "shipping", "done"]], "draft")
    row = cls(state="draft")
    walked = [cls.lifecycle.fire(row, trigger).dest for trigger in ("ship", "send", "load", "finish")]
    assert walked == ["shipping_packed", "shipping_sent", "shipping_sent_air", "done"]
    assert cls.lifecycle.states == ("draft", "shipping_packed", "shipping_sent", "shipping_sent_air", "shipping_sent_sea", "done")


def test_a_composite_state_with_an_initial_child_is_never_rested_in() -> None:
    graph = thing(NESTED, [["ship", "draft", "shipping"]], "draft").lifecycle.graph
    node = graph.state("shipping")
    assert (node.resting, node.initial_child, node.parent, node.label) == (False, "shipping_packed", None, "shipping")
    assert node.children == ("shipping_packed", "shipping_sent")
    assert graph.state("shipping_sent_air").parent == "shipping_sent"


def test_the_initial_state_may_be_a_composite_one() -> None:
    cls = thing(NESTED, [], "shipping")
    assert cls.lifecycle.initial == "shipping_packed"
    assert cls.lifecycle.graph.state("shipping_packed").initial


def test_another_separator_joins_and_splits_names() -> None:
    cls = thing(
        ["in_review", "in_review/first", "in_review/second"],
        [["go", "in_review/first", "in_review/second"]],
        "in_review/first",
        separator="/",
    )
    assert cls.lifecycle.graph.state("in_review").children == ("in_review/first", "in_review/second")


def test_an_underscore_in_flat_states_is_just_a_letter() -> None:
    graph = thing(["in", "in_review"], [["go", "in", "in_review"]], "in").lifecycle.graph
    assert graph.state("in_review").parent is None


def test_nested_enums_nest_states() -> None:
    class Inner(Enum):
        PACKED = enum.auto()
        SENT = enum.auto()

    class Outer(Enum):
        DRAFT = "draft"
        SHIPPING = Inner
        DONE = {"children": ["well", "badly"], "initial": "well"}

    cls = thing(
        Outer,
        [["ship", Outer.DRAFT, Inner.PACKED], ["send", "SHIPPING_PACKED", Inner.SENT], ["end", "*", Outer.DONE]],
        Outer.DRAFT,
    )
    row = cls(state="draft")
    walked = [cls.lifecycle.fire(row, trigger).dest for trigger in ("ship", "send", "end")]
    assert walked == ["SHIPPING_PACKED", "SHIPPING_SENT", "DONE_well"]


def test_nested_string_enums_are_found_by_value_and_by_name() -> None:
    states = [{"name": Strings.DRAFT, "children": OrderState, "initial": OrderState.PAID}]
    cls = thing(states, [["go", "draft_paid", "DRAFT_CANCELLED"]], Strings.DRAFT)
    assert edges(cls.lifecycle.graph) == [("go", "draft_paid", "draft_cancelled")]


def test_a_column_enum_of_full_names_holds_nested_states_as_members() -> None:
    class Full(StrEnum):
        DRAFT = "draft"
        PACKED = "shipping_packed"

    states: list[Any] = ["draft", {"name": "shipping", "children": ["packed"]}]
    lifecycle = Lifecycle(states=states, initial=Full.DRAFT, transitions=[Transition("pack", Full.DRAFT, Full.PACKED)])
    cls = mapped({"lifecycle": lifecycle}, states=Full)
    row = cls(state=Full.DRAFT)
    cls.lifecycle.fire(row, "pack")
    assert row.state is Full.PACKED


def test_nested_state_objects_are_taken_apart() -> None:
    outer = NestedState("outer", initial="one")
    outer.add_substates([NestedState("one"), NestedState("two")])
    assert thing([outer], [["go", "outer_one", "outer_two"]], "outer").lifecycle.states == ("outer_one", "outer_two")


def test_a_star_inside_of_a_state_means_the_states_inside() -> None:
    states = [{"name": "a", "children": ["x", "y"], "transitions": [["go", "*", "y"], ["same", "*", "="]]}, "b"]
    graph = thing(states, [], "b").lifecycle.graph
    assert edges(graph) == [("go", "a_x", "a_y"), ("go", "a_y", "a_y"), ("same", "a_x", "a_x"), ("same", "a_y", "a_y")]


def test_final_states_are_those_declared_so_and_those_without_a_way_out() -> None:
    graph = thing([{"name": "a", "final": True}, "b", "c"], [["go", ["a", "b"], "c"]]).lifecycle.graph
    assert [node.name for node in graph.states if node.final] == ["a", "c"]


def test_the_graph_can_not_be_changed_and_knows_descriptions() -> None:
    states = [{"name": "a", "description": "at the start"}, "b"]
    cls = thing(states, [Transition("go", "a", "b", description="onwards")], description="of a thing")
    graph = cls.lifecycle.graph
    assert (graph.description, graph.state("a").description, graph.edges[0].description) == (
        "of a thing",
        "at the start",
        "onwards",
    )
    assert isinstance(graph.edges[0], Edge)
    assert hash(graph) is not None
    with pytest.raises(AttributeError):
        setattr(graph, "name", "other")  # noqa: B010 - type checkers refuse the plain way
    with pytest.raises(KeyError):
        graph.state("nowhere")


def test_an_edge_knows_its_guards_in_the_order_asked() -> None:
    body = {"first": lambda self: True, "second": lambda self: True, "third": lambda self: False}
    cls = thing(["a", "b"], [Transition("go", "a", "b", ["first", "second"], "third")], body=body)
    assert (cls.lifecycle.graph.edges[0].conditions, cls.lifecycle.graph.edges[0].unless) == (("first", "second"), ("third",))


def test_a_transition_knows_its_own_line_and_other_forms_that_of_the_lifecycle() -> None:
    transition = Transition(
        "go",
        "a",
        "b",
    )
    line = test_a_transition_knows_its_own_line_and_other_forms_that_of_the_lifecycle.__code__.co_firstlineno
    lifecycle = Lifecycle(states=["a", "b"], transitions=[transition, ["back", "b", "a"]], initial="a")
    cls = mapped({"lifecycle": lifecycle})
    own, other = cls.lifecycle.graph.edges
    assert (own.location.file, own.location.line) == (__file__, line + 1)
    assert other.location == lifecycle.location
    assert str(lifecycle.location) == f"{__file__}:{line + 7}"


def test_the_machine_is_pytransitions_and_takes_no_models() -> None:
    from transitions import Machine

    cls = thing(["a", "b"], [["go", "a", "b"]])
    machine = cls.lifecycle.machine
    assert isinstance(machine, Machine)
    assert (machine.initial, list(machine.states), machine.get_triggers("a"), machine.models) == ("a", ["a", "b"], ["go"], [])
    with pytest.raises(TypeError, match="takes no models"):
        machine.add_model(cls())


def test_the_machine_reads_and_sets_states_in_every_spelling() -> None:
    cls = thing(Strings, [["pay", "draft", "paid"]], "draft")
    machine, row = cls.lifecycle.machine, cls()
    for spelling in (Strings.PAID, "paid", "PAID", machine.states["paid"]):
        machine.set_state(spelling, row)
        assert row.state == "paid"
    assert machine.get_model_state(row).name == "paid"
    with pytest.raises(ValueError, match="'lost' is not a state"):
        machine.get_state("lost")
