"""Balances, movements, reservations and orders."""

from __future__ import annotations

from enum import StrEnum
from typing import ClassVar
from uuid import UUID

from sqlalchemy import CheckConstraint, String
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column

from usecasecore import Lifecycle, Transition, guard, state_column, uuid7, version_column


class Base(DeclarativeBase):
    """The example's own tables."""


class Balance(Base):
    """How much of an article lies at a location, and how much of that is promised. It has no lifecycle."""

    __tablename__ = "balances"
    __table_args__ = (
        CheckConstraint("quantity >= 0", name="ck_balances_quantity"),
        CheckConstraint("reserved >= 0 and reserved <= quantity", name="ck_balances_reserved"),
    )

    sku: Mapped[str] = mapped_column(String(50), primary_key=True)
    location: Mapped[str] = mapped_column(String(50), primary_key=True)
    quantity: Mapped[int] = mapped_column(default=0)
    reserved: Mapped[int] = mapped_column(default=0)
    version: Mapped[int] = version_column()

    def __init__(self, *, sku: str, location: str, quantity: int = 0, reserved: int = 0) -> None:
        super().__init__(sku=sku, location=location, quantity=quantity, reserved=reserved)

    @property
    def available(self) -> int:
        """What may be taken or promised."""
        return self.quantity - self.reserved


class Movement(Base):
    """What was moved: the history that people read."""

    __tablename__ = "movements"

    id: Mapped[UUID] = mapped_column(primary_key=True, default=uuid7)
    sku: Mapped[str] = mapped_column(String(50))
    source: Mapped[str] = mapped_column(String(50))
    destination: Mapped[str] = mapped_column(String(50))
    quantity: Mapped[int]


class ReservationState(StrEnum):
    """Where a reservation can be."""

    HELD = "held"
    RELEASED = "released"
    SHIPPED = "shipped"


class Reservation(Base):
    """A promise of so much at one location, for one order."""

    __tablename__ = "reservations"

    id: Mapped[UUID] = mapped_column(primary_key=True, default=uuid7)
    sku: Mapped[str] = mapped_column(String(50))
    location: Mapped[str] = mapped_column(String(50))
    quantity: Mapped[int]
    order_id: Mapped[UUID | None]
    state: Mapped[ReservationState] = state_column(ReservationState)
    version: Mapped[int] = version_column()

    lifecycle: ClassVar = Lifecycle(
        states=ReservationState,
        initial=ReservationState.HELD,
        transitions=[
            Transition("release", ReservationState.HELD, ReservationState.RELEASED),
            Transition("ship", ReservationState.HELD, ReservationState.SHIPPED),
        ],
        final=[ReservationState.RELEASED, ReservationState.SHIPPED],
    )


class SalesOrderState(StrEnum):
    """Where a sales order can be."""

    OPEN = "open"
    SHIPPED = "shipped"


class SalesOrder(Base):
    """An order of one article."""

    __tablename__ = "sales_orders"

    id: Mapped[UUID] = mapped_column(primary_key=True, default=uuid7)
    customer: Mapped[str] = mapped_column(String(50))
    reservation_id: Mapped[UUID | None]
    state: Mapped[SalesOrderState] = state_column(SalesOrderState)
    version: Mapped[int] = version_column()

    lifecycle: ClassVar = Lifecycle(
        states=SalesOrderState,
        initial=SalesOrderState.OPEN,
        transitions=[Transition("ship", SalesOrderState.OPEN, SalesOrderState.SHIPPED, conditions="has_reservation")],
        final=SalesOrderState.SHIPPED,
    )

    @guard("an order is shipped from what was reserved for it")
    def has_reservation(self) -> bool:
        """Whether something was reserved."""
        return self.reservation_id is not None
