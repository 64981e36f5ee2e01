"""The ledger's own Alembic migrations, apart from the application's: packaged, with a version table of their own."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from alembic import command
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Connection, inspect
from sqlalchemy.schema import CreateSchema

from usecasecore.errors import LedgerOutdated
from usecasecore.ledger import ledger_tables

__all__ = ["VERSION_TABLE", "check", "head", "revision", "upgrade"]

VERSION_TABLE = "usecasecore_version"


def upgrade(connection: Connection, schema: str | None = None) -> tuple[str | None, str]:
    """Bring the ledger to the revision that this version of the library needs; safe to repeat.

    The caller owns the transaction: all steps take effect with its commit.

    Args:
        connection: On which to run.
        schema: Where the ledger lives; created where it's missing. None for the connection's default.

    Returns:
        The revision before (None where there was no ledger) and the one after.
    """
    before = revision(connection, schema)
    if schema is not None and schema not in inspect(connection).get_schema_names():
        connection.execute(CreateSchema(schema))
    command.upgrade(_config(connection, schema), "head")
    return before, head()


def revision(connection: Connection, schema: str | None = None) -> str | None:
    """Return the ledger's revision in the database; None where there is no ledger."""
    options = {"version_table": VERSION_TABLE, "version_table_schema": schema}
    found: str | None = MigrationContext.configure(connection, opts=options).get_current_revision()
    return found


def head() -> str:
    """Return the revision that this version of the library needs."""
    newest = ScriptDirectory.from_config(_config()).get_current_head()
    assert newest is not None
    return newest


def check(connection: Connection, schema: str | None = None) -> None:
    """Make sure that the ledger is there, whole, and of the right revision.

    Raises:
        LedgerOutdated: With the tables and columns that are missing.
    """
    found = revision(connection, schema)
    missing = _missing(connection, schema) if found is not None else []
    if found != head() or missing:
        raise LedgerOutdated(found=found, needed=head(), problems=missing)


def _missing(connection: Connection, schema: str | None) -> list[str]:
    inspector = inspect(connection)
    present = set(inspector.get_table_names(schema=schema))
    problems = []
    for table in ledger_tables(schema).metadata.sorted_tables:
        if table.name not in present:
            problems.append(f"table {table.name} is missing")
            continue
        columns = {column["name"] for column in inspector.get_columns(table.name, schema=schema)}
        problems += [f"column {table.name}.{column.name} is missing" for column in table.c if column.name not in columns]
    return problems


def _config(connection: Connection | None = None, schema: str | None = None) -> Config:
    config = Config()
    config.set_main_option("script_location", str(Path(__file__).parent).replace("%", "%%"))
    config.set_main_option("path_separator", "os")
    attributes: dict[str, Any] = config.attributes
    attributes.update(connection=connection, schema=schema)
    return config
