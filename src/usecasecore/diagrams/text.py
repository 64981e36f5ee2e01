"""Names and descriptions as a picture shows them."""

from __future__ import annotations

import textwrap

__all__ = ["flat", "shown", "wrapped"]

# What ends a line, steers a terminal, turns the direction of the text around or can't be encoded is shown instead of obeyed.
_UNSEEN = {
    *range(0x20),
    *range(0x7F, 0xA0),
    *range(0x2028, 0x202F),
    *range(0x2066, 0x206A),
    *range(0xD800, 0xE000),
    0xFFFE,
    0xFFFF,
}
_VISIBLE = {code: chr(code).encode("unicode_escape").decode() for code in _UNSEEN}


def shown(text: str) -> str:
    """Return a name in one line, with every character that can't be seen written out as Python does."""
    return text.translate(_VISIBLE)


def flat(text: str) -> str:
    """Return a text in one line, white space as single spaces; one of nothing else is written out, for it must not vanish."""
    return shown(" ".join(text.split()) or text.replace(" ", "\\x20"))


def wrapped(text: str, width: int = 40) -> tuple[str, ...]:
    """Return a text, made flat, in lines of at most so many characters; words that are longer are split."""
    return tuple(textwrap.wrap(flat(text), width))
