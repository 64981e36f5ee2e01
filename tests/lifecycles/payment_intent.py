"""A PaymentIntent as Stripe documents its statuses (docs.stripe.com/payments/paymentintents/lifecycle)."""

from __future__ import annotations

from enum import StrEnum
from typing import ClassVar

from sqlalchemy.orm import Mapped, mapped_column

from tests.lifecycles.moves import Base, application_for
from usecasecore import Lifecycle, Transition, guard, state_column, version_column


class Status(StrEnum):
    REQUIRES_PAYMENT_METHOD = "requires_payment_method"
    REQUIRES_CONFIRMATION = "requires_confirmation"
    REQUIRES_ACTION = "requires_action"
    PROCESSING = "processing"
    REQUIRES_CAPTURE = "requires_capture"
    SUCCEEDED = "succeeded"
    CANCELED = "canceled"


class PaymentIntent(Base):
    __tablename__ = "payment_intents"

    capture_method: Mapped[str] = mapped_column(default="automatic")
    three_d_secure: Mapped[bool] = mapped_column(default=False)
    settles_later: Mapped[bool] = mapped_column(default=False)
    declined: Mapped[bool] = mapped_column(default=False)
    status: Mapped[Status] = state_column(Status)
    version: Mapped[int] = version_column()

    lifecycle: ClassVar = Lifecycle(
        column="status",
        states=Status,
        initial=Status.REQUIRES_PAYMENT_METHOD,
        transitions=[
            Transition("attach_method", Status.REQUIRES_PAYMENT_METHOD, Status.REQUIRES_CONFIRMATION),
            Transition("attach_method", Status.REQUIRES_CONFIRMATION, None),
            Transition("confirm", Status.REQUIRES_CONFIRMATION, Status.REQUIRES_PAYMENT_METHOD, conditions="is_declined"),
            Transition("confirm", Status.REQUIRES_CONFIRMATION, Status.REQUIRES_ACTION, conditions="needs_action"),
            Transition("confirm", Status.REQUIRES_CONFIRMATION, Status.PROCESSING, conditions="is_asynchronous"),
            Transition("confirm", Status.REQUIRES_CONFIRMATION, Status.REQUIRES_CAPTURE, conditions="is_captured_by_hand"),
            Transition("confirm", Status.REQUIRES_CONFIRMATION, Status.SUCCEEDED),
            Transition("finish_action", Status.REQUIRES_ACTION, Status.REQUIRES_PAYMENT_METHOD, conditions="is_declined"),
            Transition("finish_action", Status.REQUIRES_ACTION, Status.PROCESSING, conditions="is_asynchronous"),
            Transition("finish_action", Status.REQUIRES_ACTION, Status.REQUIRES_CAPTURE, conditions="is_captured_by_hand"),
            Transition("finish_action", Status.REQUIRES_ACTION, Status.SUCCEEDED),
            Transition("settle", Status.PROCESSING, Status.REQUIRES_PAYMENT_METHOD, conditions="is_declined"),
            Transition("settle", Status.PROCESSING, Status.SUCCEEDED),
            Transition("capture", Status.REQUIRES_CAPTURE, Status.SUCCEEDED),
            Transition(
                "cancel",
                [
                    Status.REQUIRES_PAYMENT_METHOD,
                    Status.REQUIRES_CONFIRMATION,
                    Status.REQUIRES_ACTION,
                    Status.PROCESSING,
                    Status.REQUIRES_CAPTURE,
                ],
                Status.CANCELED,
            ),
        ],
        final=[Status.SUCCEEDED, Status.CANCELED],
    )

    @guard("the bank declined")
    def is_declined(self) -> bool:
        return self.declined

    @guard("the bank asks for nothing more")
    def needs_action(self) -> bool:
        return self.three_d_secure

    @guard("the method settles at once")
    def is_asynchronous(self) -> bool:
        return self.settles_later

    @guard("it is captured automatically")
    def is_captured_by_hand(self) -> bool:
        return self.capture_method == "manual"


FACTS = {
    "is_declined": ({"declined": True}, {"declined": False}),
    "needs_action": ({"three_d_secure": True}, {"three_d_secure": False}),
    "is_asynchronous": ({"settles_later": True}, {"settles_later": False}),
    "is_captured_by_hand": ({"capture_method": "manual"}, {"capture_method": "automatic"}),
}
app = application_for(PaymentIntent)
