"""What guards and callbacks are called with, and what becomes of their answers."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import pytest
from sqlalchemy import select
from sqlalchemy.ext.hybrid import hybrid_method, hybrid_property
from sqlalchemy.orm import Mapped, mapped_column
from transitions import EventData

from tests.unit.lifecycle.orders import Base, thing
from usecasecore.errors import GuardRejected
from usecasecore.lifecycle import Lifecycle, Transition, guard, state_column, version_column

GO = [["go", "a", "b"]]


def fire(cls: Any, **options: Any) -> Any:
    row = cls(state="a")
    return cls.lifecycle.fire(row, "go", **options)


def guarded(condition: Any, *, body: dict[str, Any] | None = None) -> Any:
    return thing(["a", "b"], [Transition("go", "a", "b", conditions=condition)], body=body)


def refusal(condition: Any, *, body: dict[str, Any] | None = None, unless: bool = False) -> GuardRejected:
    role = "unless" if unless else "conditions"
    cls = thing(["a", "b"], [Transition("go", "a", "b", **{role: condition})], body=body)
    with pytest.raises(GuardRejected) as caught:
        fire(cls)
    return caught.value


def module_level(order: Any) -> bool:
    return bool(order.state == "a")


def with_event(event: EventData) -> bool:
    return bool(event.kwargs["command"] == "the command")


class Checks:
    def __call__(self, order: Any) -> bool:
        return bool(order.state == "a")


def receives(*expected: str) -> Callable[[list[Any]], None]:
    def check(received: list[Any]) -> None:
        assert [type(each).__name__ for each in received] == list(expected)

    return check


@pytest.mark.parametrize(
    ("make", "expected"),
    [
        pytest.param(lambda log: lambda: log.extend([]), [], id="nothing"),
        pytest.param(lambda log: lambda order: log.append(order), ["Thing"], id="aggregate"),
        pytest.param(
            lambda log: lambda order, event: log.extend([order, event]), ["Thing", "EventData"], id="aggregate and event"
        ),
        pytest.param(lambda log: lambda order, second: log.extend([order, second]), ["Thing", "EventData"], id="two of any name"),
        pytest.param(
            lambda log: lambda order, event=None: log.extend([order, event]), ["Thing", "EventData"], id="optional event"
        ),
        pytest.param(
            lambda log: lambda order, strict=None: log.extend([order, strict]), ["Thing", "NoneType"], id="other default"
        ),
        pytest.param(lambda log: lambda event: log.append(event), ["EventData"], id="event"),
        pytest.param(lambda log: lambda event_data: log.append(event_data), ["EventData"], id="event_data"),
        pytest.param(lambda log: lambda *args: log.extend(args), ["Thing"], id="open"),
        pytest.param(lambda log: lambda strict=None: log.append(strict), ["NoneType"], id="only a default"),
        pytest.param(lambda log: lambda event=None: log.append(event), ["EventData"], id="only an optional event"),
        pytest.param(lambda log: functools.partial(lambda log, order: log.append(order), log), ["Thing"], id="partial"),
    ],
)
def test_a_callable_gets_what_it_takes(make: Callable[[list[Any]], Any], expected: list[str]) -> None:
    log: list[Any] = []
    fire(thing(["a", "b"], [Transition("go", "a", "b", after=make(log))]))
    assert [type(each).__name__ for each in log] == expected


@pytest.mark.parametrize("annotation", [EventData, "EventData", "transitions.EventData"], ids=["class", "name", "path"])
def test_a_parameter_annotated_as_event_gets_the_event(annotation: Any) -> None:
    log: list[Any] = []

    def call(happening: Any) -> None:
        log.append(happening)

    call.__annotations__["happening"] = annotation
    fire(thing(["a", "b"], [Transition("go", "a", "b", after=call)]))
    assert isinstance(log[0], EventData)


@pytest.mark.parametrize(
    ("method", "expected"),
    [
        pytest.param(lambda self: [], [], id="self"),
        pytest.param(lambda self, event: [event], ["EventData"], id="event"),
        pytest.param(lambda self, any_name: [any_name], ["EventData"], id="any required"),
        pytest.param(lambda self, event=None: [event], ["EventData"], id="optional event"),
        pytest.param(lambda self, strict=False: [strict], ["bool"], id="other default"),
        pytest.param(lambda self, *args: list(args), [], id="open"),
        pytest.param(classmethod(lambda cls, event: [event]), ["EventData"], id="class method"),
        pytest.param(staticmethod(lambda order, event: [order, event]), ["Thing", "EventData"], id="static method"),
        pytest.param(Checks(), [], id="callable object"),
    ],
)
def test_a_method_gets_what_it_takes(method: Any, expected: list[str]) -> None:
    received: list[list[Any]] = []

    def spy(function: Any) -> Any:
        if isinstance(function, Checks):
            return function
        kind = type(function) if isinstance(function, (classmethod, staticmethod)) else lambda each: each
        inner: Any = getattr(function, "__func__", function)

        @functools.wraps(inner)
        def called(*args: Any, **kwargs: Any) -> None:
            received.append(inner(*args, **kwargs))

        return kind(called)

    fire(thing(["a", "b"], [Transition("go", "a", "b", after="spied")], body={"spied": spy(method)}))
    assert [type(each).__name__ for each in (received[0] if received else [])] == expected


@pytest.mark.parametrize("condition", [module_level, f"{__name__}.module_level", Checks(), functools.partial(module_level)])
def test_a_guard_may_be_a_function_a_path_or_an_object(condition: Any) -> None:
    assert fire(guarded(condition)).dest == "b"


def test_the_event_carries_the_command_the_context_and_the_aggregate() -> None:
    seen: list[Any] = []
    cls = thing(["a", "b"], [Transition("go", "a", "b", with_event, after=lambda event: seen.append(event))])
    fire(cls, command="the command", context="the context")
    (event,) = seen
    assert (event.kwargs["context"], event.model.state, event.state.name, event.transition.source) == (
        "the context",
        "b",
        "b",
        "a",
    )
    with pytest.raises(GuardRejected):
        fire(cls)


@pytest.mark.parametrize(
    ("answer", "passes"),
    [(True, True), ("yes", True), ([1], True), (1, True), (False, False), (None, False), ("", False), (0, False)],
)
def test_an_answer_is_taken_by_its_truth_value(answer: object, passes: bool) -> None:
    cls = guarded("answers", body={"answers": lambda self: answer})
    if passes:
        assert fire(cls).dest == "b"
    else:
        with pytest.raises(GuardRejected):
            fire(cls)


def test_properties_attributes_and_mapped_columns_can_be_guards() -> None:
    cls = thing(
        ["a", "b"],
        [Transition("go", "a", "b", ["total", "is_new", "flag"])],
        body={"is_new": property(lambda self: True), "flag": True},
    )
    row = cls(state="a", total=3)
    assert cls.lifecycle.fire(row, "go").dest == "b"
    with pytest.raises(GuardRejected, match="'total' is not true"):
        cls.lifecycle.fire(cls(state="a", total=0), "go")


class Priced(Base):
    __tablename__ = "priced"

    id: Mapped[int] = mapped_column(primary_key=True)
    total: Mapped[int]
    state: Mapped[str] = state_column(("a", "b"))
    version: Mapped[int] = version_column()
    lifecycle = Lifecycle(states=["a", "b"], initial="a", transitions=[Transition("go", "a", "b", ["is_dear", "is_above_one"])])

    @guard("it must be dear")
    @hybrid_property
    def is_dear(self) -> bool:
        return self.total > 10

    @hybrid_method
    def is_above(self, least: int) -> bool:
        return self.total > least

    @hybrid_method
    def is_above_one(self) -> bool:
        """It must be worth more than one."""
        return self.total > 1


def test_hybrids_can_be_guards_and_keep_their_reasons() -> None:
    assert Priced.lifecycle.fire(Priced(total=11, state="a"), "go").dest == "b"
    with pytest.raises(GuardRejected, match="it must be dear"):
        Priced.lifecycle.fire(Priced(total=2, state="a"), "go")
    assert "priced.total >" in str(select(Priced).where(Priced.is_dear))


def test_a_refusal_names_the_guard_and_carries_its_reason() -> None:
    error = refusal("has_value", body={"has_value": guard("it must be worth something")(lambda self: False)})
    assert (error.guard, error.reason, error.trigger, error.state, error.lifecycle) == (
        "has_value",
        "it must be worth something",
        "go",
        "a",
        "thing",
    )
    assert error.allowed == {"go"}


def documented(order: Any) -> bool:
    """It must be Tuesday.

    Always.
    """
    return False


@guard("it must be full moon")
def decorated(order: Any) -> bool:
    return False


@pytest.mark.parametrize(
    ("condition", "reason"),
    [
        (documented, "It must be Tuesday."),
        (decorated, "it must be full moon"),
        (functools.wraps(decorated)(lambda order: False), "it must be full moon"),
        (lambda order: False, "'<lambda>' is not true"),
        (lambda order: order.total, "'<lambda>' is not true"),
    ],
    ids=["docstring", "decorated", "wrapped", "lambda", "truth"],
)
def test_without_a_given_reason_the_docstring_or_the_name_is_it(condition: Any, reason: str) -> None:
    assert refusal(condition).reason == reason


def test_an_attribute_has_its_name_as_the_reason_not_the_docstring_of_its_type() -> None:
    assert refusal("flag", body={"flag": 0}).reason == "'flag' is not true"


def test_a_guard_under_unless_refuses_when_it_is_true() -> None:
    assert refusal(lambda order: True, unless=True).reason == "'<lambda>' is true"
    cls = thing(["a", "b"], [Transition("go", "a", "b", unless=lambda order: "")])
    assert fire(cls).dest == "b"


@pytest.mark.parametrize(
    "body",
    [
        {"asked": guard("no luck")(lambda self: False)},
        {"asked": guard("no luck")(staticmethod(lambda order: False))},
        {"asked": staticmethod(guard("no luck")(lambda order: False))},
        {"asked": guard("no luck")(property(lambda self: False))},
        {"asked": property(guard("no luck")(lambda self: False))},
        {"asked": guard("no luck")(classmethod(lambda cls: False))},
    ],
    ids=["method", "static", "static outside", "property", "property outside", "class"],
)
def test_a_reason_can_be_given_to_every_kind_of_method(body: dict[str, Any]) -> None:
    assert refusal("asked", body=body).reason == "no luck"
    assert refusal(body["asked"] if not isinstance(body["asked"], classmethod) else lambda order: False).failures


def test_every_failure_of_every_candidate_is_told_in_the_order_asked() -> None:
    body = {"first": lambda self: False, "second": lambda self: True, "third": lambda self: True}
    transitions = [Transition("go", "a", "b", "first"), Transition("go", "a", "c", "second", unless="third")]
    cls = thing(["a", "b", "c"], transitions, body=body)
    with pytest.raises(GuardRejected) as caught:
        fire(cls)
    assert caught.value.failures == (("first", "'first' is not true"), ("third", "'third' is true"))


def test_a_later_candidate_is_taken_when_an_earlier_one_is_refused() -> None:
    transitions = [Transition("go", "a", "b", lambda order: False), Transition("go", "a", "c")]
    fired = fire(thing(["a", "b", "c"], transitions))
    assert (fired.dest, fired.edge.index) == ("c", 1)


def test_a_hidden_async_guard_is_a_type_error_and_never_a_yes() -> None:
    async def asks() -> bool:
        return True

    with pytest.raises(TypeError, match="'<lambda>' returned 'coroutine', which must be awaited"):
        fire(guarded(lambda order: asks()))


def test_a_hidden_async_callback_is_a_type_error() -> None:
    class Later:
        def __await__(self) -> Any:
            yield

    with pytest.raises(TypeError, match="must be awaited"):
        fire(thing(["a", "b"], [Transition("go", "a", "b", before=lambda: Later())]))


def test_a_callable_without_a_signature_gets_the_aggregate() -> None:
    class Opaque:
        def __call__(self, order: Any) -> bool:
            return bool(order.state == "a")

        @property
        def __signature__(self) -> Any:
            raise ValueError("as some builtins do")

    assert fire(guarded(Opaque())).dest == "b"


def test_a_method_is_looked_up_on_the_instance_so_that_subclasses_and_doubles_may_replace_it() -> None:
    cls = guarded("has_value", body={"has_value": lambda self: False})

    class Double:
        state = "a"

        def has_value(self) -> bool:
            return True

    double = Double()
    assert cls.lifecycle.fire(double, "go").dest == "b"
    assert double.state == "b"
