"""What is measured, section by section: who runs against whom, and what is told of it."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from functools import partial

from benchmarks import cold, databases, rings
from benchmarks.databases import Database
from benchmarks.measurement import WARM_UP, Crew, Seen, interleaved, measure, ratio_of, round_trips, working
from benchmarks.sides import (
    CORE,
    FIRST_QUERY,
    NAIVE,
    ORM,
    ORM_ASYNCPG,
    ORM_PSYCOPG,
    OURS,
    OURS_ASYNCPG,
    OURS_PSYCOPG,
    SIDES,
    Side,
    lifecycle_of,
)
from benchmarks.table import Row, Table, Value
from benchmarks.wal import written
from benchmarks.wire import RoundTrip

__all__ = ["SECTIONS", "Effort", "Section"]


@dataclass(frozen=True, slots=True)
class Effort:
    """How much is done.

    Attributes:
        rounds: How often each crew has its turn; half as often in the sections that aren't "one client".
        commands: Of each in a round.
        alone: Commands that are run alone, to count WAL; ten times as many to see memory grow.
        starts: Fresh processes of each side.
        growth: Rows in each table of the larger ledger; the smaller one has a third.
    """

    rounds: int = 31
    commands: int = 100
    alone: int = 100
    starts: int = 11
    growth: int = 3_000_000

    @property
    def fewer(self) -> int:
        """Rounds of the sections that aren't "one client"."""
        return max(self.rounds // 2, 2)


QUICK = Effort(rounds=3, commands=16, alone=20, starts=2, growth=3_000)


@dataclass(frozen=True, slots=True)
class Section:
    """One of the tables.

    Attributes:
        on: Makes the database.
        run: Measures.
    """

    on: Callable[[], AbstractContextManager[Database]]
    run: Callable[[Database, Effort], Table]


def one_client(database: Database, effort: Effort, *, sides: Sequence[Side]) -> Table:
    """The price of a command, and what it is made of."""
    crews = {side.name: Crew(side, database.url) for side in sides}
    postgresql = database.url.startswith("postgresql")
    with working(crews):
        seen = interleaved(crews, rounds=effort.rounds, commands=effort.commands)
        wal = {name: _written(crew, database, effort.alone) if postgresql else {} for name, crew in crews.items()}
        held = {name: _held(crew, effort.alone * 10) for name, crew in crews.items()}
    trips = {side.name: round_trips(side, database.url) for side in sides} if postgresql else {}
    rows = []
    for side in sides:
        own = seen[side.name]
        values: dict[str, Value] = {**_latencies(own), "Python CPU us": own.cpu}
        if postgresql:
            values |= {"server CPU us": own.backend_cpu, "trips": len(trips[side.name])} | wal[side.name]
        values |= {"memory kB": held[side.name], "commands/s": own.rate}
        values |= {f"x {short}": own.speed_to(seen[other.name]) for short, other in _SHORT.items()}
        rows.append(Row(side.name, values | {"CPU x ORM": own.cpu_to(seen[ORM.name])}))
    notes = [*_waits(trips.get(OURS.name, ())), *_asynchronous(seen), _MEMORY, *(f"{side.name}: {side.does}" for side in sides)]
    return Table("one client", _title(database, effort.rounds, effort.commands), tuple(rows), tuple(notes))


def _waits(trips: Sequence[RoundTrip]) -> Iterator[str]:
    if trips:
        yield f"the round trips of {OURS.name}: " + ", ".join(f"{number}. {trip!r}" for number, trip in enumerate(trips, 1))


def _asynchronous(seen: Mapping[str, Seen]) -> Iterator[str]:
    for own, other in ((OURS_PSYCOPG, OURS), (ORM_PSYCOPG, ORM)):
        if own.name in seen:
            ratio = seen[own.name].cpu_to(seen[other.name])
            yield f"Python CPU, async against sync on psycopg, {other.name}: {ratio.median:.2f}x"


_MEMORY = "memory: by how much Python's objects have grown per 1,000 commands (tracemalloc, garbage collected)"
_SHORT = {"ORM": ORM, "Core": CORE, "naive": NAIVE}


def many_clients(database: Database, effort: Effort) -> Table:
    """Several at once, on other aggregates: threads or tasks, in one process and in two."""
    arrangements: list[tuple[int, int, Sequence[Side]]] = [
        (2, 2, (ORM, OURS)),
        (8, 1, (ORM, ORM_PSYCOPG, ORM_ASYNCPG, CORE, OURS, OURS_PSYCOPG, OURS_ASYNCPG)),
        (8, 2, (ORM, OURS, OURS_ASYNCPG)),
    ]
    rows, commands = [], 4 * effort.commands
    for clients, processes, sides in arrangements:
        crews = {side.name: Crew(side, database.url, clients=clients, processes=processes) for side in sides}
        seen = measure(crews, rounds=effort.fewer, commands=commands, warm_up=WARM_UP * clients)
        rows += [Row(f"{side.name}: {_clients(clients, processes)}", _throughput(seen, side.name, ORM.name)) for side in sides]
    note = "x ORM: commands per second beside the hand-written ORM, synchronous, with as many clients and processes"
    return Table("many clients", _title(database, effort.fewer, commands), tuple(rows), (note,))


def hot(database: Database, effort: Effort) -> Table:
    """Writers that all want the same row."""
    rows = []
    for writers in (1, 8, 32):
        processes = min(writers, 2)
        crews = {side.name: Crew(side, database.url, clients=writers, processes=processes, hot=True) for side in (ORM, OURS)}
        seen = measure(crews, rounds=effort.fewer, commands=2 * effort.commands, warm_up=WARM_UP)
        for name, own in seen.items():
            values = _throughput(seen, name, ORM.name) | {"failed": own.failed}
            rows.append(Row(f"{name}: {_clients(writers, processes, 'writer')}", values))
    note = "failed: waited for longer than the lock timeout, 2 s"
    return Table("hot", _title(database, effort.fewer, 2 * effort.commands) + ", all on one aggregate", tuple(rows), (note,))


def growth(database: Database, effort: Effort) -> Table:
    """The same command on a ledger that has been written for long."""
    grown = {size: databases.grown(database, size) for size in (0, effort.growth // 3, effort.growth)}
    crews = {_label(side, size): Crew(side, on.url) for size, on in grown.items() for side in (ORM, OURS)}
    with working(crews):
        seen = interleaved(crews, rounds=effort.fewer, commands=effort.commands)
        wal = {name: _written(crew, database, effort.alone) for name, crew in crews.items()}
    rows = []
    for side in (ORM, OURS):
        empty = seen[_label(side, 0)]
        for name in (_label(side, size) for size in grown):
            own = seen[name]
            # The other way round than speed: here it is told how much longer it takes.
            values: dict[str, Value] = {**_latencies(own), "server CPU us": own.backend_cpu} | wal[name]
            rows.append(Row(name, values | {"p50 x empty": empty.speed_to(own)}))
    note = "rows in each of the tables for keys, audit entries and messages, of aggregates that were changed ten times each"
    return Table("growth", _title(database, effort.fewer, effort.commands), tuple(rows), (note,))


def _label(side: Side, rows: int) -> str:
    return f"{side.name}, {rows:,} rows"


def states(database: Database, effort: Effort) -> Table:
    """The same command in lifecycles of more and more states."""
    sides = [lifecycle_of(size) for size in rings.SIZES]
    seen = measure({side.name: Crew(side, database.url) for side in sides}, rounds=effort.fewer, commands=effort.commands)
    least = seen[sides[0].name]
    rows = []
    for side in sides:
        own = seen[side.name]
        rows.append(Row(side.name, {**_latencies(own), "Python CPU us": own.cpu, "p50 x the first": least.speed_to(own)}))
    note = "usecasecore; a ring of states, a transition from each to the next, one trigger; no guard, no event"
    return Table("states", _title(database, effort.fewer, effort.commands), tuple(rows), (note,))


def first_command(database: Database, effort: Effort) -> Table:
    """The first command of a fresh process."""
    sides = (FIRST_QUERY, ORM, OURS)
    seen = cold.measure(sides, database.url, effort.starts)
    rows = []
    for side in sides:
        pairs = list(zip(seen[side.name], seen[FIRST_QUERY.name], strict=True))
        middle = {name: ratio_of([getattr(own, name) for own, _ in pairs]).median for name in ("imports", "first", "second")}
        values: dict[str, Value] = {"import ms": middle["imports"], "first ms": middle["first"], "second ms": middle["second"]}
        values |= {"first x query": ratio_of([own.first / query.first for own, query in pairs])}
        rows.append(Row(side.name, values))
    notes = (
        "first: from the engine's making to the first answer, with the connection, the mappers and, in usecasecore, the runtime",
        *(f"{side.name}: {side.does}" for side in sides[:1]),
    )
    return Table("cold", f"{database.settings}; {effort.starts} fresh processes each, in turns", tuple(rows), notes)


def _latencies(seen: Seen) -> dict[str, Value]:
    return {"p50 us": seen.latency(50), "p99 us": seen.latency(99)}


def _throughput(seen: Mapping[str, Seen], name: str, other: str) -> dict[str, Value]:
    own = seen[name]
    values: dict[str, Value] = {
        **_latencies(own),
        "Python CPU us": own.cpu,
        "server CPU us": own.backend_cpu,
        "commands/s": own.rate,
    }
    return values | {"x ORM": own.rate_to(seen[other])}


def _written(crew: Crew, database: Database, commands: int) -> dict[str, Value]:
    # In five parts, of which the median: what a vacuum in the background writes is in one or two of them.
    parts, each = [], commands // 5
    for _ in range(5):
        with written(database.url) as wal:
            crew.run(each)
        parts.append(wal)
    records, size = (statistics.median(getattr(part, name) for part in parts) / each for name in ("records", "bytes"))
    return {"WAL records": records, "WAL B": size}


def _held(crew: Crew, commands: int) -> float:
    return sum(worker.held(commands) for worker in crew.workers) * 1000 / commands


def _title(database: Database, rounds: int, commands: int) -> str:
    return f"{database.settings}; {rounds} rounds of {commands} commands for each, interleaved"


def _clients(clients: int, processes: int, noun: str = "client") -> str:
    shown = f"{clients} {noun}{'s' if clients > 1 else ''}"
    return shown if processes == 1 else f"{shown} in {processes} processes"


SECTIONS: Mapping[str, Section] = {
    "one-client": Section(
        databases.postgresql,
        partial(one_client, sides=(*SIDES, ORM_PSYCOPG, ORM_ASYNCPG, OURS_PSYCOPG, OURS_ASYNCPG)),
    ),
    "sqlite": Section(databases.sqlite, partial(one_client, sides=SIDES)),
    "many-clients": Section(databases.postgresql, many_clients),
    "hot": Section(databases.postgresql, hot),
    "growth": Section(databases.postgresql, growth),
    "states": Section(databases.postgresql, states),
    "cold": Section(databases.postgresql, first_command),
}
