"""Tenants are kept apart: whoever guesses another tenant's id learns what one learns of an id that doesn't exist."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Annotated, Any, ClassVar
from uuid import UUID, uuid4

import pytest
from sqlalchemy import Engine, Select, String, select, text
from sqlalchemy.orm import DeclarativeBase, Mapped, Session, mapped_column

from tests.bank import MakeRuntime
from tests.chaos.tally import Tally, rounds
from usecasecore import (
    Actor,
    AllowAll,
    Application,
    Command,
    ExecutionContext,
    Key,
    Lifecycle,
    Load,
    Result,
    Tenancy,
    Transaction,
    UseCase,
    state_column,
    use_case,
    uuid7,
    version_column,
)
from usecasecore.errors import AggregateNotFound, DefinitionError, InvalidCommand, WrongResult

ACME, GLOBEX = Actor("user", "ada", tenant="acme"), Actor("user", "bob", tenant="globex")


class Base(DeclarativeBase):
    pass


class Note(Base):
    __tablename__ = "notes"
    id: Mapped[UUID] = mapped_column(primary_key=True, default=uuid7)
    tenant_id: Mapped[str | None] = mapped_column(String(50), nullable=False)
    words: Mapped[str] = mapped_column(String(200), default="")
    state: Mapped[str] = state_column(["open", "done"])
    version: Mapped[int] = version_column()
    lifecycle: ClassVar = Lifecycle(states=["open", "done"], initial="open", transitions=[["finish", "open", "done"]])


class Country(Base):
    """Belongs to nobody."""

    __tablename__ = "countries"
    code: Mapped[str] = mapped_column(String(2), primary_key=True)
    visits: Mapped[int] = mapped_column(default=0)
    version: Mapped[int] = version_column()


class Written(Result):
    note_id: UUID
    words: str = ""


class Write(Command[Written]):
    words: str
    tenant_id: str | None = None


class WriteNote(UseCase[Write, None, Written]):
    creates = Note

    def apply(self, command: Write, state: None, context: ExecutionContext, /) -> Written:
        return Written(note_id=context.create(Note(words=command.words, tenant_id=command.tenant_id)).id)


class Finish(Command[Written]):
    note_id: Annotated[UUID, Key(Note.id)]


@use_case(Note, trigger="finish")
def finish_note(command: Finish, note: Note, context: ExecutionContext) -> Written:
    return Written(note_id=note.id, words=note.words)


class Give(Command[Written]):
    note_id: Annotated[UUID, Key(Note.id)]
    to: str


@use_case(Note)
def give_note(command: Give, note: Note, context: ExecutionContext) -> Written:
    note.tenant_id = command.to
    return Written(note_id=note.id)


class Find(Command[Written]):
    note_id: UUID


class FindNote(UseCase[Find, Note, Written]):
    def select(self, command: Find, /) -> Select[Any]:
        return select(Note).where(Note.id == command.note_id)

    def apply(self, command: Find, note: Note, context: ExecutionContext, /) -> Written:
        return Written(note_id=note.id, words=note.words)


class Join(Command[Written]):
    one: UUID
    other: UUID
    country: str = "nl"


@dataclass(frozen=True)
class Pair:
    one: Annotated[Note, Load(id="one")]
    other: Annotated[Note, Load(id="other")]
    country: Annotated[Country, Load.or_create(code="country")]


class JoinNotes(UseCase[Join, Pair, Written]):
    def apply(self, command: Join, pair: Pair, context: ExecutionContext, /) -> Written:
        pair.one.words += pair.other.words
        pair.country.visits = (pair.country.visits or 0) + 1
        return Written(note_id=pair.one.id, words=pair.one.words)


class Peek(Command[Written]):
    note_id: UUID


class PeekInside(UseCase[Peek, None, Written]):
    def apply(self, command: Peek, state: None, context: ExecutionContext, /) -> Written:
        return context.execute(Finish(note_id=command.note_id))


APP = Application([WriteNote, finish_note, give_note, FindNote, JoinNotes, PeekInside], policy=AllowAll())
TENANCY = Tenancy("tenant_id", shared=(Country,))

ENTRIES: dict[str, Callable[[Any, UUID, UUID], Any]] = {
    "execute": lambda runtime, guess, _: runtime.execute(Finish(note_id=guess), actor=GLOBEX),
    "under a key": lambda runtime, guess, _: runtime.execute(Finish(note_id=guess), actor=GLOBEX, idempotency_key="k"),
    "expecting a version": lambda runtime, guess, _: runtime.execute(Finish(note_id=guess), actor=GLOBEX, expected_version=1),
    "select": lambda runtime, guess, _: runtime.execute(Find(note_id=guess), actor=GLOBEX),
    "one of several": lambda runtime, guess, own: runtime.execute(Join(one=own, other=guess), actor=GLOBEX),
    "transaction": lambda runtime, guess, _: runtime.transaction(
        lambda one: Transaction.execute(one, Finish(note_id=guess), actor=GLOBEX)
    ),
    "inside": lambda runtime, guess, _: runtime.execute(Peek(note_id=guess), actor=GLOBEX),
}


@pytest.fixture
def runtime(engine: Engine, make_runtime: MakeRuntime) -> Any:
    Base.metadata.create_all(engine)
    return make_runtime(APP, tenancy=TENANCY)


def notes(engine: Engine) -> list[Any]:
    with engine.connect() as connection:
        return list(connection.execute(text("select id, tenant_id, words, state, version from notes order by id")))


@pytest.mark.parametrize("entry", sorted(ENTRIES))
def test_a_guess_at_another_tenants_id_gives_what_a_missing_id_gives(
    runtime: Any, engine: Engine, entry: str, tally: Tally
) -> None:
    theirs = [runtime.execute(Write(words="secret"), actor=ACME).note_id for _ in range(3)]
    own = runtime.execute(Write(words="mine"), actor=GLOBEX).note_id
    runtime.execute(Finish(note_id=theirs[0]), actor=ACME, idempotency_key="k")
    before = notes(engine)
    guess = ENTRIES[entry]
    for number in range(rounds(6, 200)):
        with pytest.raises(AggregateNotFound) as foreign:
            guess(runtime, theirs[number % 3], own)
        missing_id = uuid4()
        with pytest.raises(AggregateNotFound) as missing:
            guess(runtime, missing_id, own)
        tally.faults += 1
        assert str(foreign.value).replace(str(theirs[number % 3]), "?") == str(missing.value).replace(str(missing_id), "?")
        assert (foreign.value.code, foreign.value.version) == (missing.value.code, missing.value.version)
    assert notes(engine) == before


def test_an_actor_does_to_its_own_rows_what_it_may(runtime: Any) -> None:
    one, other = (runtime.execute(Write(words=words), actor=ACME).note_id for words in "ab")
    assert runtime.execute(Join(one=one, other=other), actor=ACME).words == "ab"
    assert runtime.execute(Find(note_id=one), actor=ACME).words == "ab"
    assert runtime.execute(Finish(note_id=one), actor=ACME).words == "ab"


def test_a_new_row_gets_the_actors_tenant_and_no_other(runtime: Any, engine: Engine) -> None:
    runtime.execute(Write(words="x"), actor=ACME)
    runtime.execute(Write(words="x", tenant_id="globex"), actor=GLOBEX)
    with pytest.raises(WrongResult, match="of the actor's own tenant"):
        runtime.execute(Write(words="x", tenant_id="globex"), actor=ACME)
    assert [row.tenant_id for row in notes(engine)] == ["acme", "globex"]


def test_a_row_is_not_given_away(runtime: Any, engine: Engine) -> None:
    note_id = runtime.execute(Write(words="x"), actor=ACME).note_id
    with pytest.raises(WrongResult, match="of the actor's own tenant"):
        runtime.execute(Give(note_id=note_id, to="globex"), actor=ACME)
    assert [row.tenant_id for row in notes(engine)] == ["acme"]


def test_an_actor_without_a_tenant_is_refused_before_any_trip(runtime: Any) -> None:
    with pytest.raises(InvalidCommand, match="an actor of a tenant is accepted"):
        runtime.execute(Write(words="x"), actor=Actor("user", "eve"))


def test_audit_and_outbox_say_whose_they_are(runtime: Any, engine: Engine) -> None:
    for actor in (ACME, GLOBEX):
        runtime.execute(Write(words="x"), actor=actor, idempotency_key="k")
    with engine.connect() as connection:
        for table in ("audit", "outbox", "idempotency"):
            found = connection.execute(text(f"select tenant from usecasecore_{table} order by tenant")).scalars()
            assert list(found) == ["acme", "globex"]


@pytest.mark.parametrize("kind", ["sqlite", "postgresql"], indirect=True)
def test_the_callers_session_is_no_way_around(engine: Engine, make_runtime: MakeRuntime) -> None:
    Base.metadata.create_all(engine)
    runtime = make_runtime(APP, tenancy=TENANCY)
    note_id = runtime.execute(Write(words="secret"), actor=ACME).note_id
    with Session(engine) as session, pytest.raises(AggregateNotFound):
        runtime.execute(Finish(note_id=note_id), actor=GLOBEX, session=session)


def test_an_aggregate_without_the_column_is_refused_at_the_start(engine: Engine, make_runtime: MakeRuntime) -> None:
    with pytest.raises(DefinitionError, match="Country has no column 'tenant_id'"):
        make_runtime(APP, tenancy=Tenancy("tenant_id"))


class Ledger(Base):
    __tablename__ = "ledgers"
    id: Mapped[int] = mapped_column(primary_key=True)
    owner: Mapped[UUID]
    version: Mapped[int] = version_column()


def test_a_tenant_that_its_column_cannot_hold_has_no_rows() -> None:
    tenancy = Tenancy("owner")
    some = uuid4()
    assert tenancy.value(Ledger, Actor("user", "ada", tenant=str(some))) == some
    assert tenancy.value(Ledger, Actor("user", "ada", tenant="'; drop table")) is None
