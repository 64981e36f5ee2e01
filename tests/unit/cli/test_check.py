"""`usecasecore lifecycle check` and `usecasecore explain`."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from tests.unit.cli.command_line import CommandLine
from tests.unit.cli.conftest import SAMPLE
from usecasecore.analysis import pages

CLEAN = ("--app", "examples.orders.app:app")


def test_findings_are_printed_with_place_code_cause_and_cure_and_exit_with_1(run: CommandLine) -> None:
    ran = run("lifecycle", "check", "--app", SAMPLE)
    assert ran.code == 1
    first, cure, *_ = ran.out.splitlines()
    assert first.endswith("UCC102 order: Nothing leads out of the state 'shipping/sent', and it is not declared final.")
    assert cure == "    Declare it by `Lifecycle(..., final=['shipping/sent'])`, or add the transition that leads on."
    assert "\n5 findings, in 1 lifecycle\nhint: `usecasecore explain UCC102` says more" in ran.err


def test_without_findings_nothing_is_printed_and_the_exit_code_is_0(run: CommandLine) -> None:
    ran = run("lifecycle", "check", *CLEAN)
    assert (ran.code, ran.out) == (0, "")
    assert ran.err.endswith("no findings, in 1 lifecycle\n")


@pytest.mark.parametrize(
    "app", ["examples.orders.app:app", "examples.inventory.app:app", "examples.loans.app:app", "examples.purchases.app:app"]
)
def test_nothing_is_wrong_with_the_examples(run: CommandLine, app: str) -> None:
    assert run("lifecycle", "check", "--app", app).out == ""


def test_findings_as_json(run: CommandLine) -> None:
    ran = run("lifecycle", "check", "order", "--app", SAMPLE, "--format", "json")
    assert ran.code == 1
    assert ran.data["ignored"] == []
    first = ran.data["findings"][0]
    assert (first["code"], first["title"], first["lifecycle"]) == ("UCC102", pages.title("UCC102"), "order")
    assert first["file"].endswith("sample_app.py")
    assert isinstance(first["line"], int)


def test_findings_as_annotations_of_a_workflow_run(run: CommandLine, write_module: Callable[[str, str], None]) -> None:
    lines = "from usecasecore import DomainEvent\nclass Said(DomainEvent): ...\n"
    lines += "from tests.unit.cli.sample_app import CancelOrder\n"
    lines += "class Cancels(CancelOrder): ...\napp = Application([Cancels], AllowAll())\n"
    write_module("shop", lines)
    ran = run("lifecycle", "check", "--app", "shop:app", "--format", "github")
    assert ran.code == 1
    said = f"::error file=shop.py,line=4,title=UCC112%3A {pages.title('UCC112')}::No use case emits the event Said. "
    assert any(line.startswith(said) for line in ran.out.splitlines()), ran.out


def test_an_unknown_lifecycle_is_a_usage_error_with_the_nearest(run: CommandLine) -> None:
    ran = run("lifecycle", "check", "ordr", "--app", SAMPLE)
    assert (ran.code, ran.out) == (2, "")
    assert "error: there is no lifecycle 'ordr'\nhint: did you mean 'order'?" in ran.err


def test_explain_prints_the_page_of_a_code_in_either_case(run: CommandLine) -> None:
    ran = run("explain", "ucc101")
    assert ran.code == 0
    assert ran.out.startswith(f"UCC101: {pages.title('UCC101')}\n\nNo walk of transitions leads")
    assert pages.example("UCC101") in ran.out
    assert run("explain", "UCC101", "--format", "json").data["page"] == pages.page("UCC101")


def test_an_unknown_code_is_a_usage_error(run: CommandLine) -> None:
    ran = run("explain", "UCC999")
    assert (ran.code, ran.out) == (2, "")
    assert "error: there is no code 'UCC999'" in ran.err


def test_the_page_of_the_docs_shows_every_code_once() -> None:
    text = (Path(__file__).parents[3] / "docs/reference/checks.md").read_text()
    shown = [line.removeprefix('--8<-- "').removesuffix('.md"') for line in text.splitlines() if line.startswith("--8<--")]
    assert shown == ["beginning", *pages.codes()]
