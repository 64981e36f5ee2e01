"""One command: everything is committed together, or nothing is."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any, ClassVar
from uuid import UUID, uuid4

import pytest
from sqlalchemy import text

from tests.accounts import (
    ADA,
    BOB,
    NOON,
    Account,
    AccountState,
    Close,
    CloseAccount,
    Deposit,
    Done,
    Flip,
    Freeze,
    LimitReached,
    MakeDeposit,
    Open,
    Ping,
    Posting,
    SetPin,
    application,
    deposit_doing,
)
from tests.bank import Bank, on_postgres
from usecasecore import Actor, AllowAll, Decision, ExecutionContext, Policy, PolicyRequest
from usecasecore.errors import (
    AggregateNotFound,
    ConstraintViolated,
    ContractViolation,
    Forbidden,
    GuardRejected,
    InvalidCommand,
    StaleVersion,
    TransactionEnded,
    TransitionNotAllowed,
    Undeclared,
    UndeclaredState,
    WrongResult,
)

BankWith = Callable[..., Bank]


def test_a_command_commits_state_audit_events_jobs_and_result_together(bank: Bank) -> None:
    account_id = bank.open()
    result = bank.runtime.execute(
        Deposit(account_id=account_id, amount=5),
        actor=Actor("user", "ada", tenant="acme", on_behalf_of="user:eve"),
        reason="found it",
        request_id="r1",
        correlation_id="c1",
        causation_id="m1",
    )
    assert result == Done(account_id=account_id, state="open", balance=5)
    row = bank.account(account_id)
    assert (row.balance, row.state, row.version) == (5, "open", 2)
    entry = bank.rows("audit")[1]
    assert (entry.aggregate, entry.aggregate_id, entry.version) == ("account", str(account_id), 2)
    assert (entry.lifecycle, entry.trigger, entry.from_state, entry.to_state) == ("account", "deposit", "open", "open")
    assert entry.kind == "change"
    assert (entry.actor, entry.tenant, entry.on_behalf_of, entry.reason) == ("user:ada", "acme", "user:eve", "found it")
    assert (entry.request_id, entry.correlation_id, entry.causation_id) == ("r1", "c1", "m1")
    assert entry.use_case == "MakeDeposit"
    assert entry.command == {"account_id": str(account_id), "amount": 5}
    assert entry.changes == {"balance": [0, 5]}
    assert entry.occurred_at == NOON
    assert entry.recorded_at.tzinfo is not None
    assert entry.recorded_at.year >= 2026
    messages = bank.rows("outbox")[1:]
    assert [(m.kind, m.type, m.version, m.ordinal) for m in messages] == [
        ("event", "account.transition.deposit", 2, 0),
        ("event", "account.deposited", 2, 1),
        ("job", "send_statement", 2, 2),
    ]
    assert messages[0].payload == {
        "id": str(account_id),
        "version": 2,
        "lifecycle": "account",
        "trigger": "deposit",
        "from": "open",
        "to": "open",
    }
    assert messages[1].payload == {"account_id": str(account_id), "amount": 5}
    assert messages[1].headers == {
        "use_case": "MakeDeposit",
        "actor": "user:ada",
        "request_id": "r1",
        "correlation_id": "c1",
        "causation_id": str(entry.command_id),
    }
    assert {m.command_id for m in messages} == {entry.command_id}


def test_creation_has_an_audit_entry_an_event_and_version_one(bank: Bank) -> None:
    outcome = bank.runtime.run(Open(owner="grace"), actor=ADA)
    assert outcome.version == 1
    [entry] = bank.rows("audit")
    assert (entry.kind, entry.from_state, entry.to_state, entry.trigger, entry.version) == ("create", None, "open", None, 1)
    assert entry.changes["owner"] == [None, "grace"]
    [event] = bank.rows("outbox")
    assert event.type == "account.created"
    assert event.payload == {"id": str(outcome.result.account_id), "version": 1, "states": {"account": "open"}}
    assert bank.account(outcome.result.account_id).version == 1


def test_a_use_case_without_trigger_gets_the_whole_shell(bank: Bank) -> None:
    account_id = bank.open()
    assert bank.runtime.run(SetPin(account_id=account_id, pin="first-pin"), actor=ADA).version == 2
    entry = bank.rows("audit")[1]
    assert (entry.kind, entry.version, entry.trigger, entry.lifecycle) == ("change", 2, None, None)
    assert bank.account(account_id).pin == "first-pin"


def test_a_use_case_that_loads_nothing_is_audited_too(bank: Bank) -> None:
    assert bank.runtime.run(Ping(owner="x"), actor=ADA).version is None
    [entry] = bank.rows("audit")
    assert (entry.use_case, entry.aggregate, entry.version) == ("PingOwner", None, None)


def test_several_triggers_are_chosen_from_by_the_locked_state(bank: Bank) -> None:
    account_id = bank.open()
    assert bank.runtime.execute(Flip(account_id=account_id)).state == "frozen"
    assert bank.runtime.execute(Flip(account_id=account_id)).state == "open"
    assert [entry.trigger for entry in bank.rows("audit")] == [None, "freeze", "thaw"]


def test_apply_sees_the_new_state_the_transition_and_the_time(bank_with: BankWith) -> None:
    seen: list[Any] = []

    def look(command: Deposit, account: Account, context: ExecutionContext) -> None:
        seen.extend([account.state, context.transition, context.now, context.actor, context.use_case])

    bank = bank_with(application(deposit_doing(look), instead_of=MakeDeposit))
    bank.runtime.execute(Deposit(account_id=bank.open(), amount=1), actor=ADA)
    state, transition, now, actor, use_case = seen
    assert state is AccountState.OPEN
    assert (transition.trigger, transition.source, transition.dest) == ("deposit", "open", "open")
    assert (now, actor, use_case) == (NOON, ADA, "MakeDeposit")


def test_a_wrong_state_is_refused_with_what_is_possible(bank: Bank) -> None:
    account_id = bank.open()
    bank.runtime.execute(Freeze(account_id=account_id), reason="police")
    before = bank.counts()
    with pytest.raises(TransitionNotAllowed) as refused:
        bank.runtime.execute(Deposit(account_id=account_id, amount=5), actor=ADA)
    assert str(refused.value) == "account: 'deposit' is not possible from 'frozen'; possible: thaw"
    assert refused.value.refusal.allowed == frozenset({"thaw"})
    assert refused.value.refusal.version == 2
    assert bank.counts() == {**before, "attempt": before["attempt"] + 1}


def test_a_guard_that_says_no_is_named_with_its_reason(bank: Bank) -> None:
    account_id = bank.open()
    bank.runtime.execute(Deposit(account_id=account_id, amount=5))
    with pytest.raises(GuardRejected) as refused:
        bank.runtime.execute(Close(account_id=account_id))
    assert refused.value.guard == "is_empty"
    assert refused.value.reason == "an account must be empty before it is closed"
    assert bank.account(account_id).state == "open"


def test_a_refusal_leaves_an_attempt_with_who_what_and_why(bank: Bank) -> None:
    account_id = bank.open()
    with pytest.raises(LimitReached):
        bank.runtime.execute(Deposit(account_id=account_id, amount=2_000_000), actor=ADA, idempotency_key="k", reason="lottery")
    [attempt] = bank.rows("attempt")
    assert (attempt.outcome, attempt.code, attempt.use_case) == ("refused", "limit_reached", "MakeDeposit")
    assert (attempt.actor, attempt.key, attempt.reason) == ("user:ada", "k", "lottery")
    assert (attempt.aggregate, attempt.aggregate_id, attempt.version) == ("account", str(account_id), 1)
    assert attempt.message == "an account holds at most 1000000"
    assert bank.account(account_id).balance == 0
    assert bank.counts()["postings"] == 0


def test_a_failure_of_user_code_rolls_all_back_and_is_noted_without_its_words(bank_with: BankWith) -> None:
    def fail(command: Deposit, account: Account, context: ExecutionContext) -> None:
        account.balance = 7
        context.session.add(Posting(account=account, amount=7))
        context.session.flush()
        raise RuntimeError("secret words")

    bank = bank_with(application(deposit_doing(fail), instead_of=MakeDeposit))
    account_id = bank.open()
    with pytest.raises(RuntimeError, match="secret words"):
        bank.runtime.execute(Deposit(account_id=account_id, amount=7))
    assert bank.account(account_id).balance == 0
    assert bank.counts()["postings"] == 0
    [attempt] = bank.rows("attempt")
    assert (attempt.outcome, attempt.code, attempt.message) == ("failed", "RuntimeError", "RuntimeError in user code")


def test_a_missing_row_is_not_found(bank: Bank) -> None:
    missing = uuid4()
    with pytest.raises(AggregateNotFound) as refused:
        bank.runtime.execute(Deposit(account_id=missing, amount=1))
    assert str(refused.value) == f"account: there is none with the key {missing}"


def test_expected_version_refuses_what_was_decided_on_older_facts(bank: Bank) -> None:
    account_id = bank.open()
    assert bank.runtime.run(Deposit(account_id=account_id, amount=1), expected_version=1).version == 2
    with pytest.raises(StaleVersion) as refused:
        bank.runtime.execute(Deposit(account_id=account_id, amount=1), expected_version=1)
    assert (refused.value.expected, refused.value.actual) == (1, 2)
    assert bank.account(account_id).balance == 1


def test_a_reason_that_is_required_is_required(bank: Bank) -> None:
    account_id = bank.open()
    with pytest.raises(InvalidCommand, match="wants a reason"):
        bank.runtime.execute(Freeze(account_id=account_id), reason="  ")
    assert bank.account(account_id).state == "open"
    bank.runtime.execute(Freeze(account_id=account_id), reason="police")
    assert bank.rows("audit")[-1].reason == "police"


class Rules(Policy):
    """Answers as told."""

    def __init__(self, *, permitted: Any = True, readable: Any = True) -> None:
        self.answers = {"permitted": permitted, "readable": readable}
        self.requests: list[PolicyRequest] = []

    def readable(self, request: PolicyRequest, /) -> Any:
        return self._answer("readable", request)

    def permitted(self, request: PolicyRequest, /) -> Any:
        return self._answer("permitted", request)

    def _answer(self, name: str, request: PolicyRequest) -> Any:
        if request.command.__class__ is Open:
            return True
        self.requests.append(request)
        answer = self.answers[name]
        if isinstance(answer, Exception):
            raise answer
        return answer


@pytest.mark.parametrize("answer", [False, None, "yes", 1, Decision.deny("not today"), RuntimeError("directory down")])
def test_anything_but_a_yes_denies(bank_with: BankWith, answer: Any) -> None:
    bank = bank_with(application(policy=Rules(permitted=answer)))
    account_id = bank.open()
    with pytest.raises(Forbidden) as refused:
        bank.runtime.execute(Deposit(account_id=account_id, amount=1), actor=BOB)
    assert (refused.value.permission, refused.value.actor) == ("MakeDeposit", "user:bob")
    assert bank.account(account_id).balance == 0
    assert bank.rows("attempt")[-1].code == "forbidden"


def test_a_policy_that_comes_to_say_what_is_readable_is_asked_from_then_on(
    bank_with: BankWith, monkeypatch: pytest.MonkeyPatch
) -> None:
    policy = AllowAll()
    bank = bank_with(application(policy=policy))
    account_id = bank.open()
    bank.runtime.execute(Deposit(account_id=account_id, amount=1), actor=BOB)
    with monkeypatch.context() as patched:
        patched.setattr(policy, "readable", lambda _request: False)
        with pytest.raises(AggregateNotFound):
            bank.runtime.execute(Deposit(account_id=account_id, amount=1), actor=BOB)
    with monkeypatch.context() as patched:
        patched.setattr(Policy, "readable", lambda _policy, _request: False)
        with pytest.raises(AggregateNotFound):
            bank.runtime.execute(Deposit(account_id=account_id, amount=1), actor=BOB)
    assert bank.account(account_id).balance == 1


def test_not_readable_looks_like_not_existing(bank_with: BankWith) -> None:
    bank = bank_with(application(policy=Rules(readable=False)))
    hidden, missing = bank.open(), uuid4()
    with pytest.raises(AggregateNotFound) as of_hidden:
        bank.runtime.execute(Deposit(account_id=hidden, amount=1))
    with pytest.raises(AggregateNotFound) as of_missing:
        bank.runtime.execute(Deposit(account_id=missing, amount=1))
    assert str(of_hidden.value).replace(str(hidden), "?") == str(of_missing.value).replace(str(missing), "?")
    assert of_hidden.value.version is None


def test_the_policy_is_asked_about_the_aggregate_before_it_changes(bank_with: BankWith) -> None:
    states: list[str] = []

    class Watch(Rules):
        def permitted(self, request: PolicyRequest, /) -> Any:
            if request.aggregate is not None:
                states.append(request.aggregate.state)
            return True

    bank = bank_with(application(policy=Watch()))
    bank.runtime.execute(Freeze(account_id=bank.open()), reason="x", actor=ADA)
    assert states == ["open"]


def test_undeclared_events_jobs_and_creations_are_refused(bank_with: BankWith) -> None:
    from tests.accounts import Closed

    def emit(command: Deposit, account: Account, context: ExecutionContext) -> None:
        context.emit(Closed(account_id=account.id))

    def create(command: Deposit, account: Account, context: ExecutionContext) -> None:
        context.create(Account(owner="other"))

    for act, what in ((emit, "emits"), (create, "creates")):
        bank = bank_with(application(deposit_doing(act), instead_of=MakeDeposit))
        account_id = bank.open(what)
        with pytest.raises(Undeclared) as wrong:
            bank.runtime.execute(Deposit(account_id=account_id, amount=1))
        assert wrong.value.what == what
        assert bank.account(account_id).version == 1


def test_an_undeclared_refusal_is_a_contract_violation(bank_with: BankWith) -> None:
    class Strict(MakeDeposit):
        name = "MakeDeposit"
        refuses: ClassVar[Any] = ()

    bank = bank_with(application(Strict, instead_of=MakeDeposit))
    with pytest.raises(Undeclared, match="LimitReached is not in `refuses`"):
        bank.runtime.execute(Deposit(account_id=bank.open(), amount=2_000_000))


def test_a_result_of_another_type_is_refused(bank_with: BankWith) -> None:
    class Liar(CloseAccount):
        name = "CloseAccount"

        def apply(self, command: Close, account: Account, context: ExecutionContext, /) -> Any:
            return {"closed": True}

    bank = bank_with(application(Liar, instead_of=CloseAccount))
    account_id = bank.open()
    with pytest.raises(WrongResult, match="owes Done, but there is a dict"):
        bank.runtime.execute(Close(account_id=account_id))
    assert bank.account(account_id).state == "open"


def test_autoflush_is_off_while_apply_runs(bank_with: BankWith) -> None:
    seen: list[int] = []

    def look(command: Deposit, account: Account, context: ExecutionContext) -> None:
        account.balance = 99
        seen.append(context.session.scalar(text("select balance from accounts")) or 0)

    bank = bank_with(application(deposit_doing(look), instead_of=MakeDeposit))
    bank.runtime.execute(Deposit(account_id=bank.open(), amount=1))
    assert seen == [0]


def test_an_early_flush_in_apply_still_counts_one_version(bank_with: BankWith) -> None:
    def flush(command: Deposit, account: Account, context: ExecutionContext) -> None:
        account.balance = 1
        context.session.flush()
        account.balance = 2

    bank = bank_with(application(deposit_doing(flush), instead_of=MakeDeposit))
    account_id = bank.open()
    bank.runtime.execute(Deposit(account_id=account_id, amount=1))
    assert bank.account(account_id).version == 2
    assert bank.rows("audit")[-1].changes == {"balance": [0, 2]}


@pytest.mark.parametrize("ending", ["commit", "rollback", "close"])
def test_ending_the_session_in_apply_is_stopped(bank_with: BankWith, ending: str) -> None:
    def end(command: Deposit, account: Account, context: ExecutionContext) -> None:
        account.balance = 5
        context.session.flush()
        getattr(context.session, ending)()

    bank = bank_with(application(deposit_doing(end), instead_of=MakeDeposit))
    account_id = bank.open()
    with pytest.raises(TransactionEnded) as wrong:
        bank.runtime.execute(Deposit(account_id=account_id, amount=1))
    assert wrong.value.prevented
    assert bank.account(account_id).balance == 0


@pytest.mark.parametrize("ending", ["connection", "sql"])
def test_a_transaction_ended_behind_the_session_is_noticed_before_the_ledger_is_written(bank_with: BankWith, ending: str) -> None:
    def end(command: Deposit, account: Account, context: ExecutionContext) -> None:
        if ending == "sql":
            context.session.execute(text("COMMIT"))
        else:
            transaction = context.session.connection().get_transaction()
            assert transaction is not None
            transaction.commit()

    bank = bank_with(application(deposit_doing(end), instead_of=MakeDeposit))
    account_id = bank.open()
    before = bank.counts()
    with pytest.raises(TransactionEnded) as wrong:
        bank.runtime.execute(Deposit(account_id=account_id, amount=1))
    assert not wrong.value.prevented
    assert bank.counts() == {**before, "attempt": 1}


@on_postgres
def test_a_transaction_that_user_code_began_anew_is_told_from_the_runtimes(bank_with: BankWith) -> None:
    def renew(command: Deposit, account: Account, context: ExecutionContext) -> None:
        context.session.execute(text("COMMIT"))
        context.session.execute(text("BEGIN"))

    bank = bank_with(application(deposit_doing(renew), instead_of=MakeDeposit))
    account_id = bank.open()
    before = bank.counts()
    with pytest.raises(TransactionEnded, match="SQL that user code sent"):
        bank.runtime.execute(Deposit(account_id=account_id, amount=1))
    assert bank.counts() == {**before, "attempt": 1}
    assert bank.account(account_id).version == 1


def test_a_swallowed_database_error_is_reported_as_what_it_is(bank_with: BankWith) -> None:
    def swallow(command: Deposit, account: Account, context: ExecutionContext) -> None:
        context.session.add(Account(owner="grace", balance=1))
        try:
            context.session.flush()
        except Exception:  # noqa: BLE001 - what users write
            return

    bank = bank_with(application(deposit_doing(swallow), instead_of=MakeDeposit))
    account_id = bank.open("grace")
    with pytest.raises(TransactionEnded, match="swallowed"):
        bank.runtime.execute(Deposit(account_id=account_id, amount=1))
    assert bank.account(account_id).version == 1


def test_a_constraint_of_the_users_own_is_a_typed_refusal(bank: Bank) -> None:
    bank.open("grace")
    before = bank.counts()
    with pytest.raises(ConstraintViolated) as refused:
        bank.open("grace")
    assert "owner" in refused.value.constraint
    assert bank.counts() == {**before, "attempt": 1}


def test_a_row_in_an_undeclared_state_is_the_operators_business(bank: Bank) -> None:
    account_id = bank.open()
    with bank.engine.begin() as connection:
        # The CHECK stands in the way of rows like this; an old table may have none.
        if connection.dialect.name == "postgresql":
            connection.execute(text("alter table accounts drop constraint ck_accounts_state"))
        else:
            connection.execute(text("pragma ignore_check_constraints=on"))
        connection.execute(text("update accounts set state = 'limbo'"))
    with pytest.raises(UndeclaredState, match="limbo"):
        bank.runtime.execute(Deposit(account_id=account_id, amount=1))


def test_a_row_deleted_while_its_command_runs_leaves_nothing(bank_with: BankWith) -> None:
    def delete(command: Deposit, account: Account, context: ExecutionContext) -> None:
        account.balance = 1
        context.session.connection().execute(text("delete from accounts"))

    bank = bank_with(application(deposit_doing(delete), instead_of=MakeDeposit))
    account_id = bank.open()
    with pytest.raises(ContractViolation):
        bank.runtime.execute(Deposit(account_id=account_id, amount=1))
    assert bank.account(account_id).version == 1


def test_the_result_is_committed_when_execute_returns(bank: Bank) -> None:
    account_id = bank.open()
    bank.runtime.execute(Deposit(account_id=account_id, amount=3))
    with bank.engine.connect() as other:
        assert other.scalar(text("select balance from accounts")) == 3


def test_json_columns_keep_what_was_put_in(bank: Bank) -> None:
    account_id = bank.open()
    note = {"b": [1, 1e22, 'ü\n"quoted" %s :x'], "a": None}
    bank.runtime.execute(Deposit(account_id=account_id, amount=1, note=note), actor=ADA)
    assert bank.rows("audit")[-1].command["note"] == note
    assert json.dumps(bank.rows("audit")[-1].command["note"]["b"][1]) == "1e+22"


def test_ids_are_made_by_the_client_and_sort_by_time(bank: Bank) -> None:
    first, second = bank.open("a"), bank.open("b")
    assert isinstance(first, UUID)
    assert first.version == second.version == 7
