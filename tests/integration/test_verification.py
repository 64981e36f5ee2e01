"""`verify` on a ledger that is whole, and on one that is broken in each way: it says in which."""

from __future__ import annotations

from datetime import timedelta
from uuid import uuid4

import pytest

from tests.accounts import NOON, Deposit
from tests.trails import Books, books, postgres_books, sqlite_books
from usecasecore.ledger.pruning import prune_outbox
from usecasecore.ledger.sealing import seal
from usecasecore.verification import Finding, verify

__all__ = ["books", "postgres_books", "sqlite_books"]

FIRST = "aggregate = 'account' and aggregate_id = :first"
ROW = "replace(cast(id as text), '-', '') = replace(:first, '-', '')"

BROKEN = {
    "an account changed past the runtime": (["update accounts set state = 'frozen' where " + ROW], {"state_differs"}),
    "an account's version changed past the runtime": (["update accounts set version = 40 where " + ROW], {"version_differs"}),
    "a row deleted past the runtime": (
        ["delete from postings", "delete from accounts where " + ROW],
        {"row_missing"},
    ),
    "an entry missing in the middle": (
        [f"delete from usecasecore_audit where {FIRST} and version = 3"],
        {"version_gap", "key_without_entry", "message_without_entry", "message_misplaced", "link_broken"},
    ),
    "the first entry missing": (
        [f"delete from usecasecore_audit where {FIRST} and version = 1"],
        {"first_entry", "key_without_entry", "message_without_entry", "message_misplaced", "link_broken"},
    ),
    "a second start": (
        [f"update usecasecore_audit set kind = 'create' where {FIRST} and version = 3"],
        {"second_start", "entry_changed"},
    ),
    "something after the end": (
        [f"update usecasecore_audit set kind = 'delete' where {FIRST} and version = 6"],
        {"entry_after_delete", "entry_changed"},
    ),
    "a state that came from nowhere": (
        [
            f"update usecasecore_audit set from_state = 'frozen', to_state = 'open', trigger = 'thaw' where {FIRST} and version = 3"
        ],
        {"state_link", "entry_changed"},
    ),
    "a state without a trigger": (
        [
            "update usecasecore_audit set lifecycle = 'account', to_state = 'frozen' "
            "where aggregate_id = :second and trigger is null and version = 2",
        ],
        {"state_without_trigger", "state_link", "entry_changed"},
    ),
    "a transition that is not declared": (
        [f"update usecasecore_audit set trigger = 'close' where {FIRST} and version = 3"],
        {"undeclared_transition", "entry_changed"},
    ),
    "a creation in another state": (
        ["update usecasecore_audit set to_state = 'frozen' where aggregate_id = :second and version = 1"],
        {"wrong_initial_state", "state_link", "entry_changed"},
    ),
    "an event lost": (
        ["delete from usecasecore_outbox where aggregate_id = :first and version = 3 and ordinal = 0"],
        {"message_missing", "message_order"},
    ),
    "a job lost": (
        ["delete from usecasecore_outbox where aggregate_id = :first and version = 3 and kind = 'job'"],
        {"message_missing"},
    ),
    "an event about another version": (
        ["update usecasecore_outbox set version = 4, ordinal = 9 where aggregate_id = :first and version = 3 and ordinal = 1"],
        {"message_misplaced", "message_order"},
    ),
    "a message of a command that never was": (
        ["update usecasecore_outbox set command_id = :stranger where aggregate_id = :first and version = 3 and ordinal = 1"],
        {"message_missing", "message_without_entry", "message_misplaced"},
    ),
    "a key of a command that never was": (
        ["update usecasecore_idempotency set command_id = :stranger where key = 'deposit 7'"],
        {"key_without_entry", "entry_without_key"},
    ),
    "a key lost": (["delete from usecasecore_idempotency where key = 'deposit 7'"], {"entry_without_key"}),
    "a key that was claimed and no more": (
        ["update usecasecore_idempotency set result = null where key = 'deposit 7'"],
        {"key_without_result"},
    ),
    "two effects under one key": (
        ["update usecasecore_audit set key = 'deposit 5' where key = 'deposit 7'"],
        {"double_effect", "entry_changed"},
    ),
    "a refused command with entries": (
        ["update usecasecore_attempt set command_id = (select command_id from usecasecore_audit where key = 'deposit 7')"],
        {"refused_but_visible"},
    ),
    "a head that is behind": (["update usecasecore_head set version = 6 where aggregate_id = :first"], {"head_differs"}),
    "a head lost": (["delete from usecasecore_head where aggregate_id = :first"], {"head_missing"}),
    "an entry that nobody sealed": (
        [f"update usecasecore_audit set hash = null, prev_hash = null where {FIRST} and version = 3"],
        {"hash_missing"},
    ),
}


def test_nothing_is_found_where_nothing_is_wrong(books: Books) -> None:
    report = books.verify()
    assert report.findings == ()
    assert report.ok
    assert report.counted.entries == report.counted.hashed == 7 + 4 + 1
    assert report.counted.rows == 2
    assert report.unknown == ()


@pytest.mark.parametrize("how", BROKEN)
def test_a_broken_ledger_is_told_from_a_whole_one_and_by_what_broke_it(books: Books, how: str) -> None:
    statements, codes = BROKEN[how]
    stranger = uuid4()
    books.tamper(*statements, stranger=stranger.hex if books.engine.dialect.name == "sqlite" else stranger)
    report = books.verify()
    assert report.codes == codes, report.findings


def test_a_row_that_no_command_has_made_is_found(books: Books) -> None:
    books.tamper(
        "insert into accounts (id, owner, balance, state, version) values (:id, 'eve', 0, 'open', 1)",
        id=str(uuid4()).replace("-", ""),
    )
    [finding] = books.verify().findings
    assert finding.code == "row_without_entries"


def test_a_finding_names_aggregate_key_version_and_says_what_is_true(books: Books) -> None:
    books.tamper(f"update usecasecore_audit set reason = 'none' where {FIRST} and version = 4")
    [finding] = books.verify().findings
    sentence = f"account {books.first}: version 4 is not what was hashed when it was written"
    assert finding == Finding("entry_changed", sentence, "account", str(books.first), 4)


def test_what_was_acknowledged_must_be_there_by_key_and_by_id(books: Books) -> None:
    done = books.runtime.run(Deposit(account_id=books.first, amount=1), idempotency_key="told")
    lost = uuid4()
    report = books.verify(acknowledged=["told", done.command_id, "deposit 7", "never", lost])
    assert [(finding.code, finding.command_id) for finding in report.findings] == [
        ("acknowledged_missing", None),
        ("acknowledged_missing", lost),
    ]
    assert "'never'" in report.findings[0].sentence


def test_a_key_that_may_have_expired_is_not_missed(books: Books) -> None:
    books.tamper("delete from usecasecore_idempotency where key = 'deposit 7'")
    assert books.verify(now=NOON + timedelta(days=30)).ok


def test_what_was_pruned_on_purpose_is_not_missed(books: Books) -> None:
    books.tamper("update usecasecore_outbox set delivered_at = occurred_at")
    with books.engine.begin() as connection:
        assert prune_outbox(connection, NOON + timedelta(days=1), batch=5) > 5
    assert books.verify().ok
    books.tamper("delete from usecasecore_pruning")
    assert books.verify().codes == {"message_missing"}


def test_a_baseline_that_is_not_sealed_is_told_and_sealed_it_begins_the_chain(books: Books) -> None:
    books.tamper(
        "delete from usecasecore_head where aggregate_id = :first",
        f"delete from usecasecore_outbox where {FIRST}",
        "delete from usecasecore_idempotency where command_id in (select command_id from usecasecore_audit where aggregate_id = :first)",
        f"delete from usecasecore_audit where {FIRST} and version < 7",
        f"update usecasecore_audit set kind = 'baseline', messages = 0, key = null, hash = null, prev_hash = null where {FIRST}",
    )
    assert books.verify().codes == {"hash_missing", "head_missing"}
    with books.engine.begin() as connection:
        assert seal(connection) == 1
    books.runtime.execute(Deposit(account_id=books.first, amount=1))
    assert books.verify().findings == ()


def test_only_so_many_findings_are_told_and_that_there_are_more(books: Books) -> None:
    books.tamper("delete from usecasecore_outbox")
    report = books.verify(limit=3)
    assert [finding.code for finding in report.findings] == ["message_missing"] * 3
    assert report.more == {"message_missing"}


def test_without_an_application_the_ledger_is_compared_with_itself(books: Books) -> None:
    books.tamper("update accounts set version = 40")
    with books.engine.connect() as connection:
        assert verify(connection).ok
