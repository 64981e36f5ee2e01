"""Writes the baseline of each row: the audit entry that says where its trail begins.

How it works. Keyset batches, each a transaction of its own. A row without an entry that begins its trail gets one by INSERT ..
SELECT: row and entries are read in one snapshot, so no row has to be locked. A command that commits before the snapshot has
written its own entry, and the baseline goes below that one, with the state that it came from; one that commits after it raises
the version, and the baseline stands where the row was. Two that adopt at once collide in the unique index, and one of them
writes nothing. What was done before is found by its entries, so a run that was stopped is simply repeated.

Then the baselines are sealed: hashed, each as the start of its row's chain, in the same transaction. No command may chain an entry
meanwhile, so the rows are locked for that last statement of the batch, without waiting for one. What is locked by a command just
then is passed over: that command's entry begins the chain, and a baseline below a chain is in none. Where the command is rolled
back the next run seals.

A row whose trail and columns disagree was changed past the runtime. It gets a further baseline at a version of its own, under
its lock; rows that are locked are left out and reported, so this never waits and no command is in a deadlock with it.
"""

from __future__ import annotations

import operator
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, fields
from datetime import UTC, datetime
from functools import partial
from typing import Any, TypeAlias
from uuid import UUID

from sqlalchemy import (
    JSON,
    ColumnElement,
    Connection,
    Select,
    String,
    Uuid,
    and_,
    bindparam,
    exists,
    func,
    insert,
    literal,
    literal_column,
    or_,
    select,
    text,
    tuple_,
    update,
)
from sqlalchemy.dialects import postgresql, sqlite

from usecasecore.adoption.keys import key_text, keys_with_text
from usecasecore.adoption.rows import LiveRows
from usecasecore.ids import uuid7
from usecasecore.ledger import ledger_tables
from usecasecore.ledger.moves import state_told
from usecasecore.ledger.sealing import seal
from usecasecore.ledger.types import Instant

__all__ = ["ACTOR", "USE_CASE", "Progress", "Transact", "adopt", "outstanding"]

ACTOR, USE_CASE = "system:usecasecore", "db adopt"

Transact: TypeAlias = "Callable[[Callable[[Connection], Any]], Any]"
"""Runs a function on a connection in a transaction of its own, commits it, and returns what the function returned."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Progress:
    """How far it is.

    Attributes:
        rows: The rows that were looked at.
        written: The baselines of rows that had none.
        again: The further baselines of rows that were changed past the runtime.
        busy: The rows of that kind that somebody has locked; they are left to the next run.
    """

    rows: int = 0
    written: int = 0
    again: int = 0
    busy: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class _Run:
    """What all entries of a run share."""

    schema: str | None
    reason: str | None
    id: UUID
    batch: int


_Key: TypeAlias = "tuple[Any, ...]"


def adopt(
    transact: Transact, rows: LiveRows, *, schema: str | None = None, reason: str | None = None, batch: int = 5_000
) -> Iterator[Progress]:
    """Write what is missing, a batch for each step of the iteration; yield how far it is. Safe to stop, repeat and run twice at once.

    Args:
        transact: Runs a function in a transaction of its own.
        rows: Which rows.
        schema: The schema that the ledger lives in.
        reason: Why, for the audit entries.
        batch: How many rows one transaction looks at.

    Returns:
        The sums so far, after each batch.
    """
    run = _Run(schema=schema, reason=reason, id=uuid7(), batch=batch)
    return _in_batches(transact, partial(_write, rows, run))


def outstanding(transact: Transact, rows: LiveRows, *, schema: str | None = None, batch: int = 5_000) -> Progress:
    """Return what `adopt` would write: `written` and `again`. Writes nothing."""
    run = _Run(schema=schema, reason=None, id=uuid7(), batch=batch)
    return list(_in_batches(transact, partial(_look, rows, run)))[-1]


# SQLite has one lock for all writers, who look every 0.1 s whether it is free: leave it to them between two batches.
_PAUSE = {"sqlite": 0.12}


def _in_batches(
    transact: Transact, step: Callable[[_Key | None, Connection], tuple[_Key | None, Progress]]
) -> Iterator[Progress]:
    sums, after = Progress(), None

    def timed(after: _Key | None, connection: Connection) -> tuple[_Key | None, Progress, float]:
        return *step(after, connection), _PAUSE.get(connection.dialect.name, 0)

    while True:
        after, found, pause = transact(partial(timed, after))
        sums = Progress(**{each.name: getattr(sums, each.name) + getattr(found, each.name) for each in fields(Progress)})
        yield sums
        if after is None:
            return
        time.sleep(pause)


def _write(rows: LiveRows, run: _Run, after: _Key | None, connection: Connection) -> tuple[_Key | None, Progress]:
    keys, part = _part(rows, run, after, connection)
    if part is None:
        return None, Progress()
    written = _begin_trails(connection, part)
    again, busy = _write_again(connection, part)
    _seal(connection, part)
    return _last(keys, run), Progress(rows=len(keys), written=written, again=again, busy=busy)


def _look(rows: LiveRows, run: _Run, after: _Key | None, connection: Connection) -> tuple[_Key | None, Progress]:
    keys, part = _part(rows, run, after, connection)
    if part is None:
        return None, Progress()
    new, changed = (
        connection.scalar(select(func.count()).select_from(part.select(condition).subquery())) or 0
        for condition in (part.is_new, part.is_changed)
    )
    return _last(keys, run), Progress(rows=len(keys), written=new, again=changed)


def _part(rows: LiveRows, run: _Run, after: _Key | None, connection: Connection) -> tuple[list[_Key], _Part | None]:
    _prefer_indexes(connection)
    keys = _keys(connection, rows, run, after)
    return keys, _Part.of(connection, rows, run, keys) if keys else None


def _prefer_indexes(connection: Connection) -> None:
    # Of a ledger that fills while it is read the planner knows too little: it must find the entries of each row by their index,
    # as the subqueries with a limit let it, and not think of compiling that.
    if connection.dialect.name == "postgresql":
        connection.execute(text("set local enable_seqscan = off"))
        connection.execute(text("set local jit = off"))


def _keys(connection: Connection, rows: LiveRows, run: _Run, after: _Key | None) -> list[_Key]:
    statement = select(*rows.keys).select_from(rows.source).where(rows.own).order_by(*rows.keys).limit(run.batch)
    if after is not None:
        statement = statement.where(_compared(rows, operator.gt, after))
    return [tuple(row) for row in connection.execute(statement)]


def _last(keys: list[_Key], run: _Run) -> _Key | None:
    return keys[-1] if len(keys) == run.batch else None


def _compared(rows: LiveRows, comparison: Callable[[Any, Any], Any], key: _Key) -> ColumnElement[bool]:
    if len(key) == 1:
        alone: ColumnElement[bool] = comparison(rows.keys[0], key[0])
        return alone
    values = (literal(value, one.type) for one, value in zip(rows.keys, key, strict=True))
    whole: ColumnElement[bool] = comparison(tuple_(*rows.keys), tuple_(*values))
    return whole


def _among(rows: LiveRows, keys: list[_Key]) -> ColumnElement[bool]:
    if len(rows.keys) == 1:
        return rows.keys[0].in_([key[0] for key in keys])
    return tuple_(*rows.keys).in_(keys)


class _Part:
    """One batch: its rows beside what the ledger has about each."""

    def __init__(
        self, rows: LiveRows, run: _Run, dialect: str, table: Any, key: ColumnElement[str], which: ColumnElement[bool]
    ) -> None:
        self.rows, self.run, self.key = rows, run, key
        self._source, self._which = table, which
        self.audit = ledger_tables(run.schema).audit
        columns = self.audit.c
        mine = columns.aggregate == rows.aggregate, columns.aggregate_id == key
        source, dest = (state_told(self.audit, dialect, rows.lifecycle.name, name) for name in ("from_state", "to_state"))

        def one(column: Any, *where: Any, newest: bool) -> Any:
            order = columns.version.desc() if newest else columns.version
            found = select(column).where(*mine, *where).order_by(order).limit(1)
            return found.correlate_except(self.audit).scalar_subquery()

        self.first_version = one(columns.version, newest=False)
        self.first_source = one(source, source.is_not(None), newest=False)
        self.last_version = one(columns.version, newest=True)
        self.last_kind = one(columns.kind, newest=True)
        self.last_state = one(dest, dest.is_not(None), newest=True)
        self.is_new = one(columns.version, columns.kind.in_(("create", "baseline")), newest=False).is_(None)
        self.is_changed = and_(
            self.last_version.is_not(None),
            or_(
                self.last_version != rows.version,
                self.last_kind == "delete",
                and_(self.last_state.is_not(None), self.last_state != rows.state_name),
            ),
        )
        head = ledger_tables(run.schema).head
        chained = exists().where(
            head.c.aggregate == rows.aggregate, head.c.aggregate_id == key, head.c.version >= columns.version
        )
        unsealed = exists().where(*mine, columns.kind == "baseline", columns.hash.is_(None), ~chained.correlate_except(head))
        self.is_unsealed = unsealed.correlate_except(self.audit)

    @classmethod
    def of(cls, connection: Connection, rows: LiveRows, run: _Run, keys: list[_Key]) -> _Part:
        """Return the part that has these keys, which are all that there are from the first to the last."""
        dialect = connection.dialect.name
        key = key_text(rows, dialect)
        if key is None:
            table, same = keys_with_text(rows, keys)
            return cls(rows, run, dialect, rows.source.join(table, same), table.c.text, rows.own)
        within = and_(rows.own, _compared(rows, operator.ge, keys[0]), _compared(rows, operator.le, keys[-1]))
        return cls(rows, run, dialect, rows.source, key, within)

    def select(self, condition: ColumnElement[bool], *columns: Any) -> Select[Any]:
        """Return the query for those of its rows that meet the condition; of their keys, unless it says of what."""
        return select(*(columns or self.rows.keys)).select_from(self._source).where(self._which, condition)


def _begin_trails(connection: Connection, part: _Part) -> int:
    rows = part.rows
    fresh = {
        **_common(connection, part),
        "aggregate_id": part.key,
        # Commands have run on it already: below the first of them, in the state that this one came from.
        "version": func.coalesce(part.first_version - 1, rows.version),
        "to_state": func.coalesce(part.first_source, rows.state_name),
        "changes": _other_states(connection, rows),
        "detail": literal({}, JSON),
    }
    dialect: Any = sqlite if connection.dialect.name == "sqlite" else postgresql
    entries = dialect.insert(part.audit).from_select(list(fresh), part.select(part.is_new, *fresh.values()))
    statement = entries.on_conflict_do_nothing()
    written = connection.execute(statement, execution_options={"preserve_rowcount": True}).rowcount
    if connection.dialect.name == "sqlite":  # the driver doesn't count for a statement that begins with WITH
        written = connection.scalar(text("select changes()")) or 0
    return written


def _common(connection: Connection, part: _Part) -> dict[str, ColumnElement[Any]]:
    return {
        "id": _new_id(connection),
        "command_id": literal(uuid7(), Uuid),
        "use_case": literal(USE_CASE, String),
        "actor": literal(ACTOR, String),
        "reason": literal(part.run.reason, String),
        "kind": literal("baseline", String),
        "aggregate": literal(part.rows.aggregate, String),
        "lifecycle": literal(part.rows.lifecycle.name, String),
        "command": literal({}, JSON),
        "correlation_id": literal(str(part.run.id), String),
        "occurred_at": literal(datetime.now(UTC), Instant),
    }


def _new_id(connection: Connection) -> ColumnElement[Any]:
    """Return a version 7 UUID for each row, see `ids.uuid7`: the milliseconds from here, the rest at random from there."""
    start = f"{uuid7().int >> 80:012x}"
    if connection.dialect.name == "sqlite":
        random = "substr(lower(hex(randomblob(2))), 2) || substr('89ab', 1 + (random() & 3), 1) || substr(lower(hex(randomblob(8))), 2)"
        return literal_column(f"'{start}7' || {random}")
    # A version 4 UUID has the random bits: put the time in front, and make the 4 a 7.
    random = "overlay(uuid_send(gen_random_uuid()) placing decode('" + start + "', 'hex') from 1 for 6)"
    return literal_column(f"encode(set_bit(set_bit({random}, 52, 1), 53, 1), 'hex')::uuid")


def _other_states(connection: Connection, rows: LiveRows) -> ColumnElement[Any]:
    if not rows.others:
        return literal({}, JSON)
    if connection.dialect.name == "sqlite":
        made, pair = func.json_object, func.json_array
    else:
        made, pair = func.json_build_object, func.json_build_array
    parts: list[Any] = []
    for name, state in rows.others.items():
        parts += [literal_column(f"'{name}'"), pair(None, state)]
    return made(*parts, type_=JSON())


def _write_again(connection: Connection, part: _Part) -> tuple[int, int]:
    candidates = [tuple(row) for row in connection.execute(part.select(part.is_changed))]
    if not candidates:
        return 0, 0
    rows = part.rows
    locking = select(*rows.keys).select_from(rows.source).where(_among(rows, candidates)).order_by(*rows.keys)
    locked = [
        tuple(row) for row in connection.execute(locking.with_for_update(key_share=True, skip_locked=True, of=rows.versioned))
    ]
    # Looked at once more: what is locked is as it will stay, and the entries are all there.
    facts = (*rows.keys, part.key, rows.state_name, rows.version, part.last_version, part.last_state, part.last_kind)
    changed = part.select(and_(part.is_changed, _among(rows, locked)), *facts) if locked else None
    again = 0
    for row in connection.execute(changed).all() if changed is not None else ():
        _write_one_again(connection, part, row)
        again += 1
    return again, len(candidates) - len(locked)


def _write_one_again(connection: Connection, part: _Part, row: Any) -> None:
    rows = part.rows
    *key, name, state, version, last_version, last_state, last_kind = row
    # A version that has an entry can't be had again.
    own = max(last_version + 1, version or 0)
    trail = {"version": last_version, "state": last_state, "kind": last_kind}
    entry = {
        "id": uuid7(),
        "command_id": uuid7(),
        "use_case": USE_CASE,
        "actor": ACTOR,
        "reason": part.run.reason,
        "kind": "baseline",
        "aggregate": rows.aggregate,
        "aggregate_id": name,
        "version": own,
        "lifecycle": rows.lifecycle.name,
        "to_state": state,
        "command": {},
        "changes": {},
        "detail": {"trail": trail, "row": {"version": version, "state": state}},
        "correlation_id": str(part.run.id),
        "occurred_at": datetime.now(UTC),
    }
    connection.execute(insert(part.audit), entry)
    if own != version:
        table = rows.versioned
        same = (one == bindparam(f"uc_{index}", type_=one.type) for index, one in enumerate(table.primary_key.columns))
        connection.execute(
            update(table).where(*same).values({rows.version.name: own}), {f"uc_{index}": value for index, value in enumerate(key)}
        )


def _seal(connection: Connection, part: _Part) -> None:
    rows = part.rows
    locking = part.select(part.is_unsealed, part.key).with_for_update(key_share=True, skip_locked=True, of=rows.versioned)
    if keys := list(connection.scalars(locking)):
        seal(connection, part.run.schema, of=(rows.aggregate, keys))
