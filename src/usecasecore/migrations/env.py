"""Runs the ledger's migrations on the connection that `upgrade` was given."""

from alembic import context

from usecasecore.ledger import ledger_tables
from usecasecore.migrations import VERSION_TABLE

schema = context.config.attributes["schema"]
context.configure(
    connection=context.config.attributes["connection"],
    target_metadata=ledger_tables(schema).metadata,
    version_table=VERSION_TABLE,
    version_table_schema=schema,
)
with context.begin_transaction():
    context.run_migrations()
