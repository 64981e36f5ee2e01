"""What a watcher is told of a command, on every driver."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import Any, ClassVar

import pytest
from sqlalchemy import Engine, select
from sqlalchemy.orm import DeclarativeBase, Mapped, Session, mapped_column

from tests.accounts import (
    ADA,
    BOB,
    Account,
    Close,
    Deposit,
    Freeze,
    MakeDeposit,
    Open,
    Ping,
    SetPin,
    application,
    deposit_doing,
)
from tests.bank import Bank
from usecasecore import Decision, Lifecycle, Policy, Runtime, Transaction, Transition, state_column, steps, version_column
from usecasecore.errors import GuardRejected, TransitionNotAllowed
from usecasecore.steps import Answer, Creation, Ended, Firing, Moment, Replay, Step, When, watch


@contextmanager
def alone() -> Iterator[None]:
    """Have nobody else watch, as a recorder of transitions does where the suite runs with one."""
    others = steps._watching
    steps._watched_by(())
    try:
        yield
    finally:
        steps._watched_by(others)


def watched(act: Callable[[], Any]) -> list[Moment]:
    """The moments of what is done; a refusal is part of it."""
    seen: list[Moment] = []
    with watch(seen.append), suppress(GuardRejected, TransitionNotAllowed):
        act()
    return seen


def steps_of(moments: list[Moment], when: When) -> list[str]:
    return [str(one.step) for one in moments if one.when is when]


def firings(moments: list[Moment]) -> list[Firing]:
    return [one.fact for one in moments if isinstance(one.fact, Firing)]


UP_TO_THE_LOCK = ["validate", "begin", "idempotency", "load", "policy"]
RECORDED = ["flush", "audit", "messages", "result"]


@pytest.mark.parametrize("key", [None, "k"])
def test_each_step_of_a_command_is_told_before_and_after(bank: Bank, key: str | None) -> None:
    account_id = bank.open()
    bank.runtime.check()
    seen = watched(lambda: bank.runtime.run(Deposit(account_id=account_id, amount=5), actor=ADA, idempotency_key=key))
    every = [*UP_TO_THE_LOCK, "fire", "apply", *RECORDED, "commit"]
    assert steps_of(seen, When.BEFORE) == every
    assert steps_of(seen, When.AFTER) == every
    assert {*every, "rollback"} == {str(step) for step in Step}
    assert {one.use_case for one in seen} == {"MakeDeposit"}
    assert len({one.session for one in seen} - {None}) == 1
    pairs = [(str(one.step), str(one.when)) for one in seen if one.when is not When.DURING]
    assert pairs == [(step, when) for step in every for when in ("before", "after")]


def test_a_use_case_without_a_trigger_fires_nothing(bank: Bank) -> None:
    account_id = bank.open()
    commands = (SetPin(account_id=account_id, pin="1"), Open(owner="new"), Ping(owner="x"))
    for command in commands:
        seen = watched(lambda command=command: bank.runtime.run(command))  # type: ignore[misc]
        assert steps_of(seen, When.AFTER) == [*UP_TO_THE_LOCK, "apply", *RECORDED, "commit"]


def test_a_replay_ends_with_the_look_up_and_rolls_back(bank: Bank) -> None:
    account_id = bank.open()
    deposit = Deposit(account_id=account_id, amount=5)
    bank.runtime.run(deposit, idempotency_key="k")
    seen = watched(lambda: bank.runtime.run(deposit, idempotency_key="k"))
    after = steps_of(seen, When.AFTER)
    assert after in (["validate", "begin", "idempotency", "rollback"], ["validate", "begin", "idempotency", "load", "rollback"])


def test_a_replay_names_the_execution_that_it_repeats(bank: Bank) -> None:
    account_id = bank.open()
    deposit = Deposit(account_id=account_id, amount=5)
    first = bank.runtime.run(deposit, idempotency_key="k")
    seen = watched(lambda: bank.runtime.run(deposit, idempotency_key="k"))
    assert [one.fact for one in seen if isinstance(one.fact, Replay)] == [Replay(first.command_id)]


def test_a_new_aggregate_is_told_with_its_lifecycle(bank: Bank) -> None:
    seen = watched(lambda: bank.open("new"))
    (creation,) = [one.fact for one in seen if isinstance(one.fact, Creation)]
    assert (creation.lifecycle, creation.aggregate.owner) == (Account.lifecycle, "new")


def test_the_session_of_a_moment_knows_the_application(bank: Bank) -> None:
    seen = watched(lambda: bank.runtime.run(Ping(owner="x")))
    assert {one.session.application for one in seen if one.session} == {bank.runtime.application}


def test_a_watcher_that_asks_for_little_is_told_no_more(bank: Bank) -> None:
    account_id, seen = bank.open(), list[Moment]()
    with alone(), watch(seen.append, only=[Step.COMMIT, Firing]):
        bank.runtime.run(Close(account_id=account_id))
    assert [(str(one.step), str(one.when)) for one in seen] == [("fire", "during"), ("commit", "before"), ("commit", "after")]


def test_the_end_of_a_transaction_is_told_once_and_needs_no_step(bank: Bank) -> None:
    account_id, seen = bank.open(), list[Moment]()
    bank.runtime.run(Deposit(account_id=account_id, amount=5))
    with alone(), watch(seen.append, only=[Ended]):
        assert not steps.wanted_steps
        bank.runtime.run(Deposit(account_id=account_id, amount=5), actor=ADA)
        with pytest.raises(GuardRejected):
            bank.runtime.run(Close(account_id=account_id))
    assert [(str(one.step), str(one.when), one.fact) for one in seen] == [
        ("commit", "during", Ended(committed=True)),
        ("rollback", "during", Ended(committed=False)),
    ]


def test_a_command_in_the_caller_s_transaction_is_not_told_as_rolled_back(engine: Engine) -> None:
    runtime = Runtime(engine, application())
    with Session(engine) as session:
        seen = watched(lambda: runtime.run(Open(owner="ada"), session=session))
        session.commit()
    assert steps_of(seen, When.AFTER)[-1] == "result"
    with Session(engine) as session:
        account_id = session.scalars(select(Account.id)).one()
        runtime.run(Freeze(account_id=account_id), reason="x", session=session)
        seen = watched(lambda: runtime.run(Close(account_id=account_id), session=session))
    assert steps_of(seen, When.AFTER)[-1] == "rollback"


def test_a_refusal_tells_what_was_fired_and_that_it_was_rolled_back(bank: Bank) -> None:
    account_id = bank.open()
    bank.runtime.run(Deposit(account_id=account_id, amount=5))
    seen = watched(lambda: bank.runtime.run(Close(account_id=account_id)))
    (firing,) = firings(seen)
    assert (firing.lifecycle, firing.trigger, firing.state, firing.dest) == (Account.lifecycle, "close", "open", None)
    assert firing.declared
    assert [(one.edge.dest, one.guard, one.passed) for one in firing.verdicts] == [("closed", "is_empty", False)]
    assert steps_of(seen, When.AFTER) == [*UP_TO_THE_LOCK, "rollback"]


def test_a_trigger_that_the_state_does_not_know_is_told_as_undeclared(bank: Bank) -> None:
    account_id = bank.open()
    bank.runtime.run(Freeze(account_id=account_id), reason="x")
    (firing,) = firings(watched(lambda: bank.runtime.run(Close(account_id=account_id))))
    assert (firing.declared, firing.edge, firing.verdicts) == (False, None, ())


def test_a_transition_is_told_with_its_edge_and_the_guards_that_let_it_pass(bank: Bank) -> None:
    account_id = bank.open()
    seen = watched(lambda: bank.runtime.run(Close(account_id=account_id)))
    (firing,) = firings(seen)
    assert (firing.edge.trigger, firing.edge.source, firing.dest) == ("close", "open", "closed")
    assert [(one.guard, one.passed) for one in firing.verdicts] == [("is_empty", True)]
    assert firing.aggregate.id == account_id
    assert next(one.step for one in seen if one.fact is firing) is Step.FIRE


def test_a_callback_that_raises_leaves_a_firing_that_came_to_nothing() -> None:
    def fail(_aggregate: object) -> None:
        raise MemoryError

    class Base(DeclarativeBase):
        pass

    class Lamp(Base):
        __tablename__ = "lamps"
        id: Mapped[int] = mapped_column(primary_key=True)
        state: Mapped[str] = state_column(["off", "on"])
        version: Mapped[int] = version_column()
        lifecycle: ClassVar = Lifecycle(
            states=["off", "on"], initial="off", transitions=[Transition("switch", "off", "on", before=fail)]
        )

    seen: list[Moment] = []
    with watch(seen.append), pytest.raises(MemoryError):
        Lamp.lifecycle.fire(Lamp(), "switch")
    (firing,) = firings(seen)
    assert (firing.declared, firing.edge, firing.dest, firing.verdicts) == (True, None, None, ())


class OnlyAda(Policy):
    def permitted(self, request: Any) -> Decision:
        return Decision(request.actor == ADA, "ada only")


def test_the_answers_of_the_policy_are_told(bank_with: Callable[..., Bank]) -> None:
    bank = bank_with(application(policy=OnlyAda()))
    account_id = bank.runtime.execute(Open(owner="grace"), actor=ADA).account_id
    seen: list[Moment] = []
    with watch(seen.append), pytest.raises(Exception, match="ada only"):
        bank.runtime.run(Close(account_id=account_id), actor=BOB)
    answers = [one.fact for one in seen if isinstance(one.fact, Answer)]
    assert [(one.question, one.yes, one.reason) for one in answers] == [("readable", True, ""), ("permitted", False, "ada only")]


def fail_at(step: Step, when: When) -> Callable[[Moment], None]:
    def fail(moment: Moment) -> None:
        if (moment.step, moment.when) == (step, when):
            raise MemoryError

    return fail


@pytest.mark.parametrize("when", [When.BEFORE, When.AFTER])
@pytest.mark.parametrize("step", [step for step in Step if step is not Step.ROLLBACK])
def test_what_a_watcher_raises_fails_that_step_and_leaves_nothing(bank: Bank, step: Step, when: When) -> None:
    account_id = bank.open()
    bank.runtime.check()
    before, account = bank.counts(), bank.account(account_id)
    deposit = Deposit(account_id=account_id, amount=5)
    with watch(fail_at(step, when)), pytest.raises(MemoryError):
        bank.runtime.run(deposit, actor=ADA)
    committed = step is Step.COMMIT and when is When.AFTER
    assert (bank.account(account_id) != account) is committed
    assert bank.counts()["audit"] == before["audit"] + committed
    bank.runtime.run(deposit, actor=ADA)
    assert bank.account(account_id).balance == 5 * (1 + committed)


@pytest.mark.parametrize("when", [When.BEFORE, When.AFTER])
def test_a_watcher_that_fails_at_the_rollback_does_not_keep_the_connection(bank: Bank, when: When) -> None:
    account_id = bank.open()
    bank.runtime.run(Deposit(account_id=account_id, amount=5))
    with watch(fail_at(Step.ROLLBACK, when)), pytest.raises(MemoryError):
        bank.runtime.run(Close(account_id=account_id))
    bank.runtime.run(Deposit(account_id=account_id, amount=1))
    assert bank.account(account_id).balance == 6


def test_a_command_inside_of_another_is_told_in_its_place(bank_with: Callable[..., Bank]) -> None:
    other: list[Any] = []
    bank = bank_with(
        application(
            deposit_doing(lambda _, __, context: context.execute(Freeze(account_id=other[0]), reason="x")),
            instead_of=MakeDeposit,
        )
    )
    account_id = bank.open()
    other.append(bank.open("other"))
    seen = watched(lambda: bank.runtime.run(Deposit(account_id=account_id, amount=5)))
    told = [(one.use_case, str(one.step)) for one in seen if one.when is When.AFTER]
    inner = [("FreezeAccount", step) for step in [*UP_TO_THE_LOCK, "fire", "apply", *RECORDED]]
    outer = [("MakeDeposit", step) for step in [*UP_TO_THE_LOCK, "fire"]]
    rest = [("MakeDeposit", step) for step in ["apply", *RECORDED, "commit"]]
    assert told == [*outer, *inner, *rest]


def test_several_commands_in_one_transaction_share_its_session_and_one_commit(bank: Bank) -> None:
    account_id = bank.open()

    def work(transaction: Transaction) -> None:
        transaction.execute(Deposit(account_id=account_id, amount=5))
        transaction.execute(Freeze(account_id=account_id), reason="x")

    seen = watched(lambda: bank.runtime.transaction(work))
    assert steps_of(seen, When.AFTER).count("commit") == 1
    assert steps_of(seen, When.AFTER).count("result") == 2
    assert len({one.session for one in seen} - {None}) == 1


def test_nobody_is_told_once_the_block_is_left(bank: Bank) -> None:
    seen = watched(lambda: bank.runtime.run(Ping(owner="x")))
    told = len(seen)
    bank.runtime.run(Ping(owner="y"))
    assert told == len(seen) > 0
