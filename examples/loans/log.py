"""The event log: reading it, and refusing to read it wrongly."""

from __future__ import annotations

import csv
import gzip
import io
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from pathlib import Path
from typing import IO

__all__ = ["COLUMNS", "Activity", "LogEvent", "LogUnreadable", "read_log"]

COLUMNS = ("occurred_at", "application", "event", "resource", "amount_requested")
_GZIP = b"\x1f\x8b"


class Activity(StrEnum):
    """What the log records of an application. Offers (`O_`) are left out, as they have a life of their own."""

    SUBMITTED = "A_SUBMITTED"
    PARTLY_SUBMITTED = "A_PARTLYSUBMITTED"
    PREACCEPTED = "A_PREACCEPTED"
    ACCEPTED = "A_ACCEPTED"
    FINALIZED = "A_FINALIZED"
    DECLINED = "A_DECLINED"
    CANCELLED = "A_CANCELLED"
    APPROVED = "A_APPROVED"
    REGISTERED = "A_REGISTERED"
    ACTIVATED = "A_ACTIVATED"


@dataclass(frozen=True, slots=True, kw_only=True)
class LogEvent:
    """One row of the log.

    Attributes:
        occurred_at: Aware.
        application: Number of the application.
        resource: Who did it; empty where the log doesn't say.
        amount_requested: In whole euros.
    """

    occurred_at: datetime
    application: int
    activity: Activity
    resource: str
    amount_requested: int


class LogUnreadable(Exception):
    """The log can't be read.

    Attributes:
        line: The line at fault, from 1; None where the whole file is.
    """

    def __init__(self, path: Path, line: int | None, problem: str) -> None:
        self.path, self.line, self.problem = path, line, problem
        super().__init__(f"{path}{'' if line is None else f', line {line}'}: {problem}")


def read_log(path: Path) -> list[LogEvent]:
    """Return the `A_` events in order of time, those of one instant in the order of the file.

    Args:
        path: A CSV file with a header, in UTF-8, as it is or compressed by gzip.

    Raises:
        LogUnreadable: At the first row that isn't an event, or if the file can't be read at all.
    """
    try:
        with _opened(path) as file:
            events = list(_events(path, file))
    except (OSError, EOFError, zlib.error, UnicodeDecodeError) as error:
        raise LogUnreadable(path, None, getattr(error, "strerror", None) or str(error)) from error
    return sorted(events, key=lambda event: event.occurred_at)


@contextmanager
def _opened(path: Path) -> Iterator[IO[str]]:
    with path.open("rb") as file:
        content = gzip.GzipFile(fileobj=file) if file.peek(2)[:2] == _GZIP else file
        with io.TextIOWrapper(content, encoding="utf-8", newline="") as text:
            yield text


def _events(path: Path, file: IO[str]) -> Iterator[LogEvent]:
    rows = csv.DictReader(file)
    try:
        if missing := [name for name in COLUMNS if name not in (rows.fieldnames or ())]:
            raise ValueError(f"the header lacks {', '.join(missing)}; the columns are {', '.join(COLUMNS)}")
        for row in rows:
            if None in row or None in row.values():
                raise ValueError("the row has another number of columns than the header")
            if row["event"].startswith("A_"):
                yield _event(row)
    except UnicodeDecodeError:
        raise  # text is decoded ahead of the rows: the line isn't known
    except (ValueError, csv.Error) as error:
        raise LogUnreadable(path, max(rows.line_num, 1), str(error)) from error


def _event(row: dict[str, str]) -> LogEvent:
    if row["event"] not in tuple(Activity):
        raise ValueError(f"event {row['event']!r} is unknown; known: {', '.join(Activity)}")
    return LogEvent(
        occurred_at=_instant(row["occurred_at"]),
        application=_count("application", row["application"]),
        activity=Activity(row["event"]),
        resource=row["resource"],
        amount_requested=_count("amount_requested", row["amount_requested"]),
    )


def _instant(text: str) -> datetime:
    try:
        instant = datetime.fromisoformat(text)
    except ValueError:
        raise ValueError(f"occurred_at {text!r} is no time; ISO 8601 with an offset is wanted") from None
    if instant.tzinfo is None:
        raise ValueError(f"occurred_at {text!r} has no offset")
    return instant


def _count(column: str, text: str) -> int:
    if not (text.isascii() and text.isdigit()):
        raise ValueError(f"{column} {text!r} is no whole number")
    return int(text)
