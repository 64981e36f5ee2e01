"""How the database is set: does it keep what it acknowledges, and what time does it have?"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import datetime, timedelta

from sqlalchemy import Connection, text

from usecasecore.diagnosis.finding import Finding, Severity
from usecasecore.runtime.database import unsafe_settings

__all__ = ["clock_findings", "setting_findings"]

MOST_APART = timedelta(seconds=1)
_ROUNDS = 3


def setting_findings(connection: Connection, *, asynchronous_commit: bool, scopes: bool) -> Iterator[Finding]:
    """Yield each setting that breaks a promise of the runtime, and what only a crash of the server would show.

    Args:
        connection: As the runtime gets them.
        asynchronous_commit: Whether the runtime says that the last commits before a crash may be lost.
        scopes: Whether use cases declare any.
    """
    for unsafe in unsafe_settings(connection, asynchronous_commit=False, scopes=scopes):
        durability = unsafe.setting == "synchronous_commit"
        agreed = durability and asynchronous_commit
        yield Finding(
            "UCD201" if durability else "UCD202",
            Severity.NOTE if agreed else Severity.PROBLEM,
            f"{_upper(unsafe.setting)} is {unsafe.value}, which {unsafe.effect}"
            + ("; the runtime agrees to that by asynchronous_commit=True." if agreed else "."),
            "Set it to on where a crash must lose nothing." if agreed else f"{_upper(unsafe.needed)}.",
        )
    if connection.dialect.name == "postgresql":
        for setting, effect in (
            ("fsync", "a crash of the machine may leave a database that can't be read any more"),
            ("full_page_writes", "a crash of the machine may leave pages that are half old and half new"),
        ):
            if connection.exec_driver_sql(f"show {setting}").scalar() == "off":
                cure = "Set it to on in the server's configuration; off is for databases that may be thrown away."
                yield Finding("UCD201", Severity.PROBLEM, f"{setting} is off: {effect}.", cure)


def clock_findings(connection: Connection, clock: Callable[[], datetime]) -> Iterator[Finding]:
    """Yield that the clocks of the database and of this process certainly differ by more than a second.

    The database read its clock at some time between the question and the answer; of several rounds all must agree.
    """
    if connection.dialect.name != "postgresql":
        return  # SQLite has the clock of this process
    least, most = timedelta.min, timedelta.max
    for _ in range(_ROUNDS):
        before = clock()
        there: datetime = connection.execute(text("select clock_timestamp()")).scalar_one()
        least, most = max(least, there - clock()), min(most, there - before)
    if not (least > MOST_APART or most < -MOST_APART):
        return
    middle, about = (least + most) / 2, (most - least) / 2
    direction = "ahead of" if middle > timedelta(0) else "behind"
    yield Finding(
        "UCD203",
        Severity.PROBLEM,
        f"The database's clock is {_seconds(middle)} s {direction} this process's (give or take {_seconds(about)} s).",
        "Have both machines follow the same time servers: leases, expiry and the order of entries go by these clocks.",
    )


def _seconds(span: timedelta) -> str:
    return f"{abs(span.total_seconds()):,.3f}"


def _upper(sentence: str) -> str:
    # The name of a setting stays as it is.
    return sentence if "_" in sentence.partition(" ")[0] else sentence[:1].upper() + sentence[1:]
