"""The ledger: idempotency, audit, attempt, outbox."""

from typing import Any

import sqlalchemy as sa
from alembic import context, op

from usecasecore.ledger.types import Instant, database_time

revision = "0001"
down_revision = None

PENDING = sa.text("delivered_at is null and dead_at is null")


def upgrade() -> None:
    schema = context.config.attributes["schema"]
    op.create_table(
        "usecasecore_idempotency",
        sa.Column("tenant", sa.String(200), nullable=False),
        sa.Column("actor", sa.String(400), nullable=False),
        sa.Column("use_case", sa.String(200), nullable=False),
        sa.Column("key", sa.String(255), nullable=False),
        sa.Column("fingerprint", sa.LargeBinary(32), nullable=False),
        sa.Column("command_id", sa.Uuid, nullable=False),
        sa.Column("version", sa.BigInteger),
        sa.Column("result_type", sa.String(400)),
        sa.Column("result", sa.Text),
        sa.Column("created_at", Instant, nullable=False),
        sa.Column("expires_at", Instant, nullable=False),
        sa.PrimaryKeyConstraint("tenant", "actor", "use_case", "key"),
        schema=schema,
    )
    op.create_table(
        "usecasecore_audit",
        sa.Column("id", sa.Uuid, nullable=False),
        sa.Column("command_id", sa.Uuid, nullable=False),
        sa.Column("use_case", sa.String(200), nullable=False),
        sa.Column("tenant", sa.String(200)),
        sa.Column("actor", sa.String(400), nullable=False),
        sa.Column("on_behalf_of", sa.String(400)),
        sa.Column("reason", sa.Text),
        sa.Column("aggregate", sa.String(200)),
        sa.Column("aggregate_id", sa.String(400)),
        sa.Column("version", sa.BigInteger),
        sa.Column("lifecycle", sa.String(200)),
        sa.Column("trigger", sa.String(200)),
        sa.Column("from_state", sa.String(200)),
        sa.Column("to_state", sa.String(200)),
        sa.Column("command", sa.JSON, nullable=False),
        sa.Column("changes", sa.JSON, nullable=False),
        sa.Column("detail", sa.JSON, nullable=False),
        sa.Column("request_id", sa.String(200)),
        sa.Column("correlation_id", sa.String(200), nullable=False),
        sa.Column("causation_id", sa.String(200)),
        sa.Column("occurred_at", Instant, nullable=False),
        sa.Column("recorded_at", Instant, nullable=False, server_default=database_time()),
        sa.PrimaryKeyConstraint("id"),
        sa.UniqueConstraint("aggregate", "aggregate_id", "version", name="uq_usecasecore_audit_version"),
        schema=schema,
    )
    op.create_table(
        "usecasecore_attempt",
        sa.Column("id", sa.Uuid, nullable=False),
        sa.Column("command_id", sa.Uuid, nullable=False),
        sa.Column("use_case", sa.String(200), nullable=False),
        sa.Column("tenant", sa.String(200)),
        sa.Column("actor", sa.String(400), nullable=False),
        sa.Column("on_behalf_of", sa.String(400)),
        sa.Column("reason", sa.Text),
        sa.Column("key", sa.String(255), nullable=False),
        sa.Column("aggregate", sa.String(200)),
        sa.Column("aggregate_id", sa.String(400)),
        sa.Column("version", sa.BigInteger),
        sa.Column("outcome", sa.String(20), nullable=False),
        sa.Column("code", sa.String(200), nullable=False),
        sa.Column("message", sa.Text, nullable=False),
        sa.Column("command", sa.JSON, nullable=False),
        sa.Column("request_id", sa.String(200)),
        sa.Column("correlation_id", sa.String(200), nullable=False),
        sa.Column("causation_id", sa.String(200)),
        sa.Column("occurred_at", Instant, nullable=False),
        sa.Column("recorded_at", Instant, nullable=False, server_default=database_time()),
        sa.PrimaryKeyConstraint("id"),
        schema=schema,
    )
    op.create_table(
        "usecasecore_outbox",
        sa.Column("id", sa.Uuid, nullable=False),
        sa.Column("command_id", sa.Uuid, nullable=False),
        sa.Column("kind", sa.String(10), nullable=False),
        sa.Column("type", sa.String(200), nullable=False),
        sa.Column("type_version", sa.Integer, nullable=False),
        sa.Column("tenant", sa.String(200)),
        sa.Column("aggregate", sa.String(200)),
        sa.Column("aggregate_id", sa.String(400)),
        sa.Column("version", sa.BigInteger),
        sa.Column("ordinal", sa.Integer, nullable=False),
        sa.Column("payload", sa.JSON, nullable=False),
        sa.Column("headers", sa.JSON, nullable=False),
        sa.Column("occurred_at", Instant, nullable=False),
        sa.Column("available_at", Instant, nullable=False),
        sa.Column("attempts", sa.Integer, nullable=False, server_default="0"),
        sa.Column("lease_owner", sa.Uuid),
        sa.Column("lease_until", Instant),
        sa.Column("delivered_at", Instant),
        sa.Column("dead_at", Instant),
        sa.Column("last_error", sa.Text),
        sa.PrimaryKeyConstraint("id"),
        schema=schema,
    )
    for table, name, columns, pending in (
        ("idempotency", "idempotency_expires_at", ["expires_at"], False),
        ("audit", "audit_command_id", ["command_id"], False),
        ("attempt", "attempt_aggregate", ["aggregate", "aggregate_id"], False),
        ("outbox", "outbox_pending", ["available_at", "id"], True),
        ("outbox", "outbox_order", ["aggregate", "aggregate_id", "version", "ordinal"], True),
    ):
        where: dict[str, Any] = {"postgresql_where": PENDING, "sqlite_where": PENDING} if pending else {}
        op.create_index(f"ix_usecasecore_{name}", f"usecasecore_{table}", columns, schema=schema, **where)


def downgrade() -> None:
    schema = context.config.attributes["schema"]
    for table in ("outbox", "attempt", "audit", "idempotency"):
        op.drop_table(f"usecasecore_{table}", schema=schema)
