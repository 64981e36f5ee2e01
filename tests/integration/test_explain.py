"""Why can't I? What `explain` says is what `execute` would do; it changes nothing, and tells nobody what isn't theirs to know."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from sqlalchemy import Engine, insert, text
from sqlalchemy.orm import Session

from tests.bank import MakeRuntime
from tests.claims import (
    ADA,
    EVE,
    MALLORY,
    Approve,
    Base,
    Claim,
    Close,
    Comment,
    File,
    FindPaid,
    Merge,
    Pay,
    Settle,
    TooLate,
    application,
)
from usecasecore import AllowAll, Command, Policy, PolicyRequest, Rejected, steps
from usecasecore.errors import DatabaseUnavailable, ReplayIncompatible, TransactionEnded, WriteRefused
from usecasecore.ledger import ledger_tables


@pytest.fixture(autouse=True)
def nothing_called() -> Iterator[None]:
    Claim.called.clear()
    Claim.does = None
    yield
    Claim.does = None


@pytest.fixture
def runtime(engine: Engine, make_runtime: MakeRuntime) -> Any:
    Base.metadata.create_all(engine)
    return make_runtime(application())


def file(runtime: Any, claim_id: int = 1, amount: int = 5_000, note: str = "") -> None:
    runtime.execute(File(claim_id=claim_id, amount=amount, note=note), actor=ADA)


def refused(runtime: Any, command: Command[Any], **said: Any) -> Any:
    with pytest.raises(Rejected) as caught:
        runtime.execute(command, **said)
    return caught.value.refusal


def contents(engine: Engine) -> dict[str, list[Any]]:
    tables = ledger_tables()
    with engine.connect() as connection:
        return {
            str(table): list(connection.execute(table.select())) for table in (Claim.__table__, *tables.metadata.sorted_tables)
        }


def test_what_would_run_is_said_with_where_it_leads(runtime: Any) -> None:
    file(runtime, amount=500, note="receipt")
    told = runtime.explain(Approve(claim_id=1), actor=ADA)
    assert told.would_run
    assert (told.refusals, told.state, told.version, told.trigger, told.destination) == ((), "filed", 1, "approve", "approved")
    assert told.possible_from == ("filed",)
    assert runtime.execute(Approve(claim_id=1), actor=ADA).state == "approved"


def test_every_refusal_is_listed_in_the_order_in_which_execute_meets_them_and_the_first_is_its_own(runtime: Any) -> None:
    file(runtime)
    runtime.execute(Close(claim_id=1), actor=ADA, reason="sold")
    said: dict[str, Any] = {"actor": EVE, "expected_version": 1}
    told = runtime.explain(Approve(claim_id=1), **said)
    assert [one.code for one in told.refusals] == ["forbidden", "stale_version", "transition_not_allowed"]
    assert told.refusals[0] == refused(runtime, Approve(claim_id=1), **said)
    assert {one.version for one in told.refusals} == {2}
    said["actor"] = ADA
    told = runtime.explain(Approve(claim_id=1), **said)
    assert [one.code for one in told.refusals] == ["stale_version", "transition_not_allowed"]
    assert told.refusals[0] == refused(runtime, Approve(claim_id=1), **said)
    assert told.refusals[1] == refused(runtime, Approve(claim_id=1), actor=ADA)
    assert (told.state, told.possible_from) == ("closed", ("filed",))


def test_each_guard_that_says_no_is_named_over_all_candidates(runtime: Any) -> None:
    file(runtime, amount=5_000)
    told = runtime.explain(Approve(claim_id=1), actor=ADA)
    assert told.refusals == (refused(runtime, Approve(claim_id=1), actor=ADA),)
    # `execute` stops at the first no of each candidate.
    assert [guard for guard, _ in told.refusals[0].params["failures"]] == ["is_documented", "is_tiny"]
    assert [(one.guard, one.passed, one.edge.dest) for one in told.guards] == [
        ("is_documented", False, "approved"),
        ("is_small", False, "approved"),
        ("is_disputed", True, "approved"),
        ("is_tiny", False, "paid"),
    ]
    assert "a claim is below 1,000" in str(told)


def test_what_apply_refuses_is_out_of_reach(runtime: Any) -> None:
    file(runtime, amount=500, note="receipt")
    runtime.execute(Approve(claim_id=1), actor=ADA)
    assert runtime.explain(Pay(claim_id=1, amount=5), actor=ADA).would_run
    with pytest.raises(TooLate):
        runtime.execute(Pay(claim_id=1, amount=5), actor=ADA)


def test_what_is_wrong_with_the_call_is_said_with_the_rest(runtime: Any) -> None:
    file(runtime)
    said = {"actor": EVE, "expected_version": "x", "idempotency_key": " "}
    told = runtime.explain(Close(claim_id=1), **said)
    assert [one.code for one in told.refusals] == ["invalid_command", "forbidden"]
    assert told.refusals[0] == refused(runtime, Close(claim_id=1), **said)
    told = runtime.explain(Pay(claim_id=1, amount=-1), actor=ADA)
    assert [one.code for one in told.refusals] == ["too_late", "transition_not_allowed"]
    assert told.refusals[0] == refused(runtime, Pay(claim_id=1, amount=-1), actor=ADA)


def test_a_command_that_is_not_valid_or_that_nobody_takes_is_looked_at_no_further(runtime: Any) -> None:
    class Nobodys(Command[Any]):
        pass

    for command in (Comment(claim_id=1, text="a\x00b"), Nobodys()):
        told = runtime.explain(command, actor=ADA)
        assert told.refusals == (refused(runtime, command, actor=ADA),)
        assert told.refusals[0].code == "invalid_command"


def test_a_key_that_stands_for_a_result_replays_and_one_that_stands_for_another_command_is_refused(runtime: Any) -> None:
    file(runtime, amount=500, note="receipt")
    runtime.execute(Settle(claim_id=1, amount=1), actor=ADA, idempotency_key="k")
    told = runtime.explain(Settle(claim_id=1, amount=1), actor=ADA, idempotency_key="k")
    assert (told.replays, told.would_run, told.refusals) == (True, True, ())
    assert runtime.run(Settle(claim_id=1, amount=1), actor=ADA, idempotency_key="k").replayed
    told = runtime.explain(Settle(claim_id=1, amount=2), actor=ADA, idempotency_key="k")
    assert [one.code for one in told.refusals] == ["idempotency_key_reused", "transition_not_allowed"]
    assert told.refusals[0] == refused(runtime, Settle(claim_id=1, amount=2), actor=ADA, idempotency_key="k")
    assert not told.replays


def test_a_stored_result_that_can_not_be_read_back_is_no_refusal(runtime: Any, engine: Engine) -> None:
    file(runtime, amount=500, note="receipt")
    runtime.execute(Settle(claim_id=1, amount=1), actor=ADA, idempotency_key="k")
    with engine.begin() as connection:
        connection.execute(text("update usecasecore_idempotency set result = '{}' where key = 'k'"))
    with pytest.raises(ReplayIncompatible):
        runtime.explain(Settle(claim_id=1, amount=1), actor=ADA, idempotency_key="k")


def test_who_may_not_read_learns_to_the_byte_what_they_would_learn_of_nothing(runtime: Any, engine: Engine) -> None:
    file(runtime, claim_id=1)
    command = Settle(claim_id=1, amount=3)
    for said in ({}, {"expected_version": 7}, {"idempotency_key": "k"}, {"idempotency_key": " "}):
        hidden = runtime.explain(command, actor=MALLORY, **said)
        with engine.begin() as connection:
            row = connection.execute(Claim.__table__.select()).one()._asdict()
            connection.execute(text("delete from claims"))
        missing = runtime.explain(command, actor=MALLORY, **said)
        with engine.begin() as connection:
            connection.execute(insert(Claim), row)
        assert repr(hidden) == repr(missing)
        assert hidden == missing
        assert (hidden.state, hidden.version, hidden.guards, hidden.possible_from) == (None, None, (), ())
        assert hidden.refusals[-1].code == "aggregate_not_found"
    for other in (FindPaid(amount=5_000), Merge(into=1, claim_id=2)):
        assert [one.code for one in runtime.explain(other, actor=MALLORY).refusals] == ["aggregate_not_found"]


def test_who_may_read_but_not_act_gets_no_reasons_of_guards(runtime: Any) -> None:
    file(runtime)
    told = runtime.explain(Approve(claim_id=1), actor=EVE)
    assert [one.code for one in told.refusals] == ["forbidden"]
    assert told.guards == ()
    assert "documented" not in repr(told)
    assert "Eve only looks" in str(told)


def test_the_use_case_chooses_its_trigger_from_the_command(runtime: Any) -> None:
    file(runtime)
    assert runtime.explain(Settle(claim_id=1, amount=0), actor=ADA).destination == "closed"
    told = runtime.explain(Settle(claim_id=1, amount=1), actor=ADA)
    assert (told.trigger, [one.code for one in told.refusals]) == ("approve", ["guard_rejected"])


def test_a_row_that_is_found_by_a_query_and_several_rows_are_looked_at_too(runtime: Any) -> None:
    file(runtime, 1, amount=40)
    file(runtime, 2, amount=50)
    assert runtime.explain(FindPaid(amount=40), actor=ADA).destination == "closed"
    assert runtime.explain(FindPaid(amount=41), actor=ADA).refusals == (refused(runtime, FindPaid(amount=41), actor=ADA),)
    assert runtime.explain(Merge(into=1, claim_id=2), actor=ADA).would_run
    told = runtime.explain(Merge(into=1, claim_id=3), actor=ADA)
    assert told.refusals == (refused(runtime, Merge(into=1, claim_id=3), actor=ADA),)


def test_prepare_is_called_on_a_private_copy_and_no_other_callback_at_all(runtime: Any) -> None:
    file(runtime, amount=500, note="receipt")
    assert runtime.explain(Approve(claim_id=1), actor=ADA).would_run
    assert runtime.allowed(Claim, 1, actor=ADA)
    assert Claim.called == []
    runtime.execute(Approve(claim_id=1), actor=ADA)
    Claim.called.clear()
    assert runtime.explain(Pay(claim_id=1, amount=500), actor=ADA).destination == "paid"
    told = runtime.explain(Pay(claim_id=1, amount=501), actor=ADA)
    assert [guard for guard, _ in told.refusals[0].params["failures"]] == ["is_within", "is_nothing"]
    assert Claim.called == ["prepare", "prepare"]


def test_nothing_is_written_or_told(runtime: Any, engine: Engine) -> None:
    file(runtime)
    before = contents(engine)
    seen: list[steps.Moment] = []
    with steps.watch(seen.append):
        runtime.explain(Approve(claim_id=1), actor=ADA, idempotency_key="k")
        runtime.explain(Approve(claim_id=2), actor=EVE)
        runtime.allowed(Claim, 1, actor=ADA)
        runtime.allowed_many(Claim, [1, 2], actor=EVE)
    assert seen == []
    assert contents(engine) == before


def test_nobody_is_waited_for_and_nobody_has_to_wait(runtime: Any, engine: Engine) -> None:
    file(runtime)
    with engine.begin() as connection:  # on SQLite the write lock, on PostgreSQL the row's
        connection.execute(text("update claims set note = 'mine' where id = 1"))
        told = runtime.explain(Approve(claim_id=1), actor=ADA)
        assert runtime.allowed(Claim, 1, actor=ADA)["ApproveClaim"].refusals == told.refusals
    assert [guard for guard, _ in told.refusals[0].params["failures"]] == ["is_documented", "is_tiny"]


def test_the_callers_objects_stay_as_they_are(runtime: Any, engine: Engine) -> None:
    file(runtime)
    with Session(engine) as session:
        mine = session.get(Claim, 1)
        assert mine is not None
        mine.note = "not flushed"
        runtime.explain(Approve(claim_id=1), actor=ADA)
        runtime.allowed(Claim, 1, actor=ADA)
        assert (mine.note, session.is_modified(mine)) == ("not flushed", True)


def _add(claim: Any, event: Any) -> None:
    session = event.kwargs["context"].session
    session.add(Claim(id=77, amount=0))
    session.flush()


def _change(claim: Any, event: Any) -> None:
    claim.amount = 1
    event.kwargs["context"].session.flush()


def _update(claim: Any, event: Any) -> None:
    event.kwargs["context"].session.execute(text("update claims set amount = 1"))


def _create(claim: Any, event: Any) -> None:
    event.kwargs["context"].create(Claim(id=77, amount=0))


def _delete(claim: Any, event: Any) -> None:
    event.kwargs["context"].delete(claim)


def _fire(claim: Any, event: Any) -> None:
    event.kwargs["context"].fire(claim, "close")


def _execute(claim: Any, event: Any) -> None:
    event.kwargs["context"].execute(Close(claim_id=1))


def test_a_guard_that_wants_to_change_something_is_stopped(runtime: Any, engine: Engine) -> None:
    file(runtime)
    before = contents(engine)
    for does in (_add, _change, _update, _create, _delete, _fire, _execute):
        Claim.does = does
        with pytest.raises(WriteRefused, match=r"ApproveClaim: .* is refused while the use case is only asked about"):
            runtime.explain(Approve(claim_id=1), actor=ADA)
        with pytest.raises(WriteRefused, match="ApproveClaim"):
            runtime.allowed(Claim, 1, actor=ADA)
    Claim.does = None
    assert contents(engine) == before
    # Its connection writes again.
    for number in range(10, 14):
        file(runtime, number)


def test_a_guard_that_keeps_to_itself_that_it_was_stopped_is_found_out(runtime: Any) -> None:
    file(runtime)

    def quietly(claim: Any, event: Any) -> None:
        with pytest.raises(WriteRefused):
            _create(claim, event)

    Claim.does = quietly
    with pytest.raises(WriteRefused):
        runtime.explain(Approve(claim_id=1), actor=ADA)
    with pytest.raises(WriteRefused):
        runtime.allowed(Claim, 1, actor=ADA)


def test_a_guard_that_ends_the_transaction_is_found_out(runtime: Any) -> None:
    file(runtime)
    Claim.does = lambda claim, event: event.kwargs["context"].session.commit()
    with pytest.raises(TransactionEnded):
        runtime.explain(Approve(claim_id=1), actor=ADA)


@pytest.mark.parametrize("question", ["readable", "permitted"])
def test_a_policy_that_writes_is_no_refusal_but_an_error(engine: Engine, make_runtime: MakeRuntime, question: str) -> None:
    def write(self: Any, request: PolicyRequest, /) -> bool:
        request.context.session.execute(text("update claims set amount = 1"))
        return True

    base = AllowAll if question == "readable" else Policy
    policy: Any = type("Writes", (base,), {question: write})()
    Base.metadata.create_all(engine)
    runtime = make_runtime(application(policy))
    with engine.begin() as connection:
        connection.execute(insert(Claim), {"id": 1, "amount": 5, "note": "", "state": "filed", "version": 1})
    with pytest.raises(WriteRefused):
        runtime.explain(Approve(claim_id=1), actor=ADA)
    with pytest.raises(WriteRefused):
        runtime.allowed(Claim, 1, actor=ADA)


def test_what_a_guard_raises_passes_through_where_execute_would_have_met_it(runtime: Any) -> None:
    file(runtime)

    def fails(claim: Any, event: Any) -> None:
        raise LookupError("a defect")

    Claim.does = fails
    for ask in (runtime.execute, runtime.explain):
        with pytest.raises(LookupError, match="a defect"):
            ask(Approve(claim_id=1), actor=ADA)
    # `execute` refuses before it comes to the guard.
    told = runtime.explain(Approve(claim_id=1), actor=ADA, expected_version=9)
    assert [one.code for one in told.refusals] == ["stale_version"]


def test_a_database_that_is_gone_is_a_typed_error(engine: Engine, make_runtime: MakeRuntime, kind: str) -> None:
    runtime = make_runtime(application())
    Base.metadata.create_all(engine)
    file(runtime)
    with engine.begin() as connection:
        connection.execute(text("drop table claims"))
    with pytest.raises(DatabaseUnavailable):
        runtime.explain(Approve(claim_id=1), actor=ADA)
    with pytest.raises(DatabaseUnavailable):
        runtime.allowed(Claim, 1, actor=ADA)
