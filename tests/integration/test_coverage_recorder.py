"""What the recorder of transition coverage counts, on every driver, and where it counts nothing."""

from __future__ import annotations

import sys
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from types import SimpleNamespace
from typing import Any

import pytest
from sqlalchemy import create_engine
from sqlalchemy.orm import Session
from sqlalchemy.pool import StaticPool

from tests.accounts import ADA, Account, Base, Close, Deposit, Flip, Freeze, LimitReached, Open, application
from tests.bank import Bank, on_postgres
from tests.integration.test_faults import CutAtCommit
from usecasecore import Rejected, Runtime, steps
from usecasecore.coverage.facts import Fact, Kind
from usecasecore.coverage.recorder import Recorder
from usecasecore.steps import Step, When
from usecasecore.testing import crash_after


def facts(recorder: Recorder, kind: Kind) -> set[Fact]:
    return {fact for _, fact, _ in recorder.hits if fact.kind is kind}


def committed(recorder: Recorder) -> set[str]:
    return {fact.edge for fact in facts(recorder, Kind.COMMITTED)}


@pytest.fixture
def recorder() -> Recorder:
    return Recorder()


def test_each_thing_that_can_come_of_a_firing_is_counted_as_what_it_is(bank: Bank, recorder: Recorder) -> None:
    with recorder.watching():
        account_id = bank.open()
        for command in (
            Deposit(account_id=account_id, amount=5),
            Deposit(account_id=account_id, amount=2_000_000),
            Close(account_id=account_id),
            Freeze(account_id=account_id),
            Close(account_id=account_id),
        ):
            with suppress(Rejected):
                bank.runtime.execute(command, actor=ADA, reason="x")
    said = {"use_case": "CloseAccount", "trigger": "close"}
    assert facts(recorder, Kind.CREATED) == {Fact(Kind.CREATED, "OpenAccount", source="open")}
    assert committed(recorder) == {"open --deposit--> open", "open --freeze--> frozen"}
    assert [fact.edge for fact in facts(recorder, Kind.ROLLED_BACK)] == ["open --deposit--> open"]
    assert facts(recorder, Kind.STOPPED) == {
        Fact(Kind.STOPPED, **said, source="open", edge="open --close--> closed", guard="is_empty")
    }
    assert facts(recorder, Kind.REFUSED) == {Fact(Kind.REFUSED, **said, source="frozen")}
    assert {(fact.trigger, fact.source) for fact in facts(recorder, Kind.ATTEMPTED)} == {
        ("deposit", "open"),
        ("freeze", "open"),
        ("close", "open"),
        ("close", "frozen"),
    }
    assert recorder.applications == {id(bank.runtime.application): bank.runtime.application}


def test_two_transitions_are_in_a_row_on_one_aggregate_in_one_test_only(bank: Bank, recorder: Recorder) -> None:
    with recorder.watching():
        recorder.begin_test("first")
        one, other = bank.open("one"), bank.open("other")
        bank.runtime.execute(Deposit(account_id=one, amount=0))
        bank.runtime.execute(Flip(account_id=other))
        bank.runtime.execute(Close(account_id=one))
        recorder.begin_test("second")
        bank.runtime.execute(Flip(account_id=other))
    assert facts(recorder, Kind.FOLLOWED) == {
        Fact(Kind.FOLLOWED, edge="open --close--> closed", before="open --deposit--> open"),
    }


@pytest.mark.parametrize("applied", [False, True])
@on_postgres
def test_a_commit_whose_answer_was_lost_is_counted_once(
    bank_with: Callable[..., Bank], recorder: Recorder, applied: bool
) -> None:
    bank = bank_with(application())
    account_id = bank.open()
    bank.runtime.check()
    CutAtCommit(bank.wire, applied=applied)
    with recorder.watching():
        bank.runtime.execute(Freeze(account_id=account_id), reason="x")
    assert [count for (_, fact, _), count in recorder.hits.items() if fact.kind is Kind.COMMITTED] == [1]
    recorder.settle()
    assert bool(facts(recorder, Kind.ROLLED_BACK)) is not applied  # then the first attempt came to nothing


def test_a_commit_that_a_fixture_keeps_inside_of_a_savepoint_counts(recorder: Recorder) -> None:
    engine = create_engine("sqlite://", poolclass=StaticPool, connect_args={"check_same_thread": False})
    runtime = Runtime(engine, application(), create=True)
    runtime.check()
    Base.metadata.create_all(engine)
    with engine.connect() as connection, connection.begin() as outer:
        session = Session(connection, join_transaction_mode="create_savepoint")
        with recorder.watching():
            account_id = runtime.execute(Open(owner="ada"), session=session).account_id
            runtime.execute(Freeze(account_id=account_id), reason="x", session=session)
            assert committed(recorder) == set()
            session.commit()
        session.close()
        outer.rollback()
    assert committed(recorder) == {"open --freeze--> frozen"}


def test_a_session_of_the_caller_s_that_is_closed_without_a_commit_counts_as_rolled_back(bank: Bank, recorder: Recorder) -> None:
    runtime = Runtime(bank.engine, application())
    account_id = bank.open()
    with recorder.watching(), Session(bank.engine) as session:
        runtime.execute(Freeze(account_id=account_id), reason="x", session=session)
    assert committed(recorder) == set()
    assert [fact.edge for fact in facts(recorder, Kind.ROLLED_BACK)] == ["open --freeze--> frozen"]


def test_what_is_fired_by_hand_outside_of_any_command_is_attempted_only(recorder: Recorder) -> None:
    account = Account(owner="ada", balance=0)
    with recorder.watching():
        Account.lifecycle.fire(account, "freeze")
    assert {fact.kind for _, fact, _ in recorder.hits} == {Kind.ATTEMPTED}


def test_nothing_is_counted_once_the_block_is_left(bank: Bank, recorder: Recorder) -> None:
    with recorder.watching():
        account_id = bank.open()
    before = dict(recorder.hits)
    with pytest.raises(LimitReached):
        bank.runtime.execute(Deposit(account_id=account_id, amount=2_000_000))
    assert dict(recorder.hits) == before


def test_a_recorder_asks_for_no_step(recorder: Recorder) -> None:
    with recorder.watching():
        assert steps.Firing in steps.wanted
        assert not steps.wanted_steps  # what each of a command's dozen steps would cost


def test_a_commit_counts_though_somebody_who_was_told_of_it_first_failed(bank: Bank, recorder: Recorder) -> None:
    account_id = bank.open()
    with crash_after("commit"), recorder.watching():
        bank.runtime.execute(Freeze(account_id=account_id), reason="x")
    assert committed(recorder) == {"open --freeze--> frozen"}
    assert facts(recorder, Kind.ROLLED_BACK) == set()


@pytest.mark.parametrize("long", [3, 1_000_000])
def test_nothing_is_lost_of_what_threads_note_while_it_is_counted(
    monkeypatch: pytest.MonkeyPatch, recorder: Recorder, long: int
) -> None:
    monkeypatch.setattr("usecasecore.coverage.recorder._LONG", long)
    interval = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    try:
        with recorder.watching(), ThreadPoolExecutor(5) as pool:
            accounts = [Account(owner="ada", balance=0) for _ in range(4)]
            deposits = [pool.submit(deposit_by_hand, account, 2_000) for account in accounts]
            while not all(one.done() for one in deposits):
                assert recorder.hits.total() <= 24_000
    finally:
        sys.setswitchinterval(interval)
    assert [one.result() for one in deposits] == [None] * 4
    assert {(fact.kind, count) for (_, fact, _), count in recorder.hits.items()} == {
        (Kind.ATTEMPTED, 8_000),
        (Kind.COMMITTED, 8_000),
        (Kind.FOLLOWED, 7_996),
    }


class OwnSession:
    """What a recorder sees of a session."""

    step, application, caller = Step.FIRE, None, None


def deposit_by_hand(account: Account, times: int) -> None:
    """Fire as a use case does, and end as its session does, without the database's time in between."""
    Account.lifecycle.enter_initial(account)
    for _ in range(times):
        session = OwnSession()
        context: Any = SimpleNamespace(session=session, use_case="MakeDeposit", command_id=None)
        Account.lifecycle.fire(account, "deposit", context=context)
        steps.tell(steps.Moment(Step.COMMIT, When.DURING, "MakeDeposit", None, session, steps.COMMITTED))
