"""`usecasecore lifecycle diff`, between exported JSON and between revisions of a repository."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest

from tests.unit.cli.command_line import CommandLine

SHOP = """
from typing import Annotated, ClassVar
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column
from usecasecore import *

class Base(DeclarativeBase):
    pass

class Order(Base):
    __tablename__ = "orders"
    id: Mapped[int] = mapped_column(primary_key=True)
    paid: Mapped[bool]
    state: Mapped[str] = state_column()
    version: Mapped[int] = version_column()
    lifecycle: ClassVar = Lifecycle({lifecycle})

    def is_paid(self) -> bool:
        return self.paid

class Done(Result):
    pass

class Ship(Command[Done]):
    id: Annotated[int, Key(Order.id)]

class ShipOrder(UseCase[Ship, Order, Done]):
    trigger = "ship"
    def apply(self, command, order, context, /):
        return Done()

app = Application([ShipOrder], AllowAll())
"""
BEFORE = "states=['new', 'packed', 'sent'], initial='new', transitions=[['pack', 'new', 'packed'], ['ship', 'packed', 'sent']]"
AFTER = "states=['new', 'sent'], initial='new', transitions=[Transition('ship', 'new', 'sent', 'is_paid')]"
TOLD = """~ order
  - state 'packed'
  - transition 'pack' from 'new' to 'packed'
  - transition 'ship' from 'packed' to 'sent'
  + transition 'ship' from 'new' to 'sent'
  ! rows that hold 'packed': The state 'packed' is removed: a row in it can't be fired any more, and the column's CHECK refuses it.
      Bring such rows to 'sent', where it used to lead, before the new version runs; `unprotected` does it without a use case.
"""
with_git = pytest.mark.skipif(shutil.which("git") is None, reason="git is not installed")


def git(folder: Path, *arguments: str) -> None:
    who = ["-c", "user.name=tests", "-c", "user.email=tests@example.org", "-c", "commit.gpgsign=false"]
    environment = {name: value for name, value in os.environ.items() if not name.startswith("GIT_")}
    subprocess.run(["git", *who, *arguments], cwd=folder, check=True, capture_output=True, env=environment)


@pytest.fixture
def repository(nowhere: Path) -> Path:
    """A repository with a package of which the first revision has one more state, and a working tree that is broken."""
    package = nowhere / "backend"
    package.mkdir()
    (package / "pyproject.toml").write_text('[tool.usecasecore]\napp = "shop:app"\n')
    git(nowhere, "init", "--quiet", "--initial-branch=main")
    for name, lifecycle in (("before", BEFORE), ("after", AFTER)):
        (package / "shop.py").write_text(SHOP.format(lifecycle=lifecycle))
        git(nowhere, "add", ".")
        git(nowhere, "commit", "--quiet", "-m", name)
        git(nowhere, "tag", name)
    (package / "shop.py").write_text("raise ImportError('half written')\n")
    return package


@with_git
def test_two_revisions_are_compared_whatever_the_working_tree_holds(
    run: CommandLine, repository: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(repository)
    ran = run("lifecycle", "diff", "before", "after")
    assert (ran.code, ran.out) == (1, TOLD)
    assert ran.err == "1 of 1 lifecycles differ\n"
    same = run("lifecycle", "diff", "after", "main")
    assert (same.code, same.out) == (0, "")
    back = run("lifecycle", "diff", "after", "before", "--format", "json").data["lifecycles"]
    assert [(one["lifecycle"], one["change"], one["rows"]) for one in back] == [("order", "changed", [])]


@with_git
@pytest.mark.parametrize(
    ("reference", "said"),
    [("nowhere", "error: git rev-parse: fatal: Needed a single revision"), ("--help-me", "no such option")],
)
def test_what_is_no_revision_is_an_error(
    run: CommandLine, repository: Path, monkeypatch: pytest.MonkeyPatch, reference: str, said: str
) -> None:
    monkeypatch.chdir(repository)
    ran = run("lifecycle", "diff", reference, "main")
    assert (ran.code, ran.out) == (2, "")
    assert said.lower() in ran.err.lower()


@with_git
def test_an_application_that_a_revision_can_not_import_is_an_error_that_says_why(
    run: CommandLine, repository: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    git(repository, "commit", "--quiet", "-am", "broken")
    monkeypatch.chdir(repository)
    ran = run("lifecycle", "diff", "after", "HEAD")
    assert ran.code == 2
    assert (
        "error: the application of revision 'HEAD' can't be read: error: importing shop failed: ImportError: half written"
        in ran.err
    )


def test_outside_of_a_repository_it_is_an_error(run: CommandLine) -> None:
    ran = run("lifecycle", "diff", "HEAD")
    assert ran.code == 2
    assert "error: git" in ran.err


def test_exported_files_are_compared_with_each_other_and_with_the_application_as_it_is(run: CommandLine, nowhere: Path) -> None:
    for name, lifecycle in (("old", BEFORE), ("new", AFTER)):
        (nowhere / f"{name}_shop.py").write_text(SHOP.format(lifecycle=lifecycle))
        done = run("diagram", "export", "-f", "json", "-o", name, "--app", f"{name}_shop:app")
        assert done.code == 0, done.err
    assert run("lifecycle", "diff", "old", "new").out == TOLD
    assert run("lifecycle", "diff", "old/order.json", "--app", "new_shop:app").out == TOLD
    assert run("lifecycle", "diff", "old", "--app", "old_shop:app").code == 0
    assert run("lifecycle", "diff", "old", "new", "--lifecycle", "order").code == 1
    assert "error: there is no lifecycle 'ordr'" in run("lifecycle", "diff", "old", "new", "--lifecycle", "ordr").err


def test_a_lifecycle_that_only_one_has_is_added_or_removed(run: CommandLine, nowhere: Path) -> None:
    (nowhere / "shop.py").write_text(SHOP.format(lifecycle=BEFORE))
    run("diagram", "export", "-f", "json", "-o", "old", "--app", "shop:app")
    (nowhere / "new").mkdir()
    (nowhere / "new" / "order.json").write_text(
        (nowhere / "old" / "order.json").read_text().replace('"name": "order"', '"name": "purchase"')
    )
    assert run("lifecycle", "diff", "old", "new").out == "- order\n+ purchase\n"


def test_a_file_that_is_no_diagram_is_an_error(run: CommandLine, nowhere: Path) -> None:
    (nowhere / "notes.json").write_text("{}")
    ran = run("lifecycle", "diff", "notes.json", "notes.json")
    assert ran.code == 2
    assert "error: notes.json: this is not a diagram" in ran.err
