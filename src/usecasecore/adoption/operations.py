"""Alembic operations for what a live table lacks, as Python text that is ready to paste into a migration.

On PostgreSQL nothing in them holds a lock while rows are read: a CHECK is added NOT VALID, which takes the lock for an
instant, and validated in a transaction of its own, which reads the table beside everybody else; NOT NULL is then set on the
strength of such a CHECK. What has to rewrite the table says so. SQLite rebuilds the table, in batch mode.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator

from sqlalchemy import BigInteger, Enum, Integer, String
from sqlalchemy.dialects import postgresql

from usecasecore.adoption.columns import Finding

__all__ = ["operations"]

_HEAD = ("import sqlalchemy as sa", "from alembic import op", "", "", "def upgrade() -> None:")


def operations(findings: Iterable[Finding], dialect: str) -> str:
    """Return the text of an `upgrade` that brings up what was found missing; empty where nothing can be done by operations."""
    findings = [each for each in findings if each.lack != "table"]
    write: Callable[[list[Finding]], Iterator[str]] = _sqlite if dialect == "sqlite" else _postgresql
    tables = dict.fromkeys((each.schema, each.table) for each in findings)
    body = [line for table in tables for line in write([each for each in findings if (each.schema, each.table) == table])]
    return "\n".join([*_HEAD, *(f"    {line}" for line in body)]) + "\n" if body else ""


def _postgresql(findings: list[Finding]) -> Iterator[str]:
    direct = [line for each in findings for line in _DIRECT.get(each.lack, _nothing)(each)]
    yield from direct
    checked = [line for each in findings for line in _CHECKED.get(each.lack, _nothing)(each)]
    if checked:
        yield "with op.get_context().autocommit_block():  # each statement is a transaction of its own"
        yield from (f"    {line}" for line in checked)


def _add_column(finding: Finding) -> Iterator[str]:
    yield "# a constant default: no row is rewritten"
    yield f"op.add_column({finding.table!r}, {_new_column(finding)}{_schema(finding)})"


def _alter_type(finding: Finding) -> Iterator[str]:
    target = finding.wanted.compile(postgresql.dialect())  # type: ignore[no-untyped-call]  # SQLAlchemy leaves it untyped
    live = finding.existing
    if isinstance(live, Enum) or not (isinstance(live, String) and isinstance(finding.wanted, String)):
        yield "# rewrites the table under an exclusive lock: plan it for a quiet hour, or add a new column and copy in batches"
    using = f"{_quoted(finding.column)}::{target.lower()}"
    yield (
        f"op.alter_column({finding.table!r}, {finding.column!r}, type_={_type(finding)}, "
        f"postgresql_using={using!r}{_schema(finding)})"
    )


def _fill_in(finding: Finding) -> Iterator[str]:
    name = _name(finding)
    column = _quoted(finding.column)
    yield f"# NULL becomes {finding.value!r}: make sure that it means that; where there are many, do it in batches before"
    yield f"op.execute({f'UPDATE {name} SET {column} = {_literal(finding.value)} WHERE {column} IS NULL'!r})"


def _not_null(finding: Finding) -> Iterator[str]:
    check = f"ck_{finding.table}_{finding.column}_not_null"
    yield from _add_check(finding, check, f"{_quoted(finding.column)} IS NOT NULL")
    yield f"op.alter_column({finding.table!r}, {finding.column!r}, nullable=False{_schema(finding)})"
    yield f'op.drop_constraint({check!r}, {finding.table!r}, type_="check"{_schema(finding)})'


def _states_check(finding: Finding) -> Iterator[str]:
    assert finding.check is not None
    yield from _add_check(finding, *finding.check)


def _other_check(finding: Finding) -> Iterator[str]:
    assert finding.check is not None
    yield f'op.drop_constraint({finding.check[0]!r}, {finding.table!r}, type_="check"{_schema(finding)})'
    yield from _states_check(finding)


def _add_check(finding: Finding, name: str, condition: str) -> Iterator[str]:
    yield (
        f"op.create_check_constraint(op.f({name!r}), {finding.table!r}, {condition!r}, postgresql_not_valid=True{_schema(finding)})"
    )
    yield f"op.execute({f'ALTER TABLE {_name(finding)} VALIDATE CONSTRAINT {_quoted(name)}'!r})"


def _nothing(finding: Finding) -> Iterator[str]:
    yield from ()


_DIRECT = {"column": _add_column, "type": _alter_type, "null": _fill_in}
_CHECKED = {"null": _not_null, "check": _states_check, "other check": _other_check}


def _sqlite(findings: list[Finding]) -> Iterator[str]:
    first = findings[0]
    for finding in findings:
        if finding.lack == "null":
            yield from _fill_in(finding)
    yield f"with op.batch_alter_table({first.table!r}{_schema(first)}) as batch:  # makes the table anew"
    for finding in findings:
        yield from (f"    {line}" for line in _in_batch(finding))


def _in_batch(finding: Finding) -> Iterator[str]:
    column = finding.column
    if finding.lack == "column":
        yield f"batch.add_column({_new_column(finding)})"
    elif finding.lack == "type":
        yield f"batch.alter_column({column!r}, type_={_type(finding)})"
    elif finding.lack == "null":
        yield f"batch.alter_column({column!r}, existing_type={_type(finding)}, nullable=False)"
    elif finding.check is not None:
        if finding.lack == "other check":
            yield f'batch.drop_constraint({finding.check[0]!r}, type_="check")'
        yield f"batch.create_check_constraint(op.f({finding.check[0]!r}), {finding.check[1]!r})"


def _new_column(finding: Finding) -> str:
    return f"sa.Column({finding.column!r}, {_type(finding)}, nullable=False, server_default={str(finding.value)!r})"


def _type(finding: Finding) -> str:
    wanted = finding.wanted
    if isinstance(wanted, Integer):
        return "sa.BigInteger()" if isinstance(wanted, BigInteger) else "sa.Integer()"
    return f"sa.String({getattr(wanted, 'length', 64)})"


def _literal(value: object) -> str:
    return str(value) if isinstance(value, int) else "'" + str(value).replace("'", "''") + "'"


def _schema(finding: Finding) -> str:
    return f", schema={finding.schema!r}" if finding.schema else ""


def _name(finding: Finding) -> str:
    return ".".join(_quoted(part) for part in (finding.schema, finding.table) if part)


def _quoted(name: str) -> str:
    return postgresql.dialect().identifier_preparer.quote(name)  # type: ignore[no-untyped-call]  # SQLAlchemy leaves it untyped
