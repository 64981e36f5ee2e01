"""The state and the version of a row change through the runtime, or not at all."""

from __future__ import annotations

import contextvars
import logging
import threading
from collections.abc import Iterator
from typing import Any, ClassVar

import pytest
from sqlalchemy import ForeignKey, String, func, literal, text, update
from sqlalchemy.orm import DeclarativeBase, Mapped, Session, make_transient, mapped_column, relationship
from sqlalchemy.orm.attributes import del_attribute, flag_modified, set_committed_value

from tests.unit.lifecycle.orders import Order, OrderState, database, stored
from usecasecore.errors import StateWriteRefused
from usecasecore.lifecycle import Lifecycle, Transition, grant_delete, set_version, state_column, unprotected, version_column


@pytest.fixture
def session() -> Iterator[Session]:
    with database() as session:
        yield session


class Own(DeclarativeBase):
    pass


class Parent(Own):
    __tablename__ = "parents"
    id: Mapped[int] = mapped_column(primary_key=True)
    invoices: Mapped[list[Invoice]] = relationship(cascade="all, delete-orphan")


class Invoice(Own):
    __tablename__ = "invoices"
    __mapper_args__ = {"polymorphic_on": "kind", "polymorphic_identity": "invoice"}
    id: Mapped[int] = mapped_column(primary_key=True)
    kind: Mapped[str]
    parent_id: Mapped[int | None] = mapped_column(ForeignKey("parents.id"))
    state: Mapped[str] = state_column(["open", "paid", "void"])
    version: Mapped[int] = version_column()
    lifecycle: ClassVar = Lifecycle(
        states=["open", "paid", "void"],
        initial="open",
        transitions=[Transition("pay", "open", "paid"), Transition("void", "*", "void"), Transition("cancel", "open", "void")],
    )


class Reminder(Invoice):
    __mapper_args__ = {"polymorphic_identity": "reminder"}


class Hidden(Invoice):
    __mapper_args__ = {"polymorphic_identity": "hidden"}
    lifecycle = None  # type: ignore[assignment]  # that is the point


class Hider(Hidden):
    __mapper_args__ = {"polymorphic_identity": "hider"}


class Stock(Own):
    __tablename__ = "stocks"
    id: Mapped[int] = mapped_column(primary_key=True)
    amount: Mapped[int] = mapped_column(default=0)
    version: Mapped[int] = version_column()


Invoice.lifecycle.note_use_case("PayInvoice", ["pay"])
Invoice.lifecycle.note_use_case("VoidInvoice", ["void", "cancel"])
Invoice.lifecycle.note_use_case("TouchInvoice", [])


def kept(session: Session, state: str = "open", cls: type[Invoice] = Invoice) -> Invoice:
    invoice = cls(state=state)
    session.add(invoice)
    session.commit()
    return invoice


def test_setting_the_state_of_a_row_is_refused_at_once(session: Session) -> None:
    order = stored(session)
    with pytest.raises(StateWriteRefused, match="setting the attribute") as caught:
        order.state = OrderState.PAID
    assert (caught.value.lifecycle, caught.value.column) == ("order", "state")
    assert (caught.value.source, caught.value.dest) == ("draft", "paid")
    assert order.state is OrderState.DRAFT


@pytest.mark.parametrize("same", [OrderState.DRAFT, "draft"], ids=["member", "value"])
def test_setting_the_state_it_is_in_is_no_change(session: Session, same: Any) -> None:
    order = stored(session)
    order.state = same
    session.commit()
    assert order.state is OrderState.DRAFT


def test_the_name_of_a_member_is_no_value_to_set(session: Session) -> None:
    order: Any = stored(session)
    with pytest.raises(ValueError, match="'DRAFT' is not a state"):
        order.state = "DRAFT"


def test_an_error_names_the_use_cases_that_could_make_the_change() -> None:
    with database(Own) as session:
        invoice = kept(session)
        with pytest.raises(StateWriteRefused) as caught:
            invoice.state = "paid"
        assert caught.value.use_cases == ("PayInvoice (pay)",)
        with pytest.raises(StateWriteRefused) as caught:
            invoice.state = "void"
        assert caught.value.use_cases == ("VoidInvoice (cancel, void)",)
        with pytest.raises(StateWriteRefused) as caught:
            kept(session, "paid").state = "void"
        assert caught.value.use_cases == ("VoidInvoice (void)",)
        with pytest.raises(StateWriteRefused) as caught:
            kept(session, "paid").state = "open"
        assert caught.value.use_cases == ()


def test_an_error_about_a_subclass_names_the_use_cases_of_its_base() -> None:
    with database(Own) as session:
        reminder = kept(session, cls=Reminder)
        with pytest.raises(StateWriteRefused) as caught:
            reminder.state = "paid"
        assert (caught.value.lifecycle, caught.value.use_cases) == ("reminder", ("PayInvoice (pay)",))


def test_an_error_about_the_version_names_every_use_case() -> None:
    with database(Own) as session, pytest.raises(StateWriteRefused) as caught:
        kept(session).version = 7
    assert caught.value.use_cases == ("PayInvoice (pay)", "VoidInvoice (cancel, void)")
    assert (caught.value.source, caught.value.dest) == ("1", "7")


@pytest.mark.parametrize("cls", [Hidden, Hider])
def test_a_subclass_that_hides_the_lifecycle_is_protected_all_the_same(cls: type[Invoice]) -> None:
    with database(Own) as session:
        invoice = kept(session, cls=cls)
        with pytest.raises(StateWriteRefused):
            invoice.state = "paid"


def test_a_sql_expression_as_the_state_is_refused(session: Session) -> None:
    order: Any = stored(session)
    for expression in (literal("paid"), func.lower("PAID"), Order.state):
        with pytest.raises(StateWriteRefused):
            order.state = expression


def test_an_expired_row_is_compared_with_what_is_stored(session: Session) -> None:
    order = stored(session)
    session.expire(order)
    order.state = OrderState.DRAFT
    with pytest.raises(StateWriteRefused):
        order.state = OrderState.PAID


def test_a_detached_row_is_protected_and_a_transient_one_is_free(session: Session) -> None:
    order = stored(session)
    session.refresh(order)
    session.expunge(order)
    with pytest.raises(StateWriteRefused):
        order.state = OrderState.PAID
    make_transient(order)
    order.state = OrderState.PAID


def test_merging_another_state_is_refused(session: Session) -> None:
    order = stored(session)
    with pytest.raises(StateWriteRefused):
        session.merge(Order(id=order.id, total=5, state=OrderState.PAID))
    session.merge(Order(id=order.id, total=9, state=OrderState.DRAFT))
    session.commit()
    assert order.total == 9


def test_merging_a_new_row_is_free(session: Session) -> None:
    session.merge(Order(id=99, total=5, state=OrderState.PAID))
    session.commit()


def test_writing_the_dict_and_flagging_is_refused_by_the_flush(session: Session) -> None:
    order = stored(session)
    assert order.state is OrderState.DRAFT
    vars(order)["state"] = OrderState.PAID
    flag_modified(order, "state")
    with pytest.raises(StateWriteRefused, match="a flush"):
        session.flush()


def test_writing_the_dict_of_a_fired_row_is_refused_by_the_flush(session: Session) -> None:
    order = stored(session)
    Order.lifecycle.fire(order, "submit")
    vars(order)["state"] = OrderState.PAID
    with pytest.raises(StateWriteRefused, match="'draft' to 'paid'"):
        session.flush()


def test_a_grant_is_used_up_by_its_flush(session: Session) -> None:
    order = stored(session)
    Order.lifecycle.fire(order, "submit")
    session.flush()
    flag_modified(order, "state")
    with pytest.raises(StateWriteRefused, match="a flush"):
        session.flush()


def test_a_grant_ends_with_a_rollback(session: Session) -> None:
    order = stored(session)
    Order.lifecycle.fire(order, "submit")
    session.rollback()
    assert order.state is OrderState.DRAFT
    vars(order)["state"] = OrderState.SUBMITTED
    flag_modified(order, "state")
    with pytest.raises(StateWriteRefused):
        session.flush()


def test_a_grant_ends_when_its_attribute_is_expired_and_not_with_others(session: Session) -> None:
    order = stored(session)
    Order.lifecycle.fire(order, "submit")
    session.expire(order, ["note"])
    session.commit()
    assert order.state is OrderState.SUBMITTED
    Order.lifecycle.fire(order, "pay")
    session.expire(order, ["state"])
    assert order.state is OrderState.SUBMITTED
    vars(order)["state"] = OrderState.PAID
    flag_modified(order, "state")
    with pytest.raises(StateWriteRefused):
        session.flush()


def test_deleting_the_attribute_is_refused_by_the_flush(session: Session) -> None:
    order = stored(session)
    del_attribute(order, "state")
    with pytest.raises(StateWriteRefused, match="a flush"):
        session.flush()


def test_a_none_is_refused_like_any_other_change(session: Session) -> None:
    order: Any = stored(session)
    with pytest.raises(StateWriteRefused):
        order.state = None


def test_loading_and_refreshing_are_free(session: Session) -> None:
    order = stored(session)
    with Session(session.connection()) as other:
        other.execute(text("update orders set state = 'paid', version = 4"))
    session.refresh(order)
    assert (order.state, order.version) == (OrderState.PAID, 4)
    session.expire_all()
    assert session.get(Order, order.id, populate_existing=True) is order
    set_committed_value(order, "state", OrderState.DRAFT)
    session.flush()


def test_a_new_object_may_change_its_state_until_it_is_a_row(session: Session) -> None:
    order = Order(total=1, state=OrderState.PAID)
    session.add(order)
    order.state = OrderState.SUBMITTED
    Order.lifecycle.fire(order, "pay")
    session.flush()
    with pytest.raises(StateWriteRefused):
        order.state = OrderState.DRAFT


def test_other_columns_are_free(session: Session) -> None:
    order = stored(session)
    order.total, order.note = 7, "changed"
    session.commit()
    assert (order.total, order.note) == (7, "changed")


def test_the_version_is_protected_like_the_state(session: Session) -> None:
    order = stored(session)
    with pytest.raises(StateWriteRefused, match="'version'"):
        order.version = 2
    vars(order)["version"] = 2
    flag_modified(order, "version")
    with pytest.raises(StateWriteRefused, match="a flush"):
        session.flush()


def test_the_version_of_a_class_without_a_lifecycle_is_protected_and_its_rows_can_be_deleted() -> None:
    with database(Own) as session:
        stock = Stock(amount=3)
        session.add(stock)
        session.commit()
        with pytest.raises(StateWriteRefused, match="stock: "):
            stock.version = 2
        with pytest.raises(StateWriteRefused):
            session.execute(update(Stock).values(version=2))
        set_version(stock, "version", 2)
        session.commit()
        session.delete(stock)
        session.commit()


def test_deleting_a_row_is_refused(session: Session) -> None:
    order = stored(session)
    session.delete(order)
    with pytest.raises(StateWriteRefused, match="deleting the row"):
        session.flush()
    session.rollback()
    grant_delete(order)
    session.delete(order)
    session.commit()


def test_a_grant_to_delete_ends_with_a_rollback(session: Session) -> None:
    order = stored(session)
    grant_delete(order)
    session.delete(order)
    session.rollback()
    session.delete(order)
    with pytest.raises(StateWriteRefused):
        session.flush()


def test_a_cascade_that_deletes_is_refused() -> None:
    with database(Own) as session:
        parent = Parent(invoices=[Invoice()])
        session.add(parent)
        session.commit()
        parent.invoices.clear()
        with pytest.raises(StateWriteRefused, match="deleting the row"):
            session.flush()


def test_a_repair_may_write_and_delete_what_it_likes(session: Session) -> None:
    order, other = stored(session), stored(session)
    with unprotected(reason="OPS-1"):
        order.state = OrderState.PAID
        order.version = 5
        session.delete(other)
        session.flush()
    session.commit()
    assert (order.state, order.version) == (OrderState.PAID, 5)


def test_what_a_repair_has_set_may_be_flushed_after_it(session: Session) -> None:
    order = stored(session)
    with unprotected(reason="OPS-1"):
        order.state = OrderState.PAID
    session.commit()
    assert order.state is OrderState.PAID
    with pytest.raises(StateWriteRefused):
        order.state = OrderState.DRAFT


def test_a_repair_may_flush_what_was_written_to_the_dict(session: Session) -> None:
    order = stored(session)
    vars(order)["state"] = OrderState.PAID
    flag_modified(order, "state")
    with unprotected(reason="OPS-1"):
        session.flush()


def test_a_repair_may_make_objects_in_undeclared_states() -> None:
    with unprotected(reason="OPS-1"):
        assert Order(total=1, state="legacy").state == "legacy"


def test_a_repair_is_logged_once_with_its_reason(session: Session, caplog: pytest.LogCaptureFixture) -> None:
    order = stored(session)
    with caplog.at_level(logging.WARNING, "usecasecore"), unprotected(reason="OPS-123: paid twice"):
        order.state = OrderState.PAID
        order.state = OrderState.DRAFT
    assert [(each.levelname, each.getMessage()) for each in caplog.records] == [
        ("WARNING", "lifecycle protection is off: OPS-123: paid twice"),
    ]


@pytest.mark.parametrize("reason", ["", "  "])
def test_a_repair_needs_a_reason(reason: str) -> None:
    with pytest.raises(ValueError, match="needs a reason"), unprotected(reason=reason):
        pass


def test_a_repair_ends_with_its_block_also_by_an_error(session: Session) -> None:
    order = stored(session)
    with pytest.raises(ZeroDivisionError), unprotected(reason="OPS-1"):
        raise ZeroDivisionError
    with pytest.raises(StateWriteRefused):
        order.state = OrderState.PAID


def test_a_repair_holds_for_its_own_thread_only(session: Session) -> None:
    order = stored(session)
    refused: list[bool] = []

    def elsewhere() -> None:
        try:
            order.state = OrderState.PAID
        except StateWriteRefused:
            refused.append(True)

    with unprotected(reason="OPS-1"):
        assert order.state is OrderState.DRAFT
        thread = threading.Thread(target=contextvars.Context().run, args=(elsewhere,))
        thread.start()
        thread.join()
    assert refused == [True]


def test_a_row_is_protected_in_a_nested_transaction_too(session: Session) -> None:
    order = stored(session)
    with session.begin_nested():
        Order.lifecycle.fire(order, "submit")
    session.commit()
    nested = session.begin_nested()
    Order.lifecycle.fire(order, "pay")
    session.flush()
    nested.rollback()
    assert order.state is OrderState.SUBMITTED
    with pytest.raises(StateWriteRefused):
        order.state = OrderState.PAID


def test_a_column_that_is_not_ours_is_not_protected() -> None:
    class Local(DeclarativeBase):
        pass

    class Plainly(Local):
        __tablename__ = "plainly"
        id: Mapped[int] = mapped_column(primary_key=True)
        state: Mapped[str] = mapped_column(String)
        lifecycle: ClassVar = Lifecycle(states=["a", "b"], initial="a", transitions=[])

    with database(Local) as session:
        row = Plainly(state="a")
        session.add(row)
        session.commit()
        row.state = "b"
        session.commit()
