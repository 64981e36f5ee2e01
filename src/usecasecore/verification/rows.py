"""Do the aggregates' rows agree with their last entries?

How it works. The key of a row becomes text as the runtime writes it, by the column types of the application, so the rows are
read through these types, in batches, and for each batch the last entries are looked up by one query.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from types import SimpleNamespace

from sqlalchemy import Connection, func, select

from usecasecore.errors import UndeclaredState
from usecasecore.ledger import LedgerTables
from usecasecore.ledger.moves import moves
from usecasecore.runtime.plan import AggregatePlan, id_text
from usecasecore.verification.report import Finding

__all__ = ["RowCheck"]

_BATCH = 1_000


@dataclass(slots=True)
class _Last:
    """What the ledger says of an aggregate."""

    version: int
    kind: str
    start: str
    states: dict[str, str | None] = field(default_factory=dict)


class RowCheck:
    """Compares the rows of one aggregate, its subclasses included, with the ledger. Holds the keys of all rows in memory.

    Attributes:
        rows: How many rows were looked at so far.
    """

    def __init__(self, connection: Connection, tables: LedgerTables, name: str, plans: Sequence[AggregatePlan]) -> None:
        self.rows = 0
        self._connection, self._tables, self._name, self._plans = connection, tables, name, plans
        self._seen: set[str] = set()

    def findings(self) -> Iterator[Finding]:
        """Yield rows that differ from their last entry, and whatever one has and the other hasn't."""
        for plan in self._plans:
            for batch in self._batches(plan):
                last = self._last_entries([key for key, _ in batch])
                for key, row in batch:
                    yield from self._compare(plan, key, row, last.get(key))
        yield from self._without_rows()

    def _batches(self, plan: AggregatePlan) -> Iterator[list[tuple[str, SimpleNamespace]]]:
        mapper = plan.mapper
        names = dict.fromkeys([*plan.keys, plan.version, *(lifecycle.column for lifecycle in plan.lifecycles)])
        statement = select(*(getattr(mapper.class_, name).label(name) for name in names))
        if mapper.polymorphic_on is not None:
            if mapper.polymorphic_identity is None:
                return  # abstract: its rows are those of its subclasses
            statement = statement.where(mapper.polymorphic_on == mapper.polymorphic_identity)
        with self._connection.execute(statement.execution_options(yield_per=_BATCH)) as found:
            for part in found.partitions():
                rows = [SimpleNamespace(**dict(zip(names, row, strict=True))) for row in part]
                yield [(id_text([getattr(row, key) for key in plan.keys]), row) for row in rows]

    def _last_entries(self, keys: list[str]) -> dict[str, _Last]:
        audit = self._tables.audit
        dialect = self._connection.dialect.name
        move = moves(audit, dialect, audit.c.aggregate == self._name, audit.c.aggregate_id.in_(keys)).c
        order = (move.aggregate_id, move.version, move.ordinal)
        found: dict[str, _Last] = {}
        # Windows of SQL would sort the entries anew for each; here they come once, and all of them are read either way.
        for key, version, _, kind, lifecycle, state in self._connection.execute(
            select(*order, move.kind, move.lifecycle, move.to_state).order_by(*order)
        ):
            last = found.get(key)
            # What was told before the row was changed past the runtime is no longer sure; nor is it of what was deleted.
            if last is None or (kind in ("create", "baseline") and version != last.version):
                last = found[key] = _Last(version, kind, kind)
            last.version, last.kind = version, kind
            if lifecycle is not None:
                last.states[lifecycle] = state
        return found

    def _compare(self, plan: AggregatePlan, key: str, row: SimpleNamespace, last: _Last | None) -> Iterator[Finding]:
        self.rows += 1
        self._seen.add(key)
        version = getattr(row, plan.version)
        if last is None:
            yield self._finding("row_without_entries", key, version, f"there is a row of version {version}, and no entry")
            return
        if last.kind == "delete":
            yield self._finding("row_after_delete", key, last.version, f"version {last.version} deleted it, and its row is there")
            return
        if version != last.version:
            sentence = f"the row has version {version}, and the last entry {last.version}"
            yield self._finding("version_differs", key, last.version, sentence)
        for lifecycle in plan.lifecycles:
            # The entry of a creation names the main lifecycle only; at a baseline nobody knows the others.
            expected = last.states.get(lifecycle.name) or (lifecycle.initial if last.start == "create" else None)
            try:
                state = lifecycle.state_of(row)
            except UndeclaredState as error:
                yield self._finding(
                    "undeclared_state", key, last.version, f"the row's {lifecycle.column} holds no state: {error}"
                )
                continue
            if expected is not None and state != expected:
                sentence = f"the row's {lifecycle.column} is {state!r}, and the entries left {lifecycle.name} in {expected!r}"
                yield self._finding("state_differs", key, last.version, sentence)

    def _without_rows(self) -> Iterator[Finding]:
        entry = self._tables.audit.c
        last = func.row_number().over(partition_by=entry.aggregate_id, order_by=entry.version.desc()).label("place")
        ranked = select(entry.aggregate_id, entry.version, entry.kind, last).where(entry.aggregate == self._name).subquery()
        alive = select(ranked.c.aggregate_id, ranked.c.version).where(ranked.c.place == 1, ranked.c.kind != "delete")
        with self._connection.execute(alive.order_by(ranked.c.aggregate_id).execution_options(yield_per=_BATCH)) as found:
            for key, version in found:
                if key not in self._seen:
                    yield self._finding("row_missing", key, version, f"there are entries up to version {version}, and no row")

    def _finding(self, code: str, key: str, version: int, sentence: str) -> Finding:
        return Finding(code, f"{self._name} {key}: {sentence}", self._name, key, version)
