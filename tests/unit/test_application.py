"""An Application refuses wrong declarations, all at once, and touches no database."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from types import new_class
from typing import Annotated, Any, ClassVar, Generic, TypeVar
from uuid import UUID

import pytest
from sqlalchemy import String
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column

from tests.accounts import (
    USE_CASES,
    Account,
    Closed,
    Deposit,
    Done,
    Freeze,
    FreezeAccount,
    LimitReached,
    MakeDeposit,
    OpenAccount,
    Ping,
    PingOwner,
    SendStatement,
    application,
)
from usecasecore import (
    AllowAll,
    Application,
    Command,
    DomainEvent,
    ExecutionContext,
    Job,
    Key,
    Lifecycle,
    Load,
    Result,
    Transition,
    UseCase,
    state_column,
    use_case,
    version_column,
)
from usecasecore.errors import DefinitionError


def problems_of(*use_cases: Any, policy: Any = None) -> tuple[str, ...]:
    with pytest.raises(DefinitionError) as wrong:
        Application(use_cases, policy=policy or AllowAll())
    return wrong.value.problems


class Unbound(UseCase[Freeze, Account, Done]):
    """Something to derive wrong declarations from."""

    name = "Wrong"

    def apply(self, command: Freeze, account: Account, context: ExecutionContext, /) -> Done:
        raise NotImplementedError


def test_a_right_application_knows_its_use_cases_and_lifecycles() -> None:
    app = application()
    assert [one.name for one in app.registrations] == [one.name for one in USE_CASES]
    assert list(app.lifecycles) == ["account"]
    deposit = app.registration("MakeDeposit")
    assert deposit is not None
    assert (deposit.aggregate, deposit.keys, deposit.triggers) == (Account, {"id": "account_id"}, ("deposit",))
    assert app.for_command(Deposit) is deposit
    assert app.registration("Nothing") is None
    assert repr(app) == "Application('bank', 7 use cases, 1 lifecycles)"


def test_instances_are_taken_as_they_are() -> None:
    class WithParts(FreezeAccount):
        def __init__(self, limit: int) -> None:
            self.limit = limit

    one = WithParts(3)
    assert Application([one], policy=AllowAll()).registrations[0].use_case is one
    [problem] = problems_of(WithParts)
    assert problem.startswith("WithParts: can't be made without arguments")


def test_everything_that_is_wrong_is_listed_at_once() -> None:
    class UnknownTrigger(Unbound):
        trigger = "freze"

    class Another(FreezeAccount):
        pass

    with pytest.raises(DefinitionError) as wrong:
        Application([UnknownTrigger, Another, MakeDeposit, "no use case"])  # type: ignore[list-item]
    text = str(wrong.value)
    assert text.startswith("4 problems:")
    assert "unknown trigger 'freze'; did you mean 'freeze'?" in text
    assert "UnknownTrigger and Another both take Freeze" in text
    assert "'no use case' is not a use case" in text
    assert "no policy: None is none; pass `policy=AllowAll()`" in text


class Other(Result):
    pass


def declared(**attributes: Any) -> type:
    return type("Wrong", (Unbound,), {"name": "Wrong", **attributes})


@pytest.mark.parametrize(
    ("attributes", "problem"),
    [
        ({"trigger": "fly"}, "Wrong: unknown trigger 'fly' (known: close, deposit, freeze, thaw)"),
        ({"trigger": "freeze", "triggers": ("thaw",)}, "Wrong: declares both `trigger` and `triggers`; one of them would do"),
        ({"triggers": ("freeze", "thaw")}, "Wrong: declares `triggers`, but has no `choose_trigger`"),
        (
            {"trigger": "freeze", "lifecycle": "payment"},
            "Wrong: fires 'freeze', but Account has no lifecycle 'payment'; it has: lifecycle",
        ),
        ({"emits": (SendStatement,)}, "Wrong: `emits` lists SendStatement, which is not a DomainEvent"),
        ({"enqueues": (Closed,)}, "Wrong: `enqueues` lists Closed, which is not a Job"),
        ({"refuses": (ValueError,)}, "Wrong: `refuses` lists ValueError, which is not a DomainError"),
        ({"emits": Closed}, "Wrong: `emits` is Closed; a tuple of DomainEvent types is wanted"),
        ({"creates": Done}, "Wrong: creates Done, which is not a mapped class"),
    ],
)
def test_each_wrong_declaration_is_named_with_its_cure(attributes: dict[str, Any], problem: str) -> None:
    assert problem in problems_of(declared(**attributes))


def test_a_result_that_does_not_match_the_commands_is_refused() -> None:
    class Mismatch(UseCase[Freeze, Account, Other]):
        def apply(self, command: Freeze, account: Account, context: ExecutionContext, /) -> Other:
            raise NotImplementedError

    assert problems_of(Mismatch) == ("Mismatch: returns Other, but Freeze promises Done",)


def test_a_command_without_a_result_is_refused() -> None:
    class Bare(Command):  # type: ignore[type-arg]
        pass

    class Use(UseCase[Bare, None, Done]):
        def apply(self, command: Bare, state: None, context: ExecutionContext, /) -> Done:
            raise NotImplementedError

    assert problems_of(Use) == ("Use: its command names no result; write `class Bare(Command[...])`",)


def test_a_use_case_that_names_no_types_is_refused() -> None:
    class Untyped(UseCase):  # type: ignore[type-arg]
        def apply(self, command: Any, state: Any, context: ExecutionContext, /) -> Any:
            raise NotImplementedError

    [problem] = problems_of(Untyped)
    assert problem == "Untyped: does not say what it takes; write `UseCase[Command, Aggregate, Result]`"


def test_types_given_through_a_generic_base_are_found() -> None:
    C = TypeVar("C", bound=Command[Any])

    class OnAccount(UseCase[C, Account, Done], Generic[C]):
        def apply(self, command: C, account: Account, context: ExecutionContext, /) -> Done:
            raise NotImplementedError

    class FreezeIt(OnAccount[Freeze]):
        trigger = "freeze"

    [registration] = Application([FreezeIt], policy=AllowAll()).registrations
    assert (registration.command, registration.aggregate, registration.result) == (Freeze, Account, Done)


def test_a_command_must_say_which_row_it_is_about() -> None:
    class Vague(Command[Done]):
        owner: str

    class Use(UseCase[Vague, Account, Done]):
        def apply(self, command: Vague, account: Account, context: ExecutionContext, /) -> Done:
            raise NotImplementedError

    [problem] = problems_of(Use)
    assert problem == "Use: Vague does not say which Account it is about: mark a field with `Annotated[..., Key(Account.id)]`"


def test_a_key_of_another_column_or_twice_the_same_is_refused() -> None:
    class ByOwner(Command[Done]):
        one: Annotated[UUID, Key(Account.id)]
        two: Annotated[UUID, Key()]
        owner: Annotated[str, Key(Account.owner)]

    class Use(UseCase[ByOwner, Account, Done]):
        def apply(self, command: ByOwner, account: Account, context: ExecutionContext, /) -> Done:
            raise NotImplementedError

    assert problems_of(Use) == (
        "Use: ByOwner.one and .two are both the key of 'id'",
        "Use: ByOwner.owner is a key of 'owner'; the primary key of Account is id",
    )


def test_loading_what_is_not_mapped_is_refused() -> None:
    class Use(UseCase[Ping, str, Done]):
        def apply(self, command: Ping, state: str, context: ExecutionContext, /) -> Done:
            raise NotImplementedError

    assert problems_of(Use) == (
        "Use: loads str, which is not a mapped class; a mapped class, a class of `Load` fields or None would do",
    )


def test_a_trigger_without_an_aggregate_is_refused() -> None:
    class Use(PingOwner):
        trigger = "freeze"

    assert problems_of(Use) == ("Use: fires 'freeze', but loads no aggregate to fire it on",)


def test_an_event_that_apply_visibly_emits_must_be_declared() -> None:
    class Forgot(UseCase[Freeze, Account, Done]):
        def apply(self, command: Freeze, account: Account, context: ExecutionContext, /) -> Done:
            context.emit(Closed(account_id=account.id))
            context.enqueue(SendStatement(account_id=account.id))
            raise NotImplementedError

    assert problems_of(Forgot) == (
        "Forgot: `apply` uses Closed, which is not in `emits`; add it there",
        "Forgot: `apply` uses SendStatement, which is not in `enqueues`; add it there",
    )


def test_two_messages_of_one_name_are_refused() -> None:
    class OtherClosed(DomainEvent, name="account.closed"):
        pass

    class One(FreezeAccount):
        emits = (Closed,)

    class Two(OpenAccount):
        emits = (OtherClosed,)

    [problem] = problems_of(One, Two)
    assert problem.startswith("two messages are named 'account.closed'")


def test_a_message_with_an_impossible_name_is_refused() -> None:
    with pytest.raises(DefinitionError, match="'no name!' is no name for a message"):

        class Wrong(Job, name="no name!"):
            pass


class Base(DeclarativeBase):
    pass


class Light(StrEnum):
    RED = "red"
    GREEN = "green"


TRANSITIONS = [Transition("go", Light.RED, Light.GREEN)]


class NoColumns(Base):
    __tablename__ = "no_columns"
    id: Mapped[int] = mapped_column(primary_key=True)
    lifecycle: ClassVar = Lifecycle(states=Light, initial=Light.RED, transitions=TRANSITIONS)


class NoVersion(Base):
    __tablename__ = "no_version"
    id: Mapped[int] = mapped_column(primary_key=True)
    name: Mapped[str] = mapped_column(String(10))


class Twice(Base):
    __tablename__ = "twice"
    id: Mapped[int] = mapped_column(primary_key=True)
    left_state: Mapped[Light] = state_column(Light)
    right_state: Mapped[Light] = state_column(Light)
    version: Mapped[int] = version_column()
    left: ClassVar = Lifecycle(states=Light, initial=Light.RED, transitions=TRANSITIONS, column="left_state")
    right: ClassVar = Lifecycle(
        states=Light, initial=Light.RED, transitions=[*TRANSITIONS, Transition("stop", "green", "red")], column="right_state"
    )


def use_case_on(cls: type, **attributes: Any) -> type:
    class Touch(Command[Done]):
        id: Annotated[int, Key("id")]

    def apply(self: Any, command: Any, state: Any, context: ExecutionContext, /) -> Done:
        raise NotImplementedError

    base = UseCase[Touch, cls, Done]  # type: ignore[valid-type]
    return new_class("Use", (base,), {}, lambda body: body.update({"apply": apply, **attributes}))


def test_a_lifecycle_without_its_columns_is_refused_with_its_place() -> None:
    problems = problems_of(use_case_on(NoColumns, trigger="go"))
    assert any("state_column" in problem and "test_application.py:" in problem for problem in problems)
    assert any("version_column" in problem for problem in problems)


def test_an_aggregate_without_a_version_column_is_refused() -> None:
    [problem] = problems_of(use_case_on(NoVersion))
    assert problem == "Use: NoVersion has no version column; add `version: Mapped[int] = version_column()`"


def test_a_trigger_that_several_lifecycles_know_wants_the_lifecycle_named() -> None:
    [problem] = problems_of(use_case_on(Twice, trigger="go"))
    assert "several lifecycles of Twice (left, right); say which in `lifecycle`" in problem
    [registration] = Application([use_case_on(Twice, trigger="go", lifecycle="right")], policy=AllowAll()).registrations
    assert registration.lifecycle is Twice.right
    [registration] = Application([use_case_on(Twice, trigger="stop")], policy=AllowAll()).registrations
    assert registration.lifecycle is Twice.right
    [problem] = problems_of(use_case_on(Twice, triggers=("go", "stop"), lifecycle="left", choose_trigger=lambda *_: "go"))
    assert problem.startswith("Use: unknown trigger 'stop'")


def test_domain_errors_get_a_code_of_their_own() -> None:
    assert LimitReached.code == "limit_reached"


@use_case(Account, trigger="freeze", reason_required=True)
def freeze_it(command: Freeze, account: Account, context: ExecutionContext) -> Done:
    """Freeze."""
    raise NotImplementedError


def test_a_function_becomes_a_use_case_of_its_name() -> None:
    [registration] = Application([freeze_it], policy=AllowAll()).registrations
    assert (registration.name, registration.command, registration.aggregate) == ("freeze_it", Freeze, Account)
    assert (registration.triggers, registration.use_case.reason_required) == (("freeze",), True)
    assert type(registration.use_case).__doc__ == "Freeze."


@use_case(Account, trigger="freeze")
def emits_undeclared(command: Freeze, account: Account, context: ExecutionContext) -> Done:
    context.emit(Closed(account_id=account.id))
    raise NotImplementedError


def test_what_a_function_visibly_emits_must_be_declared_too() -> None:
    assert problems_of(emits_undeclared) == ("emits_undeclared: `apply` uses Closed, which is not in `emits`; add it there",)


def bare(command, account, context):  # type: ignore[no-untyped-def]
    raise NotImplementedError


def short(command: Freeze) -> Done:
    raise NotImplementedError


def test_a_function_that_does_not_say_what_it_takes_is_refused() -> None:
    with pytest.raises(DefinitionError, match="annotate its command and its result"):
        use_case(Account)(bare)
    with pytest.raises(DefinitionError, match="short takes 1 arguments"):
        use_case(Account)(short)  # type: ignore[arg-type]
    with pytest.raises(DefinitionError, match="a use case declares no 'triger'; did you mean 'trigger'"):
        use_case(Account, triger="freeze")


class PairCommand(Command[Done]):
    first: UUID
    second: UUID


class Nobody:
    pass


@dataclass(frozen=True)
class WrongSlots:
    unmapped: Annotated[Nobody, Load(id="first")]
    wrong_key: Annotated[Account, Load(owner="first")]
    wrong_field: Annotated[Account, Load(id="third")]
    unmarked: Account


@dataclass
class NotFrozen:
    one: Annotated[Account, Load(id="first")]


@dataclass(frozen=True)
class TwoAccounts:
    one: Annotated[Account, Load(id="first")]
    other: Annotated[Account | None, Load.or_none(id="second")]


def on(state: type, **attributes: Any) -> type:
    def apply(self: Any, command: Any, state: Any, context: ExecutionContext, /) -> Done:
        raise NotImplementedError

    return new_class("Use", (UseCase[PairCommand, state, Done],), {}, lambda body: body.update({"apply": apply, **attributes}))  # type: ignore[valid-type]


def test_everything_that_is_wrong_with_a_class_of_several_is_listed() -> None:
    assert problems_of(on(WrongSlots)) == (
        "Use: WrongSlots does not say how to load unmarked; mark it with `Load(...)`",
        "Use: WrongSlots.unmapped is a Nobody, which is not a mapped class",
        'Use: WrongSlots.wrong_key: `Load(owner)` is not the primary key of Account; write `Load(id="...")`',
        "Use: WrongSlots.wrong_field is loaded by PairCommand.third, which does not exist; it has: first, second",
    )
    assert problems_of(on(NotFrozen)) == ("Use: NotFrozen is not frozen; write `@dataclass(frozen=True)`",)


@dataclass(frozen=True)
class PerhapsNone:
    one: Annotated[Account | None, Load.or_none(id="first")]


def test_a_trigger_is_not_fired_on_what_may_be_none() -> None:
    assert problems_of(on(PerhapsNone, trigger="freeze")) == (
        "Use: 'freeze' is fired on one, which is None where there is no such row; load it by `Load` or `Load.or_create`, "
        "or fire it by `context.fire` and `also_fires` where it is there",
    )
    [registration] = Application([on(PerhapsNone, also_fires={Account: ("freeze",)})], policy=AllowAll()).registrations
    assert registration.fires == {Account.lifecycle: ("freeze",)}


def test_transitions_on_several_must_be_clear_and_known() -> None:
    [problem] = problems_of(on(TwoAccounts, trigger="freeze"))
    assert (
        problem
        == "Use: 'freeze' is a trigger of several of what it loads (one, other); fire it by `context.fire` and `also_fires`"
    )
    assert problems_of(on(TwoAccounts, also_fires={Account: ("fly",), Nobody: ("x",)})) == (
        "Use: `also_fires`: Account has no trigger 'fly' (known: close, deposit, freeze, thaw)",
        "Use: `also_fires` names Nobody, which it does not load",
    )
    [registration] = Application([on(TwoAccounts, also_fires={Account: ("freeze",)})], policy=AllowAll()).registrations
    assert [(slot.name, slot.missing) for slot in registration.slots] == [("one", "refuse"), ("other", "none")]
    assert registration.loads == (Account,)
    assert registration.fires == {Account.lifecycle: ("freeze",)}
    assert any(name.startswith("Use (freeze)") for name in Account.lifecycle.use_cases_between("open", "frozen"))
