"""The moves in audit entries, as SQL: whoever asks the database what happened to a state asks here.

An entry has its first transition in columns, and those of further lifecycles in its detail (see `transitions`). To read the
columns alone is to see a lifecycle jump that was moved beside another one. An entry without further ones costs a look at the
length of its detail, which is `{}` in most.
"""

from __future__ import annotations

from typing import Any

from sqlalchemy import (
    ColumnElement,
    Integer,
    Select,
    String,
    Subquery,
    Table,
    and_,
    case,
    cast,
    func,
    literal,
    select,
    type_coerce,
)
from sqlalchemy import literal_column as written

from usecasecore.ledger.transitions import FURTHER_TRANSITIONS

__all__ = ["moves", "state_told"]

_KEPT = ("id", "aggregate", "aggregate_id", "version", "kind", "use_case", "occurred_at")
_MOVED = {"lifecycle": "lifecycle", "trigger": "trigger", "from_state": "from", "to_state": "to"}


def moves(audit: Table, dialect: str, *conditions: ColumnElement[bool]) -> Subquery:
    """Return a subquery with a row for each move: what the columns of an entry tell, whatever it is, and each further transition.

    Its columns are `id, aggregate, aggregate_id, version, kind, use_case, occurred_at` of the entry, `ordinal` (0 for what its
    columns tell, which may be no move at all; 1, 2, .. for further transitions, in the order in which they were fired), and
    `lifecycle, trigger, from_state, to_state` of the move. Within a lifecycle the order is that of `(version, ordinal)`.

    Args:
        audit: The table of audit entries.
        dialect: `postgresql` or `sqlite`.
        conditions: On columns of `audit`: which entries.
    """
    kept = [audit.c[name] for name in _KEPT]
    first = select(*kept, literal(0, Integer).label("ordinal"), *(audit.c[name] for name in _MOVED)).where(*conditions)
    one = _Further(audit, dialect)
    further = (
        select(*kept, one.ordinal.label("ordinal"), *(one.text(key).label(name) for name, key in _MOVED.items()))
        .select_from(audit)
        .join(one.table, one.whole)
        .where(one.present, *conditions)
    )
    return first.union_all(further).subquery("moves")


def state_told(audit: Table, dialect: str, lifecycle: str, name: str) -> ColumnElement[str | None]:
    """Return what an entry says of one lifecycle, as an expression over its row; NULL where it says nothing.

    For where an index gives the entries in their order, and the first that tells is wanted.

    Args:
        audit: The table of audit entries; the expression belongs into a query from it.
        dialect: `postgresql` or `sqlite`.
        lifecycle: Its name.
        name: `from_state` or `to_state`.
    """
    one = _Further(audit, dialect)
    found: Select[Any] = (
        select(one.text(_MOVED[name])).select_from(one.table).where(one.whole, one.text("lifecycle") == lifecycle)
    )
    further = found.correlate(audit).limit(1).scalar_subquery()
    return case((audit.c.lifecycle == lifecycle, audit.c[name]), (one.present, further))


class _Further:
    """The further transitions of an entry, as a table beside it.

    Only what has the form that the runtime writes is taken: somebody else's hand must not make the query fail, and an entry
    that was written before there were further transitions may have another thing under that name.
    """

    def __init__(self, audit: Table, dialect: str) -> None:
        text = cast(audit.c.detail, String) if dialect == "postgresql" else type_coerce(audit.c.detail, String)
        self.present = and_(func.length(text) > 2, text.contains(f'"{FURTHER_TRANSITIONS}"', autoescape=True))
        self._sqlite = dialect == "sqlite"
        table: Any
        if self._sqlite:
            path = f"$.{FURTHER_TRANSITIONS}"
            is_list = and_(func.json_valid(text) == 1, func.json_type(text, path) == "array")
            table = func.json_each(case((is_list, text), else_="[]"), path).table_valued("key", "value", "type", name="further")
            self.ordinal: ColumnElement[int] = cast(table.c.key, Integer) + 1
            self.whole: ColumnElement[bool] = table.c.type == "object"
        else:
            held = func.json_extract_path(audit.c.detail, FURTHER_TRANSITIONS)
            is_list = func.json_typeof(held) == "array"
            parts = func.json_array_elements(case((is_list, held), else_=written("'[]'::json")))
            table = parts.table_valued("value", with_ordinality="place", name="further", joins_implicitly=True).render_derived()
            self.ordinal = cast(table.c.place, Integer)
            self.whole = func.json_typeof(table.c.value) == "object"
        self.table = table

    def text(self, key: str) -> ColumnElement[str]:
        """Return a member of a transition."""
        if self._sqlite:
            # Of what is no object nothing may be asked, and `whole` is not sure to be looked at before.
            return case((self.whole, func.json_extract(self.table.c.value, f"$.{key}")), else_=None)
        return func.json_extract_path_text(self.table.c.value, key, type_=String())
