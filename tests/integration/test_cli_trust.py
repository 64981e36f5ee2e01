"""`verify`, `audit anchor` and `audit attempts`: what they print, and how they end."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from sqlalchemy import make_url

from tests.accounts import ADA, BOB, Deposit, LimitReached
from tests.trails import Books, books, postgres_books, sqlite_books
from tests.unit.cli.command_line import CommandLine
from usecasecore.verification.anchor_files import read_documents
from usecasecore.verification.anchors import parse_anchor

__all__ = ["books", "postgres_books", "sqlite_books"]

APP = ("--app", "tests.accounts:application")
ASYNC_DRIVERS = {"sqlite": "sqlite+aiosqlite", "postgresql": "postgresql+asyncpg"}


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, books: Books, tmp_path: Path) -> CommandLine:
    """The command line, with the books' database and a key named by the environment."""
    monkeypatch.delenv("USECASECORE_APP", raising=False)
    monkeypatch.setenv("USECASECORE_URL", books.engine.url.render_as_string(hide_password=False))
    key = tmp_path / "key"
    key.write_text("a secret of thirty-two bytes, or more\n")
    monkeypatch.setenv("USECASECORE_ANCHOR_KEY", str(key))
    return CommandLine(capsys)


def test_verify_says_how_much_it_looked_at_and_ends_with_0(run: CommandLine, books: Books) -> None:
    ran = run("verify", *APP)
    assert (ran.code, ran.out) == (0, "nothing is wrong in 12 entries, 2 rows and 12 hashes\n")
    ran = run("verify", "--audit")
    assert (ran.code, ran.out) == (0, "nothing is wrong in 12 entries and 12 hashes\n")
    assert "application" not in ran.err
    ran = run("verify")
    assert (ran.code, ran.out) == (0, "nothing is wrong in 12 entries, 0 rows and 12 hashes\n")
    assert ran.err.splitlines()[-1] == "no application is named: rows and transitions are not checked"


def test_verify_names_what_is_wrong_and_ends_with_1(run: CommandLine, books: Books) -> None:
    books.tamper("update usecasecore_audit set reason = 'none' where aggregate_id = :first and version = 4")
    ran = run("verify", *APP)
    assert ran.code == 1
    sentence = f"account {books.first}: version 4 is not what was hashed when it was written"
    assert ran.out == f"CODE           FINDING\nentry_changed  {sentence}\n\n1 finding in 12 entries, 2 rows and 12 hashes\n"
    ran = run("verify", "--audit")
    assert ran.code == 1
    assert ran.out == f"CODE           FINDING\nentry_changed  {sentence}\n\n1 finding in 12 entries and 12 hashes\n"
    ran = run("verify", "--format", "json", *APP)
    assert ran.code == 1
    assert ran.data["ok"] is False
    assert ran.data["counted"] == {"entries": 12, "rows": 2, "hashed": 12, "unsealed": 0, "anchors": 0}
    assert ran.data["findings"] == [
        {
            "code": "entry_changed",
            "sentence": sentence,
            "aggregate": "account",
            "aggregate_id": str(books.first),
            "sequence": 4,
            "command_id": None,
        }
    ]


def test_verify_reads_through_an_async_driver_too(run: CommandLine, books: Books) -> None:
    url = make_url(books.engine.url).set(drivername=ASYNC_DRIVERS[books.engine.dialect.name])
    ran = run("verify", "--url", url.render_as_string(hide_password=False), *APP)
    assert (ran.code, ran.out) == (0, "nothing is wrong in 12 entries, 2 rows and 12 hashes\n")


def test_anchors_are_written_into_a_directory_and_verified_from_there(run: CommandLine, books: Books, tmp_path: Path) -> None:
    vault = tmp_path / "vault"
    ran = run("audit", "anchor", "--out", str(vault))
    assert (ran.code, ran.out) == (0, f"anchor 1 written to {vault}, 2 heads changed\n")
    ran = run("audit", "anchor", "--out", str(vault))
    assert (ran.code, ran.out) == (0, "no head has changed since the last anchor\n")
    books.deposit()
    ran = run("audit", "anchor", "--out", str(vault), "--format", "json")
    assert (ran.code, ran.data) == (0, {"schema_version": 1, "heads": 1, "exported": [2]})
    assert [file.name for file in sorted(vault.iterdir())] == ["anchor-00000001.json", "anchor-00000002.json"]
    ran = run("verify", "--anchors", str(vault))
    assert (ran.code, ran.out) == (0, "nothing is wrong in 13 entries, 0 rows, 13 hashes and 2 anchors\n")
    (vault / "anchor-00000002.json").unlink()
    ran = run("verify", "--anchors", str(vault))
    assert ran.code == 1
    assert "the ledger has exported 2 anchors, and the last one here is 1" in ran.out


def test_anchors_are_appended_to_a_file_and_a_torn_line_is_written_anew(run: CommandLine, books: Books, tmp_path: Path) -> None:
    vault = tmp_path / "anchors.jsonl"
    run("audit", "anchor", "--out", str(vault))
    with vault.open("a") as file:
        file.write('{"format":"usecasecore-anch')
    books.deposit()
    assert run("audit", "anchor", "--out", str(vault)).code == 0
    assert [parse_anchor(text).sequence for _, text in read_documents(vault)] == [1, 2]
    assert run("verify", "--anchors", str(vault)).code == 0


def test_an_anchor_goes_to_stdout_as_one_line(run: CommandLine, books: Books) -> None:
    ran = run("audit", "anchor", "--out", "-")
    assert ran.code == 0
    assert json.loads(ran.out)["heads"] == 2


def test_another_anchor_under_the_same_number_is_never_overwritten(run: CommandLine, books: Books, tmp_path: Path) -> None:
    (tmp_path / "vault").mkdir()
    file = tmp_path / "vault" / "anchor-00000001.json"
    file.write_text("{}\n")
    ran = run("audit", "anchor", "--out", str(tmp_path / "vault"))
    assert ran.code == 2
    assert ran.err.splitlines()[-2:] == [
        f"error: {file} is there already and holds another anchor",
        "hint: anchors of another ledger, or of this one before it was restored, belong into a directory of their own",
    ]
    assert file.read_text() == "{}\n"


def test_a_key_that_is_missing_short_or_no_key_is_told(
    run: CommandLine, books: Books, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = ("--out", str(tmp_path / "vault"))
    ran = run("audit", "anchor", *out, "--key", str(tmp_path / "nowhere"))
    assert (ran.code, ran.err.splitlines()[0]) == (
        2,
        f"error: the key file {tmp_path / 'nowhere'} can't be read: No such file or directory",
    )
    short = tmp_path / "short"
    short.write_text("too short\n")
    ran = run("audit", "anchor", *out, "--key", str(short))
    assert (ran.code, ran.err.splitlines()[0]) == (2, f"error: {short}: the key has 9 bytes; 32 or more are accepted")
    monkeypatch.delenv("USECASECORE_ANCHOR_KEY")
    ran = run("audit", "anchor", *out)
    assert ran.code == 2
    assert ran.err.startswith("error: no key is named\nhint: pass --key FILE or set USECASECORE_ANCHOR_KEY;")
    ran = run("verify", "--anchors", str(tmp_path / "none"))
    assert (ran.code, ran.err.splitlines()[0]) == (2, f"error: there are no anchors at {tmp_path / 'none'}")


def test_without_cryptography_a_key_in_pem_form_names_the_extra(books: Books, tmp_path: Path) -> None:
    key = tmp_path / "pem"
    key.write_text("-----BEGIN PRIVATE KEY-----\nMC4CAQAwBQYDK2VwBCIEIA==\n-----END PRIVATE KEY-----\n")
    script = (
        "import sys\nsys.modules['cryptography'] = None\nfrom usecasecore.cli import main\n"
        f"main(['audit', 'anchor', '--out', '-', '--key', {str(key)!r}])"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, env=dict(os.environ), check=False)
    assert done.returncode == 2
    assert done.stderr == 'error: keys in PEM form need cryptography: pip install "usecasecore[signing]"\n'


def test_attempts_are_shown_with_who_what_why_and_when(run: CommandLine, books: Books) -> None:
    with pytest.raises(LimitReached):
        books.runtime.execute(Deposit(account_id=books.first, amount=2_000_000), actor=ADA, reason="a gift")
    ran = run("audit", "attempts")
    assert ran.code == 0
    titles, first, second = ran.out.splitlines()
    assert titles.split() == ["OCCURRED", "OUTCOME", "CODE", "USE", "CASE", "AGGREGATE", "KEY", "VERSION", "ACTOR", "MESSAGE"]
    assert first.split()[:8] == [
        "2026-05-04T12:00:00.000Z",
        "refused",
        "transition_not_allowed",
        "CloseAccount",
        "account",
        str(books.second),
        "3",
        "user:bob",
    ]
    assert "'close' is not possible from 'frozen'" in first
    assert second.endswith("user:ada  an account holds at most 1000000")


def test_attempts_are_filtered_and_printed_as_json(run: CommandLine, books: Books) -> None:
    with pytest.raises(LimitReached):
        books.runtime.execute(Deposit(account_id=books.first, amount=2_000_000), actor=ADA, idempotency_key="gift")

    def codes(*options: str) -> list[str]:
        return [one["code"] for one in run("audit", "attempts", "--format", "json", *options).data["attempts"]]

    assert codes() == ["transition_not_allowed", "limit_reached"]
    assert codes("--actor", str(BOB)) == ["transition_not_allowed"]
    assert codes("--code", "limit_reached") == codes("--use-case", "MakeDeposit") == codes("-n", "1") == ["limit_reached"]
    assert codes("--aggregate", "account", "--key", str(books.second)) == ["transition_not_allowed"]
    assert codes("--outcome", "failed") == codes("--since", "2026-05-04T12:00:01Z") == []
    assert len(codes("--since", "2026-05-04")) == 2
    [attempt] = run("audit", "attempts", "--format", "json", "--actor", "user:ada").data["attempts"]
    assert attempt["command"] == {"account_id": str(books.first), "amount": 2_000_000}
    assert (attempt["key"], attempt["version"], attempt["outcome"]) == ("gift", 7, "refused")
    ran = run("audit", "attempts", "--actor", "user:nobody")
    assert (ran.code, ran.out, ran.err.splitlines()[-1]) == (0, "", "no attempts")
    ran = run("audit", "attempts", "--since", "yesterday")
    assert (ran.code, ran.err.splitlines()[0]) == (2, "error: --since: 'yesterday' is not an instant")
