"""Does each command have all that it leaves, once, and nothing that it doesn't? By joins over the tables of the ledger."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from datetime import datetime
from uuid import UUID

from sqlalchemy import Connection, and_, func, literal_column, or_, select, true

from usecasecore.ledger import LedgerTables
from usecasecore.ledger.types import Instant
from usecasecore.verification.declared import Declared
from usecasecore.verification.report import Finding

__all__ = ["acknowledged_findings", "key_findings", "message_findings", "refusal_findings"]

_LOOK_UP = 500


def acknowledged_findings(connection: Connection, tables: LedgerTables, acknowledged: Iterable[UUID | str]) -> Iterator[Finding]:
    """Yield the commands that somebody was told are done, by id or by key, and that left nothing."""
    wanted = list(acknowledged)
    entry, key = tables.audit.c, tables.idempotency.c
    for start in range(0, len(wanted), _LOOK_UP):
        batch = wanted[start : start + _LOOK_UP]
        ids = [one for one in batch if isinstance(one, UUID)]
        keys = [one for one in batch if not isinstance(one, UUID)]
        found: set[UUID | str] = set(connection.scalars(select(entry.command_id).where(entry.command_id.in_(ids))))
        done = select(key.key).join(tables.audit, entry.command_id == key.command_id).where(key.key.in_(keys))
        found.update(connection.scalars(done))
        for one in batch:
            if one not in found:
                what = f"command {one}" if isinstance(one, UUID) else f"the command with the key {one!r}"
                yield Finding(
                    "acknowledged_missing",
                    f"{what} was acknowledged, and has no audit entry",
                    command_id=one if isinstance(one, UUID) else None,
                )


def key_findings(connection: Connection, tables: LedgerTables, declared: Declared, now: datetime) -> Iterator[Finding]:
    """Yield keys with more than one effect, and keys and entries that lack each other."""
    yield from _double_effects(connection, tables, declared)
    entry, key = tables.audit.c, tables.idempotency.c
    lonely = select(key.key, key.use_case, key.actor, key.command_id, key.result).where(
        or_(~select(entry.id).where(entry.command_id == key.command_id).exists(), key.result.is_(None))
    )
    for row in connection.execute(lonely.order_by(key.command_id)):
        code, lack = ("key_without_result", "no result") if row.result is None else ("key_without_entry", "no audit entry")
        sentence = f"command {row.command_id}: its key {row.key!r} ({row.use_case}, {row.actor}) is there, and {lack}"
        yield Finding(code, sentence, command_id=row.command_id)
    known = select(key.key).where(key.command_id == entry.command_id).exists()
    for use_case, kept in declared.keep_results.items():
        # An older key may have been deleted; so may those of use cases that the application doesn't have.
        alone = select(entry.command_id).where(
            entry.use_case == use_case, entry.kind != "baseline", entry.key.is_not(None), entry.occurred_at > now - kept, ~known
        )
        for command_id in connection.scalars(alone.distinct().order_by(entry.command_id)):
            sentence = f"command {command_id} ({use_case}) has audit entries, and no key although keys are kept for {kept}"
            yield Finding("entry_without_key", sentence, command_id=command_id)


def _double_effects(connection: Connection, tables: LedgerTables, declared: Declared) -> Iterator[Finding]:
    entry = tables.audit.c
    # Not a parameter: two of them make two windows, and the entries are sorted twice.
    scope = (func.coalesce(entry.tenant, literal_column("''")), entry.actor, entry.use_case, entry.key)
    commands = (
        select(
            entry.key,
            entry.use_case,
            entry.actor,
            entry.command_id,
            entry.occurred_at,
            func.lag(entry.command_id).over(partition_by=scope, order_by=(entry.occurred_at, entry.command_id)).label("before"),
            func.lag(entry.occurred_at, type_=Instant())
            .over(partition_by=scope, order_by=(entry.occurred_at, entry.command_id))
            .label("at"),
        )
        .where(entry.key.is_not(None))
        .subquery()
    )
    twice = select(commands).where(commands.c.before != commands.c.command_id).order_by(commands.c.command_id)
    for row in connection.execute(twice):
        kept = declared.keep_results.get(row.use_case)
        if kept is not None and row.occurred_at - row.at >= kept:
            continue  # the key was forgotten in between
        sentence = f"command {row.command_id} took effect under the key {row.key!r} ({row.use_case}, {row.actor})"
        yield Finding("double_effect", f"{sentence}, and so did {row.before} before it", command_id=row.command_id)


def refusal_findings(connection: Connection, tables: LedgerTables) -> Iterator[Finding]:
    """Yield commands that were refused or failed, and left something all the same."""
    entry, attempt = tables.audit.c, tables.attempt.c
    both = select(attempt.command_id, attempt.outcome, attempt.use_case).where(
        select(entry.id).where(entry.command_id == attempt.command_id).exists()
    )
    for row in connection.execute(both.distinct().order_by(attempt.command_id)):
        sentence = f"command {row.command_id} ({row.use_case}) {row.outcome}, as the attempts say, and has audit entries"
        yield Finding("refused_but_visible", sentence, command_id=row.command_id)


def message_findings(connection: Connection, tables: LedgerTables) -> Iterator[Finding]:
    """Yield commands whose events and jobs are not those that they emitted, and messages without a command."""
    entry, message = tables.audit.c, tables.outbox.c
    yield from _strays(connection, tables)
    pruned = _pruned_until(connection, tables)
    sent = select(message.command_id, func.count().label("count")).group_by(message.command_id).subquery("sent")
    said = (
        select(
            entry.command_id,
            func.min(entry.use_case).label("use_case"),
            func.sum(entry.messages).label("count"),
            func.min(entry.occurred_at).label("occurred_at"),
        )
        .where(entry.messages.is_not(None))
        .group_by(entry.command_id)
        .subquery("said")
    )
    there = func.coalesce(sent.c.count, 0)
    kept = true() if pruned is None else said.c.occurred_at >= pruned
    wrong = or_(there > said.c.count, and_(there < said.c.count, kept))
    statement = select(said, there.label("there")).outerjoin(sent, sent.c.command_id == said.c.command_id).where(wrong)
    for row in connection.execute(statement.order_by(said.c.command_id)):
        code = "message_missing" if row.there < row.count else "message_too_many"
        sentence = f"command {row.command_id} ({row.use_case}) emitted {row.count} events and jobs, and {row.there} are there"
        yield Finding(code, sentence, command_id=row.command_id)
    yield from _misplaced(connection, tables, pruned)


def _strays(connection: Connection, tables: LedgerTables) -> Iterator[Finding]:
    entry, message = tables.audit.c, tables.outbox.c
    none = ~select(entry.id).where(entry.command_id == message.command_id).exists()
    for row in connection.execute(
        select(message.command_id, func.min(message.type).label("type"))
        .where(none)
        .group_by(message.command_id)
        .order_by(message.command_id)
    ):
        sentence = f"command {row.command_id} has no audit entry, and a message of it ({row.type}) is in the outbox"
        yield Finding("message_without_entry", sentence, command_id=row.command_id)


def _misplaced(connection: Connection, tables: LedgerTables, pruned: datetime | None) -> Iterator[Finding]:
    entry, message = tables.audit.c, tables.outbox.c
    place = (message.aggregate, message.aggregate_id, message.version)
    own = and_(
        entry.aggregate == message.aggregate,
        entry.aggregate_id == message.aggregate_id,
        entry.version == message.version,
        entry.command_id == message.command_id,
    )
    foreign = select(*place, message.command_id).where(message.aggregate.is_not(None), ~select(entry.id).where(own).exists())
    for row in connection.execute(foreign.distinct().order_by(*place)):
        sentence = f"{row.aggregate} {row.aggregate_id}: a message is about version {row.version}, which its command didn't make"
        yield Finding("message_misplaced", sentence, *row)
    by_version = select(*place).where(message.aggregate.is_not(None)).group_by(*place)
    whole = and_(func.count() == func.max(message.ordinal) + 1, func.count(message.ordinal.distinct()) == func.count())
    kept = true() if pruned is None else func.min(message.occurred_at) >= pruned
    for name, key, version in connection.execute(by_version.having(~whole, kept).order_by(*place)):
        sentence = f"{name} {key}: the messages of version {version} are not numbered 0, 1, 2, .."
        yield Finding("message_order", sentence, name, key, version)


def _pruned_until(connection: Connection, tables: LedgerTables) -> datetime | None:
    pruning = tables.pruning.c
    until: datetime | None = connection.scalar(select(func.max(pruning.until)).where(pruning.table_name == tables.outbox.name))
    return until
