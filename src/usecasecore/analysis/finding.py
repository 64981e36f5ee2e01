"""Finding: one thing that is wrong with a declaration, known without running it."""

from __future__ import annotations

from dataclasses import dataclass

from usecasecore.lifecycle import Location

__all__ = ["Finding", "Ignored", "Report"]


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that is wrong.

    Attributes:
        code: Which check found it: `UCC1` and two digits. A code never changes its meaning.
        lifecycle: Name of the lifecycle that it is about; None where it is about the application alone.
        location: The line to look at; None where the source isn't at hand.
        cause: One sentence: what is true.
        cure: One sentence: what to do about it.
    """

    code: str
    lifecycle: str | None
    location: Location | None
    cause: str
    cure: str

    def __str__(self) -> str:
        place = f"{self.location}: " if self.location else ""
        about = f" {self.lifecycle}" if self.lifecycle else ""
        return f"{place}{self.code}{about}: {self.cause} {self.cure}"


@dataclass(frozen=True, slots=True)
class Ignored:
    """A finding that the declaration asks to ignore, and why."""

    finding: Finding
    reason: str


@dataclass(frozen=True, slots=True)
class Report:
    """What the checks say of an application.

    Attributes:
        findings: What is wrong, lifecycle by lifecycle, then by line and code.
        ignored: What was found too, and is ignored with a reason.
    """

    findings: tuple[Finding, ...]
    ignored: tuple[Ignored, ...]
