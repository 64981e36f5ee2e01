"""The key of a row as the ledger writes it, made by the database: what `runtime.plan.id_text` makes of the loaded values."""

from __future__ import annotations

from functools import reduce
from typing import Any

from sqlalchemy import (
    CTE,
    BigInteger,
    Column,
    ColumnElement,
    Date,
    Integer,
    SmallInteger,
    String,
    Text,
    Unicode,
    Uuid,
    and_,
    cast,
    column,
    func,
    values,
)
from sqlalchemy.dialects import postgresql

from usecasecore.adoption.rows import LiveRows
from usecasecore.runtime.plan import id_text

__all__ = ["key_text", "keys_with_text"]

_NUMBERS = {Integer, BigInteger, SmallInteger}
_TEXTS = {String, Text, Unicode}
_UUIDS = {Uuid, postgresql.UUID}


def key_text(rows: LiveRows, dialect: str) -> ColumnElement[str] | None:
    """Return the key's text as an expression; None where Python writes a type in a way that the database can't repeat."""
    texts = [_text(one, dialect) for one in rows.keys]
    known = [one for one in texts if one is not None]
    if len(known) < len(texts):
        return None
    if len(known) == 1:
        return known[0]
    escaped: list[ColumnElement[str]] = [
        func.replace(func.replace(one, "\\", "\\\\"), "|", "\\|", type_=String()) for one in known
    ]
    return reduce(lambda left, right: left.concat("|").concat(right), escaped)


def keys_with_text(rows: LiveRows, keys: list[tuple[Any, ...]]) -> tuple[CTE, ColumnElement[bool]]:
    """Return a table of these keys with the texts that Python gives them, in its column `text`, and what joins it to the rows."""
    columns = [column(f"key_{index}", one.type) for index, one in enumerate(rows.keys)]
    data = [(*key, id_text(list(key))) for key in keys]
    table = values(*columns, column("text", String(400)), name="uc_keys").data(data).cte("uc_keys")
    same = (table.c[each.name] == one for each, one in zip(columns, rows.keys, strict=True))
    return table, and_(*same)


def _text(one: Column[Any], dialect: str) -> ColumnElement[str] | None:
    kind = type(one.type)
    if kind in _UUIDS and getattr(one.type, "as_uuid", True):
        return _uuid_text(one, dialect)
    if kind in _NUMBERS or kind in _TEXTS:
        return cast(one, String(400))
    if kind is Date and dialect == "sqlite":
        return cast(one, String(400))
    return None


def _uuid_text(one: Column[Any], dialect: str) -> ColumnElement[str]:
    if dialect != "sqlite":
        return cast(one, String(36))
    plain = cast(one, String(32))  # 32 hexadecimal digits, without the dashes
    parts: list[Any] = [func.substr(plain, start, length) for start, length in ((1, 8), (9, 4), (13, 4), (17, 4), (21, 12))]
    return reduce(lambda left, right: cast(left, String).concat("-").concat(right), parts)
