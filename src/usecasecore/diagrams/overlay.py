"""Overlay: what is known about the states and edges of a diagram beside their declaration. Any renderer may leave it out."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum

__all__ = ["LegendItem", "Mark", "Overlay", "Status"]


class Status(StrEnum):
    """What a state or edge is, seen through an overlay. Each has a sign of its own shape.

    Attributes:
        GOOD: As it should be: covered, for one.
        PARTIAL: In part.
        BAD: Not as it should be.
        CURRENT: Where an aggregate is now.
        TAKEN: Where it has been.
        UNTAKEN: Where it hasn't been, or nothing ever has.
    """

    GOOD = "good"
    PARTIAL = "partial"
    BAD = "bad"
    CURRENT = "current"
    TAKEN = "taken"
    UNTAKEN = "untaken"


@dataclass(frozen=True, slots=True)
class Mark:
    """What an overlay says about one state or edge.

    Attributes:
        text: In a few characters: `327`, `1,640 times`, `12 tests`.
        details: Further short lines: `median 2.5 d`, or the time of a step.
        status: Shown by a sign and a colour.
        share: How much of the whole it is, 0 to 1: a meter in a state, the thickness of an arrow.
        steps: Which steps of a journey led along it, from 1.
        title: All of it in a sentence, for those who point at it or have it read out.
        data: Further facts for scripts, name (letters and dashes) to text.
    """

    text: str = ""
    details: tuple[str, ...] = ()
    status: Status | None = None
    share: float | None = None
    steps: tuple[int, ...] = ()
    title: str = ""
    data: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True, slots=True)
class LegendItem:
    """What one of the overlay's signs means."""

    text: str
    status: Status | None = None


@dataclass(frozen=True, slots=True)
class Overlay:
    """Marks for the states and edges of one diagram.

    Attributes:
        name: `counts`, `flow`, `coverage` or `aggregate`.
        title: What it shows, to stand behind the diagram's own title.
        states: Full name of a state -> its mark.
        edges: Id of an edge -> its mark.
        legend: What the signs mean.
        notes: What else must be known to read it, a sentence each.
    """

    name: str
    title: str
    states: Mapping[str, Mark] = field(default_factory=dict)
    edges: Mapping[str, Mark] = field(default_factory=dict)
    legend: tuple[LegendItem, ...] = ()
    notes: tuple[str, ...] = ()
