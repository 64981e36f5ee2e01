"""The application that the command line's tests look at: orders, with guards, a nested state and three use cases."""

from __future__ import annotations

from decimal import Decimal
from enum import StrEnum
from typing import Annotated, ClassVar
from uuid import UUID

from pydantic import Field
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column

from usecasecore import (
    Application,
    Command,
    DomainError,
    DomainEvent,
    ExecutionContext,
    Job,
    Key,
    Lifecycle,
    Policy,
    PolicyRequest,
    Result,
    Sensitive,
    Transition,
    UseCase,
    guard,
    state_column,
    uuid7,
    version_column,
)


class OrderState(StrEnum):
    DRAFT = "draft"
    SUBMITTED = "submitted"
    SHIPPING_PACKED = "shipping/packed"
    SHIPPING_SENT = "shipping/sent"
    CANCELLED = "cancelled"


class Base(DeclarativeBase):
    pass


class Order(Base):
    __tablename__ = "orders"

    id: Mapped[UUID] = mapped_column(primary_key=True, default=uuid7)
    total: Mapped[Decimal]
    note: Mapped[str | None] = mapped_column(default=None)
    held: Mapped[bool] = mapped_column(default=False)
    state: Mapped[str] = state_column()
    version: Mapped[int] = version_column()

    lifecycle: ClassVar = Lifecycle(
        states=[
            {"name": "draft", "description": "still being written"},
            "submitted",
            {"name": "shipping", "initial": "packed", "children": ["packed", "sent"]},
            {"name": "cancelled", "final": True},
        ],
        initial="draft",
        separator="/",
        transitions=[
            Transition("submit", "draft", "submitted", conditions="has_value", unless="is_held"),
            Transition("ship", "submitted", "shipping"),
            Transition("send", "shipping/packed", "shipping/sent"),
            Transition("comment", "shipping", None),
            ["cancel", ["draft", "submitted"], "cancelled"],
        ],
        description="An order, from its draft until it is sent.",
    )

    @guard("an order must be worth something before it is submitted")
    def has_value(self) -> bool:
        return self.total > 0

    @guard("the order is held")
    def is_held(self) -> bool:
        return self.held


class Orders(Policy):
    """Everybody but Mallory."""

    def permitted(self, request: PolicyRequest, /) -> bool:
        return request.actor.id != "mallory"


class Done(Result):
    order_id: UUID
    state: str


class OrderSubmitted(DomainEvent, name="order.submitted"):
    order_id: UUID


class SendReceipt(Job):
    order_id: UUID


class CreditExceeded(DomainError):
    """The customer owes too much already."""


class Create(Command[Done]):
    total: Decimal
    note: str | None = None


class Submit(Command[Done]):
    order_id: Annotated[UUID, Key(Order.id)]
    card: Annotated[str, Sensitive()] = Field(description="to be charged")
    copies: dict[str, list[int]] = Field(default_factory=dict)


class Cancel(Command[Done]):
    order_id: Annotated[UUID, Key(Order.id)]
    note: str | None = None


class CreateOrder(UseCase[Create, None, Done]):
    creates = Order

    def apply(self, command: Create, state: None, context: ExecutionContext, /) -> Done:
        order = context.create(Order(total=command.total, note=command.note))
        return Done(order_id=order.id, state=order.state)


class SubmitOrder(UseCase[Submit, Order, Done]):
    """Hand a draft order in."""

    trigger = "submit"
    emits = (OrderSubmitted,)
    enqueues = (SendReceipt,)
    refuses = (CreditExceeded,)
    permission = "order:submit"

    def validate(self, command: Submit, /) -> None:
        if command.card == "0":
            raise CreditExceeded

    def apply(self, command: Submit, order: Order, context: ExecutionContext, /) -> Done:
        context.emit(OrderSubmitted(order_id=order.id))
        context.enqueue(SendReceipt(order_id=order.id))
        return Done(order_id=order.id, state=order.state)

    def audit(self, command: Submit, order: Order, context: ExecutionContext, /) -> dict[str, str]:
        return {"channel": "web"}


class CancelOrder(UseCase[Cancel, Order, Done]):
    trigger = "cancel"
    reason_required = True

    def apply(self, command: Cancel, order: Order, context: ExecutionContext, /) -> Done:
        order.note = command.note
        return Done(order_id=order.id, state=order.state)


app = Application(use_cases=[CreateOrder, SubmitOrder, CancelOrder], policy=Orders(), name="orders")
