"""Firing, and what is asked of a lifecycle besides."""

from __future__ import annotations

import gc
import sys
import weakref
from typing import Any

import pytest
from sqlalchemy import text
from sqlalchemy.orm import Session

from tests.unit.lifecycle.orders import Order, OrderState, database, stored, thing
from usecasecore.errors import DefinitionError, GuardRejected, TransitionNotAllowed, UndeclaredState
from usecasecore.lifecycle import Fired, Transition, set_version

lifecycle = Order.lifecycle


def test_a_transition_is_made_and_told() -> None:
    order = Order(total=5, state=OrderState.DRAFT)
    fired = lifecycle.fire(order, "submit")
    assert fired == Fired("order", "submit", "draft", "submitted", lifecycle.graph.edges[0])
    assert order.state is OrderState.SUBMITTED


def test_a_fired_state_is_flushed_and_loaded_again() -> None:
    with database() as session:
        order = stored(session)
        lifecycle.fire(order, "submit")
        session.commit()
        assert order.state is OrderState.SUBMITTED
        assert session.scalar(text("select state from orders")) == "submitted"


def test_an_order_of_many_transitions_can_be_fired_between_two_flushes() -> None:
    with database() as session:
        order = stored(session)
        for trigger in ("submit", "cancel", "reopen"):
            lifecycle.fire(order, trigger)
        session.commit()
        lifecycle.fire(order, "submit")
        session.commit()
        assert order.state is OrderState.SUBMITTED


def test_a_trigger_that_the_state_does_not_know_is_not_allowed_and_nothing_is_called() -> None:
    order = Order(total=5, state=OrderState.DRAFT)
    with pytest.raises(TransitionNotAllowed) as caught:
        lifecycle.fire(order, "pay")
    assert (caught.value.state, caught.value.trigger) == ("draft", "pay")
    assert caught.value.allowed == {"submit", "cancel"}
    assert order.state is OrderState.DRAFT


def test_a_refused_aggregate_stays_as_it_was() -> None:
    order = Order(total=0, state=OrderState.DRAFT)
    with pytest.raises(GuardRejected, match="an order must be worth something"):
        lifecycle.fire(order, "submit")
    assert order.state is OrderState.DRAFT


def test_an_unknown_trigger_is_the_developers_error() -> None:
    with pytest.raises(DefinitionError, match="there is no trigger 'sumbit'; did you mean 'submit'"):
        lifecycle.fire(Order(total=5, state=OrderState.DRAFT), "sumbit")


def test_a_row_in_an_undeclared_state_can_be_loaded_but_not_fired() -> None:
    with database() as session:
        session.execute(text("pragma ignore_check_constraints = on"))
        session.execute(text("insert into orders (id, total, note, state, version) values (1, 5, '', 'lost', 1)"))
        order = session.get_one(Order, 1)
        assert order.state == "lost"
        with pytest.raises(UndeclaredState, match="the row is in 'lost'"):
            lifecycle.fire(order, "submit")


def test_a_new_aggregate_without_a_state_is_in_the_initial_one() -> None:
    order = Order(total=5)
    assert lifecycle.state_of(order) == "draft"
    assert lifecycle.fire(order, "submit").source == "draft"


@pytest.mark.parametrize("held", [OrderState.PAID, "paid", "PAID"], ids=["member", "value", "name"])
def test_a_state_is_read_from_a_member_a_value_or_a_name(held: Any) -> None:
    class Double:
        state = held

    assert lifecycle.state_of(Double()) == "paid"


def test_the_triggers_declared_for_a_state_are_told_whatever_guards_say() -> None:
    assert lifecycle.allowed("draft") == {"submit", "cancel"}
    assert lifecycle.allowed("paid") == frozenset()
    with pytest.raises(ValueError, match="'payd' is not a state; did you mean 'paid'"):
        lifecycle.allowed("payd")


def test_entering_the_initial_state_sets_it_and_refuses_another() -> None:
    order = Order(total=5)
    lifecycle.enter_initial(order)
    assert order.state is OrderState.DRAFT
    lifecycle.enter_initial(order)
    assert order.state is OrderState.DRAFT
    with pytest.raises(ValueError, match="a new aggregate starts in 'draft', not in 'paid'"):
        lifecycle.enter_initial(Order(total=5, state=OrderState.PAID))


@pytest.mark.parametrize("role", ["prepare", "conditions", "before", "after"])
def test_an_error_in_a_callback_passes_through_untouched(role: str) -> None:
    class OwnError(Exception):
        pass

    def fails() -> None:
        raise OwnError("mine")

    options: dict[str, Any] = {role: fails}
    cls = thing(["a", "b"], [Transition("go", "a", "b", **options)])
    with pytest.raises(OwnError, match="mine"):
        cls.lifecycle.fire(cls(state="a"), "go")


def test_firing_keeps_nothing_of_the_aggregate() -> None:
    order = Order(total=5, state=OrderState.DRAFT)
    lifecycle.fire(order, "submit")
    seen = weakref.ref(order)
    del order
    gc.collect()
    assert seen() is None
    assert lifecycle.machine.models == []


def test_a_callback_may_fire_the_same_aggregate_again() -> None:
    log: list[str] = []

    def further(row: Any) -> None:
        log.append(made.lifecycle.fire(row, "on").dest)

    made = thing(["a", "b", "c"], [Transition("go", "a", "b", after=further), Transition("on", "b", "c")])
    row = made(state="a")
    assert made.lifecycle.fire(row, "go").dest == "b"
    assert (row.state, log) == ("c", ["c"])


def test_a_loaded_and_expired_aggregate_can_be_fired() -> None:
    with database() as session:
        order = stored(session)
        session.expire(order)
        lifecycle.fire(order, "submit")
        session.commit()
        assert order.state is OrderState.SUBMITTED


def test_the_version_is_set_by_the_runtime_and_never_by_a_flush() -> None:
    with database() as session:
        order = stored(session)
        order.note = "changed"
        session.commit()
        assert order.version == 1
        set_version(order, lifecycle.version, 2)
        session.commit()
        assert order.version == 2


def test_use_cases_are_noted_with_triggers_that_exist() -> None:
    with pytest.raises(DefinitionError, match="there is no trigger 'payy'; did you mean 'pay'"):
        lifecycle.note_use_case("PayOrder", ["payy"])


def test_names_of_the_bound_lifecycle() -> None:
    assert (lifecycle.name, lifecycle.aggregate_name, lifecycle.aggregate, lifecycle.attribute) == (
        "order",
        "order",
        Order,
        "lifecycle",
    )
    assert (lifecycle.column, lifecycle.version, lifecycle.initial) == ("state", "version", "draft")
    assert lifecycle.states == ("draft", "submitted", "paid", "cancelled")
    assert lifecycle.triggers == ("submit", "pay", "cancel", "reopen")
    assert lifecycle.declaration.states is OrderState
    assert repr(lifecycle) == "<Lifecycle 'order'>"


def test_an_aggregate_costs_no_memory_more_than_a_row() -> None:
    order = Order(total=5, state=OrderState.DRAFT)
    before = sys.getsizeof(order.__dict__), set(order.__dict__)
    lifecycle.fire(order, "submit")
    assert (sys.getsizeof(order.__dict__), set(order.__dict__)) == before


def test_the_session_is_not_flushed_by_firing() -> None:
    with database() as session:
        order = stored(session)
        other = Session(session.get_bind())
        lifecycle.fire(order, "submit")
        assert session.is_modified(order)
        other.close()
