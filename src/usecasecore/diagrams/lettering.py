"""How much room a text takes, and how it is broken into lines, without a font to ask.

Widths are those of Helvetica and Arial, which the fonts of the usual systems follow closely; what they don't tell is
estimated on the wide side. A text that needs more room than there is ends in an ellipsis: the whole of it belongs into
the drawing's `<title>`.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable, Iterator
from typing import TypeAlias

__all__ = ["columns", "fold", "printable", "text_width", "wrap", "wrap_columns"]

Measure: TypeAlias = Callable[[str], float]

ELLIPSIS = "…"
# What steers a terminal, breaks a line, turns the direction of the text around, or may not stand in XML at all.
_UNPRINTABLE = re.compile(r"[\x00-\x1f\x7f-\x9f\u200e\u200f\u2028-\u202e\u2066-\u2069\ud800-\udfff\ufeff\ufffe\uffff]")
_JOINER = "\u200d"
_ASCII = (
    # From the space to the tilde, in thousandths of the font's size.
    "278 278 355 556 556 889 667 191 333 333 389 584 278 333 278 278 556 556 556 556 556 556 556 556 556 556 278 278 584 584 584 "
    "556 1015 667 667 722 722 667 611 778 722 278 500 667 556 833 722 778 667 778 722 667 611 722 667 944 667 667 611 278 278 278 "
    "469 556 333 556 556 500 556 556 278 556 556 222 222 500 222 833 556 556 556 556 333 500 278 556 500 722 500 500 500 334 260 "
    "334 584"
)
_ADVANCES = {chr(0x20 + index): int(each) / 1000 for index, each in enumerate(_ASCII.split())}
_BOLDER = 1.08
_SAFETY = 1.06
_FIRST_EMOJI = 0x1F000
_WORD = re.compile(r"\s*\S+\s*|\s+")
_BREAK = re.compile(r"(?<=[\s_./:,;|\-])|(?<=[a-z0-9])(?=[A-Z])")


def printable(text: str) -> str:
    """Return a text in one line, with everything that is not to be obeyed shown as its escape."""
    return _UNPRINTABLE.sub(lambda found: found[0].encode("unicode_escape").decode(), text)


def fold(text: str) -> str:
    """Return running text in one printable line, its line breaks and runs of space made single spaces."""
    return printable(" ".join(text.split()))


def text_width(text: str, size: float, *, bold: bool = False) -> float:
    """Return how wide a text is at most likely to be drawn, in the unit of `size`."""
    total = sum(map(_advance, text))
    return total * size * _SAFETY * (_BOLDER if bold else 1)


def columns(text: str) -> int:
    """Return how many columns of a terminal a text takes."""
    if text.isascii():
        return len(text)
    return sum(map(_cell, text))


def wrap(text: str, size: float, room: float, *, lines: int, bold: bool = False) -> tuple[str, ...]:
    """Return a printable text in at most so many lines, none wider than `room`; at least one, which may be empty.

    Broken between words; inside of a word that has no room, after a mark that joins words or before a capital, and else
    wherever it must be.
    """
    return _wrap(text, room, lines, lambda part: text_width(part, size, bold=bold))


def wrap_columns(text: str, room: int) -> tuple[str, ...]:
    """Return all of a printable text in lines of at most so many columns of a terminal; at least one, which may be empty."""
    return _wrap(text, max(room, 2), None, columns)


def _wrap(text: str, room: float, lines: int | None, measure: Measure) -> tuple[str, ...]:
    found: list[str] = []
    line = ""
    for piece in _pieces(text, room, measure):
        if line and measure((line + piece).rstrip()) > room:
            found.append(line)
            line = piece.lstrip()
        else:
            line += piece
    found.append(line)
    if lines is not None and len(found) > lines:
        found = [*found[: lines - 1], _ended("".join(found[lines - 1 :]), room, measure)]
    return tuple(each.strip() for each in found)


def _pieces(text: str, room: float, measure: Measure) -> Iterator[str]:
    """Yield parts that may stand on lines of their own, none wider than `room` if one character isn't."""
    for word in _WORD.findall(text):
        for part in [word] if measure(word.rstrip()) <= room else _BREAK.split(word):
            if measure(part.rstrip()) <= room:
                yield part
            else:
                yield from _bits(part, room, measure)


def _bits(text: str, room: float, measure: Measure) -> Iterator[str]:
    piece = ""
    for cluster in _clusters(text):
        if piece and measure(piece + cluster) > room:
            yield piece
            piece = ""
        piece += cluster
    yield piece


def _ended(text: str, room: float, measure: Measure) -> str:
    kept = ""
    for cluster in _clusters(text):
        if measure(kept + cluster + ELLIPSIS) > room:
            break
        kept += cluster
    return kept.rstrip() + ELLIPSIS


def _clusters(text: str) -> Iterator[str]:
    """Yield what a reader sees as one character: with its accents, its colour, and what a joiner joins to it."""
    cluster = ""
    for each in text:
        if cluster and not (_extends(each) or cluster.endswith(_JOINER)):
            yield cluster
            cluster = ""
        cluster += each
    if cluster:
        yield cluster


def _extends(character: str) -> bool:
    return (
        character == _JOINER
        or unicodedata.category(character) in ("Mn", "Me", "Mc")
        or "\U0001f3fb" <= character <= "\U0001f3ff"
        or "\U000e0020" <= character <= "\U000e007f"
    )


def _advance(character: str) -> float:
    known = _ADVANCES.get(character)
    if known is not None:
        return known
    if _takes_none(character):
        return 0
    if unicodedata.east_asian_width(character) in "WF":
        return 1.4 if ord(character) >= _FIRST_EMOJI else 1.02
    letter = unicodedata.normalize("NFD", character)[0]
    return _ADVANCES.get(letter, 0.85)


def _cell(character: str) -> int:
    if _takes_none(character):
        return 0
    return 2 if unicodedata.east_asian_width(character) in "WF" else 1


def _takes_none(character: str) -> bool:
    return unicodedata.category(character) in ("Mn", "Me", "Cf")
