"""Markup: XML, one element a line, in which nothing that is written can be taken for anything but text."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TypeAlias

__all__ = ["Markup", "Value", "number"]

# What XML 1.0 has no place for, not even escaped. XML readers change line breaks and tabs in attributes: these are escaped.
_FORBIDDEN = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\ud800-\udfff\ufffe\uffff]")
_ESCAPES = str.maketrans(
    {"&": "&amp;", "<": "&lt;", ">": "&gt;", '"': "&quot;", "'": "&#39;", "\t": "&#9;", "\n": "&#10;", "\r": "&#13;"}
)

Value: TypeAlias = str | float | None
"""Of an attribute; one that is None is left out."""


@dataclass(slots=True)
class Markup:
    """A document that grows from its start to its end."""

    _lines: list[str] = field(default_factory=list)
    _depth: int = 0

    def __str__(self) -> str:
        return "\n".join(self._lines) + "\n"

    @contextmanager
    def inside(self, tag: str, /, **attributes: Value) -> Iterator[None]:
        """Write an element around everything that is written in the meantime."""
        self._line(f"<{_start(tag, attributes)}>")
        self._depth += 1
        yield
        self._depth -= 1
        self._line(f"</{tag}>")

    def element(self, tag: str, /, **attributes: Value) -> None:
        """Write an element with nothing in it."""
        self._line(f"<{_start(tag, attributes)}/>")

    def text(self, tag: str, text: str, /, **attributes: Value) -> None:
        """Write an element with a text in it."""
        self._line(f"<{_start(tag, attributes)}>{_escaped(text)}</{tag}>")

    def raw(self, text: str) -> None:
        """Write something that is markup already."""
        self._line(text)

    def runs(self, tag: str, parts: Iterable[tuple[str, Mapping[str, Value]]], /, **attributes: Value) -> None:
        """Write a text element of several `tspan`s."""
        inner = "".join(f"<{_start('tspan', each)}>{_escaped(text)}</tspan>" for text, each in parts)
        self._line(f"<{_start(tag, attributes)}>{inner}</{tag}>")

    def _line(self, text: str) -> None:
        self._lines.append("  " * self._depth + text)


def number(value: float) -> str:
    """Return a coordinate with one place at most."""
    text = f"{value:.1f}"
    return "0" if text in ("-0.0", "0.0") else text.removesuffix(".0")


def _start(tag: str, attributes: Mapping[str, Value]) -> str:
    """Return what stands between the angle brackets: names in Python's way, `class_` and `data_state`, become XML's."""
    written = (
        f' {name.rstrip("_").replace("_", "-")}="{_escaped(value if isinstance(value, str) else number(value))}"'
        for name, value in attributes.items()
        if value is not None
    )
    return tag + "".join(written)


def _escaped(text: str) -> str:
    return _FORBIDDEN.sub(lambda found: found[0].encode("unicode_escape").decode(), text).translate(_ESCAPES)
