"""A wrong declaration ends the mapping, and says where it is and what would have been right."""

from __future__ import annotations

from collections.abc import Callable
from enum import Enum
from typing import Any

import pytest
from transitions import State

from tests.unit.lifecycle.orders import OrderState, thing
from usecasecore.errors import DefinitionError
from usecasecore.lifecycle import Lifecycle, Transition, guard, state_column


def problems(states: Any) -> list[str]:
    with pytest.raises(DefinitionError) as caught:
        thing(states, (), "draft")
    return list(caught.value.problems)


def one(states: Any = ("draft", "paid"), transitions: Any = (), initial: Any = "draft", **options: Any) -> str:
    """Return the only problem of such a lifecycle."""
    with pytest.raises(DefinitionError) as caught:
        thing(states, transitions, initial, **options)
    assert len(caught.value.problems) == 1, caught.value.problems
    return caught.value.problems[0]


@pytest.mark.parametrize(
    ("transition", "said"),
    [
        (["pay", "draft", "payed"], "transition 'pay': destination: there is no state 'payed'; did you mean 'paid'?"),
        (["pay", "drft", "paid"], "transition 'pay': source: there is no state 'drft'; did you mean 'draft'?"),
        (["pay", "draft", "zzz"], "there is no state 'zzz'; there is 'draft', 'paid'"),
        (["pay", OrderState.SUBMITTED, "paid"], "there is no state 'submitted'"),
        (["pay", [], "paid"], "transition 'pay' has no source"),
        (["pay", "draft", ""], "there is no state ''"),
        (["send invoice", "draft", "paid"], "trigger 'send invoice' must be an identifier"),
        ([7, "draft", "paid"], "trigger 7 must be an identifier"),
        (
            {"trigger": "pay", "source": "draft", "dest": "paid", "conditons": []},
            "unknown key 'conditons'; did you mean 'conditions'?",
        ),
        ({"trigger": "pay", "source": "draft"}, "lacks dest"),
        (["pay"], "lacks source, dest"),
        (["pay", "draft", "paid", *[None] * 6], "has more than the 8 fields"),
        ("pay", "'pay' is not a transition"),
    ],
)
def test_a_wrong_transition_is_refused(transition: Any, said: str) -> None:
    assert said in one(transitions=[transition])


@pytest.mark.parametrize(
    ("states", "said"),
    [
        (["draft", "paid", "draft"], "state 'draft' is declared twice"),
        (["draft", 7], "7 is not a state"),
        (["draft", ""], "'' can't be the name of a state"),
        (["draft", "*"], "'*' can't be the name of a state"),
        (["draft", {"on_enter": []}], "needs a `name`"),
        (["draft", {"name": "a", "on_entry": "x"}], "state 'a' has an unknown key 'on_entry'; did you mean 'on_enter'?"),
        (["draft", {"name": "a", "parallel": ["x", "y"]}], "parallel states can't be stored in one column"),
        (["draft", {"name": "a", "children": ["x", "y"], "initial": ["x", "y"]}], "parallel states"),
        (["draft", {"name": "a", "children": ["x"], "initial": "z"}], "state 'a': initial: there is no state 'z' inside 'a'"),
        (
            ["draft", {"name": "a", "children": [{"name": "x", "children": ["y"]}], "initial": "x_y"}],
            "is not directly inside of it",
        ),
        (["draft", {"name": "a", "ignore_invalid_triggers": True}], "a trigger that is not possible is always refused"),
        (["draft", State("a", ignore_invalid_triggers=True)], "a trigger that is not possible is always refused"),
        (["draft", {"name": "a", "timeout": 5, "on_timeout": "expire"}], "enqueue a job with `run_at=...`"),
        (["draft", {"name": "a", "tags": ["x"]}], "ask for them by `lifecycle.within(...)`"),
        (["draft", {"name": "a", "retries": 3}], "count the attempts in a column"),
        (["draft", {"name": "a", "accepted": True}], "declare an accepted end by `final`"),
        (["draft", {"name": "a", "children": ["x"]}, "a_y"], "reads as if it were inside 'a'"),
    ],
)
def test_a_wrong_state_is_refused(states: Any, said: str) -> None:
    assert said in "".join(problems(states))


def test_a_state_inside_an_undeclared_one_is_refused() -> None:
    assert "is inside 'shipping', which is not declared before it" in one(["draft", "shipping/packed"], separator="/")


@pytest.mark.parametrize(
    ("initial", "said"),
    [(None, "needs one `initial`"), (["draft", "paid"], "needs one `initial`"), ("drft", "did you mean 'draft'?")],
)
def test_a_wrong_initial_state_is_refused(initial: Any, said: str) -> None:
    assert said in one(initial=initial)


def test_no_states_are_refused() -> None:
    with pytest.raises(DefinitionError, match="no states are declared"):
        thing([])


def test_a_text_means_the_state_of_that_full_name_though_a_state_inside_has_the_same() -> None:
    name = "done"  # one object, at both places of the declaration and in the transition
    lifecycle = thing(
        [name, {"name": "work", "initial": "doing", "children": ["doing", name]}],
        [["finish", "work_doing", name], ["again", name, "work"]],
        initial=name,
    ).lifecycle
    assert {(edge.trigger, edge.source, edge.dest) for edge in lifecycle.graph.edges} == {
        ("finish", "work_doing", "done"),
        ("again", "done", "work"),
    }
    inside = {"name": "work", "initial": "doing", "children": ["doing"]}
    assert "there is no state 'doing'" in one([name, inside], [["go", name, "doing"]], initial=name)


def test_a_member_that_is_in_two_states_must_be_said_by_its_full_name() -> None:
    class Phase(Enum):
        OPEN = 1
        SHUT = 2

    states = ["draft", {"name": "a", "children": Phase}, {"name": "b", "children": Phase}]
    assert "Phase.OPEN is in a_OPEN and in b_OPEN; write the full name" in one(states, [["go", "draft", Phase.OPEN]])


def test_inside_of_a_state_names_are_relative() -> None:
    states = ["draft", {"name": "a", "children": ["xray", "yacht"], "transitions": [["go", "xray", "draft"]]}]
    assert "transition 'go': destination: there is no state 'draft' inside 'a'" in one(states)


async def is_async(order: object) -> bool:
    return True


async def generates(order: object) -> Any:
    yield True


class AsyncGuard:
    async def __call__(self, order: object) -> bool:
        return True


@pytest.mark.parametrize(
    ("condition", "said"),
    [
        ("has_valu", "transition 'pay': conditions: Thing has no 'has_valu'; did you mean 'has_value'?"),
        ("collections.abcd.x", "'collections' has no 'abcd'"),
        ("nowhere_at_all.guard", "there is no module 'nowhere_at_all' to import 'nowhere_at_all.guard' from"),
        ("os.path.jion", "'os.path' has no 'jion'; did you mean 'join'?"),
        ("os.path.sep", "'os.path.sep' is not callable"),
        (7, "7 is neither a name nor callable"),
        (is_async, "'is_async' is a coroutine function"),
        (generates, "'generates' is a coroutine function"),
        (AsyncGuard(), "'AsyncGuard' is a coroutine function"),
        ("later", "'later' is a coroutine function"),
        (f"{__name__}.is_async", "is a coroutine function"),
        (lambda a, b, c: True, "takes 3 arguments; it gets at most the aggregate and the event"),
        ("greedy", "'greedy' takes 2 arguments; a method gets at most the event"),
        (lambda order, *, strict: True, "needs the keyword strict, which nobody gives"),
    ],
)
def test_a_wrong_guard_is_refused(condition: Any, said: str) -> None:
    async def later(self: object) -> bool:
        return True

    body = {"has_value": lambda self: True, "later": later, "greedy": lambda self, event, more: True}
    assert said in one(transitions=[Transition("pay", "draft", "paid", condition)], body=body)


@pytest.mark.parametrize("role", ["conditions", "unless", "before", "after", "prepare"])
def test_every_callback_of_a_transition_is_resolved_when_mapped(role: str) -> None:
    options: dict[str, Any] = {role: "nonesuch"}
    assert f"transition 'pay': {role}: Thing has no 'nonesuch'" in one(
        transitions=[Transition("pay", "draft", "paid", **options)]
    )


@pytest.mark.parametrize("role", ["on_enter", "on_exit", "on_final"])
def test_every_callback_of_a_state_is_resolved_when_mapped(role: str) -> None:
    assert f"{role} of 'draft': Thing has no 'nonesuch'" in one([{"name": "draft", role: "nonesuch"}])


def test_an_import_that_fails_is_told(tmp_path: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "guards_that_need.py").write_text("import a_module_that_is_missing\n")
    (tmp_path / "guards_that_break.py").write_text("from os import nonesuch\n")
    monkeypatch.syspath_prepend(tmp_path)
    for path, said in (("guards_that_need.paid", "a_module_that_is_missing"), ("guards_that_break.paid", "nonesuch")):
        problem = one(transitions=[Transition("pay", "draft", "paid", path)])
        assert f"{path!r} can't be imported" in problem
        assert said in problem


def test_everything_wrong_is_told_at_once_each_with_its_place() -> None:
    first = Transition("pay", "draft", "payed")
    second = Transition("pay", "draft", "paid", conditions="nonesuch")
    with pytest.raises(DefinitionError) as caught:
        thing(["draft", "paid", "paid"], [first, second, ["go", "drft", "paid"]], "drat", name="order")
    problems = caught.value.problems
    assert [problem.split(": lifecycle 'order': ")[1].split(";")[0] for problem in problems] == [
        "state 'paid' is declared twice",
        "transition 'pay': destination: there is no state 'payed'",
        "transition 'go': source: there is no state 'drft'",
        "initial: there is no state 'drat'",
        "transition 'pay': conditions: Thing has no 'nonesuch'",
    ]
    assert problems[1].startswith(f"{first.location}: ")
    assert problems[4].startswith(f"{second.location}: ")


def test_a_problem_is_told_once_however_often_it_is_met() -> None:
    assert "Thing has no 'nonesuch'" in one(transitions=[Transition("pay", "*", "paid", conditions="nonesuch")])


@pytest.mark.parametrize("wrong", ["", "  ", 7, len])
def test_a_guard_needs_a_reason(wrong: Any) -> None:
    with pytest.raises(DefinitionError, match="a guard needs its reason"):
        guard(wrong)


def test_a_reason_is_for_functions() -> None:
    with pytest.raises(DefinitionError, match="is for functions and properties"):
        guard("never")(len)


@pytest.mark.parametrize(
    "use",
    [
        lambda lifecycle: lifecycle.name,
        lambda lifecycle: lifecycle.graph,
        lambda lifecycle: lifecycle.machine,
        lambda lifecycle: lifecycle.column,
        lambda lifecycle: lifecycle.problems(),
        lambda lifecycle: lifecycle.fire(object(), "go"),
    ],
    ids=["name", "graph", "machine", "column", "problems", "fire"],
)
def test_an_unbound_lifecycle_says_that_it_is_not_mapped(use: Callable[[Lifecycle], Any]) -> None:
    lifecycle = Lifecycle(states=["a"], transitions=[], initial="a")
    with pytest.raises(DefinitionError, match="is not mapped yet"):
        use(lifecycle)
    assert "not mapped" in repr(lifecycle)


@pytest.mark.parametrize("values", [{"A": "a", "B": 1}, {"A": 1.5}, {"A": ("a", "b")}])
def test_a_state_column_refuses_an_enum_that_one_column_cannot_store(values: Any) -> None:
    wrong: Any = Enum("Wrong", values)  # type: ignore[misc]  # mypy wants to read the members
    with pytest.raises(DefinitionError, match="must be all strings or all integers"):
        state_column(wrong)
