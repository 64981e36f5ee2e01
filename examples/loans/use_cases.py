"""One use case for each kind of event in the log.

No use case emits an event of its own: what each would say, the automatic transition events say already.
"""

from __future__ import annotations

from typing import Annotated, Any, TypeVar

from pydantic import Field

from examples.loans.model import Activation, Approval, LoanApplication, LoanState, Registration
from usecasecore import Command, ExecutionContext, Key, Result, UseCase


class Standing(Result):
    """How an application stands after a command."""

    number: int
    state: LoanState
    approval: Approval
    registration: Registration
    activation: Activation


Number = Annotated[int, Key(LoanApplication.number)]


class Submit(Command[Standing]):
    number: int
    amount_requested: int = Field(ge=0)


class SubmitPartly(Command[Standing]):
    number: Number


class Preaccept(Command[Standing]):
    number: Number


class Accept(Command[Standing]):
    number: Number


class Finalize(Command[Standing]):
    number: Number


class Decline(Command[Standing]):
    number: Number


class Cancel(Command[Standing]):
    number: Number


class Approve(Command[Standing]):
    number: Number


class Register(Command[Standing]):
    number: Number


class Activate(Command[Standing]):
    number: Number


class SubmitApplication(UseCase[Submit, None, Standing]):
    """Take in a new application."""

    creates = LoanApplication

    def apply(self, command: Submit, state: None, context: ExecutionContext, /) -> Standing:
        application = LoanApplication(number=command.number, amount_requested=command.amount_requested)
        return _standing_of(context.create(application))


C = TypeVar("C", bound=Command[Any])


class _Step(UseCase[C, LoanApplication, Standing]):
    """A use case that fires its trigger and changes nothing else."""

    def apply(self, command: C, application: LoanApplication, context: ExecutionContext, /) -> Standing:
        return _standing_of(application)


class SubmitPartlyApplication(_Step[SubmitPartly]):
    """Complete the submission of an application."""

    trigger = "submit_partly"


class PreacceptApplication(_Step[Preaccept]):
    """Take an application on, subject to further information."""

    trigger = "preaccept"


class AcceptApplication(_Step[Accept]):
    """Accept an application; whether it is complete is still to be seen."""

    trigger = "accept"


class FinalizeApplication(_Step[Finalize]):
    """Finalize an application that was found complete."""

    trigger = "finalize"


class DeclineApplication(_Step[Decline]):
    """Decline an application: the institute says no."""

    trigger = "decline"


class CancelApplication(_Step[Cancel]):
    """Cancel an application: nothing is to come of it any more."""

    trigger = "cancel"


class ApproveLoan(_Step[Approve]):
    """Approve the loan of a finalized application."""

    trigger = "approve"


class RegisterLoan(_Step[Register]):
    """Enter the loan of a finalized application into the books."""

    trigger = "register"


class ActivateLoan(_Step[Activate]):
    """Activate the loan of a finalized application."""

    trigger = "activate"


USE_CASES = (
    SubmitApplication,
    SubmitPartlyApplication,
    PreacceptApplication,
    AcceptApplication,
    FinalizeApplication,
    DeclineApplication,
    CancelApplication,
    ApproveLoan,
    RegisterLoan,
    ActivateLoan,
)


def _standing_of(application: LoanApplication) -> Standing:
    return Standing(
        number=application.number,
        state=application.state,
        approval=application.approval_state,
        registration=application.registration_state,
        activation=application.activation_state,
    )
