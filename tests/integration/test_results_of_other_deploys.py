"""A replay over a deploy: the stored result as today's type, or handed out raw; never a second execution."""

from __future__ import annotations

import asyncio
import pickle
from collections.abc import Callable
from typing import Any
from uuid import UUID

import pytest
from sqlalchemy import make_url
from sqlalchemy.ext.asyncio import AsyncSession, create_async_engine
from sqlalchemy.orm import Session

from tests.accounts import ADA, NOON, Account, AccountId, Deposit, Deposited, Done, MakeDeposit, SendStatement, application
from tests.bank import Bank, MakeRuntime
from usecasecore import Application, AsyncRuntime, Command, ExecutionContext, Result, Transaction, Upcast, UseCase
from usecasecore.errors import DefinitionError, ReplayIncompatible, StoreError

DONE = f"{Done.__module__}.{Done.__qualname__}"


def in_cents(stored: dict[str, Any]) -> dict[str, Any]:
    return {"account_id": stored["account_id"], "cents": stored["balance"] * 100}


def failing(stored: dict[str, Any]) -> dict[str, Any]:
    raise RuntimeError("no such luck")


class Receipt(Result, version=2):
    """What a deposit returns since the deploy; `Done` before."""

    account_id: UUID
    cents: int

    upcasts = (Upcast(1, in_cents, of=DONE),)


class Wrapped(Result):
    receipt: Any


class Outer(Command[Wrapped]):
    account_id: UUID
    amount: int


def deploy(result: type[Result]) -> Application:
    """The application after a deploy, whose deposits return another type and must not run again."""

    class NewDeposit(Command[result]):  # type: ignore[valid-type]
        account_id: AccountId
        amount: int
        note: Any = None

    class NewMakeDeposit(UseCase[NewDeposit, Account, result]):  # type: ignore[valid-type]
        name = "MakeDeposit"
        trigger = "deposit"
        emits = (Deposited,)
        enqueues = (SendStatement,)

        def apply(self, command: NewDeposit, account: Account, context: ExecutionContext, /) -> Any:
            raise AssertionError("it ran again")

    class RunOuter(UseCase[Outer, None, Wrapped]):
        """Runs the deposit inside, under the key that it had before the deploy."""

        def apply(self, command: Outer, state: None, context: ExecutionContext, /) -> Wrapped:
            inner = NewDeposit(account_id=command.account_id, amount=command.amount)
            return Wrapped(receipt=context.execute(inner, idempotency_key="k"))

    return application(NewMakeDeposit, RunOuter, instead_of=MakeDeposit)


def command_of(app: Application, account_id: UUID) -> Command[Any]:
    registration = app.registration("MakeDeposit")
    assert registration is not None
    return registration.command.of(account_id=account_id, amount=5)


@pytest.fixture
def deposited(bank: Bank) -> UUID:
    """An account with a deposit of 5 under the key k, made before the deploy."""
    account_id = bank.open()
    bank.runtime.execute(Deposit(account_id=account_id, amount=5), actor=ADA, idempotency_key="k")
    return account_id


def in_a_transaction_of_its_own(runtime: Any, bank: Bank, app: Application, account_id: UUID) -> Any:
    return runtime.execute(command_of(app, account_id), actor=ADA, idempotency_key="k")


def among_several(runtime: Any, bank: Bank, app: Application, account_id: UUID) -> Any:
    def work(transaction: Transaction) -> Any:
        return transaction.execute(command_of(app, account_id), actor=ADA, idempotency_key="k")

    return runtime.transaction(work)


def inside_of_another(runtime: Any, bank: Bank, app: Application, account_id: UUID) -> Any:
    return runtime.execute(Outer(account_id=account_id, amount=5), actor=ADA).receipt


def in_the_callers(runtime: Any, bank: Bank, app: Application, account_id: UUID) -> Any:
    command = command_of(app, account_id)
    if type(runtime).__name__ == "Runtime":
        with Session(bank.engine) as session:
            return runtime.execute(command, actor=ADA, idempotency_key="k", session=session)

    async def run() -> Any:
        url = make_url(bank.engine.url)
        engine = create_async_engine(url.set(drivername=runtime.engine.url.drivername))
        try:
            async with AsyncSession(engine) as session:
                joined = AsyncRuntime(engine, app, clock=lambda: NOON)
                return await joined.execute(command, actor=ADA, idempotency_key="k", session=session)
        finally:
            await engine.dispose()

    return asyncio.run(run())


FORMS = [in_a_transaction_of_its_own, among_several, inside_of_another, in_the_callers]
each_form = pytest.mark.parametrize("run", FORMS, ids=lambda form: form.__name__)


@each_form
def test_a_result_of_the_type_before_is_replayed_as_todays(
    bank: Bank, make_runtime: MakeRuntime, deposited: UUID, run: Callable[..., Any]
) -> None:
    app = deploy(Receipt)
    before = bank.counts()
    assert run(make_runtime(app), bank, app, deposited) == Receipt(account_id=deposited, cents=500)
    assert bank.account(deposited).balance == 5
    assert bank.counts()["outbox"] == before["outbox"]


class Failing(Result, version=2):
    account_id: UUID
    upcasts = (Upcast(1, failing, of=DONE),)


class Unrelated(Result):
    account_id: UUID
    iban: str


FAILED = f"its upcast from {DONE} version 1 failed (RuntimeError)"


@pytest.mark.parametrize(
    ("run", "result", "reason"),
    [
        *(pytest.param(form, Failing, FAILED, id=form.__name__) for form in FORMS),
        pytest.param(FORMS[0], Unrelated, "it doesn't fit Unrelated: iban (missing)", id="unrelated"),
    ],
)
def test_what_can_not_be_read_back_is_handed_out_raw_and_nothing_runs(
    bank: Bank, make_runtime: MakeRuntime, deposited: UUID, run: Callable[..., Any], result: type[Result], reason: str
) -> None:
    app = deploy(result)
    before = bank.counts()
    with pytest.raises(ReplayIncompatible) as wrong:
        run(make_runtime(app), bank, app, deposited)
    error = wrong.value
    assert (error.stored_type, error.stored_version, error.reason) == (DONE, 1, reason)
    assert error.raw == Done(account_id=deposited, state="open", balance=5).model_dump_json()
    assert pickle.loads(pickle.dumps(error)).raw == error.raw
    assert "raw" not in error.refusal.params
    assert bank.counts() == before
    assert bank.account(deposited).balance == 5
    # And the key still stands for it, for the deploy before.
    assert bank.runtime.run(Deposit(account_id=deposited, amount=5), actor=ADA, idempotency_key="k").replayed


def test_the_error_of_an_upcast_is_the_cause(bank: Bank, make_runtime: MakeRuntime, deposited: UUID) -> None:
    app = deploy(Failing)
    with pytest.raises(ReplayIncompatible) as wrong:
        in_a_transaction_of_its_own(make_runtime(app), bank, app, deposited)
    assert isinstance(wrong.value.__cause__, RuntimeError)


def test_a_result_of_a_deploy_that_was_rolled_back_is_not_guessed_at(bank: Bank, make_runtime: MakeRuntime) -> None:
    class Newer(Done, version=2):
        """The same fields, of which one means something else: cents."""

        upcasts = (Upcast(1, in_cents),)

    stored = Newer.__qualname__, Newer.__module__
    Newer.__qualname__, Newer.__module__ = Done.__qualname__, Done.__module__
    try:
        app = deploy_that_runs(Newer)
        newer = make_runtime(app, clock=lambda: NOON)
        account_id = bank.open()
        newer.execute(command_of(app, account_id), actor=ADA, idempotency_key="k")
    finally:
        Newer.__qualname__, Newer.__module__ = stored
    with pytest.raises(ReplayIncompatible, match="newer than this program, which knows version 1") as wrong:
        bank.runtime.execute(Deposit(account_id=account_id, amount=5), actor=ADA, idempotency_key="k")
    assert isinstance(wrong.value, StoreError)
    assert bank.account(account_id).version == 2


def deploy_that_runs(result: Any) -> Application:
    class NewDeposit(Command[result]):
        account_id: AccountId
        amount: int
        note: Any = None

    class NewMakeDeposit(UseCase[NewDeposit, Account, result]):
        name = "MakeDeposit"
        trigger = "deposit"

        def apply(self, command: NewDeposit, account: Account, context: ExecutionContext, /) -> Any:
            return result(account_id=account.id, state=account.state, balance=500)

    return application(NewMakeDeposit, instead_of=MakeDeposit)


def test_a_class_that_only_moved_needs_no_declaration(bank: Bank, make_runtime: MakeRuntime, deposited: UUID) -> None:
    class Moved(Result):
        account_id: UUID
        state: str
        balance: int

    app = deploy(Moved)
    outcome = make_runtime(app).run(command_of(app, deposited), actor=ADA, idempotency_key="k")
    assert outcome.replayed
    assert outcome.result == Moved(account_id=deposited, state="open", balance=5)


def test_upcasts_that_lead_nowhere_are_refused_before_there_is_any_traffic() -> None:
    class Gap(Result, version=3):
        upcasts = (Upcast(1, in_cents, of=DONE),)

    with pytest.raises(DefinitionError, match="nothing leads on from version 2"):
        deploy(Gap)
