"""A made-up log that goes the ways of the real one: `python -m examples.loans.generate PATH`.

Every way that an application of the real log goes is gone at least once, then as often as there. How each way ends is
written beside it, so that a replay can be checked against something that never ran through the library.
"""

from __future__ import annotations

import csv
import gzip
import random
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta, timezone
from itertools import pairwise
from pathlib import Path
from typing import Annotated

import typer

from examples.loans.log import COLUMNS

__all__ = ["WAYS", "GeneratedLog", "Way", "generate", "write_log"]


@dataclass(frozen=True, slots=True)
class Way:
    """A sequence of events, how often the real log has it, and the state that it ends in."""

    count: int
    ends: str
    events: tuple[str, ...]


def _way(count: int, ends: str, names: str) -> Way:
    return Way(count, ends, tuple(f"A_{name}" for name in names.split()))


_TO_PREACCEPTED = "SUBMITTED PARTLYSUBMITTED PREACCEPTED"
_TO_ACCEPTED = f"{_TO_PREACCEPTED} ACCEPTED"
_TO_FINALIZED = f"{_TO_ACCEPTED} FINALIZED"
_ALL_THREE = "approved_registered_activated"

WAYS = (
    _way(5719, "declined", "SUBMITTED PARTLYSUBMITTED DECLINED"),
    _way(1, "cancelled", "SUBMITTED PARTLYSUBMITTED CANCELLED"),
    _way(69, "preaccepted", _TO_PREACCEPTED),
    _way(1085, "declined", f"{_TO_PREACCEPTED} DECLINED"),
    _way(1100, "cancelled", f"{_TO_PREACCEPTED} CANCELLED"),
    _way(3, "accepted", _TO_ACCEPTED),
    _way(29, "declined", f"{_TO_ACCEPTED} DECLINED"),
    _way(66, "cancelled", f"{_TO_ACCEPTED} CANCELLED"),
    _way(327, "finalized", _TO_FINALIZED),
    _way(802, "declined", f"{_TO_FINALIZED} DECLINED"),
    _way(1640, "cancelled", f"{_TO_FINALIZED} CANCELLED"),
    _way(590, _ALL_THREE, f"{_TO_FINALIZED} APPROVED REGISTERED ACTIVATED"),
    _way(532, _ALL_THREE, f"{_TO_FINALIZED} REGISTERED APPROVED ACTIVATED"),
    _way(465, _ALL_THREE, f"{_TO_FINALIZED} APPROVED ACTIVATED REGISTERED"),
    _way(322, _ALL_THREE, f"{_TO_FINALIZED} ACTIVATED APPROVED REGISTERED"),
    _way(183, _ALL_THREE, f"{_TO_FINALIZED} REGISTERED ACTIVATED APPROVED"),
    _way(154, _ALL_THREE, f"{_TO_FINALIZED} ACTIVATED REGISTERED APPROVED"),
)


@dataclass(frozen=True, slots=True)
class GeneratedLog:
    """Rows in order of time, and what has to come of them.

    Attributes:
        rows: One text for each of the log's columns; offers (`O_`) are among them.
        ways: The way of each application, by its number.
    """

    rows: tuple[tuple[str, ...], ...]
    ways: dict[int, Way]

    @property
    def commands(self) -> int:
        """How many `A_` events there are."""
        return sum(len(way.events) for way in self.ways.values())

    @property
    def states(self) -> dict[str, int]:
        """How many applications end in which state."""
        return dict(Counter(way.ends for way in self.ways.values()))


def generate(applications: int = 100, *, seed: int = 2012) -> GeneratedLog:
    """Return a log; the same for the same arguments.

    Args:
        applications: How many; at least one for each of `WAYS`.
        seed: Of the random numbers.

    Raises:
        ValueError: If there are fewer applications than ways.
    """
    if applications < len(WAYS):
        raise ValueError(f"{applications} applications can't go all of the {len(WAYS)} ways")
    chance = random.Random(seed)
    ways = [*WAYS, *chance.choices(WAYS, [way.count for way in WAYS], k=applications - len(WAYS))]
    chance.shuffle(ways)
    numbered = {100_000 + 3 * index: way for index, way in enumerate(ways)}
    timed = [row for number, way in numbered.items() for row in _rows(number, way, chance)]
    timed.sort(key=lambda row: row[0])  # stable: an application's rows of one instant stay in their order
    return GeneratedLog(tuple(texts for _, texts in timed), numbered)


def _rows(number: int, way: Way, chance: random.Random) -> Iterator[tuple[datetime, tuple[str, ...]]]:
    # Two offsets, as before and after the end of summer time: the order of the texts is not that of the instants.
    zone = timezone(timedelta(hours=chance.choice((1, 2))))
    now = datetime(2011, 10, 1, tzinfo=UTC) + timedelta(minutes=chance.randrange(20_000))
    amount = str(chance.randrange(0, 50_000, 500))
    for before, event in pairwise(("", *way.events)):
        now += _pause(before, event, chance)
        resource = chance.choice(("112", "10861", "11169", ""))
        occurred_at = now.astimezone(zone).isoformat(timespec="milliseconds")
        yield now, (occurred_at, str(number), event, resource, amount)
        if event == "A_FINALIZED":
            yield now, (occurred_at, str(number), "O_CREATED", resource, amount)


def _pause(before: str, event: str, chance: random.Random) -> timedelta:
    # In the real log approved, registered and activated are less than a second apart, and mostly at the same instant.
    concluding = {"A_APPROVED", "A_REGISTERED", "A_ACTIVATED"}
    if {before, event} <= concluding:
        return timedelta(milliseconds=chance.choice((0, 0, 1)))
    return timedelta(seconds=chance.randrange(1, 200_000))


def write_log(path: Path, rows: Iterable[tuple[str, ...]]) -> None:
    """Write rows as CSV with the log's header; compressed if the name ends in `.gz`."""
    with gzip.open(path, "wt", newline="") if path.suffix == ".gz" else path.open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(COLUMNS)
        writer.writerows(rows)


def main(
    path: Annotated[Path, typer.Argument(help="Where to write it; compressed if the name ends in .gz.")],
    applications: Annotated[int, typer.Option(min=len(WAYS), help="How many.")] = 1_000,
    seed: Annotated[int, typer.Option(help="Of the random numbers.")] = 2012,
) -> None:
    """Write a made-up log."""
    log = generate(applications, seed=seed)
    write_log(path, log.rows)
    print(f"{len(log.rows)} rows, {log.commands} of them about {applications} applications: {path}")


if __name__ == "__main__":
    typer.run(main)
