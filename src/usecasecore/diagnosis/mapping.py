"""The mapped classes: which of them take the slower way in a command, and why."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from sqlalchemy import inspect
from sqlalchemy.orm import Mapper, Session

from usecasecore.application import Application
from usecasecore.diagnosis.finding import Finding, Severity
from usecasecore.runtime.folding import Folding
from usecasecore.runtime.lean_load import LeanLoad

__all__ = ["mapping_findings"]


def mapping_findings(application: Application) -> Iterator[Finding]:
    """Yield each aggregate whose row the session must read, or whose UPDATE it must send, with the reasons."""
    # Bound to nothing: who listens to all sessions listens to this one too.
    with Session() as session:
        for aggregate in application.aggregates:
            mapper: Mapper[object] = inspect(aggregate)
            name = aggregate.__name__
            if reasons := _with(LeanLoad.obstacles(mapper), LeanLoad.listener(mapper, session)):
                yield Finding(
                    "UCD401",
                    Severity.NOTE,
                    f"{name} is read by a query of the ORM, which takes longer: {', '.join(reasons)}.",
                    "Nothing is wrong; a class that is the columns of one table is read without it.",
                )
            if reasons := _with(Folding.obstacles(mapper), Folding.listener(mapper, session)):
                yield Finding(
                    "UCD402",
                    Severity.NOTE,
                    f"The UPDATE of {name} is a statement of its own: {', '.join(reasons)}.",
                    "Nothing is wrong; where only the command fills the columns, the UPDATE travels with the ledger's statement.",
                )


def _with(obstacles: Sequence[str], listener: str | None) -> list[str]:
    return [*obstacles, listener] if listener else list(obstacles)
