"""The aggregate: a loan application, its way to a decision, and the three things that happen once it is finalized.

Approved, registered and activated follow finalized in every order, always all three. They are no steps of one way, but
three facts side by side: each has a lifecycle of its own, with a column of its own, on the same row. What ties them to
the way is said in guards; the row's lock and its one version keep the four consistent.
"""

from __future__ import annotations

from enum import StrEnum
from typing import ClassVar

from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column

from usecasecore import Lifecycle, Transition, guard, state_column, version_column


class LoanState(StrEnum):
    """Where an application is on its way."""

    SUBMITTED = "submitted"
    PARTLY_SUBMITTED = "partly_submitted"
    PREACCEPTED = "preaccepted"
    ACCEPTED = "accepted"
    FINALIZED = "finalized"
    DECLINED = "declined"
    CANCELLED = "cancelled"


_UNDECIDED = (LoanState.PARTLY_SUBMITTED, LoanState.PREACCEPTED, LoanState.ACCEPTED)


class Approval(StrEnum):
    """Whether the loan is approved."""

    PENDING = "pending"
    APPROVED = "approved"


class Registration(StrEnum):
    """Whether the loan is in the books."""

    PENDING = "pending"
    REGISTERED = "registered"


class Activation(StrEnum):
    """Whether the loan is active."""

    PENDING = "pending"
    ACTIVATED = "activated"


class Base(DeclarativeBase):
    pass


class LoanApplication(Base):
    __tablename__ = "loan_applications"

    number: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    amount_requested: Mapped[int]
    state: Mapped[LoanState] = state_column(LoanState)
    approval_state: Mapped[Approval] = state_column(Approval)
    registration_state: Mapped[Registration] = state_column(Registration)
    activation_state: Mapped[Activation] = state_column(Activation)
    version: Mapped[int] = version_column()

    lifecycle: ClassVar = Lifecycle(
        states=LoanState,
        initial=LoanState.SUBMITTED,
        column="state",
        transitions=[
            Transition("submit_partly", LoanState.SUBMITTED, LoanState.PARTLY_SUBMITTED),
            Transition("preaccept", LoanState.PARTLY_SUBMITTED, LoanState.PREACCEPTED),
            Transition("accept", LoanState.PREACCEPTED, LoanState.ACCEPTED),
            Transition("finalize", LoanState.ACCEPTED, LoanState.FINALIZED),
            Transition("decline", _UNDECIDED, LoanState.DECLINED),
            Transition("decline", LoanState.FINALIZED, LoanState.DECLINED, conditions="is_unconcluded"),
            Transition("cancel", _UNDECIDED, LoanState.CANCELLED),
            Transition("cancel", LoanState.FINALIZED, LoanState.CANCELLED, conditions="is_unconcluded"),
        ],
        final=[LoanState.DECLINED, LoanState.CANCELLED],
    )
    approval: ClassVar = Lifecycle(
        states=Approval,
        initial=Approval.PENDING,
        column="approval_state",
        transitions=[Transition("approve", Approval.PENDING, Approval.APPROVED, conditions="is_finalized")],
        final=Approval.APPROVED,
    )
    registration: ClassVar = Lifecycle(
        states=Registration,
        initial=Registration.PENDING,
        column="registration_state",
        transitions=[Transition("register", Registration.PENDING, Registration.REGISTERED, conditions="is_finalized")],
        final=Registration.REGISTERED,
    )
    activation: ClassVar = Lifecycle(
        states=Activation,
        initial=Activation.PENDING,
        column="activation_state",
        transitions=[Transition("activate", Activation.PENDING, Activation.ACTIVATED, conditions="is_finalized")],
        final=Activation.ACTIVATED,
    )

    @guard("only a finalized application is approved, registered and activated")
    def is_finalized(self) -> bool:
        return self.state is LoanState.FINALIZED

    @guard("an application that is approved, registered or activated is neither declined nor cancelled")
    def is_unconcluded(self) -> bool:
        return not self.conclusions

    @property
    def conclusions(self) -> tuple[str, ...]:
        """What has happened of approved, registered and activated, in this order whatever the order it happened in."""
        happened = []
        if self.approval_state is Approval.APPROVED:
            happened.append(self.approval_state.value)
        if self.registration_state is Registration.REGISTERED:
            happened.append(self.registration_state.value)
        if self.activation_state is Activation.ACTIVATED:
            happened.append(self.activation_state.value)
        return tuple(happened)

    @property
    def standing(self) -> str:
        """The state, or for a finalized application what has happened since: `approved_registered_activated`."""
        return "_".join(self.conclusions) or self.state.value
