"""`usecasecore diagram show`, and the options of overlays as far as they need no database."""

from __future__ import annotations

import re
import sys

import pytest

from tests.unit.cli.command_line import CommandLine
from tests.unit.cli.conftest import SAMPLE

SHOW = ("diagram", "show", "order", "--app", SAMPLE)


def test_show_draws_every_state_within_the_width(run: CommandLine) -> None:
    ran = run(*SHOW, "--width", "40")
    assert ran.code == 0
    assert "│ draft" in ran.out
    assert max(map(len, ran.out.splitlines())) <= 40


def test_show_follows_the_width_of_the_terminal(run: CommandLine, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "120")
    wide = run(*SHOW).out
    monkeypatch.setenv("COLUMNS", "30")
    narrow = run(*SHOW).out
    assert "◀" in wide
    assert "◀" not in narrow
    assert max(map(len, narrow.splitlines())) <= 30


def test_show_draws_with_ascii_where_the_locale_knows_no_more(run: CommandLine, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PYTHONIOENCODING", "ascii")
    assert run(*SHOW).out.isascii()
    monkeypatch.setenv("PYTHONIOENCODING", "utf-8")
    assert not run(*SHOW).out.isascii()
    assert run(*SHOW, "--ascii").out.isascii()


def test_show_is_coloured_on_a_terminal_that_wants_it_only(run: CommandLine, monkeypatch: pytest.MonkeyPatch) -> None:
    plain = run(*SHOW, "--width", "60").out
    assert "\x1b" not in plain
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setattr(type(sys.stdout), "isatty", lambda stream: True)
    coloured = run(*SHOW, "--width", "60").out
    assert "\x1b[1m" in coloured
    assert re.sub(r"\x1b\[[0-9;]*m", "", coloured) == plain
    monkeypatch.setenv("NO_COLOR", "1")
    assert run(*SHOW, "--width", "60").out == plain


def test_show_as_json_is_the_diagram(run: CommandLine) -> None:
    data = run(*SHOW, "--format", "json").data
    assert data["diagram"]["name"] == "order"
    assert data["overlay"] is None


def test_show_names_the_lifecycles_that_there_are(run: CommandLine) -> None:
    ran = run("diagram", "show", "ordr", "--app", SAMPLE)
    assert ran.code == 2
    assert "there is no lifecycle 'ordr'" in ran.err
    assert "did you mean 'order'?" in ran.err


@pytest.mark.parametrize(
    ("options", "told"),
    [
        (["--overlay", "counts", "--aggregate", "order:1"], "exclude each other"),
        (["--since", "2026-05-01"], "--since goes with --overlay flow only"),
        (["--url", "sqlite://"], "diagrams without an overlay open none"),
        (["--overlay", "counts"], "no database is named"),
        (["--aggregate", "order"], "doesn't name an aggregate"),
        (["--aggregate", "order:"], "doesn't name an aggregate"),
        (["--aggregate", "ordr:1"], "there is no lifecycle 'ordr'"),
        (["--overlay", "flow", "--since", "May"], "is no time"),
    ],
)
def test_options_that_do_not_fit_are_refused_with_what_would(run: CommandLine, options: list[str], told: str) -> None:
    for command in ("show", "export"):
        names = ["order"] if command == "show" else []
        ran = run("diagram", command, *names, "--app", SAMPLE, *options)
        assert ran.code == 2
        assert told in ran.err
        assert "hint: " in ran.err


def test_check_refuses_an_overlay(run: CommandLine) -> None:
    ran = run("diagram", "export", "--check", "--overlay", "counts", "--app", SAMPLE)
    assert ran.code == 2
    assert "an overlay shows a database" in ran.err


def test_a_format_that_can_not_show_an_overlay_is_refused_with_those_that_can(run: CommandLine) -> None:
    ran = run("diagram", "export", "-f", "mermaid,scxml", "--overlay", "counts", "--url", "sqlite://", "--app", SAMPLE)
    assert (ran.code, ran.out) == (2, "")
    assert "error: scxml can't show an overlay" in ran.err
    assert "hint: what can: dot, mermaid, plantuml, json, md, svg, png, pdf" in ran.err


def test_an_overlay_of_the_coverage_without_a_record_says_how_to_make_one(run: CommandLine) -> None:
    ran = run(*SHOW, "--overlay", "coverage")
    assert (ran.code, ran.out) == (2, "")
    assert "--transition-cov" in ran.err


def test_an_overlay_of_the_coverage_opens_no_database(run: CommandLine) -> None:
    ran = run(*SHOW, "--overlay", "coverage", "--url", "sqlite:///x.db")
    assert ran.code == 2
    assert "error: --overlay coverage shows what tests recorded, and opens no database" in ran.err
