"""Deleting an aggregate: its last audit entry, its last event, and what comes after; on every driver."""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Annotated, Any, ClassVar
from uuid import UUID

import pytest
from sqlalchemy import ForeignKey, String, delete, select
from sqlalchemy.orm import DeclarativeBase, Mapped, Session, mapped_column

from tests.accounts import ADA, NOON, Account, AccountId, Deposit, Done, Open, Posting, application, done
from tests.bank import Bank, MakeRuntime, on_postgres
from usecasecore import (
    AllowAll,
    Application,
    Command,
    DomainEvent,
    ExecutionContext,
    Key,
    Lifecycle,
    Load,
    Result,
    Transition,
    UseCase,
    state_column,
    version_column,
)
from usecasecore.cli.steps import described
from usecasecore.errors import (
    AggregateNotFound,
    ConstraintViolated,
    DefinitionError,
    StateWriteRefused,
    Undeclared,
    WrongResult,
)
from usecasecore.verification import verify

BankWith = Callable[..., Bank]

blocking = pytest.mark.parametrize(
    "kind",
    [pytest.param("sqlite", marks=pytest.mark.sqlite), pytest.param("postgresql", marks=pytest.mark.postgresql)],
    indirect=True,
)


class Erase(Command[Done]):
    account_id: AccountId


class Erased(DomainEvent, name="account.erased"):
    account_id: UUID


class EraseAccount(UseCase[Erase, Account, Done]):
    deletes = Account
    emits = (Erased,)

    def apply(self, command: Erase, account: Account, context: ExecutionContext, /) -> Done:
        context.delete(account)
        context.emit(Erased(account_id=account.id))
        return done(account)


class CloseForGood(Command[Done]):
    account_id: AccountId


class CloseAccountForGood(UseCase[CloseForGood, Account, Done]):
    """Fires to a final state, and deletes."""

    trigger = "close"
    deletes = (Account,)

    def apply(self, command: CloseForGood, account: Account, context: ExecutionContext, /) -> Done:
        context.delete(account)
        return done(account)


class Reopen(Command[Done]):
    account_id: UUID
    owner: str = "again"


class ReopenAccount(UseCase[Reopen, None, Done]):
    """Creates with a key that the caller knows."""

    creates = Account

    def apply(self, command: Reopen, state: None, context: ExecutionContext, /) -> Done:
        return done(context.create(Account(id=command.account_id, owner=command.owner, balance=0)))


class Renew(Command[Done]):
    account_id: AccountId
    inside: bool


class RenewAccount(UseCase[Renew, Account, Done]):
    """Deletes and creates the same in one command, which is too much for one entry."""

    deletes = Account
    creates = Account

    def apply(self, command: Renew, account: Account, context: ExecutionContext, /) -> Done:
        context.delete(account)
        if command.inside:
            context.execute(Reopen(account_id=account.id))
        return done(context.create(Account(id=account.id, owner="again", balance=0)))


class Replace(Command[Done]):
    account_id: UUID


class ReplaceAccount(UseCase[Replace, None, Done]):
    """Runs a deletion inside, then creates, then goes on with what it created."""

    creates = Account

    def apply(self, command: Replace, state: None, context: ExecutionContext, /) -> Done:
        context.execute(Erase(account_id=command.account_id))
        made = done(context.create(Account(id=command.account_id, owner="again", balance=0)))
        context.execute(Deposit(account_id=command.account_id, amount=7))
        return made


USE_CASES = (EraseAccount, CloseAccountForGood, ReopenAccount, RenewAccount, ReplaceAccount)


@pytest.fixture
def bank(bank_with: BankWith) -> Bank:
    return bank_with(application(*USE_CASES))


def trail(bank: Bank) -> list[tuple[Any, ...]]:
    return [(one.version, one.kind, one.trigger, one.from_state, one.to_state) for one in bank.rows("audit")]


def accounts(bank: Bank) -> int:
    return bank.counts()["accounts"]


def erasing(act: Callable[[Account, ExecutionContext], Any]) -> type:
    """A use case for Erase whose `apply` calls `act`."""

    class DoErase(UseCase[Erase, Account, Done]):
        deletes = Account
        also_fires: ClassVar = {Account: ("freeze",)}

        def apply(self, command: Erase, account: Account, context: ExecutionContext, /) -> Done:
            act(account, context)
            return done(account)

    return DoErase


def test_a_deletion_is_the_last_entry_of_the_trail_and_has_what_was_there(bank: Bank) -> None:
    account_id = bank.open("grace")
    outcome = bank.runtime.run(Erase(account_id=account_id), actor=ADA, reason="asked for it")
    assert outcome.version == 2
    assert accounts(bank) == 0
    entry = bank.rows("audit")[1]
    assert (entry.kind, entry.version, entry.lifecycle, entry.trigger) == ("delete", 2, "account", None)
    assert (entry.from_state, entry.to_state, entry.actor, entry.reason) == ("open", None, "user:ada", "asked for it")
    assert entry.changes == {"owner": ["grace", None], "balance": [0, None]}


def test_its_event_is_the_last_one_about_the_aggregate(bank: Bank) -> None:
    account_id = bank.open()
    bank.runtime.execute(Erase(account_id=account_id))
    erased, deleted = bank.rows("outbox")[1:]
    assert [(one.type, one.version, one.ordinal) for one in (erased, deleted)] == [
        ("account.erased", 2, 0),
        ("account.deleted", 2, 1),
    ]
    assert deleted.payload == {"id": str(account_id), "version": 2, "states": {"account": "open"}}


def test_a_trigger_and_a_deletion_are_one_entry(bank: Bank) -> None:
    account_id = bank.open()
    assert bank.runtime.execute(CloseForGood(account_id=account_id)).state == "closed"
    assert trail(bank)[1:] == [(2, "delete", "close", "open", None)]
    fired, deleted = bank.rows("outbox")[1:]
    assert (fired.type, fired.payload["to"], fired.ordinal) == ("account.transition.close", "closed", 0)
    assert (deleted.type, deleted.payload["states"], deleted.ordinal) == ("account.deleted", {"account": "closed"}, 1)
    assert accounts(bank) == 0


def test_the_key_of_a_deletion_is_replayed_when_the_row_is_gone(bank: Bank) -> None:
    account_id = bank.open()
    first = bank.runtime.run(Erase(account_id=account_id), idempotency_key="k")
    again = bank.runtime.run(Erase(account_id=account_id), idempotency_key="k")
    assert (again.replayed, again.result, again.version) == (True, first.result, 2)
    with pytest.raises(AggregateNotFound):
        bank.runtime.run(Erase(account_id=account_id), idempotency_key="other")
    with pytest.raises(AggregateNotFound):
        bank.runtime.execute(Deposit(account_id=account_id, amount=1))


def test_an_earlier_command_is_replayed_when_the_row_is_gone(bank: Bank) -> None:
    account_id = bank.open()
    first = bank.runtime.run(Deposit(account_id=account_id, amount=0), idempotency_key="k")
    with bank.engine.begin() as connection:
        connection.execute(delete(Posting))
    bank.runtime.execute(Erase(account_id=account_id))
    again = bank.runtime.run(Deposit(account_id=account_id, amount=0), idempotency_key="k")
    assert (again.replayed, again.result) == (True, first.result)


def test_racing_duplicates_of_a_deletion_take_effect_once(bank: Bank) -> None:
    account_id = bank.open()
    start = threading.Barrier(8)

    def erase(_: int) -> bool:
        start.wait()
        replayed: bool = bank.runtime.run(Erase(account_id=account_id), idempotency_key="k").replayed
        return replayed

    with ThreadPoolExecutor(8) as pool:
        assert sorted(pool.map(erase, range(8))) == [False] + [True] * 7
    assert trail(bank)[1:] == [(2, "delete", None, "open", None)]


def test_a_new_row_with_the_same_key_goes_on_with_the_versions(bank: Bank) -> None:
    account_id = bank.open()
    bank.runtime.execute(Erase(account_id=account_id))
    assert bank.runtime.run(Reopen(account_id=account_id)).version == 3
    assert bank.account(account_id).version == 3
    assert bank.runtime.run(Deposit(account_id=account_id, amount=1)).version == 4
    assert trail(bank) == [
        (1, "create", None, None, "open"),
        (2, "delete", None, "open", None),
        (3, "create", None, None, "open"),
        (4, "change", "deposit", "open", "open"),
    ]


def test_a_row_that_was_never_there_starts_at_one(bank: Bank) -> None:
    assert bank.runtime.run(Reopen(account_id=UUID(int=7))).version == 1


def test_a_deletion_and_a_creation_in_one_transaction(bank: Bank) -> None:
    account_id = bank.open()

    def work(transaction: Any) -> None:
        transaction.execute(Erase(account_id=account_id))
        transaction.execute(Reopen(account_id=account_id))
        transaction.execute(Deposit(account_id=account_id, amount=5))

    bank.runtime.transaction(work)
    assert [(version, kind) for version, kind, *_ in trail(bank)] == [(1, "create"), (2, "delete"), (3, "create"), (4, "change")]
    assert (bank.account(account_id).balance, bank.account(account_id).version) == (5, 4)
    with bank.engine.connect() as connection:
        assert verify(connection, application(*USE_CASES), now=NOON).findings == ()


def test_a_use_case_may_run_a_deletion_inside_and_create_after_it(bank: Bank) -> None:
    account_id = bank.open()
    bank.runtime.execute(Replace(account_id=account_id))
    assert [(version, kind) for version, kind, *_ in trail(bank)] == [(1, "create"), (2, "delete"), (3, "create"), (4, "change")]
    assert (bank.account(account_id).balance, bank.account(account_id).version) == (7, 4)


@pytest.mark.parametrize("inside", [False, True])
def test_deleting_and_creating_the_same_in_one_command_is_refused(bank: Bank, inside: bool) -> None:
    account_id = bank.open()
    before = bank.counts()
    with pytest.raises(WrongResult, match="make them two commands"):
        bank.runtime.execute(Renew(account_id=account_id, inside=inside))
    assert {**bank.counts(), "attempt": 0} == before


def test_a_creation_that_waits_for_a_deletion_goes_on_with_its_versions(bank_with: BankWith) -> None:
    inside, go_on = threading.Event(), threading.Event()

    def wait(account: Account, context: ExecutionContext) -> None:
        context.delete(account)
        context.session.flush()
        inside.set()
        go_on.wait(5)

    bank = bank_with(application(erasing(wait), ReopenAccount))
    account_id = bank.open()
    with ThreadPoolExecutor(2) as pool:
        erased = pool.submit(bank.runtime.run, Erase(account_id=account_id))
        assert inside.wait(5)
        reopened = pool.submit(bank.runtime.run, Reopen(account_id=account_id))
        threading.Timer(0.2, go_on.set).start()
        assert (erased.result().version, reopened.result().version) == (2, 3)


@on_postgres
def test_a_row_that_is_to_be_deleted_gets_no_new_references(bank_with: BankWith, kind: str) -> None:
    inside, go_on = threading.Event(), threading.Event()

    def wait(account: Account, context: ExecutionContext) -> None:
        assert context.session.scalars(select(Posting.id).where(Posting.account_id == account.id)).all() == []
        inside.set()
        go_on.wait(5)
        context.delete(account)

    bank = bank_with(application(erasing(wait)))
    account_id = bank.open()

    def post() -> None:
        with Session(bank.engine) as session, session.begin():
            session.add(Posting(account_id=account_id, amount=1))

    with ThreadPoolExecutor(2) as pool:
        erased = pool.submit(bank.runtime.run, Erase(account_id=account_id))
        assert inside.wait(5)
        posted = pool.submit(post)
        threading.Timer(0.2, go_on.set).start()
        assert erased.result().version == 2
        with pytest.raises(Exception, match="foreign key"):
            posted.result()


@blocking
def test_in_a_transaction_of_the_callers_it_is_the_callers_to_commit(bank: Bank) -> None:
    account_id = bank.open()
    with Session(bank.engine) as session:
        bank.runtime.execute(Erase(account_id=account_id), session=session)
        assert session.get(Account, account_id) is None
        session.rollback()
    assert (accounts(bank), len(trail(bank))) == (1, 1)
    with Session(bank.engine) as session, session.begin():
        bank.runtime.execute(Erase(account_id=account_id), session=session)
        bank.runtime.execute(Reopen(account_id=account_id), session=session)
        assert session.get_one(Account, account_id).version == 3
    assert [kind for _, kind, *_ in trail(bank)] == ["create", "delete", "create"]


def test_a_deletion_that_a_constraint_refuses_leaves_everything(bank: Bank) -> None:
    account_id = bank.open()
    bank.runtime.execute(Deposit(account_id=account_id, amount=1))
    before = bank.counts()
    with pytest.raises(ConstraintViolated):
        bank.runtime.execute(Erase(account_id=account_id))
    assert {**bank.counts(), "attempt": 0} == before


@pytest.mark.parametrize(
    ("act", "error", "message"),
    [
        (lambda account, context: None, WrongResult, "owes the deletion of a Account, but there is none"),
        (lambda account, context: [context.delete(account), context.delete(account)], WrongResult, "a second one of the same"),
        (lambda account, context: context.delete(Account()), WrongResult, "another Account"),
        (lambda account, context: context.delete(Posting()), Undeclared, r"Posting is not in `deletes` \(declared: Account\)"),
        (
            lambda account, context: [context.delete(account), context.fire(account, "freeze")],
            WrongResult,
            "nothing more on what it has deleted, but there is the trigger 'freeze'",
        ),
        (
            lambda account, context: [context.session.delete(account), context.session.flush()],
            StateWriteRefused,
            "deleting the row past the runtime",
        ),
    ],
    ids=["nothing", "twice", "another", "undeclared", "fired", "past the context"],
)
def test_what_is_no_proper_deletion_is_refused(bank_with: BankWith, act: Any, error: type[Exception], message: str) -> None:
    bank = bank_with(application(erasing(act)))
    account_id = bank.open()
    before = bank.counts()
    with pytest.raises(error, match=message):
        bank.runtime.execute(Erase(account_id=account_id))
    assert {**bank.counts(), "attempt": 0} == before


def test_deleting_past_the_runtime_is_refused_and_says_what_would_delete(bank: Bank) -> None:
    account_id = bank.open()
    with Session(bank.engine) as session:
        session.delete(session.get_one(Account, account_id))
        with pytest.raises(StateWriteRefused, match="use cases that can: EraseAccount, CloseAccountForGood") as refused:
            session.flush()
    assert {"EraseAccount", "CloseAccountForGood"} <= set(refused.value.use_cases)


class Base(DeclarativeBase):
    pass


class Bin(Base):
    """Counted by the database, so that SQLite gives the number of the last one again when that is gone."""

    __tablename__ = "bins"

    id: Mapped[int] = mapped_column(primary_key=True)
    label: Mapped[str] = mapped_column(String(20))
    state: Mapped[str] = state_column()
    version: Mapped[int] = version_column()
    lifecycle: ClassVar = Lifecycle(states=["empty", "full"], initial="empty", transitions=[Transition("fill", "empty", "full")])


class Slip(Base):
    """Of two columns, and without a lifecycle."""

    __tablename__ = "slips"

    bin_id: Mapped[int] = mapped_column(ForeignKey(Bin.id), primary_key=True)
    number: Mapped[str] = mapped_column(String(20), primary_key=True)
    version: Mapped[int] = version_column()


class Moved(Result):
    version: int


class AddBin(Command[Moved]):
    label: str


class AddBinToShelf(UseCase[AddBin, None, Moved]):
    creates = Bin

    def apply(self, command: AddBin, state: None, context: ExecutionContext, /) -> Moved:
        return Moved(version=context.create(Bin(label=command.label)).id)


class Scrap(Command[Moved]):
    bin_id: Annotated[int, Key(Bin.id)]


class ScrapBin(UseCase[Scrap, Bin, Moved]):
    deletes = Bin

    def apply(self, command: Scrap, loaded: Bin, context: ExecutionContext, /) -> Moved:
        context.delete(loaded)
        return Moved(version=loaded.version)


class Note(Command[Moved]):
    bin_id: int
    number: str


@dataclass(frozen=True)
class BinAndSlip:
    slip: Annotated[Slip, Load.or_create(bin_id="bin_id", number="number")]
    bin: Annotated[Bin, Load(id="bin_id")]


class NoteSlip(UseCase[Note, BinAndSlip, Moved]):
    def apply(self, command: Note, state: BinAndSlip, context: ExecutionContext, /) -> Moved:
        return Moved(version=state.slip.version)


class Tear(Command[Moved]):
    bin_id: int
    number: str


@dataclass(frozen=True)
class ThatSlip:
    slip: Annotated[Slip, Load(bin_id="bin_id", number="number")]


class TearSlip(UseCase[Tear, ThatSlip, Moved]):
    deletes = Slip

    def apply(self, command: Tear, state: ThatSlip, context: ExecutionContext, /) -> Moved:
        context.delete(state.slip)
        return Moved(version=state.slip.version)


@pytest.fixture
def shelf(bank_with: BankWith, engine: Any, make_runtime: MakeRuntime) -> Bank:
    Base.metadata.create_all(engine)
    return Bank(engine, make_runtime(Application([AddBinToShelf, ScrapBin, NoteSlip, TearSlip], policy=AllowAll())))


def test_a_number_that_the_database_gives_again_goes_on_with_the_versions(shelf: Bank, kind: str) -> None:
    first = shelf.runtime.execute(AddBin(label="a")).version
    shelf.runtime.execute(Scrap(bin_id=first))
    outcome = shelf.runtime.run(AddBin(label="b"))
    given_again = "sqlite" in kind
    assert (outcome.result.version == first) is given_again
    assert outcome.version == (3 if given_again else 1)


def test_a_row_that_is_made_where_it_is_missing_goes_on_with_the_versions(shelf: Bank) -> None:
    bin_id = shelf.runtime.execute(AddBin(label="a")).version
    key = {"bin_id": bin_id, "number": "n|1"}
    shelf.runtime.execute(Note(**key))
    shelf.runtime.execute(Tear(**key))
    shelf.runtime.execute(Note(**key))
    entries = [(one.version, one.kind, one.from_state) for one in shelf.rows("audit") if one.aggregate == "slip"]
    assert entries == [(1, "create", None), (2, "delete", None), (3, "create", None)]
    deleted = [one for one in shelf.rows("outbox") if one.type == "slip.deleted"]
    assert [one.payload for one in deleted] == [{"id": f"{bin_id}|n\\|1", "version": 2, "states": {}}]


class NotLoaded(UseCase[Reopen, None, Done]):
    deletes = Account

    def apply(self, command: Reopen, state: None, context: ExecutionContext, /) -> Done:
        raise NotImplementedError


class NotMapped(UseCase[Erase, Account, Done]):
    deletes = (Account, Done)

    def apply(self, command: Erase, account: Account, context: ExecutionContext, /) -> Done:
        raise NotImplementedError


def test_what_is_declared_wrongly_is_found_when_the_application_is_assembled() -> None:
    with pytest.raises(DefinitionError) as wrong:
        Application([NotLoaded, NotMapped], policy=AllowAll())
    assert wrong.value.problems == (
        "NotLoaded: deletes Account, which it does not load (it loads: nothing); what is deleted must be locked first",
        "NotMapped: deletes Done, which is not a mapped class",
    )


def test_opening_is_not_slowed_down_where_nothing_is_deleted(bank_with: BankWith) -> None:
    assert bank_with(application()).runtime.run(Open(owner="x")).version == 1
    assert application().deletes == frozenset()
    assert application(EraseAccount).deletes == {Account}


def test_it_is_shown_what_a_use_case_deletes() -> None:
    bank = application(EraseAccount)
    registration = bank.registration("EraseAccount")
    assert registration is not None
    steps = {step["step"]: step for step in described(registration, bank)["steps"]}
    assert steps["apply"]["deletes"] == ["Account"]
    assert steps["load"]["lock"]["postgresql"] == "FOR UPDATE OF accounts"
    assert steps["record"]["events"] == ["account.erased", "account.deleted"]
