"""Writes lines of text, with the signs in front of them, into a drawing."""

from __future__ import annotations

from collections.abc import Iterable

from usecasecore.diagrams.blocks import ICON, Line, step_width
from usecasecore.diagrams.markup import Markup, Value
from usecasecore.diagrams.signs import draw_icon, draw_status

__all__ = ["write_lines"]

# From a line's middle down to the foot of its letters, in parts of their size.
_FOOT = 0.35


def write_lines(markup: Markup, lines: Iterable[Line], x: float, y: float, *, centred: bool = False, css: str = "") -> None:
    """Write lines downward from `y`.

    Args:
        markup: Where to.
        lines: What.
        x: Where each starts, or its middle if `centred`.
        y: The top of the first.
        centred: Whether `x` is the middle of each.
        css: Further classes of each text.
    """
    for line in lines:
        middle = y + line.height / 2
        if centred and not line.indent:
            _write(markup, line, x, middle, f"uc-middle {css}")
        else:
            start = x - line.width / 2 if centred else x
            _sign(markup, line, start, middle)
            _write(markup, line, start + line.indent, middle, css)
        y += line.height


def _sign(markup: Markup, line: Line, x: float, middle: float) -> None:
    if line.icon:
        draw_icon(markup, line.icon, x, middle)
        x += ICON
    if line.status is not None:
        draw_status(markup, line.status, x, middle)
        x += ICON
    for step in line.steps:
        width = step_width(step)
        markup.element("rect", class_="uc-step", x=x, y=middle - 8, width=width, height=16, rx=8)
        markup.text("text", str(step), class_="uc-step-number uc-middle", x=x + width / 2, y=middle + 3.8)
        x += width + 3


def _write(markup: Markup, line: Line, x: float, middle: float, css: str) -> None:
    if not line.spans:
        return
    place = {"x": x, "y": middle + _FOOT * max(span.letters.size for span in line.spans)}
    if len(line.spans) == 1:
        span = line.spans[0]
        markup.text("text", span.text, class_=f"{span.letters.css} {css}".strip(), **place)
        return
    parts: list[tuple[str, dict[str, Value]]] = [
        (span.text, {"class": span.letters.css, "dx": "4" if index else None}) for index, span in enumerate(line.spans)
    ]
    markup.runs("text", parts, class_=css or None, **place)
