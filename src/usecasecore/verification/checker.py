"""verify: one look at everything that the runtime promises of a database."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from datetime import datetime
from itertools import islice
from uuid import UUID

from sqlalchemy import Connection, func, select, text, type_coerce

from usecasecore.application import Application
from usecasecore.ledger import LedgerTables, ledger_tables
from usecasecore.ledger.types import Instant, database_time
from usecasecore.verification.anchored import AnchorCheck
from usecasecore.verification.anchors import AnchorTrail
from usecasecore.verification.commands import acknowledged_findings, key_findings, message_findings, refusal_findings
from usecasecore.verification.declared import Declared
from usecasecore.verification.hashes import HashCheck
from usecasecore.verification.report import Counted, Finding, Report
from usecasecore.verification.rows import RowCheck
from usecasecore.verification.trails import head_findings, state_findings, transition_findings, version_findings

__all__ = ["one_snapshot", "verify"]


def one_snapshot(connection: Connection) -> None:
    """Let everything that is read in the transaction be of one instant, so that commands may go on meanwhile.

    On PostgreSQL it must come before any query; SQLite reads like that anyway.
    """
    if connection.dialect.name == "postgresql":
        connection.execute(text("set transaction isolation level repeatable read, read only"))


def verify(
    connection: Connection,
    application: Application | None = None,
    *,
    schema: str | None = None,
    audit_only: bool = False,
    anchors: AnchorTrail | None = None,
    acknowledged: Iterable[UUID | str] = (),
    now: datetime | None = None,
    limit: int = 100,
) -> Report:
    """Return what is in the database that the runtime can't have left like that, or what is missing.

    Reads only. Where commands run meanwhile, call `one_snapshot` first in the transaction: else what is half seen looks wrong.

    Args:
        connection: Of a synchronous engine; of an asynchronous one inside of `run_sync`.
        application: For its rows and transitions; without one the ledger is compared with itself only.
        schema: Where the ledger lives.
        audit_only: Whether to look at the audit trail alone: every hash, the heads and the anchors. That takes a third or a fourth of
            the time of everything.
        anchors: The anchors that were exported, all of them, with the key to check them by.
        acknowledged: Ids or idempotency keys of commands that a caller was told are done.
        now: The instant as of which keys may have expired, aware; by default the database's clock. For tests whose runtime has
            a clock of its own.
        limit: How many findings of each check at most.
    """
    tables = ledger_tables(schema)
    declared = Declared.by(application)
    rows = [] if audit_only else [RowCheck(connection, tables, name, plans) for name, plans in declared.plans.items()]
    hashes = HashCheck(connection, tables)
    anchored = None if anchors is None else AnchorCheck(connection, tables, anchors)
    checks: list[Iterator[Finding]] = []
    if not audit_only:
        now = now or connection.scalar(select(type_coerce(database_time(), Instant())))
        assert now is not None
        checks += [
            acknowledged_findings(connection, tables, acknowledged),
            key_findings(connection, tables, declared, now),
            refusal_findings(connection, tables),
            version_findings(connection, tables),
            state_findings(connection, tables, declared),
            transition_findings(connection, tables, declared),
            *(check.findings() for check in rows),
            message_findings(connection, tables),
        ]
    checks += [head_findings(connection, tables), hashes.findings()]
    if anchored is not None:
        checks.append(anchored.findings())
    found, more = _limited(checks, limit)
    looked_at = sum(check.rows for check in rows)
    anchors_seen = anchored.anchors if anchored else 0
    counted = Counted(_count(connection, tables), looked_at, hashes.hashed, anchors_seen, hashes.unsealed)
    unknown = () if application is None or audit_only else _unknown(connection, tables, declared)
    return Report(found, counted, more, unknown)


def _limited(checks: Iterable[Iterator[Finding]], limit: int) -> tuple[tuple[Finding, ...], frozenset[str]]:
    found: list[Finding] = []
    more: set[str] = set()
    for check in checks:
        found += islice(check, limit)
        # The rest of a check is not looked at, so that a ledger that is wrong everywhere is told about soon.
        more.update(finding.code for finding in islice(check, 1))
    return tuple(found), frozenset(more)


def _count(connection: Connection, tables: LedgerTables) -> int:
    return connection.scalar(select(func.count()).select_from(tables.audit)) or 0


def _unknown(connection: Connection, tables: LedgerTables, declared: Declared) -> tuple[str, ...]:
    name = tables.audit.c.aggregate
    names = connection.scalars(select(name).where(name.is_not(None)).distinct().order_by(name))
    return tuple(one for one in names if one not in declared.plans)
