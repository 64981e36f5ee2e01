"""What is installed: is it what commands are quick with?"""

from __future__ import annotations

from collections.abc import Iterator
from importlib import import_module

from usecasecore import unofficial
from usecasecore.diagnosis.finding import Finding, Severity

__all__ = ["environment_findings"]


def environment_findings(driver: str | None) -> Iterator[Finding]:
    """Yield what isn't as it is known, and what could be quicker with other packages.

    Args:
        driver: Name of the driver in use, as SQLAlchemy has it; None where no database is known.
    """
    if parts := (*unofficial.unknown_parts(), *unofficial.unknown_parts_of_greenlets()):
        known = " or ".join(f"{version}x" for version in unofficial.known_versions())
        yield Finding(
            "UCD101",
            Severity.WARNING,
            f"SQLAlchemy's inner parts are not as they are known ({', '.join(parts)}): commands go the public way, which is slower.",
            f"Install SQLAlchemy {known}, or a usecasecore that knows this one.",
        )
    implementation = _psycopg() if driver in (None, "psycopg", "psycopg_async") else None
    if implementation is not None and (parts := unofficial.unknown_parts_of_psycopg()):
        known = " or ".join(f"{version}x" for version in unofficial.known_versions_of_psycopg())
        yield Finding(
            "UCD103",
            Severity.WARNING,
            f"psycopg is not as it is known ({', '.join(parts)}): BEGIN and COMMIT are round trips of their own.",
            f"Install psycopg {known}, or a usecasecore that knows this one.",
        )
    if implementation == "python":
        yield Finding(
            "UCD102",
            Severity.NOTE,
            "psycopg runs its implementation in Python, which takes several times as long as that in C.",
            "Install `psycopg[binary]`, or `psycopg[c]` where a compiler and libpq are at hand.",
        )


def _psycopg() -> str | None:
    """Return which implementation psycopg uses: `python`, `c` or `binary`; None where there is no psycopg."""
    try:
        implementation: str = import_module("psycopg.pq").__impl__
    except ImportError:
        return None
    return implementation
