"""A ledger that has been written for long: millions of plausible rows, made by the server itself."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

from sqlalchemy import Connection, Engine

__all__ = ["write"]

VERSIONS = 10
"""How often each aggregate was changed."""

# Ids as the library makes them, in the order of time, and keys as clients do: by lot. Each command was long ago, and delivered.
_COMMANDS = """
create unlogged table history as
select n, uuidv7() as command_id, md5(mod(n, {aggregates})::text)::uuid::text as aggregate_id, n / {aggregates} + 1 as version,
  now() - interval '1 day' + n * interval '1 microsecond' as at
from generate_series(0, {rows} - 1) as n"""

_KEYS = """
insert into usecasecore_idempotency
  (tenant, actor, use_case, key, fingerprint, command_id, version, result_type, result, created_at, expires_at)
select '', 'user:ada', 'AnswerTicket', gen_random_uuid()::text, sha256(aggregate_id::bytea), command_id, version, 'Answered',
  '{"ticket_id": "' || aggregate_id || '", "state": "waiting", "answers": ' || version || ', "minutes": 3}',
  at, at + interval '72 hours'
from history"""

_AUDIT = """
insert into usecasecore_audit
  (id, command_id, use_case, actor, kind, aggregate, aggregate_id, version, lifecycle, trigger, from_state, to_state, command,
   changes, detail, correlation_id, occurred_at, recorded_at, key, messages, hash_version, prev_hash, hash)
select uuidv7(), command_id, 'AnswerTicket', 'user:ada', 'change', 'ticket', aggregate_id, version, 'ticket', 'answer', 'open',
  'waiting', ('{"ticket_id": "' || aggregate_id || '", "minutes": 3}')::json,
  ('{"minutes": [0, 3], "answers": [' || version - 1 || ', ' || version || '], "answered_at": [null, "' || at || '"]}')::json,
  '{}', command_id::text, at, at, gen_random_uuid()::text, 2, 1, sha256((version - 1)::text::bytea), sha256(version::text::bytea)
from history"""

_HEADS = """
insert into usecasecore_head (aggregate, aggregate_id, version, hash)
select 'ticket', aggregate_id, max(version), sha256(max(version)::text::bytea) from history group by aggregate_id"""

_OUTBOX = """
insert into usecasecore_outbox
  (id, command_id, kind, type, type_version, aggregate, aggregate_id, version, ordinal, payload, headers, occurred_at,
   available_at, delivered_at)
select uuidv7(), command_id, 'event', 'ticket.answered', 1, 'ticket', aggregate_id, version, 0,
  ('{"ticket_id": "' || aggregate_id || '", "minutes": 3, "by": "user:ada"}')::json,
  ('{"use_case": "AnswerTicket", "actor": "user:ada", "correlation_id": "' || command_id || '"}')::json, at, at, at
from history"""

_STATEMENTS = {"audit": _AUDIT, "outbox": _OUTBOX, "idempotency": _KEYS, "head": _HEADS}


def write(engine: Engine, rows: int) -> None:
    """Write so many rows into each table of the ledger, and a head for every ten."""
    quick = engine.execution_options(isolation_level="AUTOCOMMIT")
    with quick.connect() as connection:
        connection.exec_driver_sql("alter system set max_wal_size = '16GB'")  # or it would do nothing but checkpoints
        connection.exec_driver_sql("select pg_reload_conf()")
        connection.exec_driver_sql(_COMMANDS.format(rows=rows, aggregates=max(rows // VERSIONS, 1)))
        with ThreadPoolExecutor(len(_STATEMENTS)) as pool:
            list(pool.map(lambda table: _filled(quick, table), _STATEMENTS))
        connection.exec_driver_sql("drop table history")
        connection.exec_driver_sql("alter system reset max_wal_size")
        connection.exec_driver_sql("select pg_reload_conf()")


def _filled(engine: Engine, table: str) -> None:
    with engine.connect() as connection:
        for setting in ("synchronous_commit = off", "maintenance_work_mem = '512MB'", "jit = off"):
            connection.exec_driver_sql(f"set {setting}")
        _without_indexes(connection, f"usecasecore_{table}", _STATEMENTS[table])


def _without_indexes(connection: Connection, table: str, statement: str) -> None:
    """Fill a table and only then index it, as before, which takes a third of the time."""
    constraints = connection.exec_driver_sql(
        "select conname, pg_get_constraintdef(oid) from pg_constraint where conrelid = %s::regclass and contype in ('p', 'u')",
        (table,),
    ).all()
    indexes = connection.exec_driver_sql(
        "select indexrelid::regclass::text, pg_get_indexdef(indexrelid) from pg_index "
        "where indrelid = %s::regclass and not exists (select from pg_constraint where conindid = indexrelid)",
        (table,),
    ).all()
    for name, _ in constraints:
        connection.exec_driver_sql(f'alter table {table} drop constraint "{name}"')
    for name, _ in indexes:
        connection.exec_driver_sql(f"drop index {name}")
    connection.exec_driver_sql(statement)
    for name, definition in constraints:
        connection.exec_driver_sql(f'alter table {table} add constraint "{name}" {definition}')
    for _, definition in indexes:
        connection.exec_driver_sql(definition)
