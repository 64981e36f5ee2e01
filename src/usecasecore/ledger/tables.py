"""The bookkeeping tables: what is written beside the aggregate, in its transaction."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache

from sqlalchemy import (
    JSON,
    BigInteger,
    Column,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    SmallInteger,
    String,
    Table,
    Text,
    UniqueConstraint,
    Uuid,
    text,
)

from usecasecore.ledger.types import Instant, database_time

__all__ = ["PREFIX", "LedgerTables", "ledger_tables"]

PREFIX = "usecasecore_"


@dataclass(frozen=True, slots=True)
class LedgerTables:
    """The ledger's tables, in MetaData of their own.

    Attributes:
        idempotency: One row for each accepted command: its key, the fingerprint of its fields, and the result to replay.
        audit: One row for each (accepted command, aggregate). Append-only; per aggregate a chain of hashes, see `chain`.
        head: One row for each audited aggregate: the version and the hash of its last audit entry.
        attempt: One row for each command that was refused or failed.
        outbox: Events and jobs, to be delivered after the commit; of one aggregate in the order of (version, ordinal).
        anchor: One row for each anchor: what was signed of the heads, and whether it is outside of the database yet.
        personal: The personal values that audit entries hold commitments to, for as long as nobody has erased them.
        pruning: Up to when rows of another table were deleted on purpose, so that nobody takes them for lost.
    """

    metadata: MetaData
    idempotency: Table
    audit: Table
    head: Table
    attempt: Table
    outbox: Table
    anchor: Table
    personal: Table
    pruning: Table


@cache
def ledger_tables(schema: str | None = None) -> LedgerTables:
    """Return the tables in the given schema; the same objects each time."""
    metadata = MetaData(schema=schema)
    return LedgerTables(
        metadata,
        _idempotency(metadata),
        _audit(metadata),
        _head(metadata),
        _attempt(metadata),
        _outbox(metadata),
        _anchor(metadata),
        _personal(metadata),
        _pruning(metadata),
    )


def _idempotency(metadata: MetaData) -> Table:
    return Table(
        f"{PREFIX}idempotency",
        metadata,
        # '' stands for "no tenant": a primary key takes no NULL.
        Column("tenant", String(200), primary_key=True),
        Column("actor", String(400), primary_key=True),
        Column("use_case", String(200), primary_key=True),
        Column("key", String(255), primary_key=True),
        Column("fingerprint", LargeBinary(32), nullable=False),
        Column("command_id", Uuid, nullable=False),
        Column("version", BigInteger),
        Column("result_type", String(400)),
        Column("result_version", Integer),
        Column("result", Text),
        Column("created_at", Instant, nullable=False),
        Column("expires_at", Instant, nullable=False),
        Index(f"ix_{PREFIX}idempotency_expires_at", "expires_at"),
    )


def _audit(metadata: MetaData) -> Table:
    return Table(
        f"{PREFIX}audit",
        metadata,
        Column("id", Uuid, primary_key=True),
        Column("command_id", Uuid, nullable=False),
        Column("use_case", String(200), nullable=False),
        Column("tenant", String(200)),
        Column("actor", String(400), nullable=False),
        Column("on_behalf_of", String(400)),
        Column("reason", Text),
        # create, change, delete, or baseline: the first entry of a row that was there before. See `entries.EntryKind`.
        Column("kind", String(10), nullable=False, server_default="change"),
        Column("aggregate", String(200)),
        Column("aggregate_id", String(400)),
        Column("version", BigInteger),
        Column("lifecycle", String(200)),
        Column("trigger", String(200)),
        Column("from_state", String(200)),
        Column("to_state", String(200)),
        Column("command", JSON, nullable=False),
        Column("changes", JSON, nullable=False),
        Column("detail", JSON, nullable=False),
        Column("request_id", String(200)),
        Column("correlation_id", String(200), nullable=False),
        Column("causation_id", String(200)),
        Column("occurred_at", Instant, nullable=False),
        Column("recorded_at", Instant, nullable=False, server_default=database_time()),
        # All that follow are NULL where an entry is older than they are, or was written past the runtime and not sealed.
        Column("key", String(255)),
        Column("messages", Integer),
        Column("hash_version", SmallInteger),
        Column("prev_hash", LargeBinary(32)),
        Column("hash", LargeBinary(32)),
        UniqueConstraint("aggregate", "aggregate_id", "version", name=f"uq_{PREFIX}audit_version"),
        Index(f"ix_{PREFIX}audit_command_id", "command_id"),
    )


def _head(metadata: MetaData) -> Table:
    return Table(
        f"{PREFIX}head",
        metadata,
        Column("aggregate", String(200), primary_key=True),
        Column("aggregate_id", String(400), primary_key=True),
        Column("version", BigInteger, nullable=False),
        Column("hash", LargeBinary(32), nullable=False),
        Column("anchored_version", BigInteger),
        # Each command writes one row of it: on SQLite then a page, and not one of the table and one of the key's index.
        sqlite_with_rowid=False,
    )


def _attempt(metadata: MetaData) -> Table:
    return Table(
        f"{PREFIX}attempt",
        metadata,
        Column("id", Uuid, primary_key=True),
        Column("command_id", Uuid, nullable=False),
        Column("use_case", String(200), nullable=False),
        Column("tenant", String(200)),
        Column("actor", String(400), nullable=False),
        Column("on_behalf_of", String(400)),
        Column("reason", Text),
        Column("key", String(255), nullable=False),
        Column("aggregate", String(200)),
        Column("aggregate_id", String(400)),
        Column("version", BigInteger),
        Column("outcome", String(20), nullable=False),
        Column("code", String(200), nullable=False),
        Column("message", Text, nullable=False),
        Column("command", JSON, nullable=False),
        Column("request_id", String(200)),
        Column("correlation_id", String(200), nullable=False),
        Column("causation_id", String(200)),
        Column("occurred_at", Instant, nullable=False),
        Column("recorded_at", Instant, nullable=False, server_default=database_time()),
        Index(f"ix_{PREFIX}attempt_aggregate", "aggregate", "aggregate_id"),
    )


def _outbox(metadata: MetaData) -> Table:
    pending = text("delivered_at is null and dead_at is null")
    dead = text("dead_at is not null and delivered_at is null")
    return Table(
        f"{PREFIX}outbox",
        metadata,
        Column("id", Uuid, primary_key=True),
        Column("command_id", Uuid, nullable=False),
        Column("kind", String(10), nullable=False),
        Column("type", String(200), nullable=False),
        Column("type_version", Integer, nullable=False),
        Column("tenant", String(200)),
        Column("aggregate", String(200)),
        Column("aggregate_id", String(400)),
        Column("version", BigInteger),
        Column("ordinal", Integer, nullable=False),
        Column("payload", JSON, nullable=False),
        Column("headers", JSON, nullable=False),
        Column("occurred_at", Instant, nullable=False),
        Column("available_at", Instant, nullable=False),
        Column("attempts", Integer, nullable=False, server_default="0"),
        Column("lease_owner", Uuid),
        Column("lease_until", Instant),
        Column("delivered_at", Instant),
        Column("dead_at", Instant),
        Column("last_error", Text),
        Index(
            f"ix_{PREFIX}outbox_pending",
            "available_at",
            "id",
            postgresql_where=pending,
            sqlite_where=pending,
        ),
        Index(
            f"ix_{PREFIX}outbox_order",
            "aggregate",
            "aggregate_id",
            "version",
            "ordinal",
            postgresql_where=pending,
            sqlite_where=pending,
        ),
        Index(f"ix_{PREFIX}outbox_dead", "aggregate", "aggregate_id", postgresql_where=dead, sqlite_where=dead),
    )


def _anchor(metadata: MetaData) -> Table:
    return Table(
        f"{PREFIX}anchor",
        metadata,
        Column("sequence", BigInteger, primary_key=True, autoincrement=False),
        Column("created_at", Instant, nullable=False),
        Column("heads", BigInteger, nullable=False),
        Column("digest", LargeBinary(32), nullable=False),
        # Gone once it is exported: what vouches for the database belongs outside of it.
        Column("document", Text),
        Column("exported_at", Instant),
    )


def _personal(metadata: MetaData) -> Table:
    return Table(
        f"{PREFIX}personal",
        metadata,
        Column("command_id", Uuid, primary_key=True),
        Column("field", String(200), primary_key=True),
        # '' stands for "no tenant", as in the idempotency table.
        Column("tenant", String(200), nullable=False),
        Column("subject", String(400), nullable=False),
        Column("value", Text, nullable=False),
        Column("salt", LargeBinary(32), nullable=False),
        Index(f"ix_{PREFIX}personal_subject", "tenant", "subject"),
    )


def _pruning(metadata: MetaData) -> Table:
    return Table(
        f"{PREFIX}pruning",
        metadata,
        Column("id", Uuid, primary_key=True),
        Column("table_name", String(63), nullable=False),
        Column("until", Instant, nullable=False),
        Column("rows", BigInteger, nullable=False),
        Column("pruned_at", Instant, nullable=False, server_default=database_time()),
    )
