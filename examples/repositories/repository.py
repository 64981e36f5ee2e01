"""The team's repositories, as they were before: they know queries, and neither transactions nor states."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from decimal import Decimal
from typing import Any
from uuid import UUID

from sqlalchemy import Select, select
from sqlalchemy.orm import Session, selectinload

from examples.orders.model import Order, OrderLine, OrderState


class Orders:
    """Orders, by what the business asks for."""

    def __init__(self, session: Session, add: Callable[[Order], Order] | None = None) -> None:
        """Take a session, and what adds a new order to it: `context.create` in a use case."""
        self._session = session
        self._add = add

    @staticmethod
    def with_id(order_id: UUID) -> Select[Any]:
        """Return the query for one order, lines included. A use case hands it to the runtime, which locks what it finds."""
        return select(Order).where(Order.id == order_id).options(selectinload(Order.lines))

    def get(self, order_id: UUID) -> Order | None:
        """Return an order to look at; None where there is none."""
        return self._session.scalars(self.with_id(order_id)).one_or_none()

    def open_of(self, customer: str) -> Sequence[Order]:
        """Return a customer's orders that are not paid, the oldest first."""
        unpaid = Order.state.in_([OrderState.DRAFT, OrderState.SUBMITTED])
        return self._session.scalars(select(Order).where(Order.customer == customer, unpaid).order_by(Order.id)).all()

    def open(self, customer: str) -> Order:
        """Add a draft for a customer, and return it."""
        if self._add is None:
            raise TypeError("orders are opened in a use case: Orders(context.session, add=context.create)")
        return self._add(Order(customer=customer))


class Lines:
    """The lines of an order."""

    def __init__(self, session: Session) -> None:
        self._session = session

    def add(self, order: Order, *, article: str, quantity: int, unit_price: Decimal) -> None:
        """Put so many of an article into an order. More of the same article at the same price makes its line longer."""
        for line in order.lines:
            if (line.article, line.unit_price) == (article, unit_price):
                line.quantity += quantity
                return
        order.lines.append(OrderLine(article=article, quantity=quantity, unit_price=unit_price))

    def due(self, order: Order) -> Decimal:
        """Return what is to be paid."""
        lines = self._session.execute(select(OrderLine.quantity, OrderLine.unit_price).where(OrderLine.order_id == order.id))
        return sum((line.quantity * line.unit_price for line in lines), Decimal(0))
