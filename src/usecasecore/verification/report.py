"""What a verification says."""

from __future__ import annotations

from dataclasses import dataclass
from uuid import UUID

__all__ = ["Counted", "Finding", "Report"]


@dataclass(frozen=True, slots=True)
class Finding:
    """Something that the runtime can't have left like that.

    Attributes:
        code: A stable name of the kind of finding, in snake case; `docs/guide/trust.md` lists them.
        sentence: What is true, for people.
        aggregate: Name of the aggregate, as in the ledger; None where it is about none.
        aggregate_id: Its key as text.
        sequence: The version at which it goes wrong; the first one of its chain.
        command_id: The command that it is about; None where it is about none.
    """

    code: str
    sentence: str
    aggregate: str | None = None
    aggregate_id: str | None = None
    sequence: int | None = None
    command_id: UUID | None = None


@dataclass(frozen=True, slots=True)
class Counted:
    """How much was looked at.

    Attributes:
        entries: Audit entries.
        rows: Rows of the application's aggregates; 0 without an application.
        hashed: Entries whose hash was computed anew; 0 where that wasn't asked for.
        anchors: Anchors that were compared.
        unsealed: Baselines that no hash vouches for: they were written below the entries of commands that came first. 0 where
            hashes weren't asked for.
    """

    entries: int = 0
    rows: int = 0
    hashed: int = 0
    anchors: int = 0
    unsealed: int = 0


@dataclass(frozen=True, slots=True)
class Report:
    """What a verification found.

    Attributes:
        findings: In the order of the checks.
        counted: How much was looked at.
        more: Codes of which there are more findings than were asked for.
        unknown: Aggregates in the ledger that the application doesn't know: their rows and transitions were not checked.
    """

    findings: tuple[Finding, ...]
    counted: Counted
    more: frozenset[str] = frozenset()
    unknown: tuple[str, ...] = ()

    @property
    def ok(self) -> bool:
        """True where nothing was found."""
        return not self.findings

    @property
    def codes(self) -> frozenset[str]:
        """The kinds of findings."""
        return frozenset(finding.code for finding in self.findings)
