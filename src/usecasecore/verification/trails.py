"""Do the audit entries of an aggregate follow on each other? By window functions over all of them, in the database."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from sqlalchemy import ColumnElement, Connection, Row, Subquery, and_, case, func, or_, select

from usecasecore.ledger import LedgerTables
from usecasecore.ledger.moves import moves
from usecasecore.verification.declared import Declared
from usecasecore.verification.report import Finding

__all__ = ["head_findings", "state_findings", "transition_findings", "version_findings"]


def version_findings(connection: Connection, tables: LedgerTables) -> Iterator[Finding]:
    """Yield what is wrong with the order of versions: gaps, a wrong start, something after the end."""
    entry = _following(tables)
    kind, ended = entry.c.kind, entry.c.kind_before == "delete"
    first, follows = entry.c.version_before.is_(None), entry.c.version == entry.c.version_before + 1
    wrong = or_(
        and_(first, or_(kind.in_(("change", "delete")), and_(kind == "create", entry.c.version != 1))),
        # A further baseline says that the row was changed past the runtime meanwhile, its version too perhaps.
        and_(~first, kind != "baseline", ~follows),
        # After a deletion the key may come back, by a creation that goes on with the versions.
        and_(~first, kind == "create", ~ended),
        and_(~first, kind.in_(("change", "delete")), ended),
    )
    for row in _stream(connection, _ordered(select(entry).where(wrong), entry)):
        yield _about(row, *_version_fault(row))


def _version_fault(row: Row[Any]) -> tuple[str, str]:
    if row.kind_before == "delete" and row.kind in ("change", "delete"):
        return "entry_after_delete", f"follows on version {row.version_before}, which deleted the aggregate"
    if row.version_before is None:
        if row.kind == "create":
            return "first_entry", "is the first and a creation, and a creation has version 1"
        return "first_entry", f"is the first that is there, and neither a creation nor a baseline but a {row.kind}"
    if row.version != row.version_before + 1:
        return "version_gap", f"follows on version {row.version_before}: entries are missing between them"
    return "second_start", f"is a {row.kind}, and the aggregate has entries before it"


def state_findings(connection: Connection, tables: LedgerTables, declared: Declared) -> Iterator[Finding]:
    """Yield moves whose state before is not the state after of the lifecycle's move before."""
    entry = _linked(connection, tables)
    # The entry of a creation needn't name every lifecycle: the others start where they are declared to. What state they had
    # at a baseline nobody knows.
    started = _by_lifecycle(declared.initial, entry.c.lifecycle)
    expected = func.coalesce(entry.c.before, case((entry.c.start == "create", started)))
    broken = and_(entry.c.from_state.is_not(None), expected.is_not(None), entry.c.from_state != expected)
    moved = and_(entry.c.kind == "change", entry.c.trigger.is_(None), entry.c.to_state.is_not(None))
    kept = or_(entry.c.from_state.is_(None), entry.c.from_state != entry.c.to_state)
    statement = select(entry, expected.label("expected")).where(or_(broken, and_(moved, kept)))
    for row in _stream(connection, _ordered(statement, entry)):
        if row.from_state is None or row.from_state == row.expected:
            yield _about(row, "state_without_trigger", f"changes {row.lifecycle} to {row.to_state!r} without a trigger")
        else:
            sentence = f"takes {row.lifecycle} from {row.from_state!r}, and the entry before left it in {row.expected!r}"
            yield _about(row, "state_link", sentence)


def transition_findings(connection: Connection, tables: LedgerTables, declared: Declared) -> Iterator[Finding]:
    """Yield entries whose transition the application doesn't declare, of the lifecycles that it knows."""
    entry = moves(tables.audit, connection.dialect.name).c
    move = (entry.kind, entry.lifecycle, entry.trigger, entry.from_state, entry.to_state)
    known = entry.lifecycle.in_(sorted(declared.moves))
    made = select(*move).where(known, or_(entry.trigger.is_not(None), entry.kind == "create")).distinct()
    for row in connection.execute(made).all():
        if _is_declared(tuple(row), declared):
            continue
        same = [column.is_not_distinct_from(value) for column, value in zip(move, row, strict=True)]
        names = (entry.aggregate, entry.aggregate_id, entry.version)
        for one in _stream(connection, select(*names, *move).where(*same).order_by(*names)):
            if one.kind == "create" and one.trigger is None:
                yield _about(one, "wrong_initial_state", f"creates it in {one.to_state!r}, where {one.lifecycle} doesn't start")
            else:
                way = f"{one.trigger!r} from {one.from_state!r} to {one.to_state!r}"
                yield _about(one, "undeclared_transition", f"has a transition that {one.lifecycle} doesn't declare: {way}")


def _is_declared(made: tuple[Any, ...], declared: Declared) -> bool:
    kind, lifecycle, trigger, source, dest = made
    moves = declared.moves[lifecycle]
    if trigger is None:
        return kind != "create" or declared.initial[lifecycle] == str(dest)
    if kind == "delete" and dest is None:
        return any((trigger, source) == move[:2] for move in moves)
    return (trigger, source, dest) in moves


def head_findings(connection: Connection, tables: LedgerTables) -> Iterator[Finding]:
    """Yield aggregates whose head is not their last entry."""
    audit, head = tables.audit, tables.head
    names = (audit.c.aggregate, audit.c.aggregate_id)
    newest = select(*names, func.max(audit.c.version).label("version")).where(names[0].is_not(None))
    last = newest.group_by(*names).subquery("last")
    same = and_(last.c.aggregate == head.c.aggregate, last.c.aggregate_id == head.c.aggregate_id)
    entry = audit.alias("entry")
    at_head = and_(
        entry.c.aggregate == head.c.aggregate, entry.c.aggregate_id == head.c.aggregate_id, entry.c.version == head.c.version
    )
    of_heads = (
        select(head.c.aggregate, head.c.aggregate_id, head.c.version, last.c.version.label("last"))
        .select_from(head.outerjoin(last, same).outerjoin(entry, at_head))
        .where(or_(last.c.version.is_(None), last.c.version != head.c.version, entry.c.hash.is_distinct_from(head.c.hash)))
    )
    for row in _stream(connection, _ordered(of_heads, head)):
        yield _about(row, *_head_fault(row))
    headless = select(last).select_from(last.outerjoin(head, same)).where(head.c.version.is_(None))
    for row in _stream(connection, _ordered(headless, last)):
        yield _about(row, "head_missing", "is the last entry, and there is no head for it")


def _head_fault(row: Row[Any]) -> tuple[str, str]:
    if row.last is None:
        return "entries_missing", "is what the head says, and there are no entries at all"
    if row.last < row.version:
        return "entries_missing", f"is what the head says, and the last entry that is there has version {row.last}"
    if row.last > row.version:
        return "head_differs", f"is what the head says, and there are entries up to version {row.last}"
    return "head_differs", "is what the head says, with another hash than the entry has"


def _following(tables: LedgerTables) -> Subquery:
    audit = tables.audit.c
    chain = (audit.aggregate, audit.aggregate_id)
    return (
        select(
            *chain,
            audit.version,
            audit.kind,
            func.lag(audit.version).over(partition_by=chain, order_by=audit.version).label("version_before"),
            func.lag(audit.kind).over(partition_by=chain, order_by=audit.version).label("kind_before"),
        )
        .where(audit.aggregate.is_not(None))
        .subquery()
    )


def _linked(connection: Connection, tables: LedgerTables) -> Subquery:
    """Return each move beside what the one before left its lifecycle in, and what the trail begins with.

    A further baseline begins it anew: it says that the row was changed past the runtime, in which of its states nobody knows. So
    does a creation after a deletion.
    """
    audit = tables.audit
    move = moves(audit, connection.dialect.name, audit.c.aggregate.is_not(None))
    chain, order = ("aggregate", "aggregate_id"), ("version", "ordinal")
    begins = case((and_(move.c.kind.in_(("create", "baseline")), move.c.ordinal == 0), 1), else_=0)
    part = func.sum(begins).over(partition_by=[move.c[name] for name in chain], order_by=[move.c[name] for name in order])
    one = select(move, part.label("part")).subquery("parts")
    same = [one.c[name] for name in (*chain, "part")]
    ordered = [one.c[name] for name in order]
    start = func.first_value(one.c.kind).over(partition_by=same, order_by=ordered).label("start")
    before = func.lag(one.c.to_state).over(partition_by=[*same, one.c.lifecycle], order_by=ordered).label("before")
    named = (one.c[name] for name in (*chain, *order, "kind", "lifecycle", "from_state", "trigger", "to_state"))
    return select(*named, start, before).subquery()


def _by_lifecycle(values: dict[str, str], lifecycle: ColumnElement[Any]) -> ColumnElement[Any]:
    return case(values, value=lifecycle) if values else case((lifecycle.is_(None), None))


def _ordered(statement: Any, source: Any) -> Any:
    return statement.order_by(source.c.aggregate, source.c.aggregate_id, source.c.version)


def _stream(connection: Connection, statement: Any) -> Iterator[Row[Any]]:
    with connection.execute(statement.execution_options(yield_per=1_000)) as found:
        yield from found


def _about(row: Row[Any], code: str, sentence: str) -> Finding:
    return Finding(code, f"{row.aggregate} {row.aggregate_id}: version {row.version} {sentence}", *row[:2], row.version)
