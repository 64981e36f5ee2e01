"""Reading the audit entries and the attempts back: for people who look, not for commands."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, fields, replace
from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import Connection, Select, Table, func, select

from usecasecore.context import FiredTransition
from usecasecore.ledger.entries import EntryKind
from usecasecore.ledger.moves import moves
from usecasecore.ledger.personal import personal_values, revealed
from usecasecore.ledger.tables import ledger_tables
from usecasecore.ledger.transitions import transitions_of

__all__ = [
    "RecordedAttempt",
    "RecordedEntry",
    "audited_aggregates",
    "command_entries",
    "latest_attempts",
    "latest_entries",
    "latest_of",
    "state_since",
    "trail",
    "with_personal_values",
]


@dataclass(frozen=True, slots=True, kw_only=True)
class RecordedEntry:
    """An audit entry as it was written; see `entries.AuditEntry`.

    Attributes:
        command: The command's fields, redacted.
        changes: Attribute -> [before, after].
        detail: What the use case's `audit` added.
        occurred_at: The runtime's clock when the command came, aware, UTC.
        recorded_at: The database's clock when the entry was written, aware, UTC.
    """

    id: UUID
    command_id: UUID
    use_case: str
    tenant: str | None
    actor: str
    on_behalf_of: str | None
    reason: str | None
    kind: EntryKind
    aggregate: str | None
    aggregate_id: str | None
    version: int | None
    lifecycle: str | None
    trigger: str | None
    from_state: str | None
    to_state: str | None
    command: dict[str, Any]
    changes: dict[str, Any]
    detail: dict[str, Any]
    request_id: str | None
    correlation_id: str
    causation_id: str | None
    occurred_at: datetime
    recorded_at: datetime

    @property
    def transitions(self) -> tuple[FiredTransition, ...]:
        """Every transition that it tells of; see `transitions_of`."""
        names = ("detail", "lifecycle", "trigger", "from_state", "to_state")
        return transitions_of({name: getattr(self, name) for name in names})


@dataclass(frozen=True, slots=True, kw_only=True)
class RecordedAttempt:
    """A command that was refused or failed.

    Attributes:
        key: Its idempotency key; under it the same command may have been accepted since.
        version: The version of the aggregate that it was decided on; None where none was loaded.
        outcome: `refused` by a decision of the use case or the runtime, or `failed`.
        code: The stable code of the refusal; of a failure in user code the type of the exception.
        message: Why, in words.
        command: The command's fields, redacted.
        occurred_at: The runtime's clock when the command came, aware, UTC.
        recorded_at: The database's clock when the attempt was written, aware, UTC.
    """

    id: UUID
    command_id: UUID
    use_case: str
    tenant: str | None
    actor: str
    on_behalf_of: str | None
    reason: str | None
    key: str
    aggregate: str | None
    aggregate_id: str | None
    version: int | None
    outcome: str
    code: str
    message: str
    command: dict[str, Any]
    request_id: str | None
    correlation_id: str
    causation_id: str | None
    occurred_at: datetime
    recorded_at: datetime


def latest_attempts(
    connection: Connection, schema: str | None = None, *, limit: int, since: datetime | None = None, **wanted: str | None
) -> list[RecordedAttempt]:
    """Return the newest attempts, the newest last.

    Args:
        connection: To read on.
        schema: Where the ledger lives.
        limit: How many at most.
        since: Only those that occurred then or later; aware.
        wanted: Only those with this value: `use_case`, `actor`, `tenant`, `aggregate`, `aggregate_id`, `outcome`, `code`.
    """
    table = ledger_tables(schema).attempt
    conditions = [table.c[name] == value for name, value in wanted.items() if value is not None]
    if since is not None:
        conditions.append(table.c.occurred_at >= since)
    columns = [table.c[each.name] for each in fields(RecordedAttempt)]
    rows = connection.execute(select(*columns).where(*conditions).order_by(table.c.id.desc()).limit(limit)).mappings()
    return sorted((RecordedAttempt(**row) for row in rows), key=lambda attempt: (attempt.recorded_at, str(attempt.id)))


def latest_entries(
    connection: Connection,
    schema: str | None = None,
    *,
    limit: int,
    use_case: str | None = None,
    actor: str | None = None,
    aggregate: str | None = None,
) -> list[RecordedEntry]:
    """Return the newest entries, the newest last.

    Which ones are the newest is taken from their ids, as these have an index: entries that were written within one
    millisecond, or by machines whose clocks differ, may be left out in each other's place at the limit.

    Args:
        connection: To read on.
        schema: Where the ledger lives.
        limit: How many at most.
        use_case: Only those of this use case.
        actor: Only those of this actor, as `type:id`.
        aggregate: Only those of aggregates of this name.
    """
    table = ledger_tables(schema).audit
    wanted = {"use_case": use_case, "actor": actor, "aggregate": aggregate}
    conditions = [table.c[name] == value for name, value in wanted.items() if value is not None]
    found = _entries(connection, _select(table).where(*conditions).order_by(table.c.id.desc()).limit(limit))
    return sorted(found, key=lambda entry: (entry.recorded_at, entry.aggregate or "", entry.version or 0))


def trail(connection: Connection, schema: str | None, aggregate: str, aggregate_id: str) -> list[RecordedEntry]:
    """Return all entries of one aggregate, in the order of its versions."""
    table = ledger_tables(schema).audit
    one = (table.c.aggregate == aggregate, table.c.aggregate_id == aggregate_id)
    return _entries(connection, _select(table).where(*one).order_by(table.c.version))


def latest_of(
    connection: Connection, schema: str | None, aggregate: str, aggregate_id: str, *, limit: int
) -> list[RecordedEntry]:
    """Return the newest entries of one aggregate, the newest last."""
    table = ledger_tables(schema).audit
    one = (table.c.aggregate == aggregate, table.c.aggregate_id == aggregate_id)
    return _entries(connection, _select(table).where(*one).order_by(table.c.version.desc()).limit(limit))[::-1]


def state_since(
    connection: Connection, schema: str | None, aggregate: str, aggregate_id: str, lifecycle: str, state: str
) -> datetime | None:
    """Return when an aggregate came into the state that it is in, by its entries; None where they don't tell.

    A transition that leads from a state to itself is no coming in.
    """
    audit = ledger_tables(schema).audit
    one = (audit.c.aggregate == aggregate, audit.c.aggregate_id == aggregate_id)
    move = moves(audit, connection.dialect.name, *one).c
    own = select(move.occurred_at).where(move.lifecycle == lifecycle)
    came_in = own.where(move.to_state == state, move.from_state.is_distinct_from(state))
    found = connection.execute(came_in.order_by(move.version.desc()).limit(1)).scalar()
    # The first entry needn't name every lifecycle, but all of them begin with it.
    if found is None and connection.execute(own.where(move.from_state.is_distinct_from(move.to_state)).limit(1)).first() is None:
        found = connection.execute(select(audit.c.occurred_at).where(*one, audit.c.version == 1)).scalar()
    return found


def command_entries(connection: Connection, schema: str | None, command_id: UUID) -> list[RecordedEntry]:
    """Return the entries of one command, one for each aggregate that it touched."""
    table = ledger_tables(schema).audit
    statement = _select(table).where(table.c.command_id == command_id)
    return _entries(connection, statement.order_by(table.c.aggregate, table.c.aggregate_id))


def audited_aggregates(connection: Connection, schema: str | None = None) -> Iterator[str]:
    """Yield the name of every aggregate that has entries, sorted."""
    # From one name to the next by the index: `distinct` would read every entry.
    column = ledger_tables(schema).audit.c.aggregate
    name = connection.execute(select(func.min(column))).scalar()
    while name is not None:
        yield name
        name = connection.execute(select(func.min(column)).where(column > name)).scalar()


def _select(table: Table) -> Select[Any]:
    return select(*(table.c[each.name] for each in fields(RecordedEntry)))


def with_personal_values(connection: Connection, schema: str | None, entries: Sequence[RecordedEntry]) -> list[RecordedEntry]:
    """Return the entries with personal values in the place of the commitments to them, as far as nobody has erased them."""
    known = personal_values(connection, schema, {entry.command_id for entry in entries})
    if not known:
        return list(entries)
    names = ("command", "changes", "detail", "reason")
    return [replace(entry, **{name: revealed(getattr(entry, name), known) for name in names}) for entry in entries]


def _entries(connection: Connection, statement: Select[Any]) -> list[RecordedEntry]:
    return [RecordedEntry(**row) for row in connection.execute(statement).mappings()]
