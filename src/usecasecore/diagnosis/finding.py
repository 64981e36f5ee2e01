"""Finding: one thing about the surroundings of commands that is wrong, or good to know."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

__all__ = ["Finding", "Severity"]


class Severity(StrEnum):
    """What a finding asks for."""

    PROBLEM = "problem"
    """Something must be done."""
    WARNING = "warning"
    """Everything works, on another way than it is meant to."""
    NOTE = "note"
    """Everything works; it could be quicker, or smaller."""


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that was found.

    Attributes:
        code: Which check found it: `UCD` and three digits. A code never changes its meaning.
        severity: Whether something must be done.
        cause: One sentence: what is true.
        cure: One sentence: what to do about it.
    """

    code: str
    severity: Severity
    cause: str
    cure: str
