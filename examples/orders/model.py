"""The aggregate and its lifecycle."""

from __future__ import annotations

from decimal import Decimal
from enum import StrEnum
from typing import ClassVar
from uuid import UUID

from sqlalchemy import ForeignKey, Numeric, String
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column, relationship

from usecasecore import Lifecycle, Transition, guard, state_column, uuid7, version_column


class OrderState(StrEnum):
    """Where an order can be. `fulfilment` has two states inside, stored by their full names."""

    DRAFT = "draft"
    SUBMITTED = "submitted"
    PAID = "paid"
    PICKING = "fulfilment_picking"
    PACKED = "fulfilment_packed"
    SHIPPED = "shipped"
    CANCELLED = "cancelled"


class Base(DeclarativeBase):
    """The example's own tables; the ledger has its own."""


class Order(Base):
    """What a customer wants, and how far it got."""

    __tablename__ = "orders"

    id: Mapped[UUID] = mapped_column(primary_key=True, default=uuid7)
    customer: Mapped[str] = mapped_column(String(100))
    state: Mapped[OrderState] = state_column(OrderState)
    version: Mapped[int] = version_column()
    paid: Mapped[Decimal] = mapped_column(Numeric(12, 2), default=Decimal(0))
    lines: Mapped[list[OrderLine]] = relationship(back_populates="order", cascade="all, delete-orphan")

    lifecycle: ClassVar = Lifecycle(
        states=[
            "draft",
            "submitted",
            "paid",
            {"name": "fulfilment", "initial": "picking", "children": ["picking", "packed"]},
            "shipped",
            "cancelled",
        ],
        initial=OrderState.DRAFT,
        transitions=[
            Transition("add_line", OrderState.DRAFT, None),
            Transition("submit", OrderState.DRAFT, OrderState.SUBMITTED, conditions="has_value"),
            Transition("pay", OrderState.SUBMITTED, OrderState.PAID),
            Transition("start_fulfilment", OrderState.PAID, "fulfilment"),
            Transition("pack", OrderState.PICKING, OrderState.PACKED),
            Transition("ship", OrderState.PACKED, OrderState.SHIPPED),
            # From the state around both: whatever stands in between, an order that isn't shipped can be cancelled.
            ["cancel", ["draft", "submitted", "paid", "fulfilment"], "cancelled"],
        ],
        final=[OrderState.SHIPPED, OrderState.CANCELLED],
    )

    @property
    def total(self) -> Decimal:
        """The worth of all lines, in EUR."""
        return sum((line.quantity * line.unit_price for line in self.lines), Decimal(0))

    @guard("an order must be worth something before it is submitted")
    def has_value(self) -> bool:
        """Whether there is anything to pay for."""
        return self.total > 0


class OrderLine(Base):
    """So many of one article."""

    __tablename__ = "order_lines"

    id: Mapped[UUID] = mapped_column(primary_key=True, default=uuid7)
    order_id: Mapped[UUID] = mapped_column(ForeignKey("orders.id"))
    article: Mapped[str] = mapped_column(String(100))
    quantity: Mapped[int]
    unit_price: Mapped[Decimal] = mapped_column(Numeric(12, 2))
    order: Mapped[Order] = relationship(back_populates="lines")
