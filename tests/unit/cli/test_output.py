from __future__ import annotations

import io
import sys

import pytest

from usecasecore.cli.output import clean, heading, print_json, print_lines, speak_utf8, table

LONG = "a reason of many words " * 20


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def sit_at_a_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    # Not a fixture: between set-up and test, pytest puts its own stdout back.
    monkeypatch.setenv("COLUMNS", "60")
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setattr(sys, "stdout", Terminal())


def test_columns_are_as_wide_as_their_widest_cell() -> None:
    assert table(("A", "B"), [("x", 1), ("long", None)]) == ["A     B", "x     1", "long  -"]


def test_a_table_without_headings_has_no_line_for_them() -> None:
    assert table(("", ""), [("a", "b")]) == ["a  b"]


def test_a_table_without_rows_has_its_headings() -> None:
    assert table(("A", "B"), []) == ["A  B"]


def test_characters_of_double_width_are_counted_as_two() -> None:
    assert table(("", ""), [("日本", "x"), ("abcd", "y")]) == ["日本  x", "abcd  y"]


def test_a_long_row_stays_one_line_where_nobody_watches() -> None:
    assert table(("", ""), [("a", LONG)]) == [f"a  {LONG}".rstrip()]


def test_the_last_column_is_wrapped_on_a_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    sit_at_a_terminal(monkeypatch)
    first, *others = table(("", ""), [("a", LONG)])
    assert len(others) > 5
    assert all(len(line) <= 60 and line.startswith("   ") for line in others)
    assert " ".join(line[3:] for line in (first, *others)) == LONG.strip()


def test_headings_are_bold_on_a_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    sit_at_a_terminal(monkeypatch)
    assert heading("States") == "\x1b[1mStates\x1b[0m"


@pytest.mark.parametrize(("variable", "value"), [("NO_COLOR", "1"), ("TERM", "dumb")])
def test_headings_are_plain_where_colours_are_not_wanted(monkeypatch: pytest.MonkeyPatch, variable: str, value: str) -> None:
    sit_at_a_terminal(monkeypatch)
    monkeypatch.setenv(variable, value)
    assert heading("States") == "States"


def test_an_empty_no_color_says_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    sit_at_a_terminal(monkeypatch)
    monkeypatch.setenv("NO_COLOR", "")
    assert heading("States") != "States"


def test_headings_are_plain_where_nobody_watches() -> None:
    assert heading("States") == "States"


@pytest.mark.parametrize("steering", ["\x1b[2J", "\r", "\n", "\x9b2J", "\u202e", "\x00"])
def test_what_steers_a_terminal_is_shown_instead(steering: str) -> None:
    shown = clean(f"a{steering}b")
    assert shown.startswith("a\\")
    assert shown.isprintable()


def test_json_has_its_version_first_and_keeps_letters_as_they_are(capsys: pytest.CaptureFixture[str]) -> None:
    print_json({"name": "日本 \x9b"})
    assert capsys.readouterr().out == '{\n  "schema_version": 1,\n  "name": "日本 \\u009b"\n}\n'


def test_a_stream_of_another_encoding_is_made_utf8(monkeypatch: pytest.MonkeyPatch) -> None:
    raw = io.BytesIO()
    monkeypatch.setattr(sys, "stdout", io.TextIOWrapper(raw, encoding="ascii"))
    speak_utf8()
    print_lines(["draft → paid \udc80"])
    assert raw.getvalue() == "draft → paid \\udc80\n".encode()
