"""Signs: the small pictures in front of lines, each of a shape of its own, in a square of 12."""

from __future__ import annotations

from collections.abc import Mapping

from usecasecore.diagrams.markup import Markup, number
from usecasecore.diagrams.overlay import Status

__all__ = ["SIZE", "draw_icon", "draw_status"]

SIZE = 12

_ICONS: Mapping[str, str] = {
    "use-case": "M1 2.2 8 6 1 9.8Z",
    "event": "M5.6 .8 1 6.9H4.1L3.3 11.2 8.2 5H5.1Z",
    "warning": "M5.5 1 11 10.8H0ZM4.8 4.3 5.1 7.6H5.9L6.2 4.3ZM4.8 8.4V9.8H6.2V8.4Z",
    "internal": "M5 1.8A4.3 4.3 0 1 0 9.3 6.1H7.8A2.8 2.8 0 1 1 5 3.3V5.2L8.6 2.5 5-.2Z",
}
_STATUSES: Mapping[Status, str] = {
    # A disc with a tick, a disc half full, a square with a cross, a target, a full disc, an empty one.
    Status.GOOD: "M6 .4A5.6 5.6 0 1 0 6 11.6 5.6 5.6 0 1 0 6 .4ZM5.2 9 2.4 6.2 3.5 5.1 5.2 6.8 8.5 3.5 9.6 4.6Z",
    Status.PARTIAL: "M6 .4A5.6 5.6 0 1 0 6 11.6 5.6 5.6 0 1 0 6 .4ZM6 2A4 4 0 0 1 6 10Z",
    Status.BAD: "M.8 .8H11.2V11.2H.8ZM3.2 4.3 4.9 6 3.2 7.7 4.3 8.8 6 7.1 7.7 8.8 8.8 7.7 7.1 6 8.8 4.3 7.7 3.2 6 4.9 4.3 3.2Z",
    Status.CURRENT: "M6 .4A5.6 5.6 0 1 0 6 11.6 5.6 5.6 0 1 0 6 .4ZM6 2A4 4 0 1 1 6 10 4 4 0 1 1 6 2ZM6 3.6A2.4 2.4 0 1 0 6 8.4 2.4 2.4 0 1 0 6 3.6Z",
    Status.TAKEN: "M6 1.6A4.4 4.4 0 1 0 6 10.4 4.4 4.4 0 1 0 6 1.6Z",
    Status.UNTAKEN: "M6 1.4A4.6 4.6 0 1 0 6 10.6 4.6 4.6 0 1 0 6 1.4ZM6 2.8A3.2 3.2 0 1 1 6 9.2 3.2 3.2 0 1 1 6 2.8Z",
}


def draw_icon(markup: Markup, name: str, x: float, y: float) -> None:
    """Draw a sign by its name, its middle on the left at the point."""
    special = " uc-icon-warning" if name == "warning" else ""
    _draw(markup, _ICONS[name], f"uc-icon{special}", x, y)


def draw_status(markup: Markup, status: Status, x: float, y: float) -> None:
    """Draw a status's sign, likewise."""
    _draw(markup, _STATUSES[status], f"uc-sign uc-status-{status}", x, y)


def _draw(markup: Markup, path: str, css: str, x: float, y: float) -> None:
    markup.element("path", class_=css, transform=f"translate({number(x)} {number(y - SIZE / 2)})", fill_rule="evenodd", d=path)
