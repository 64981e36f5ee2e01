"""What an audit entry is about: a creation, a change, a deletion, or the baseline of an adopted row."""

import sqlalchemy as sa
from alembic import context, op

revision = "0003"
down_revision = "0002"


def upgrade() -> None:
    schema = context.config.attributes["schema"]
    # A constant default rewrites no row, and lets processes of the version before go on until they are replaced.
    op.add_column("usecasecore_audit", sa.Column("kind", sa.String(10), nullable=False, server_default="change"), schema=schema)
    audit = sa.table("usecasecore_audit", *map(sa.column, ("kind", "version", "from_state")), schema=schema)
    born = audit.c.version == 1, audit.c.from_state.is_(None)
    op.execute(audit.update().where(*born).values(kind="create"))


def downgrade() -> None:
    op.drop_column("usecasecore_audit", "kind", schema=context.config.attributes["schema"])
