"""`explain(..., rehearse=True)`: everything is run, told and rolled back; on every driver."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

import pytest
from sqlalchemy import Engine, create_engine, text
from sqlalchemy.orm import Session

from tests.accounts import Account, Deposit, MakeDeposit, Open, SetPin, deposit_doing
from tests.accounts import Base as BankBase
from tests.accounts import application as bank_application
from tests.bank import Bank, MakeRuntime
from tests.claims import ADA, EVE, MALLORY, Approve, Base, Claim, Close, File, Merge, Pay, application
from usecasecore import Rejected, Runtime
from usecasecore.ledger import ledger_tables
from usecasecore.runtime.story import Story
from usecasecore.runtime.storyteller import Storyteller, one_line
from usecasecore.steps import Step


@pytest.fixture
def runtime(engine: Engine, make_runtime: MakeRuntime) -> Any:
    Base.metadata.create_all(engine)
    return make_runtime(application())


def contents(engine: Engine) -> dict[str, list[Any]]:
    tables = [Claim.__table__, Account.__table__, *ledger_tables().metadata.sorted_tables]
    with engine.connect() as connection:
        return {str(table): list(connection.execute(table.select())) for table in tables if _there(connection, str(table))}


def _there(connection: Any, name: str) -> bool:
    return bool(connection.dialect.has_table(connection, name))


def told(story: Story, kind: str) -> list[str]:
    return [fact.text for fact in story.facts if fact.kind == kind]


CASES: dict[str, tuple[Any, dict[str, Any]]] = {
    "accepted": (Close(claim_id=1), {"actor": ADA, "reason": "sold", "idempotency_key": "k"}),
    "creating": (File(claim_id=3, amount=1), {"actor": ADA}),
    "several aggregates": (Merge(into=1, claim_id=2), {"actor": ADA}),
    "refused by a guard": (Approve(claim_id=1), {"actor": ADA}),
    "refused by the policy": (Approve(claim_id=1), {"actor": EVE}),
    "not to be known of": (Approve(claim_id=1), {"actor": MALLORY}),
    "missing": (Approve(claim_id=7), {"actor": ADA}),
    "another version": (Approve(claim_id=1), {"actor": ADA, "expected_version": 9}),
    "not valid": (Pay(claim_id=1, amount=-1), {"actor": ADA}),
}


@pytest.mark.parametrize("case", CASES)
def test_a_rehearsal_writes_nothing_and_answers_what_execute_does(runtime: Any, engine: Engine, case: str) -> None:
    for claim_id in (1, 2):
        runtime.execute(File(claim_id=claim_id, amount=5_000), actor=ADA)
    command, said = CASES[case]
    before = contents(engine)
    answer = runtime.explain(command, rehearse=True, **said)
    assert contents(engine) == before
    refusal = None
    try:
        runtime.execute(command, **said)
    except Rejected as error:
        refusal = error
    assert [(one.code, one.message) for one in answer.refusals] == ([(refusal.code, refusal.refusal.message)] if refusal else [])
    assert refusal or contents(engine) != before


def test_the_story_of_an_accepted_command_tells_each_step_and_what_was_rolled_back(runtime: Any) -> None:
    runtime.execute(File(claim_id=1, amount=5, note="receipt"), actor=ADA)
    answer = runtime.explain(Approve(claim_id=1), actor=ADA, rehearse=True)
    assert (answer.trigger, answer.state, answer.destination, answer.version) == ("approve", "filed", "approved", 1)
    story = answer.story
    assert (story.command, story.actor, story.ending) == ("Approve(claim_id=1)", "user:ada", "rolled back")
    steps = [one.step for one in story.steps]
    assert steps[0] is Step.BEGIN
    assert steps[-1] is Step.ROLLBACK
    assert Step.COMMIT not in steps
    assert all(one.done for one in story.steps)
    assert told(story, "guard") == ["is_documented: yes", "is_small: yes", "is_disputed: yes"]
    assert told(story, "fired") == ["approve on Claim: filed -> approved"]
    assert told(story, "policy") == ["readable: yes", "permitted: yes"]
    assert told(story, "change") == ["claim 1, version 2, filed -> approved"]
    assert told(story, "event") == ["claim.transition.approve"]
    assert len(told(story, "lock")) == 1
    assert [fact.trip for fact in story.facts if fact.kind == "sql"] == list(range(1, story.trips + 1))
    assert told(story, "undone")
    assert str(answer).startswith(
        "ApproveClaim would run: approve, filed to approved\nApproveClaim: Approve(claim_id=1) by user:ada\n"
    )


def test_the_story_of_a_refusal_ends_at_its_step_with_the_reason(runtime: Any) -> None:
    runtime.execute(File(claim_id=1, amount=5_000, note=""), actor=ADA)
    by_guard = runtime.explain(Approve(claim_id=1), actor=ADA, rehearse=True).story
    assert [one.step for one in by_guard.steps if not one.done] == [Step.FIRE]
    assert "is_documented: no (a claim is documented)" in told(by_guard, "guard")
    assert not told(by_guard, "undone")
    by_policy = runtime.explain(Approve(claim_id=1), actor=EVE, rehearse=True).story
    assert [one.step for one in by_policy.steps if not one.done] == [Step.POLICY]
    assert told(by_policy, "policy") == ["readable: yes", "permitted: no (Eve only looks)"]


def test_what_apply_refuses_is_found_out(runtime: Any) -> None:
    runtime.execute(File(claim_id=1, amount=5, note="receipt"), actor=ADA)
    runtime.execute(Approve(claim_id=1), actor=ADA)
    assert runtime.explain(Pay(claim_id=1, amount=1), actor=ADA).would_run
    answer = runtime.explain(Pay(claim_id=1, amount=1), actor=ADA, rehearse=True)
    assert [one.message for one in answer.refusals] == ["the till is closed"]
    assert [one.step for one in answer.story.steps if not one.done] == [Step.APPLY]


def test_a_stored_result_is_told_of(runtime: Any, engine: Engine) -> None:
    said: dict[str, Any] = {"actor": ADA, "idempotency_key": "k"}
    runtime.execute(File(claim_id=1, amount=5), **said)
    before = contents(engine)
    answer = runtime.explain(File(claim_id=1, amount=5), rehearse=True, **said)
    assert answer.replays
    assert len(told(answer.story, "replay")) == 1
    assert contents(engine) == before


def test_an_error_of_apply_passes_through_with_the_story_and_what_it_had_written_is_gone(
    bank_with: Callable[..., Bank], engine: Engine
) -> None:
    def act(command: Deposit, account: Account, context: Any) -> None:
        account.balance += command.amount
        context.session.flush()
        account.owner = "nobody"
        raise ZeroDivisionError

    bank = bank_with(bank_application(deposit_doing(act), instead_of=MakeDeposit))
    account = bank.open()
    before = contents(engine)
    with pytest.raises(ZeroDivisionError) as caught:
        bank.runtime.explain(Deposit(account_id=account, amount=5), rehearse=True)
    [note] = caught.value.__notes__
    assert "unsaved: Account: owner" in note
    assert "undone: what was written by sql" in note
    assert "it ended here" in note
    assert contents(engine) == before


def test_sensitive_values_are_not_told(bank: Bank) -> None:
    account = bank.open()
    story = bank.runtime.explain(SetPin(account_id=account, pin="correct-horse"), rehearse=True).story
    assert told(story, "set") == ['pin: null -> "[redacted]"']
    assert "correct-horse" not in str(story)
    assert "correct-horse" not in repr(story)


def test_other_commands_meanwhile_are_not_part_of_the_story(bank: Bank) -> None:
    account = bank.open("ada")
    teller = Storyteller(5)
    with teller.listening():
        others = [threading.Thread(target=bank.open, args=(f"owner {number}",)) for number in range(3)]
        for other in others:
            other.start()
        story = bank.runtime.explain(Deposit(account_id=account, amount=5), rehearse=True).story
        for other in others:
            other.join()
    assert {one.use_case for one in story.steps} == {"MakeDeposit"}
    assert sorted(one.ending for one in teller.stories) == ["committed"] * 3 + ["rolled back"]


def test_several_commands_of_one_transaction_are_one_story(bank: Bank) -> None:
    teller = Storyteller(5)
    with teller.listening():
        bank.runtime.transaction(lambda one: [one.execute(Open(owner=name)) for name in ("a", "b")])
    [story] = teller.stories
    assert story.ending == "committed"
    assert len(told(story, "create")) == 2
    assert story.command == "Open(owner='a')"


def test_what_runs_in_a_callers_transaction_is_left_to_it_and_the_callers_statements_are_not_told(database_url: str) -> None:
    engine = create_engine(database_url)
    BankBase.metadata.create_all(engine)
    runtime = Runtime(engine, bank_application())
    teller = Storyteller(5)
    with teller.listening(), Session(engine) as session, session.begin():
        runtime.execute(Open(owner="a"), session=session)
        session.execute(text("select 'mine'"))
        runtime.execute(Open(owner="b"), session=session)
    engine.dispose()
    assert [(one.command, one.ending) for one in teller.stories] == [
        ("Open(owner='a')", "handed over"),
        ("Open(owner='b')", "handed over"),
    ]
    assert "mine" not in "".join(map(str, teller.stories))
    assert [one.trips for one in teller.stories] == [teller.stories[0].trips] * 2


def test_what_is_not_valid_is_told_without_a_transaction(runtime: Any) -> None:
    teller = Storyteller(5)
    with teller.listening(), pytest.raises(Rejected, match="below 0"):
        runtime.execute(Pay(claim_id=1, amount=-1), actor=ADA)
    [story] = teller.stories
    assert (story.command, story.actor, story.ending) == ("Pay(claim_id=1, amount=-1)", "user:ada", "not valid")
    assert [(one.step, one.done) for one in story.steps] == [(Step.VALIDATE, False)]


def test_a_batch_is_one_story_with_the_changes_of_each_command(bank: Bank) -> None:
    accounts = [bank.open("a"), bank.open("b")]
    teller = Storyteller(5)
    with teller.listening():
        list(bank.runtime.execute_many([SetPin(account_id=one, pin="correct-horse") for one in accounts]))
    [story] = teller.stories
    assert story.ending == "committed"
    assert [text.split(",")[0] for text in told(story, "change")] == [f"account {one}" for one in accounts]
    assert told(story, "set") == ['pin: null -> "[redacted]"'] * 2
    assert "correct-horse" not in str(story)


def test_nothing_is_heard_once_nobody_listens(bank: Bank) -> None:
    teller = Storyteller(5)
    with teller.listening():
        bank.open("a")
    bank.open("b")
    assert [one.command for one in teller.stories] == ["Open(owner='a')"]


def test_a_long_statement_is_told_on_one_line_without_its_columns() -> None:
    columns = ", ".join(f"claims.column_{number}" for number in range(20))
    assert one_line(f"SELECT {columns}\nFROM claims\nWHERE claims.id = ?") == "SELECT ... FROM claims WHERE claims.id = ?"
    assert one_line("SELECT 1\n  FROM x") == "SELECT 1 FROM x"
    assert len(one_line("x" * 1_000)) <= 110
