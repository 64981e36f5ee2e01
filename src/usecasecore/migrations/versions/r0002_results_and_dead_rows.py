"""The version of stored results; an index that finds what was set aside in the outbox."""

import sqlalchemy as sa
from alembic import context, op

revision = "0002"
down_revision = "0001"

DEAD = sa.text("dead_at is not null and delivered_at is null")


def upgrade() -> None:
    schema = context.config.attributes["schema"]
    op.add_column("usecasecore_idempotency", sa.Column("result_version", sa.Integer), schema=schema)
    op.create_index(
        "ix_usecasecore_outbox_dead",
        "usecasecore_outbox",
        ["aggregate", "aggregate_id"],
        schema=schema,
        postgresql_where=DEAD,
        sqlite_where=DEAD,
    )


def downgrade() -> None:
    schema = context.config.attributes["schema"]
    op.drop_index("ix_usecasecore_outbox_dead", "usecasecore_outbox", schema=schema)
    op.drop_column("usecasecore_idempotency", "result_version", schema=schema)
