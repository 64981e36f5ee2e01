"""The characters that drawings on a terminal are made of. Each takes one column."""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["ASCII", "UNICODE", "Border", "Glyphs"]


@dataclass(frozen=True, slots=True)
class Border:
    """What boxes are drawn with."""

    corner: str
    corner_right: str
    foot: str
    foot_right: str
    across: str
    side: str
    tee: str

    def above(self, wide: int) -> str:
        """Return the upper border of a box."""
        return self.corner + self.across * wide + self.corner_right

    def below(self, wide: int, *, open_: bool) -> str:
        """Return the lower border, with the start of what leads out if `open_`."""
        line = self.across + self.tee + self.across * (wide - 2) if open_ else self.across * wide
        return self.foot + line + self.foot_right


@dataclass(frozen=True, slots=True)
class Glyphs:
    """A set of characters.

    Attributes:
        single: For states.
        double: For final states.
        branch: Where one of several edges leaves the line below a state.
        down: The end of the line to the state right below.
        into: The end of a lane.
        join: Where an edge meets a lane between its ends.
        cross: Where an edge runs across another lane.
        dot: An initial point.
        upper: In front of the name of a state that is drawn above.
        lower: In front of one that is drawn below.
        again: For what leads back to where it starts.
        gone: Where deleted aggregates go.
        ascii: Whether there are no others.
    """

    single: Border
    double: Border
    branch: str
    down: str
    into: str
    join: str
    cross: str
    dot: str
    upper: str
    lower: str
    again: str
    gone: str
    ascii: bool = False

    def text(self, text: str) -> str:
        """Return a text as it can be shown."""
        return text.encode("ascii", "backslashreplace").decode() if self.ascii else text


UNICODE = Glyphs(
    single=Border("╭", "╮", "╰", "╯", "─", "│", "┬"),
    double=Border("╔", "╗", "╚", "╝", "═", "║", "╤"),
    branch="├",
    down="▼",
    into="◀",
    join="┤",
    cross="┼",
    dot="●",
    upper="↑",
    lower="↓",
    again="↺",
    gone="✕",
)
ASCII = Glyphs(
    single=Border("+", "+", "+", "+", "-", "|", "+"),
    double=Border("#", "#", "#", "#", "=", "#", "+"),
    branch="+",
    down="v",
    into="<",
    join="+",
    cross="|",
    dot="o",
    upper="^",
    lower="v",
    again="@",
    gone="x",
    ascii=True,
)
