"""What the database knows about a lifecycle: rows in each state now, and what the audit entries tell of transitions taken.

Reads only. What is added up is added up by the database, on PostgreSQL and SQLite by the same statements.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, TypeAlias
from uuid import UUID

from sqlalchemy import (
    Connection,
    Float,
    FunctionElement,
    Subquery,
    Table,
    and_,
    case,
    false,
    func,
    literal,
    not_,
    null,
    or_,
    select,
)
from sqlalchemy.ext.compiler import compiles
from sqlalchemy.sql.compiler import SQLCompiler
from sqlalchemy.sql.elements import ColumnElement

from usecasecore.ledger import ledger_tables
from usecasecore.ledger.moves import moves
from usecasecore.ledger.reading import RecordedEntry, trail
from usecasecore.lifecycle import Lifecycle

__all__ = ["Flow", "Passage", "Stay", "Step", "flow", "journey", "rows_per_state"]

Query: TypeAlias = Any
"""A select: the types of its columns are told in one way by SQLAlchemy 2.0 and in another by 2.1."""

MOST = 1_000_000
"""How many audit entries a flow is made from at most, the newest ones."""


@dataclass(frozen=True, slots=True)
class Passage:
    """How often a transition was taken.

    Attributes:
        trigger: What was fired; None for a creation, and for a deletion.
        source: Full name of the state before; None for a creation.
        dest: Full name of the state after; None for a deletion.
        use_case: Who deleted; None for all that isn't a deletion.
        count: How often.
    """

    trigger: str | None
    source: str | None
    dest: str | None
    use_case: str | None
    count: int


@dataclass(frozen=True, slots=True)
class Stay:
    """How long aggregates were in a state, of those that have left it.

    Attributes:
        state: Its full name.
        count: How many stays have ended.
        median: Half of them were at most so long.
    """

    state: str
    count: int
    median: timedelta


@dataclass(frozen=True, slots=True)
class Flow:
    """What the audit entries tell of a lifecycle.

    Attributes:
        passages: The most frequent first.
        stays: Likewise.
        whole: False if there are more entries than were looked at.
    """

    passages: tuple[Passage, ...]
    stays: tuple[Stay, ...]
    whole: bool = True


@dataclass(frozen=True, slots=True)
class Step:
    """One step of an aggregate on its way.

    Attributes:
        trigger: What was fired; None for its creation, and where a row was adopted.
        source: Full name of the state before; None likewise.
        dest: Full name of the state after; None if it was deleted.
        occurred_at: Aware.
        use_case: Who did it.
    """

    trigger: str | None
    source: str | None
    dest: str | None
    occurred_at: datetime
    use_case: str


def rows_per_state(connection: Connection, lifecycle: Lifecycle) -> dict[str | None, int]:
    """Return how many rows stand in each state now, by its full name; under None those that hold no declared one."""
    column = getattr(lifecycle.aggregate, lifecycle.column)
    names = {node.value: node.name for node in lifecycle.graph.states}
    counts: dict[str | None, int] = {node.name: 0 for node in lifecycle.graph.states if node.resting}
    for held, count in connection.execute(select(column, func.count()).group_by(column)):
        name = names.get(getattr(held, "value", held))
        counts[name] = counts.get(name, 0) + count
    return counts


def flow(
    connection: Connection, lifecycle: Lifecycle, schema: str | None = None, *, since: datetime | None = None, most: int = MOST
) -> Flow:
    """Return how often each transition was taken, and how long aggregates stayed in each state.

    An internal transition ends no stay. A stay that lasts is not counted, nor is one whose start lies before what is
    looked at, or before the row was adopted.

    Args:
        connection: To read on.
        lifecycle: Which.
        schema: Where the ledger lives.
        since: Only what happened at this instant or later; aware.
        most: How many entries are looked at, the newest ones.
    """
    audit = ledger_tables(schema).audit
    oldest = connection.execute(select(audit.c.id).order_by(audit.c.id.desc()).offset(most).limit(1)).scalar()
    move = moves(audit, connection.dialect.name, *_looked_at(audit, since, oldest))
    passages = [Passage(*row) for statement in _passages(move, lifecycle) for row in connection.execute(statement)]
    stays = [
        Stay(row.state, row.count_, timedelta(seconds=round(float(row.median), 3)))
        for row in connection.execute(_stays(move, lifecycle))
    ]
    return Flow(tuple(_by_count(passages)), tuple(_by_count(stays)), whole=oldest is None)


def journey(connection: Connection, lifecycle: Lifecycle, key: str, schema: str | None = None) -> tuple[Step, ...]:
    """Return the steps that one aggregate took in a lifecycle, in their order; empty if there are no entries of it.

    Args:
        connection: To read on.
        lifecycle: Which.
        key: The aggregate's key as the ledger writes it; several columns as `a|b`.
        schema: Where the ledger lives.
    """
    entries = trail(connection, schema, lifecycle.aggregate_name, key)
    return tuple(step for entry in entries for step in _steps(entry, lifecycle))


def _steps(entry: RecordedEntry, lifecycle: Lifecycle) -> Iterator[Step]:
    own = entry.lifecycle == lifecycle.name
    at, who = entry.occurred_at, entry.use_case
    if entry.kind == "create":
        yield Step(None, None, lifecycle.initial, at, who)
    elif entry.kind == "baseline" and own:
        yield Step(None, None, entry.to_state, at, who)
    # A deletion ends the lifecycle that its columns are about, whatever was fired for it.
    for made in entry.transitions[1 if own and entry.kind == "delete" and entry.trigger else 0 :]:
        if made.lifecycle == lifecycle.name:
            yield Step(made.trigger, made.source, made.dest, at, who)
    if entry.kind == "delete":
        yield Step(entry.trigger if own else None, entry.from_state if own else None, None, at, who)


def _looked_at(audit: Table, since: datetime | None, oldest: UUID | None) -> Iterator[ColumnElement[bool]]:
    if since is not None:
        yield audit.c.occurred_at >= since
    if oldest is not None:
        yield audit.c.id > oldest


def _passages(move: Subquery, lifecycle: Lifecycle) -> Iterator[Query]:
    """Yield what counts the transitions, the creations and the deletions, in the columns of a `Passage`."""
    count = func.count().label("count")
    ways = (move.c.trigger, move.c.from_state, move.c.to_state)
    yield select(*ways, null(), count).where(_fired(move, lifecycle)).group_by(*ways)
    created = select(null(), null(), literal(lifecycle.initial), null(), count)
    yield created.where(_created(move, lifecycle)).having(count > 0)
    # The entry of a deletion says of one lifecycle only where it was.
    before = case((move.c.lifecycle == lifecycle.name, move.c.from_state))
    yield (
        select(null(), before, null(), move.c.use_case, count).where(_deleted(move, lifecycle)).group_by(before, move.c.use_case)
    )


def _stays(move: Subquery, lifecycle: Lifecycle) -> Query:
    """Return what finds each state with how many stays in it ended, and the median of their seconds."""
    visits = _visits(move, lifecycle)
    ended = (
        select(visits.c.state, seconds_between(visits.c.entered, visits.c.left).label("seconds"))
        .where(visits.c.left.is_not(None), visits.c.state.is_not(None), visits.c.version != visits.c.left_at)
        .subquery("ended")
    )
    ranked = select(
        ended.c.state,
        ended.c.seconds,
        func.row_number().over(partition_by=ended.c.state, order_by=ended.c.seconds).label("place"),
        func.count().over(partition_by=ended.c.state).label("count"),
    ).subquery("ranked")
    # The middle one, or the two around the middle: what percentile_cont(0.5) gives, which SQLite doesn't have.
    twice = 2 * ranked.c.place
    middle = and_(twice >= ranked.c.count, twice <= ranked.c.count + 2)
    return (
        select(ranked.c.state, func.max(ranked.c.count).label("count_"), func.avg(ranked.c.seconds).label("median"))
        .where(middle)
        .group_by(ranked.c.state)
    )


def _visits(move: Subquery, lifecycle: Lifecycle) -> Subquery:
    """Return each visit of a state: when and at which version it was entered, and when and at which it was left, None if it wasn't.

    A visit that starts when the row is adopted has no state, as nobody knows how long it had been there; nor has what
    comes after a deletion.
    """
    fired = _fired(move, lifecycle)
    steps = or_(
        _created(move, lifecycle),
        _deleted(move, lifecycle),
        and_(move.c.lifecycle == lifecycle.name, not_(_internal(move, lifecycle))),
    )
    state = case(
        (_deleted(move, lifecycle), null()),
        (fired, move.c.to_state),
        (_created(move, lifecycle), literal(lifecycle.initial)),
    )
    order = (move.c.version, move.c.ordinal)
    left, left_at = (
        func.lead(column).over(partition_by=move.c.aggregate_id, order_by=order)
        for column in (move.c.occurred_at, move.c.version)
    )
    entered = move.c.occurred_at.label("entered")
    return (
        select(state.label("state"), entered, move.c.version, left.label("left"), left_at.label("left_at"))
        .where(steps)
        .subquery("visits")
    )


def _fired(move: Subquery, lifecycle: Lifecycle) -> ColumnElement[bool]:
    return and_(move.c.lifecycle == lifecycle.name, move.c.trigger.is_not(None), move.c.to_state.is_not(None))


def _created(move: Subquery, lifecycle: Lifecycle) -> ColumnElement[bool]:
    # Whatever of its lifecycles the entry is about, the aggregate starts in all of them.
    return and_(move.c.aggregate == lifecycle.aggregate_name, move.c.kind == "create", move.c.ordinal == 0)


def _deleted(move: Subquery, lifecycle: Lifecycle) -> ColumnElement[bool]:
    return and_(move.c.aggregate == lifecycle.aggregate_name, move.c.kind == "delete", move.c.ordinal == 0)


def _internal(move: Subquery, lifecycle: Lifecycle) -> ColumnElement[bool]:
    """Whether an entry is about a transition that leaves nothing and enters nothing."""
    graph = lifecycle.graph
    kept = {
        (edge.trigger, name)
        for edge in graph.edges
        if edge.dest is None
        for name in graph.resting
        if name == edge.source or name.startswith(edge.source + graph.separator)
    }
    ways = [and_(move.c.trigger == trigger, move.c.from_state == name) for trigger, name in sorted(kept)]
    return and_(move.c.trigger.is_not(None), move.c.from_state == move.c.to_state, or_(false(), *ways))


def _by_count(found: Iterable[Any]) -> list[Any]:
    return sorted(found, key=lambda one: (-one.count, str(one)))


class seconds_between(FunctionElement[float]):  # noqa: N801 - it reads as the SQL function that it is
    """The seconds from one instant to another."""

    type = Float()
    inherit_cache = True


@compiles(seconds_between, "postgresql")
def _postgresql(element: seconds_between, compiler: SQLCompiler, **kw: Any) -> str:
    start, end = (compiler.process(each, **kw) for each in element.clauses)
    return f"CAST(EXTRACT(EPOCH FROM ({end} - {start})) AS double precision)"


@compiles(seconds_between, "sqlite")
def _sqlite(element: seconds_between, compiler: SQLCompiler, **kw: Any) -> str:
    start, end = (compiler.process(each, **kw) for each in element.clauses)
    return f"((julianday({end}) - julianday({start})) * 86400.0)"
