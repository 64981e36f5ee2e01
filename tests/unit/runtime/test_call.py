"""What can be said with a command."""

from __future__ import annotations

import re

import pytest

from usecasecore.runtime.call import is_key

WANTED = re.compile(r"[\x21-\x7e]([\x20-\x7e]{0,253}[\x21-\x7e])?")
CHARACTERS = [chr(code) for code in (*range(0x300), 0x2028, 0xD800, 0xFEFF, 0x1F600)]


@pytest.mark.parametrize("around", ["{}", "a{}", "{}a", "a{}a"])
def test_a_key_is_printable_ascii_without_a_space_at_an_end(around: str) -> None:
    keys = [around.format(character) for character in CHARACTERS]
    assert [key for key in keys if is_key(key)] == [key for key in keys if WANTED.fullmatch(key)]


@pytest.mark.parametrize(("key", "accepted"), [("", False), ("a" * 255, True), ("a" * 256, False), (None, False), (b"a", False)])
def test_a_key_has_1_to_255_characters(key: object, accepted: bool) -> None:
    assert is_key(key) is accepted
