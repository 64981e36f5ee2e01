"""Claims: an application whose guards, callbacks, policy and use cases look at everything that can be looked at."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum
from typing import Annotated, Any, ClassVar

from sqlalchemy import Select, select
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column

from usecasecore import (
    Actor,
    Application,
    Command,
    Decision,
    DomainError,
    ExecutionContext,
    Key,
    Lifecycle,
    Load,
    Policy,
    PolicyRequest,
    Result,
    Transition,
    UseCase,
    guard,
    state_column,
    version_column,
)

ADA, EVE, MALLORY = Actor("user", "ada"), Actor("user", "eve"), Actor("user", "mallory")


class ClaimState(StrEnum):
    FILED = "filed"
    APPROVED = "approved"
    PAID = "paid"
    CLOSED = "closed"


class Base(DeclarativeBase):
    pass


class Claim(Base):
    __tablename__ = "claims"

    id: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    amount: Mapped[int]
    note: Mapped[str] = mapped_column(default="")
    state: Mapped[ClaimState] = state_column(ClaimState)
    version: Mapped[int] = version_column()

    called: ClassVar[list[str]] = []
    does: ClassVar[Callable[[Any, Any], Any] | None] = None
    """What the guard `is_documented` does beside answering; for the tests."""

    lifecycle: ClassVar = Lifecycle(
        states=[
            {"name": ClaimState.FILED, "on_exit": "on_exit_filed"},
            {"name": ClaimState.APPROVED, "on_enter": "on_enter_approved"},
            ClaimState.PAID,
            ClaimState.CLOSED,
        ],
        initial=ClaimState.FILED,
        transitions=[
            Transition(
                "approve",
                ClaimState.FILED,
                ClaimState.APPROVED,
                conditions=["is_documented", "is_small"],
                unless="is_disputed",
                before="before_approve",
                after="after_approve",
            ),
            Transition("approve", ClaimState.FILED, ClaimState.PAID, conditions="is_tiny"),
            Transition("pay", ClaimState.APPROVED, ClaimState.PAID, conditions="is_within", prepare="remember"),
            Transition("pay", ClaimState.APPROVED, ClaimState.CLOSED, conditions="is_nothing"),
            Transition("close", [ClaimState.FILED, ClaimState.APPROVED], ClaimState.CLOSED),
            Transition("reopen", ClaimState.CLOSED, ClaimState.FILED, conditions="swallows"),
        ],
    )

    @guard("a claim is documented")
    def is_documented(self, event: Any) -> bool:
        if Claim.does is not None:
            Claim.does(self, event)
        return self.note != "" and event.kwargs["context"].actor is not None

    @guard("a claim is below 1,000")
    def is_small(self) -> bool:
        return self.amount < 1_000

    @guard("the claim is disputed")
    def is_disputed(self) -> bool:
        return self.note == "disputed"

    @guard("a tiny claim needs nothing else")
    def is_tiny(self) -> bool:
        return self.amount < 10

    @guard("no more is paid than was claimed")
    def is_within(self) -> bool:
        return bool(vars(self)["asked"] <= self.amount)

    @guard("nothing is claimed")
    def is_nothing(self) -> bool:
        return self.amount == 0

    @guard("it says no whatever happens")
    def swallows(self, event: Any) -> bool:
        try:
            return bool(event.kwargs["command"].amount > 0)
        except BaseException:  # noqa: BLE001 - the worst that a guard can do
            return False

    def remember(self, event: Any) -> None:
        Claim.called.append("prepare")
        vars(self)["asked"] = event.kwargs["command"].amount

    def before_approve(self) -> None:
        Claim.called.append("before")

    def after_approve(self) -> None:
        Claim.called.append("after")

    def on_exit_filed(self) -> None:
        Claim.called.append("exit")

    def on_enter_approved(self) -> None:
        Claim.called.append("enter")


class Done(Result):
    claim_id: int
    state: str


class TooLate(DomainError):
    """Only `apply` knows."""


ClaimId = Annotated[int, Key(Claim.id)]


class File(Command[Done]):
    claim_id: int
    amount: int
    note: str = ""


class Approve(Command[Done]):
    claim_id: ClaimId


class Pay(Command[Done]):
    claim_id: ClaimId
    amount: int


class Close(Command[Done]):
    claim_id: ClaimId


class Settle(Command[Done]):
    claim_id: ClaimId
    amount: int


class Reopen(Command[Done]):
    claim_id: ClaimId
    amount: int


class Comment(Command[Done]):
    claim_id: ClaimId
    text: str


class FindPaid(Command[Done]):
    amount: int


class Merge(Command[Done]):
    into: int
    claim_id: int


@dataclass(frozen=True)
class TwoClaims:
    into: Annotated[Claim, Load(id="into")]
    other: Annotated[Claim, Load(id="claim_id")]


def done(claim: Claim) -> Done:
    return Done(claim_id=claim.id, state=claim.state)


class FileClaim(UseCase[File, None, Done]):
    creates = Claim

    def apply(self, command: File, state: None, context: ExecutionContext, /) -> Done:
        return done(context.create(Claim(id=command.claim_id, amount=command.amount, note=command.note)))


class ApproveClaim(UseCase[Approve, Claim, Done]):
    trigger = "approve"

    def apply(self, command: Approve, claim: Claim, context: ExecutionContext, /) -> Done:
        return done(claim)


class PayClaim(UseCase[Pay, Claim, Done]):
    trigger = "pay"
    refuses = (TooLate,)

    def validate(self, command: Pay, /) -> None:
        if command.amount < 0:
            raise TooLate("the amount is below 0")

    def apply(self, command: Pay, claim: Claim, context: ExecutionContext, /) -> Done:
        raise TooLate("the till is closed")


class CloseClaim(UseCase[Close, Claim, Done]):
    trigger = "close"
    reason_required = True

    def apply(self, command: Close, claim: Claim, context: ExecutionContext, /) -> Done:
        return done(claim)


class SettleClaim(UseCase[Settle, Claim, Done]):
    triggers = ("approve", "close")

    def choose_trigger(self, command: Settle, claim: Claim, context: ExecutionContext, /) -> str:
        return "close" if command.amount == 0 else "approve"

    def apply(self, command: Settle, claim: Claim, context: ExecutionContext, /) -> Done:
        return done(claim)


class ReopenClaim(UseCase[Reopen, Claim, Done]):
    trigger = "reopen"

    def apply(self, command: Reopen, claim: Claim, context: ExecutionContext, /) -> Done:
        return done(claim)


class CommentOnClaim(UseCase[Comment, Claim, Done]):
    def apply(self, command: Comment, claim: Claim, context: ExecutionContext, /) -> Done:
        claim.note = command.text
        return done(claim)


class CloseFound(UseCase[FindPaid, Claim, Done]):
    trigger = "close"

    def select(self, command: FindPaid, /) -> Select[Any]:
        return select(Claim).where(Claim.amount == command.amount)

    def apply(self, command: FindPaid, claim: Claim, context: ExecutionContext, /) -> Done:
        return done(claim)


class MergeClaims(UseCase[Merge, TwoClaims, Done]):
    also_fires = {Claim: ("close",)}

    def apply(self, command: Merge, state: TwoClaims, context: ExecutionContext, /) -> Done:
        context.fire(state.other, "close")
        return done(state.into)


class Adjusters(Policy):
    """Ada may do everything; Eve sees everything but documents nothing; Mallory doesn't even know. Comments are looked at."""

    def readable(self, request: PolicyRequest, /) -> bool:
        return request.actor.id != "mallory"

    def permitted(self, request: PolicyRequest, /) -> Decision | bool:
        if request.use_case == "CommentOnClaim":
            command: Any = request.command
            return "secret" not in command.text
        if request.actor.id == "eve":
            return Decision.deny("Eve only looks")
        return True


USE_CASES = (
    FileClaim,
    ApproveClaim,
    PayClaim,
    CloseClaim,
    SettleClaim,
    ReopenClaim,
    CommentOnClaim,
    CloseFound,
    MergeClaims,
)


def application(policy: Policy | None = None) -> Application:
    return Application(USE_CASES, policy=policy or Adjusters(), name="claims")
