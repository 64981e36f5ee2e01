"""Segments: pieces of a line on a terminal, with what they are; how that looks is for whoever prints them."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum
from typing import TypeAlias

from usecasecore.diagrams.lettering import columns

__all__ = ["Role", "Segment", "Text", "text_columns"]


class Role(StrEnum):
    """What a piece of a line is."""

    PLAIN = "plain"
    TITLE = "title"
    NAME = "name"
    INITIAL = "initial"
    INITIAL_NAME = "initial_name"
    FINAL = "final"
    FINAL_NAME = "final_name"
    FRAME = "frame"
    LANE = "lane"
    TRIGGER = "trigger"
    DEST = "dest"
    USE_CASE = "use_case"
    MUTED = "muted"
    MARK = "mark"
    WARNING = "warning"


@dataclass(frozen=True, slots=True)
class Segment:
    """A piece of a line."""

    text: str
    role: Role


Text: TypeAlias = tuple[Segment, ...]
"""A line."""


def text_columns(text: Iterable[Segment]) -> int:
    """Return how many columns a line takes."""
    return sum(columns(segment.text) for segment in text)
