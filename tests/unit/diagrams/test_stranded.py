"""What a changed lifecycle means for the rows that live by the old one."""

from __future__ import annotations

from enum import Enum
from typing import Any

from tests.unit.lifecycle.orders import thing
from usecasecore.diagrams import Diagram, diagram_of
from usecasecore.diagrams.stranded import stranded


def diagram(states: Any, transitions: Any, initial: Any = "a") -> Diagram:
    return diagram_of(thing(states, transitions, initial).lifecycle)


OLD = diagram(["a", "b", "c"], [["go", "a", "b"], ["on", "b", "c"], ["stop", ["a", "b"], "c"]])


def test_rows_in_states_that_stay_are_not_stranded() -> None:
    new = diagram(["a", "x", "b", "c"], [["go", "a", "b"], ["hop", "b", "x"], ["end", "x", "c"]])
    assert stranded(OLD, new) == ()
    assert stranded(OLD, OLD) == ()


def test_rows_in_a_removed_state_may_go_where_it_led() -> None:
    [one] = stranded(OLD, diagram(["a", "c"], [["stop", "a", "c"]]))
    assert (one.state, one.value) == ("b", "b")
    assert "The state 'b' is removed" in one.cause
    assert one.cure.startswith("Bring such rows to 'c', where it used to lead")


def test_a_state_with_the_same_ways_is_taken_for_the_new_name() -> None:
    [one] = stranded(OLD, diagram(["a", "B", "c"], [["go", "a", "B"], ["on", "B", "c"], ["stop", ["a", "B"], "c"]]))
    assert one.cure.startswith("If it is called 'B' now, update such rows in a migration")


def test_a_removed_end_leads_nowhere_so_somebody_must_decide() -> None:
    [one] = stranded(OLD, diagram(["a", "b"], [["go", "a", "b"], ["back", "b", "a"]]))
    assert (one.state, one.cure[:37]) == ("c", "Decide where such rows belong and bri")


def test_a_state_that_got_an_initial_child_is_not_rested_in_any_more() -> None:
    new = diagram(
        ["a", {"name": "b", "initial": "x", "children": [{"name": "x", "initial": "y", "children": ["y"]}]}, "c"],
        [["go", "a", "b"], ["on", "b", "c"], ["stop", ["a", "b"], "c"]],
    )
    [one] = stranded(OLD, new)
    assert "The state 'b' is not one to rest in any more" in one.cause
    assert one.cure == "Move such rows on to 'b_x_y', before the new version runs."


def test_a_way_out_of_the_state_around_is_one_too() -> None:
    nested: list[Any] = ["a", {"name": "b", "initial": "x", "children": ["x", "y"]}, "c"]
    old = diagram(nested, [["go", "a", "b"], ["on", "b_x", "b_y"], ["stop", "b", "c"]])
    [one] = stranded(
        old, diagram(["a", {"name": "b", "initial": "x", "children": ["x"]}, "c"], [["go", "a", "b"], ["stop", "b", "c"]])
    )
    assert one.state == "b_y"
    assert "to 'c', where it used to lead" in one.cure


def test_a_state_that_is_stored_differently_is_updated() -> None:
    class Before(Enum):
        a = "a"
        b = 1

    class After(Enum):
        a = "a"
        b = 2

    old, new = (diagram(kind, [["go", "a", "b"]], kind["a"]) for kind in (Before, After))
    [one] = stranded(old, new)
    assert (one.value, one.cure) == (1, "Update such rows to 2 in a migration.")
