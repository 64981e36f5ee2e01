"""The purchase: what elsewhere are parallel states of one machine are two lifecycles here, each with a column of its own."""

from __future__ import annotations

from decimal import Decimal
from enum import StrEnum
from typing import ClassVar
from uuid import UUID

from sqlalchemy import Numeric, String
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column

from usecasecore import Lifecycle, Transition, guard, state_column, uuid7, version_column


class Base(DeclarativeBase):
    pass


class Payment(StrEnum):
    """Where the money is."""

    AUTHORIZED = "authorized"
    CAPTURED = "captured"
    REFUNDED = "refunded"
    VOIDED = "voided"


class Shipping(StrEnum):
    """Where the goods are."""

    WAITING = "waiting"
    DISPATCHED = "dispatched"
    DELIVERED = "delivered"
    RETURNED = "returned"
    STOPPED = "stopped"


class Purchase(Base):
    """Goods, and the money for them."""

    __tablename__ = "purchases"

    id: Mapped[UUID] = mapped_column(primary_key=True, default=uuid7)
    article: Mapped[str] = mapped_column(String(100))
    amount: Mapped[Decimal] = mapped_column(Numeric(12, 2))
    payment_state: Mapped[Payment] = state_column(Payment)
    shipping_state: Mapped[Shipping] = state_column(Shipping)
    version: Mapped[int] = version_column()

    payment: ClassVar = Lifecycle(
        column="payment_state",
        states=Payment,
        initial=Payment.AUTHORIZED,
        transitions=[
            Transition("capture", Payment.AUTHORIZED, Payment.CAPTURED),
            Transition("refund", Payment.CAPTURED, Payment.REFUNDED),
            Transition("void", Payment.AUTHORIZED, Payment.VOIDED),
        ],
        final=[Payment.REFUNDED, Payment.VOIDED],
    )
    shipping: ClassVar = Lifecycle(
        column="shipping_state",
        states=Shipping,
        initial=Shipping.WAITING,
        transitions=[
            Transition("dispatch", Shipping.WAITING, Shipping.DISPATCHED, conditions="is_paid"),
            Transition("deliver", Shipping.DISPATCHED, Shipping.DELIVERED),
            Transition("take_back", [Shipping.DISPATCHED, Shipping.DELIVERED], Shipping.RETURNED),
            Transition("stop", Shipping.WAITING, Shipping.STOPPED),
        ],
        final=[Shipping.RETURNED, Shipping.STOPPED],
    )

    # The two are tied together by guards, not by one machine: the payment knows nothing of parcels.
    @guard("goods leave the house when they are paid for")
    def is_paid(self) -> bool:
        """Whether the money is here."""
        return self.payment_state is Payment.CAPTURED
