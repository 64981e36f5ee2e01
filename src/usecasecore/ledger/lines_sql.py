"""The one statement that writes the lines of a batch on PostgreSQL, as text for the driver; see `write_lines` for how it works."""

from __future__ import annotations

from sqlalchemy import Dialect, Table

from usecasecore.driver import DriverSql
from usecasecore.ledger.chain import GENESIS, HASH_VERSION, hash_sql, part_sql
from usecasecore.ledger.tables import LedgerTables
from usecasecore.ledger.write_sql import Places

__all__ = ["AUDIT", "KEY", "OUTBOX", "LinesStatement"]

KEY = {
    "tenant": "coalesce(shared.tenant, '')",
    "actor": "shared.actor",
    "use_case": "shared.use_case",
    "key": "k",
    "fingerprint": "sha256(shared.fingerprinted || convert_to(m, 'UTF8'))",
    "command_id": "c",
    "version": "v",
    "result_type": "shared.result_type",
    "result_version": "shared.result_version",
    "result": "r",
    "created_at": "o",
    "expires_at": "o + shared.keep",
}
AUDIT = {
    "id": "i",
    "command_id": "c",
    "use_case": "shared.use_case",
    "tenant": "shared.tenant",
    "actor": "shared.actor",
    "on_behalf_of": "shared.on_behalf_of",
    "reason": "shared.reason",
    "kind": "'change'",
    "aggregate": "shared.aggregate",
    "aggregate_id": "a",
    "version": "v",
    "lifecycle": "shared.h[w]",
    "trigger": "shared.t[w]",
    "from_state": "shared.f[w]",
    "to_state": "shared.d[w]",
    "command": "m::json",
    "changes": "x::json",
    "detail": "z::json",
    "request_id": "shared.request_id",
    "correlation_id": "replace(shared.correlation_id, shared.mark, c::text)",
    "causation_id": "shared.causation_id",
    "occurred_at": "o",
    "key": "k",
    "messages": "n",
    "recorded_at": "recorded_at",
    "hash_version": str(HASH_VERSION),
    "prev_hash": "prev_hash",
    "hash": "hash",
}
OUTBOX = {
    "id": "one.i",
    "command_id": "lines.c",
    "kind": "one.k",
    "type": "one.t",
    "type_version": "one.s",
    "tenant": "shared.tenant",
    "aggregate": "shared.aggregate",
    "aggregate_id": "lines.a",
    "version": "lines.v",
    "ordinal": "one.n",
    "payload": "one.y::json",
    "headers": "replace(shared.headers, shared.mark, lines.c::text)::json",
    "occurred_at": "lines.o",
    "available_at": "coalesce(one.w, lines.o)",
}
"""Column -> what is written there: a field of the line, of the message, or of what is shared."""
_EVENT = {
    **OUTBOX,
    "id": "j",
    "kind": "'event'",
    "type": "shared.y[w]",
    "type_version": "1",
    "ordinal": "0",
    "payload": "(shared.u[w] || a || shared.q[w] || v || '}')::json",
    "available_at": "o",
}
"""Likewise for the event about a line's transition."""

_SHARED = (
    "tenant text, actor text, on_behalf_of text, use_case text, reason text, request_id text, correlation_id text, "
    "causation_id text, aggregate text, headers text, result_type text, result_version int, mark text, "
    "body_use_case text, body_owners text, body_said text, h text[], t text[], f text[], d text[], b text[], "
    "y text[], u text[], q text[], fingerprinted bytea, keep interval"
)
_LINE = "p int, i uuid, c uuid, k text, a text, v bigint, w int, m text, x text, z text, r text, o timestamptz, n int, j uuid"
_MESSAGE = "p int, i uuid, k text, t text, s int, n int, y text, w timestamptz"


_OF_LINE = {
    "id": "i",
    "command_id": "c",
    "key": "k",
    "aggregate_id": "a",
    "version": "v",
    "command": "m",
    "changes": "x",
    "detail": "z",
    "messages": "n",
    "occurred_at": "o",
}
"""The fields of an entry's body that differ from line to line: where each is."""


class LinesStatement:
    """The statement; its one row: how many keys were free, and whether the transaction is the same."""

    def __init__(self, tables: LedgerTables, dialect: Dialect) -> None:
        self._tables, self._preparer = tables, dialect.identifier_preparer
        self._places = Places(dialect.paramstyle)

    def sql(self) -> DriverSql:
        """Return it. Its parameters: `began`, and as JSON texts the object `shared` and the arrays `lines` and `messages`."""
        tables, same = self._tables, f"now() = {self._places('began')}::timestamptz"
        recorded = part_sql(tables.audit, "postgresql", "recorded_at", "recorded_at")
        audit, outbox = self._inserted(tables.audit, AUDIT), self._inserted(tables.outbox, OUTBOX)
        event = self._inserted(tables.outbox, _EVENT)
        text = (
            # One clock for all lines, and its text: the rows are locked since a statement before this one.
            f"with shared as materialized (select told.*, recorded_at, {recorded} as body_recorded from "
            f"json_to_record({self._places('shared')}::text::json) as told({_SHARED}), (select clock_timestamp() as recorded_at) as clock), "
            f"lines as materialized (select * from {self._array('lines')} as lines({_LINE}) where {same}), "
            f"kept as ({self._inserted(tables.idempotency, KEY)} from lines, shared on conflict do nothing returning 1), "
            f"{self._hashed()}, audited as ({audit} from hashed, shared), {self._headed()}, "
            f"moved as ({event} from lines, shared where j is not null), "
            f"sent as ({outbox} from {self._array('messages')} as one({_MESSAGE}) join lines on lines.p = one.p, shared) "
            f"select (select count(*) from kept), {same}"
        )
        return DriverSql(text, self._places.order)

    def _hashed(self) -> str:
        head = self._quoted(self._tables.head)
        mine = "head.aggregate = shared.aggregate and head.aggregate_id = lines.a"
        return (
            "stamped as materialized (select lines.*, coalesce("
            f"(select head.hash from {head} head where {mine}), decode('{GENESIS.hex()}', 'hex')) as prev_hash from lines, shared), "
            f"bodied as (select stamped.*, convert_to({self._body()}, 'UTF8') as bytes from stamped, shared), "
            f"hashed as materialized (select bodied.*, {hash_sql('prev_hash', 'bytes')} as hash from bodied)"
        )

    def _body(self) -> str:
        """Return the expression for the body of an entry; see `chain`."""
        own = {name: f"stamped.{column}" for name, column in _OF_LINE.items()}
        part = {name: part_sql(self._tables.audit, "postgresql", name, column) for name, column in own.items()}
        parts = (
            *(part["id"], part["command_id"], "shared.body_use_case", part["key"], "shared.body_owners"),
            *(part["aggregate_id"], part["version"], "shared.b[stamped.w]", part["command"], part["changes"], part["detail"]),
            *(part["messages"], "replace(shared.body_said, shared.mark, stamped.c::text)"),
            *(part["occurred_at"], "shared.body_recorded"),
        )
        return " || ".join(parts)

    def _headed(self) -> str:
        return (
            f"headed as (insert into {self._quoted(self._tables.head)} (aggregate, aggregate_id, version, hash) "
            "select shared.aggregate, a, v, hash from hashed, shared "
            "on conflict (aggregate, aggregate_id) do update set version = excluded.version, hash = excluded.hash)"
        )

    def _inserted(self, table: Table, columns: dict[str, str]) -> str:
        names = ", ".join(map(self._preparer.quote, columns))
        values = ", ".join(columns.values())
        return f"insert into {self._quoted(table)} ({names}) select {values}"

    def _array(self, name: str) -> str:
        return f"json_to_recordset({self._places(name)}::text::json)"

    def _quoted(self, table: Table) -> str:
        return self._preparer.format_table(table)
