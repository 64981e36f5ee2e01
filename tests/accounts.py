"""The application that the runtime's tests run: accounts, with a use case of each shape."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from enum import StrEnum
from typing import Annotated, Any, ClassVar
from uuid import UUID

from pydantic import Field
from sqlalchemy import ForeignKey, String
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column, relationship

from usecasecore import (
    Actor,
    AllowAll,
    Application,
    Command,
    DomainError,
    DomainEvent,
    ExecutionContext,
    Job,
    Key,
    Lifecycle,
    Policy,
    Result,
    Sensitive,
    Transition,
    UseCase,
    guard,
    state_column,
    uuid7,
    version_column,
)

ADA = Actor("user", "ada")
BOB = Actor("user", "bob")
NOON = datetime(2026, 5, 4, 12, tzinfo=UTC)


class AccountState(StrEnum):
    OPEN = "open"
    FROZEN = "frozen"
    CLOSED = "closed"


class Base(DeclarativeBase):
    pass


class Account(Base):
    __tablename__ = "accounts"

    id: Mapped[UUID] = mapped_column(primary_key=True, default=uuid7)
    owner: Mapped[str] = mapped_column(String(50), unique=True)
    balance: Mapped[int] = mapped_column(default=0)
    pin: Mapped[str | None] = mapped_column(String(50), default=None)
    state: Mapped[AccountState] = state_column(AccountState)
    version: Mapped[int] = version_column()
    postings: Mapped[list[Posting]] = relationship(back_populates="account")

    lifecycle: ClassVar = Lifecycle(
        states=AccountState,
        initial=AccountState.OPEN,
        transitions=[
            Transition("deposit", AccountState.OPEN, "="),
            Transition("freeze", AccountState.OPEN, AccountState.FROZEN),
            Transition("thaw", AccountState.FROZEN, AccountState.OPEN),
            Transition("close", AccountState.OPEN, AccountState.CLOSED, conditions="is_empty"),
        ],
    )

    @guard("an account must be empty before it is closed")
    def is_empty(self) -> bool:
        return self.balance == 0


class Posting(Base):
    __tablename__ = "postings"

    id: Mapped[UUID] = mapped_column(primary_key=True, default=uuid7)
    account_id: Mapped[UUID] = mapped_column(ForeignKey("accounts.id"))
    amount: Mapped[int]
    account: Mapped[Account] = relationship(back_populates="postings")


class Done(Result):
    account_id: UUID
    state: str
    balance: int


class Deposited(DomainEvent, name="account.deposited"):
    account_id: UUID
    amount: int


class Closed(DomainEvent, name="account.closed"):
    account_id: UUID


class SendStatement(Job):
    account_id: UUID


class LimitReached(DomainError):
    """More than an account may hold."""

    def __init__(self, *, limit: int) -> None:
        self.limit = limit
        super().__init__(f"an account holds at most {limit}")


AccountId = Annotated[UUID, Key(Account.id)]


class Open(Command[Done]):
    owner: str = Field(max_length=50)


class Deposit(Command[Done]):
    account_id: AccountId
    amount: int
    note: Any = None


class Freeze(Command[Done]):
    account_id: AccountId


class Close(Command[Done]):
    account_id: AccountId


class SetPin(Command[Done]):
    account_id: AccountId
    pin: Annotated[str, Sensitive()]


class Flip(Command[Done]):
    account_id: AccountId


class Ping(Command[Done]):
    owner: str


def done(account: Account) -> Done:
    return Done(account_id=account.id, state=account.state, balance=account.balance)


class OpenAccount(UseCase[Open, None, Done]):
    creates = Account

    def apply(self, command: Open, state: None, context: ExecutionContext, /) -> Done:
        return done(context.create(Account(owner=command.owner, balance=0)))


class MakeDeposit(UseCase[Deposit, Account, Done]):
    """Re-entrant: it leads from open to open."""

    trigger = "deposit"
    emits = (Deposited,)
    enqueues = (SendStatement,)
    refuses = (LimitReached,)

    def apply(self, command: Deposit, account: Account, context: ExecutionContext, /) -> Done:
        account.balance += command.amount
        context.session.add(Posting(account=account, amount=command.amount))
        if account.balance > 1_000_000:
            raise LimitReached(limit=1_000_000)
        context.emit(Deposited(account_id=account.id, amount=command.amount))
        context.enqueue(SendStatement(account_id=account.id))
        return done(account)


class FreezeAccount(UseCase[Freeze, Account, Done]):
    trigger = "freeze"
    reason_required = True

    def apply(self, command: Freeze, account: Account, context: ExecutionContext, /) -> Done:
        return done(account)


class CloseAccount(UseCase[Close, Account, Done]):
    trigger = "close"
    emits = (Closed,)

    def apply(self, command: Close, account: Account, context: ExecutionContext, /) -> Done:
        context.emit(Closed(account_id=account.id))
        return done(account)


class ChangePin(UseCase[SetPin, Account, Done]):
    """Without a trigger: any state will do."""

    def apply(self, command: SetPin, account: Account, context: ExecutionContext, /) -> Done:
        account.pin = command.pin
        return done(account)


class FlipAccount(UseCase[Flip, Account, Done]):
    """Chooses its trigger by the state."""

    triggers = ("freeze", "thaw")

    def choose_trigger(self, command: Flip, account: Account, context: ExecutionContext, /) -> str:
        return "freeze" if account.state is AccountState.OPEN else "thaw"

    def apply(self, command: Flip, account: Account, context: ExecutionContext, /) -> Done:
        return done(account)


class PingOwner(UseCase[Ping, None, Done]):
    """Loads and creates nothing."""

    def apply(self, command: Ping, state: None, context: ExecutionContext, /) -> Done:
        return Done(account_id=UUID(int=0), state="none", balance=0)


USE_CASES = (OpenAccount, MakeDeposit, FreezeAccount, CloseAccount, ChangePin, FlipAccount, PingOwner)


def application(*others: Any, policy: Policy | None = None, instead_of: type | None = None) -> Application:
    """The application, with further use cases, and others in the place of one of its own."""
    kept = [one for one in USE_CASES if one is not instead_of]
    return Application([*kept, *others], policy=policy or AllowAll(), name="bank")


def deposit_doing(act: Callable[[Deposit, Account, ExecutionContext], Any]) -> type:
    """A use case for Deposit whose `apply` calls `act`."""

    class DoDeposit(UseCase[Deposit, Account, Done]):
        name = "MakeDeposit"
        trigger = "deposit"
        emits = (Deposited,)
        enqueues = (SendStatement,)
        refuses = (LimitReached,)

        def apply(self, command: Deposit, account: Account, context: ExecutionContext, /) -> Done:
            act(command, account, context)
            return done(account)

    return DoDeposit
