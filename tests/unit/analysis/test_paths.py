"""The ways through a lifecycle."""

from __future__ import annotations

from itertools import islice, pairwise
from typing import Any, cast

from hypothesis import HealthCheck, given, settings

from tests.unit.cli.sample_app import app
from tests.unit.lifecycle.machines import Example, flat_examples, lifecycle_of, nested_examples
from tests.unit.lifecycle.orders import Order, thing
from usecasecore.analysis import (
    Walk,
    candidates,
    shortest_to_edges,
    shortest_to_states,
    simple_paths,
    steps,
    told,
    tour,
)
from usecasecore.lifecycle import LifecycleGraph

NESTED: list[Any] = [
    "draft",
    {
        "name": "shipping",
        "initial": "packed",
        "children": ["packed", {"name": "sent", "children": ["air", "sea"]}],
        "transitions": [["go", "packed", "sent"]],
    },
    "done",
]
NESTED_TRANSITIONS: list[Any] = [
    ["go", "shipping", "draft"],
    ["ship", "draft", "shipping"],
    ["fly", "shipping_sent", "shipping_sent_air"],
    ["finish", "shipping", "done"],
]


def graph_of(states: Any, transitions: Any, **more: Any) -> LifecycleGraph:
    graph: LifecycleGraph = thing(states, transitions, states[0] if isinstance(states[0], str) else "a", **more).lifecycle.graph
    return graph


def yes(thing: object) -> bool:
    return True


def test_a_composite_source_is_every_resting_state_inside_and_a_composite_destination_is_where_entering_it_ends() -> None:
    found = [str(step) for step in steps(graph_of(NESTED, NESTED_TRANSITIONS))]
    assert found == [
        "draft -ship-> shipping_packed",
        "shipping_packed -go-> shipping_sent",
        "shipping_packed -finish-> done",
        "shipping_sent -fly-> shipping_sent_air",
        "shipping_sent -go-> draft",
        "shipping_sent -finish-> done",
        "shipping_sent_air -fly-> shipping_sent_air",
        "shipping_sent_air -go-> draft",
        "shipping_sent_air -finish-> done",
        "shipping_sent_sea -fly-> shipping_sent_air",
        "shipping_sent_sea -go-> draft",
        "shipping_sent_sea -finish-> done",
    ]


def test_what_an_earlier_unguarded_candidate_always_takes_is_no_step_and_what_a_guard_may_leave_over_is_one() -> None:
    plain = graph_of(["a", "b", "c"], [["go", "a", "b"], ["go", "a", "c"]])
    guarded = graph_of(["a", "b", "c"], [["go", "a", "b", yes], ["go", "a", "c"]])
    assert [step.dest for step in steps(plain)] == ["b"]
    assert [step.dest for step in candidates(plain)["a", "go"]] == ["b", "c"]
    assert [step.dest for step in steps(guarded)] == ["b", "c"]


def test_each_state_is_reached_by_the_fewest_triggers_and_what_can_not_be_reached_is_left_out() -> None:
    graph = graph_of(
        ["a", "b", "c", "island"], [["slow", "a", "b"], ["slow", "b", "c"], ["fast", "a", "c"], ["leave", "island", "a"]]
    )
    assert {state: walk.triggers for state, walk in shortest_to_states(graph).items()} == {
        "a": (),
        "b": ("slow",),
        "c": ("fast",),
    }
    assert [edge.trigger for edge in shortest_to_edges(graph)] == ["slow", "slow", "fast"]


def test_a_composite_state_is_reached_with_the_first_state_inside() -> None:
    to = shortest_to_states(graph_of(NESTED, NESTED_TRANSITIONS))
    assert str(to["shipping"]) == "draft -ship-> shipping_packed"
    assert to["shipping_sent"].triggers == ("ship", "go")
    assert "shipping_sent_sea" not in to


def test_an_edge_is_reached_from_the_nearest_of_its_sources() -> None:
    walks = shortest_to_edges(graph_of(NESTED, NESTED_TRANSITIONS))
    assert {(edge.trigger, edge.source): walk.triggers for edge, walk in walks.items()} == {
        ("go", "shipping_packed"): ("ship", "go"),
        ("go", "shipping"): ("ship", "go", "go"),
        ("ship", "draft"): ("ship",),
        ("fly", "shipping_sent"): ("ship", "go", "fly"),
        ("finish", "shipping"): ("ship", "finish"),
    }


def test_simple_paths_are_all_walks_without_a_state_twice() -> None:
    graph = graph_of(
        ["a", "b", "c"], [["go", "a", "b"], ["skip", "a", "c"], ["go", "b", "c"], ["back", "c", "b"], ["stay", "a", "="]]
    )
    assert [walk.triggers for walk in simple_paths(graph)] == [(), ("go",), ("go", "go"), ("skip",), ("skip", "back")]
    assert [walk.triggers for walk in simple_paths(graph, to={"c"}, limit=1)] == [("skip",)]


def test_simple_paths_are_made_as_they_are_asked_for() -> None:
    names = [f"s{number}" for number in range(30)]
    full = graph_of(names, [[f"to_{name}", names, name] for name in names])
    assert len(list(islice(simple_paths(full), 1000))) == 1000


def test_a_tour_stays_before_it_leaves_and_starts_anew_where_it_can_not_go_on() -> None:
    graph = graph_of(["a", "b", "c"], [["go", "a", "b"], ["note", "a", None], ["end", "a", "c"], ["end", "b", "c"]])
    assert [walk.triggers for walk in tour(graph)] == [("note", "go", "end"), ("end",)]


def test_a_tour_takes_an_edge_from_every_state_or_once() -> None:
    graph = graph_of(["a", "b", "c"], [["go", "a", "b"], ["end", ["a", "b"], "c"], ["note", "*", None]])
    nested = graph_of(NESTED, NESTED_TRANSITIONS)
    assert [walk.triggers for walk in tour(graph)] == [("note", "go", "note", "end", "note"), ("end",)]
    taken = {step.edge for walk in tour(nested, each_source=False) for step in walk.steps}
    assert taken == set(shortest_to_edges(nested))
    assert sum(len(walk.steps) for walk in tour(nested)) > sum(len(walk.steps) for walk in tour(nested, each_source=False))


def test_a_lifecycle_without_transitions_has_the_tour_of_its_creation() -> None:
    graph = graph_of(["a", "b"], [])
    assert tour(graph) == (Walk("a"),)
    assert (Walk("a").end, Walk("a").triggers, Walk("a").states) == ("a", (), ("a",))


def test_a_walk_is_told_as_the_use_cases_that_make_it() -> None:
    lifecycle = app.lifecycles["order"]
    walk = shortest_to_states(lifecycle.graph)["cancelled"]
    assert walk.triggers == ("cancel",)
    assert told(walk, app, lifecycle) == (("CreateOrder",), ("CancelOrder",))
    sent = shortest_to_states(lifecycle.graph)["shipping/sent"]
    assert told(sent, app, lifecycle) == (("CreateOrder",), ("SubmitOrder",), (), ())


def test_the_orders_of_the_other_tests_are_toured_in_two_walks() -> None:
    assert [str(walk) for walk in tour(Order.lifecycle.graph)] == [
        "draft -submit-> submitted -pay-> paid",
        "draft -cancel-> cancelled -reopen-> draft -submit-> submitted -cancel-> cancelled",
    ]


def check_against_the_machine(example: Example) -> None:
    lifecycle = lifecycle_of(example)
    graph = lifecycle.graph
    tried = {
        (source, trigger): [(path.edge, path.dest or source) for path in cast("list[Any]", paths)]
        for trigger, event in lifecycle.machine.events.items()
        for source, paths in event.transitions.items()
    }
    found = {key: [(step.edge, step.dest) for step in some] for key, some in candidates(graph).items()}
    assert found == tried
    every = set(steps(graph))
    shortest = shortest_to_states(graph)
    walks = tour(graph)
    for walk in (*shortest.values(), *shortest_to_edges(graph).values(), *walks, *islice(simple_paths(graph), 50)):
        assert walk.start == graph.initial
        assert set(walk.steps) <= every
        assert all(before.dest == after.source for before, after in pairwise(walk.steps))
    # No state is nearer than one step after the one before it.
    for step in every:
        if step.source in shortest:
            assert len(shortest[step.dest].steps) <= len(shortest[step.source].steps) + 1
    reachable = {step for step in every if step.source in shortest}
    assert {step for walk in walks for step in walk.steps} == reachable
    assert set(shortest_to_edges(graph)) == {step.edge for step in reachable}


@settings(max_examples=60, suppress_health_check=[HealthCheck.too_slow])
@given(nested_examples())
def test_the_steps_of_a_nested_lifecycle_are_those_of_its_machine_and_the_tour_takes_all_that_can_be_reached(
    example: Example,
) -> None:
    check_against_the_machine(example)


@settings(max_examples=60, suppress_health_check=[HealthCheck.too_slow])
@given(flat_examples())
def test_the_steps_of_a_flat_lifecycle_are_those_of_its_machine_and_the_tour_takes_all_that_can_be_reached(
    example: Example,
) -> None:
    check_against_the_machine(example)
