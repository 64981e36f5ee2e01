from __future__ import annotations

import random
import unicodedata

import pytest

from tests.unit.diagrams.drawings import HOSTILE
from usecasecore.diagrams.lettering import columns, fold, printable, text_width, wrap, wrap_columns


def some_texts() -> list[str]:
    chance = random.Random(7)
    letters = "abcXYZ  __--..日本😀é\u0301\u200d"
    return ["".join(chance.choices(letters, k=chance.randrange(60))) for _ in range(200)] + list(HOSTILE)


def test_wrapped_lines_fit_and_lose_nothing_but_spaces() -> None:
    for text in map(printable, some_texts()):
        for room in (2, 5, 12, 80):
            lines = wrap_columns(text, room)
            assert "".join("".join(lines).split()) == "".join(text.split())
            # One character that a reader sees, with all that is joined to it, can't be parted.
            assert all(columns(line) <= room or "\u200d" in line for line in lines)


def test_line_that_has_no_room_ends_in_an_ellipsis() -> None:
    lines = wrap("x" * 200, 14, 100, lines=2)
    assert len(lines) == 2
    assert lines[1].endswith("…")
    assert max(text_width(line, 14) for line in lines) <= 100


def test_words_are_broken_only_if_they_have_no_room() -> None:
    assert wrap_columns("look at OpenCase", 10) == ("look at", "OpenCase")
    assert wrap_columns("partly_submitted", 10) == ("partly_", "submitted")
    assert wrap_columns("OrderSubmitted", 10) == ("Order", "Submitted")


def test_accents_and_joined_characters_stay_together() -> None:
    family = "\U0001f468\u200d\U0001f469\u200d\U0001f467"
    assert wrap_columns(f"{family}{family}", 2) == (family, family)
    assert wrap_columns("e\u0301e\u0301e\u0301", 2) == ("e\u0301e\u0301", "e\u0301")


@pytest.mark.parametrize("text", HOSTILE)
def test_printable_texts_steer_nothing(text: str) -> None:
    shown = printable(text)
    assert not {unicodedata.category(each) for each in shown} & {"Cc", "Cs", "Zl", "Zp"}
    assert not set(shown) & set("\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069")


def test_running_text_becomes_one_line() -> None:
    assert fold("a\n  b\tc \x1b[0m") == "a b c \\x1b[0m"


def test_wider_letters_take_more_room() -> None:
    assert text_width("iiii", 14) < text_width("nnnn", 14) < text_width("WWWW", 14) < text_width("日日日日", 14) * 1.2
    assert text_width("name", 14) < text_width("name", 14, bold=True)
