"""An application on tables that were there before it: what `db adopt` is tested on."""

from __future__ import annotations

from datetime import datetime
from enum import IntEnum, StrEnum
from typing import Annotated, ClassVar
from uuid import UUID

from sqlalchemy import Engine, String, text
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column

from usecasecore import (
    AllowAll,
    Application,
    Command,
    ExecutionContext,
    Key,
    Lifecycle,
    Result,
    Transition,
    UseCase,
    state_column,
    uuid7,
    version_column,
)

__all__ = ["Base", "Delivery", "Order", "Parcel", "Shelf", "Submit", "app", "old_orders"]


class Base(DeclarativeBase):
    pass


class OrderState(StrEnum):
    DRAFT = "draft"
    SUBMITTED = "submitted"
    PAID = "paid"


class Order(Base):
    __tablename__ = "orders"
    id: Mapped[UUID] = mapped_column(primary_key=True, default=uuid7)
    note: Mapped[str] = mapped_column(String(50), default="")
    state: Mapped[OrderState] = state_column(OrderState, name="status")
    version: Mapped[int] = version_column()
    lifecycle: ClassVar = Lifecycle(
        states=OrderState,
        initial="draft",
        transitions=[Transition("submit", "draft", "submitted"), Transition("pay", "submitted", "paid")],
        enforce="observe",
    )


class Level(IntEnum):
    EMPTY = 0
    FULL = 9


class Shelf(Base):
    """A key of two columns, states that are stored as numbers, and a second lifecycle."""

    __tablename__ = "shelves"
    hall: Mapped[str] = mapped_column(String(20), primary_key=True)
    number: Mapped[int] = mapped_column(primary_key=True)
    state: Mapped[Level] = state_column(Level)
    light: Mapped[str] = state_column()
    version: Mapped[int] = version_column()
    lifecycle: ClassVar = Lifecycle(states=Level, initial=Level.EMPTY, transitions=[Transition("fill", Level.EMPTY, Level.FULL)])
    lighting: ClassVar = Lifecycle(states=["on", "off"], initial="off", transitions=[["switch", "off", "on"]], column="light")


class Delivery(Base):
    """A key whose text only Python knows."""

    __tablename__ = "deliveries"
    at: Mapped[datetime] = mapped_column(primary_key=True)
    state: Mapped[str] = state_column()
    version: Mapped[int] = version_column()
    lifecycle: ClassVar = Lifecycle(states=["due", "done"], initial="due", transitions=[["finish", "due", "done"]])


class Parcel(Base):
    """With a subclass in the same table, which has a copy of the lifecycle."""

    __tablename__ = "parcels"
    __mapper_args__ = {"polymorphic_on": "kind", "polymorphic_identity": "parcel"}
    id: Mapped[int] = mapped_column(primary_key=True)
    kind: Mapped[str] = mapped_column(String(20))
    state: Mapped[str] = state_column()
    version: Mapped[int] = version_column()
    lifecycle: ClassVar = Lifecycle(states=["here", "gone"], initial="here", transitions=[["send", "here", "gone"]])


class Letter(Parcel):
    __mapper_args__ = {"polymorphic_identity": "letter"}


class Moved(Result):
    state: str


class Submit(Command[Moved]):
    order_id: Annotated[UUID, Key(Order.id)]


class SubmitOrder(UseCase[Submit, Order, Moved]):
    trigger = "submit"

    def apply(self, command: Submit, order: Order, context: ExecutionContext, /) -> Moved:
        return Moved(state=order.state)


class Pay(Command[Moved]):
    order_id: Annotated[UUID, Key(Order.id)]


class PayOrder(UseCase[Pay, Order, Moved]):
    trigger = "pay"

    def apply(self, command: Pay, order: Order, context: ExecutionContext, /) -> Moved:
        return Moved(state=order.state)


class Annotate(Command[Moved]):
    order_id: Annotated[UUID, Key(Order.id)]
    note: str


class AnnotateOrder(UseCase[Annotate, Order, Moved]):
    """Without a trigger."""

    def apply(self, command: Annotate, order: Order, context: ExecutionContext, /) -> Moved:
        order.note = command.note
        return Moved(state=order.state)


class Erase(Command[Moved]):
    order_id: Annotated[UUID, Key(Order.id)]


class EraseOrder(UseCase[Erase, Order, Moved]):
    deletes = Order

    def apply(self, command: Erase, order: Order, context: ExecutionContext, /) -> Moved:
        context.delete(order)
        return Moved(state=order.state)


class Fill(Command[Moved]):
    hall: Annotated[str, Key(Shelf.hall)]
    number: Annotated[int, Key(Shelf.number)]


class FillShelf(UseCase[Fill, Shelf, Moved]):
    trigger = "fill"

    def apply(self, command: Fill, shelf: Shelf, context: ExecutionContext, /) -> Moved:
        return Moved(state=shelf.state.name)


class Finish(Command[Moved]):
    at: Annotated[datetime, Key(Delivery.at)]


class FinishDelivery(UseCase[Finish, Delivery, Moved]):
    trigger = "finish"

    def apply(self, command: Finish, delivery: Delivery, context: ExecutionContext, /) -> Moved:
        return Moved(state=delivery.state)


class Send(Command[Moved]):
    parcel_id: Annotated[int, Key(Parcel.id)]


class SendParcel(UseCase[Send, Parcel, Moved]):
    trigger = "send"

    def apply(self, command: Send, parcel: Parcel, context: ExecutionContext, /) -> Moved:
        return Moved(state=parcel.state)


app = Application(
    [SubmitOrder, PayOrder, AnnotateOrder, EraseOrder, FillShelf, FinishDelivery, SendParcel], policy=AllowAll(), name="shop"
)


def old_orders(engine: Engine, ids: list[UUID]) -> None:
    """Make the table as it was before the library, with drafts in it."""
    uuid = "char(32)" if engine.dialect.name == "sqlite" else "uuid"
    rows = [{"id": one.hex if engine.dialect.name == "sqlite" else one} for one in ids]
    with engine.begin() as connection:
        connection.execute(text(f"create table orders (id {uuid} primary key, note varchar(50) not null, status varchar(20))"))
        connection.execute(text("insert into orders (id, note, status) values (:id, '', 'draft')"), rows)
