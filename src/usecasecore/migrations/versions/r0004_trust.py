"""What lets the audit trail be checked: hash chain, heads, anchors, erasable personal values, and what was pruned."""

import sqlalchemy as sa
from alembic import context, op

from usecasecore.ledger.sealing import seal
from usecasecore.ledger.types import Instant, database_time

revision = "0004"
down_revision = "0003"

ENTRY_COLUMNS = (
    ("key", sa.String(255)),
    ("messages", sa.Integer),
    ("hash_version", sa.SmallInteger),
    ("prev_hash", sa.LargeBinary(32)),
    ("hash", sa.LargeBinary(32)),
)


def upgrade() -> None:
    schema = context.config.attributes["schema"]
    for name, kind in ENTRY_COLUMNS:
        op.add_column("usecasecore_audit", sa.Column(name, kind), schema=schema)
    op.create_table(
        "usecasecore_head",
        sa.Column("aggregate", sa.String(200), nullable=False),
        sa.Column("aggregate_id", sa.String(400), nullable=False),
        sa.Column("version", sa.BigInteger, nullable=False),
        sa.Column("hash", sa.LargeBinary(32), nullable=False),
        sa.Column("anchored_version", sa.BigInteger),
        sa.PrimaryKeyConstraint("aggregate", "aggregate_id"),
        schema=schema,
        sqlite_with_rowid=False,
    )
    if op.get_bind().dialect.name == "postgresql":
        # Every command updates one row, and no index of it: with room on the page that is a heap-only update.
        name = op.get_bind().dialect.identifier_preparer.format_table(sa.table("usecasecore_head", schema=schema))
        op.execute(f"alter table {name} set (fillfactor = 70)")
    op.create_table(
        "usecasecore_anchor",
        sa.Column("sequence", sa.BigInteger, nullable=False, autoincrement=False),
        sa.Column("created_at", Instant, nullable=False),
        sa.Column("heads", sa.BigInteger, nullable=False),
        sa.Column("digest", sa.LargeBinary(32), nullable=False),
        sa.Column("document", sa.Text),
        sa.Column("exported_at", Instant),
        sa.PrimaryKeyConstraint("sequence"),
        schema=schema,
    )
    op.create_table(
        "usecasecore_personal",
        sa.Column("command_id", sa.Uuid, nullable=False),
        sa.Column("field", sa.String(200), nullable=False),
        sa.Column("tenant", sa.String(200), nullable=False),
        sa.Column("subject", sa.String(400), nullable=False),
        sa.Column("value", sa.Text, nullable=False),
        sa.Column("salt", sa.LargeBinary(32), nullable=False),
        sa.PrimaryKeyConstraint("command_id", "field"),
        schema=schema,
    )
    op.create_index("ix_usecasecore_personal_subject", "usecasecore_personal", ["tenant", "subject"], schema=schema)
    op.create_table(
        "usecasecore_pruning",
        sa.Column("id", sa.Uuid, nullable=False),
        sa.Column("table_name", sa.String(63), nullable=False),
        sa.Column("until", Instant, nullable=False),
        sa.Column("rows", sa.BigInteger, nullable=False),
        sa.Column("pruned_at", Instant, nullable=False, server_default=database_time()),
        sa.PrimaryKeyConstraint("id"),
        schema=schema,
    )
    seal(op.get_bind(), schema)  # the entries that are there already


def downgrade() -> None:
    schema = context.config.attributes["schema"]
    for table in ("pruning", "personal", "anchor", "head"):
        op.drop_table(f"usecasecore_{table}", schema=schema)
    for name, _ in reversed(ENTRY_COLUMNS):
        op.drop_column("usecasecore_audit", name, schema=schema)
