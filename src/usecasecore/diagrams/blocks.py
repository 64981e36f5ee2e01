"""Blocks: what is written in each state and on each arrow, broken into lines and measured."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from usecasecore.diagrams.lettering import fold, printable, text_width, wrap
from usecasecore.diagrams.model import Edge, EdgeKind, Node
from usecasecore.diagrams.overlay import Mark, Status
from usecasecore.diagrams.style import Letters

__all__ = ["Block", "Line", "Span", "edge_block", "state_block", "text_lines"]

ICON = 14
"""How much room a sign in front of a line takes, with its distance."""

_NAME_ROOM = 190
_NOTE_ROOM = 210
_LABEL_ROOM = 190
_MOST_NAMES = 3


@dataclass(frozen=True, slots=True)
class Span:
    """A part of a line, in one kind of letters."""

    text: str
    letters: Letters

    @property
    def width(self) -> float:
        """How wide it is at most likely to be."""
        return text_width(self.text, self.letters.size, bold=self.letters.bold)


@dataclass(frozen=True, slots=True)
class Line:
    """A line of text.

    Attributes:
        spans: Its parts, a space apart.
        icon: Name of the sign in front of it, empty for none.
        status: Whose sign stands in front of it.
        steps: Numbers that stand in front of it in discs.
    """

    spans: tuple[Span, ...]
    icon: str = ""
    status: Status | None = None
    steps: tuple[int, ...] = ()

    @property
    def indent(self) -> float:
        """How much room what stands in front takes."""
        signs = bool(self.icon) + (self.status is not None)
        return signs * ICON + sum(step_width(step) + 3 for step in self.steps)

    @property
    def width(self) -> float:
        """From its sign to its end."""
        return self.indent + sum(span.width for span in self.spans) + 4 * max(len(self.spans) - 1, 0)

    @property
    def height(self) -> float:
        """From the line before to the next."""
        least = 17 if self.steps else 0
        return max([least, *(span.letters.leading for span in self.spans)])


@dataclass(frozen=True, slots=True)
class Block:
    """Lines on top of each other.

    Attributes:
        lines: From above.
    """

    lines: tuple[Line, ...]

    @property
    def width(self) -> float:
        """Of the widest line."""
        return max((line.width for line in self.lines), default=0)

    @property
    def height(self) -> float:
        """Of all lines."""
        return sum(line.height for line in self.lines)


def step_width(step: int) -> float:
    """Return how wide the disc around a number is."""
    return 16 if step < 10 else 16 + 6 * (len(str(step)) - 1)


def state_block(node: Node, mark: Mark | None) -> Block:
    """Return what stands in a state: its name, its description, its mark."""
    names = text_lines(node.label, Letters.NAME, _NAME_ROOM, 2)
    return Block((*names, *_notes(node), *mark_lines(mark)))


def edge_block(edge: Edge, mark: Mark | None) -> Block:
    """Return what stands on an arrow; without lines if there is nothing to say."""
    return Block((*_action(edge), *_use_cases(edge), *_events(edge), *mark_lines(mark)))


def mark_lines(mark: Mark | None) -> Iterator[Line]:
    """Yield what an overlay says; where each step has its detail, they share a line."""
    if mark is None or not (mark.text or mark.details or mark.steps or mark.status):
        return
    words = fold(mark.text)
    if not words and len(mark.details) == len(mark.steps):
        for step, detail in zip(mark.steps, mark.details, strict=True):
            yield Line((Span(fold(detail), Letters.NOTE),), steps=(step,))
        return
    # A number in a disc is a sign of its own.
    status = None if mark.status is Status.TAKEN and mark.steps else mark.status
    if words or mark.steps:
        yield Line((Span(words, Letters.MARK),) if words else (), status=status, steps=mark.steps)
    for detail in mark.details:
        yield from text_lines(fold(detail), Letters.NOTE, _LABEL_ROOM, 1)


def text_lines(text: str, letters: Letters, room: float, most: int, icon: str = "") -> Iterator[Line]:
    """Yield a text in at most so many lines, the sign in front of the first; nothing for an empty one."""
    inset = ICON if icon else 0
    for index, line in enumerate(wrap(printable(text), letters.size, room - inset, lines=most, bold=letters.bold)):
        if line:
            yield Line((Span(line, letters),), icon=icon if index == 0 else "")


def _notes(node: Node) -> Iterator[Line]:
    return text_lines(fold(node.description), Letters.NOTE, _NOTE_ROOM, 3)


def _action(edge: Edge) -> Iterator[Line]:
    trigger = "delete" if edge.kind is EdgeKind.DELETION else printable(edge.trigger)
    guards = printable(" & ".join(map(str, edge.guards)))
    icon = "internal" if edge.internal else ""
    if trigger and guards:
        both = Line((Span(trigger, Letters.TRIGGER), Span(f"[{guards}]", Letters.GUARD)), icon)
        if both.width <= _LABEL_ROOM:
            yield both
            return
    yield from text_lines(trigger, Letters.TRIGGER, _LABEL_ROOM, 2, icon)
    if guards:
        yield from text_lines(f"[{guards}]", Letters.GUARD, _LABEL_ROOM, 3)


def _use_cases(edge: Edge) -> Iterator[Line]:
    yield from _few(edge.use_cases, Letters.USE_CASE, "use-case")
    if edge.unbound:
        yield Line((Span("no use case", Letters.WARNING),), icon="warning")


def _events(edge: Edge) -> Iterator[Line]:
    yield from _few(edge.events, Letters.NOTE, "event")


def _few(names: Iterable[str], letters: Letters, icon: str) -> Iterator[Line]:
    known = list(names)
    shown = known if len(known) <= _MOST_NAMES else known[: _MOST_NAMES - 1]
    for name in shown:
        yield from text_lines(name, letters, _LABEL_ROOM, 1, icon)
    if len(known) > len(shown):
        yield Line((Span(f"and {len(known) - len(shown)} more", letters),), icon=icon)
