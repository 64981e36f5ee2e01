"""The commands of `examples.orders`, run by use cases that find and change through repositories."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

from sqlalchemy import Select

from examples.orders.model import Order
from examples.orders.use_cases import (
    AddLine,
    CreateOrder,
    OrderSeen,
    OrderSubmitted,
    Pay,
    SendReceipt,
    Submit,
    WrongAmount,
    seen,
)
from examples.repositories.repository import Lines, Orders
from usecasecore import DomainError, ExecutionContext, UseCase


class TooManyOpenOrders(DomainError):
    """The customer has to pay something first."""

    def __init__(self, *, customer: str, open_orders: int) -> None:
        self.customer, self.open_orders = customer, open_orders
        super().__init__(f"{customer} has {open_orders} orders that are not paid; 3 are accepted")


class CreateOrderUseCase(UseCase[CreateOrder, None, OrderSeen]):
    """Open an order, unless too many are open."""

    name = "CreateOrder"
    creates = Order
    refuses = (TooManyOpenOrders,)

    def apply(self, command: CreateOrder, state: None, context: ExecutionContext, /) -> OrderSeen:
        """Ask the repository, and have it add."""
        orders = Orders(context.session, add=context.create)
        if len(found := orders.open_of(command.customer)) >= 3:
            raise TooManyOpenOrders(customer=command.customer, open_orders=len(found))
        return seen(orders.open(command.customer))


class AddOrderLine(UseCase[AddLine, Order, OrderSeen]):
    """Put something into a draft."""

    trigger = "add_line"

    def select(self, command: AddLine, /) -> Select[Any]:
        """Find it by the repository's query."""
        return Orders.with_id(command.order_id)

    def apply(self, command: AddLine, order: Order, context: ExecutionContext, /) -> OrderSeen:
        """Let the repository decide whether it is a new line."""
        lines = Lines(context.session)
        lines.add(order, article=command.article, quantity=command.quantity, unit_price=command.unit_price)
        return seen(order)

    def audit(self, command: AddLine, order: Order, context: ExecutionContext, /) -> dict[str, Any]:
        """Note how much the order is worth now."""
        return {"total": str(order.total)}


class SubmitOrder(UseCase[Submit, Order, OrderSeen]):
    """Hand a draft order in."""

    trigger = "submit"
    emits = (OrderSubmitted,)

    def select(self, command: Submit, /) -> Select[Any]:
        """Find it by the repository's query."""
        return Orders.with_id(command.order_id)

    def apply(self, command: Submit, order: Order, context: ExecutionContext, /) -> OrderSeen:
        """Tell the others."""
        context.emit(OrderSubmitted(order_id=order.id, customer=order.customer, total=Lines(context.session).due(order)))
        return seen(order)


class PayOrder(UseCase[Pay, Order, OrderSeen]):
    """Pay for a submitted order, in full."""

    trigger = "pay"
    enqueues = (SendReceipt,)
    refuses = (WrongAmount,)

    def select(self, command: Pay, /) -> Select[Any]:
        """Find it by the repository's query."""
        return Orders.with_id(command.order_id)

    def apply(self, command: Pay, order: Order, context: ExecutionContext, /) -> OrderSeen:
        """Take the payment, and have the receipt sent."""
        due: Decimal = Lines(context.session).due(order)
        if command.amount != due:
            raise WrongAmount(due=due, offered=command.amount)
        order.paid = command.amount
        context.enqueue(SendReceipt(order_id=order.id, amount=command.amount))
        return seen(order)


USE_CASES = (CreateOrderUseCase, AddOrderLine, SubmitOrder, PayOrder)
