"""What can be done with an order: commands, results, events, jobs, and the use cases that bind them."""

from __future__ import annotations

from decimal import Decimal
from typing import Annotated, Any
from uuid import UUID

from pydantic import Field

from examples.orders.model import Order, OrderLine, OrderState
from usecasecore import Command, DomainError, DomainEvent, ExecutionContext, Job, Key, Result, Sensitive, UseCase

Money = Annotated[Decimal, Field(ge=0, max_digits=12, decimal_places=2)]
OrderId = Annotated[UUID, Key(Order.id)]


class OrderSeen(Result):
    """An order after something was done with it."""

    order_id: UUID
    state: OrderState
    total: Decimal


class CreateOrder(Command[OrderSeen]):
    """Open an order for a customer."""

    customer: str = Field(min_length=1, max_length=100)


class AddLine(Command[OrderSeen]):
    """Put so many of an article into a draft."""

    order_id: OrderId
    article: str = Field(min_length=1, max_length=100)
    quantity: int = Field(ge=1, le=10_000)
    unit_price: Money


class Submit(Command[OrderSeen]):
    """Hand a draft in."""

    order_id: OrderId


class Pay(Command[OrderSeen]):
    """Pay for a submitted order."""

    order_id: OrderId
    amount: Money
    card_token: Annotated[str, Field(min_length=1, max_length=100), Sensitive()]


class StartFulfilment(Command[OrderSeen]):
    """Send a paid order to the warehouse."""

    order_id: OrderId


class Pack(Command[OrderSeen]):
    """Say that everything is picked and packed."""

    order_id: OrderId


class Ship(Command[OrderSeen]):
    """Hand the parcel to the carrier."""

    order_id: OrderId
    tracking: str = Field(min_length=1, max_length=100)


class Cancel(Command[OrderSeen]):
    """Give the order up."""

    order_id: OrderId


class OrderSubmitted(DomainEvent, name="order.submitted"):
    """A customer handed an order in."""

    order_id: UUID
    customer: str
    total: Decimal


class OrderShipped(DomainEvent, name="order.shipped"):
    """A parcel is on its way."""

    order_id: UUID
    tracking: str


class SendReceipt(Job):
    """Send the receipt for a payment."""

    order_id: UUID
    amount: Decimal


class WrongAmount(DomainError):
    """The amount is not what the order costs."""

    def __init__(self, *, due: Decimal, offered: Decimal) -> None:
        self.due, self.offered = due, offered
        super().__init__(f"{due} EUR are due, {offered} EUR were offered; pay what is due")


def seen(order: Order) -> OrderSeen:
    """Return what every use case here returns."""
    return OrderSeen(order_id=order.id, state=order.state, total=order.total)


class CreateOrderUseCase(UseCase[CreateOrder, None, OrderSeen]):
    """Open an order."""

    name = "CreateOrder"
    creates = Order

    def apply(self, command: CreateOrder, state: None, context: ExecutionContext, /) -> OrderSeen:
        """Create a draft."""
        return seen(context.create(Order(customer=command.customer)))


class AddOrderLine(UseCase[AddLine, Order, OrderSeen]):
    """Put something into a draft: an internal transition, which changes no state, and yet only a draft allows it."""

    trigger = "add_line"

    def apply(self, command: AddLine, order: Order, context: ExecutionContext, /) -> OrderSeen:
        """Add the line."""
        order.lines.append(OrderLine(article=command.article, quantity=command.quantity, unit_price=command.unit_price))
        return seen(order)

    def audit(self, command: AddLine, order: Order, context: ExecutionContext, /) -> dict[str, Any]:
        """Note how much the order is worth now."""
        return {"total": str(order.total)}


class SubmitOrder(UseCase[Submit, Order, OrderSeen]):
    """Hand a draft order in."""

    trigger = "submit"
    emits = (OrderSubmitted,)

    def apply(self, command: Submit, order: Order, context: ExecutionContext, /) -> OrderSeen:
        """Tell the others."""
        context.emit(OrderSubmitted(order_id=order.id, customer=order.customer, total=order.total))
        return seen(order)


class PayOrder(UseCase[Pay, Order, OrderSeen]):
    """Pay for a submitted order, in full."""

    trigger = "pay"
    enqueues = (SendReceipt,)
    refuses = (WrongAmount,)

    def apply(self, command: Pay, order: Order, context: ExecutionContext, /) -> OrderSeen:
        """Take the payment, and have the receipt sent."""
        if command.amount != order.total:
            raise WrongAmount(due=order.total, offered=command.amount)
        order.paid = command.amount
        context.enqueue(SendReceipt(order_id=order.id, amount=command.amount))
        return seen(order)


class StartOrderFulfilment(UseCase[StartFulfilment, Order, OrderSeen]):
    """Send a paid order to the warehouse."""

    trigger = "start_fulfilment"

    def apply(self, command: StartFulfilment, order: Order, context: ExecutionContext, /) -> OrderSeen:
        """Nothing beyond the transition."""
        return seen(order)


class PackOrder(UseCase[Pack, Order, OrderSeen]):
    """Say that everything is picked and packed."""

    trigger = "pack"

    def apply(self, command: Pack, order: Order, context: ExecutionContext, /) -> OrderSeen:
        """Nothing beyond the transition."""
        return seen(order)


class ShipOrder(UseCase[Ship, Order, OrderSeen]):
    """Hand the parcel to the carrier."""

    trigger = "ship"
    emits = (OrderShipped,)

    def apply(self, command: Ship, order: Order, context: ExecutionContext, /) -> OrderSeen:
        """Tell the others."""
        context.emit(OrderShipped(order_id=order.id, tracking=command.tracking))
        return seen(order)


class CancelOrder(UseCase[Cancel, Order, OrderSeen]):
    """Give an order up; the caller has to say why."""

    trigger = "cancel"
    reason_required = True

    def apply(self, command: Cancel, order: Order, context: ExecutionContext, /) -> OrderSeen:
        """Nothing beyond the transition."""
        return seen(order)


USE_CASES = (
    CreateOrderUseCase,
    AddOrderLine,
    SubmitOrder,
    PayOrder,
    StartOrderFulfilment,
    PackOrder,
    ShipOrder,
    CancelOrder,
)
