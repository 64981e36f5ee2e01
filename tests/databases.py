"""Databases for tests, each as new as the template it was copied from: used again where that can be proven.

How it works. To copy a database costs a fifth of a second of work, more than most tests. So after a test its database is emptied:
what the test made is dropped, the tables of the template are truncated. Then everything that a catalogue knows about it is
compared with what it knew of the first copy. Only a database without a difference is handed out again.
"""

from __future__ import annotations

from uuid import uuid4

import psycopg
from sqlalchemy.engine import make_url

from tests.postgres import create_database, drop_database

__all__ = ["DatabasePool"]

_EMPTY = """
do $$
declare one record;
begin
  perform pg_terminate_backend(pid) from pg_stat_activity where datname = current_database() and pid <> pg_backend_pid();
  for one in select format('drop schema %I cascade', nspname) as command from pg_namespace
      where nspname not like 'pg\\_%' and nspname not in ('public', 'information_schema') loop
    execute one.command;
  end loop;
  for one in
      select format('drop %s if exists %I cascade',
                    case relkind when 'v' then 'view' when 'm' then 'materialized view' when 'S' then 'sequence' else 'table' end,
                    relname) as command
      from pg_class where relnamespace = 'public'::regnamespace and relkind in ('r', 'p', 'v', 'm', 'S')
        and relname not like 'usecasecore\\_%' loop
    execute one.command;
  end loop;
  for one in select format('drop routine %s cascade', oid::regprocedure) as command from pg_proc
      where pronamespace = 'public'::regnamespace loop
    execute one.command;
  end loop;
  for one in select format('drop type %I cascade', typname) as command from pg_type
      where typnamespace = 'public'::regnamespace and typtype in ('e', 'd') loop
    execute one.command;
  end loop;
  for one in
      select format('truncate %s restart identity cascade', string_agg(format('%I', relname), ', ')) as command
      from pg_class where relnamespace = 'public'::regnamespace and relkind = 'r' and relname <> 'usecasecore_version'
      having count(*) > 0 loop
    execute one.command;
  end loop;
end
$$
"""

# Everything by name and definition, since object ids differ between copies.
_KNOWN = """
with mine as (select oid, relname from pg_class where relnamespace = 'public'::regnamespace)
select md5(string_agg(fact, e'\\n' order by fact)) from (
  select concat_ws(' ', 'relation', c.relname, c.relkind, c.relpersistence, c.relrowsecurity, c.reloptions::text) as fact
    from pg_class c join mine using (oid)
  union all
  select concat_ws(' ', 'column', c.relname, a.attname, a.attnum, a.attnotnull, format_type(a.atttypid, a.atttypmod),
                   pg_get_expr(d.adbin, d.adrelid))
    from pg_attribute a join mine c on c.oid = a.attrelid left join pg_attrdef d on d.adrelid = a.attrelid and d.adnum = a.attnum
    where a.attnum > 0
  union all
  select concat_ws(' ', 'constraint', conname, conrelid::regclass, convalidated, pg_get_constraintdef(c.oid))
    from pg_constraint c where connamespace = 'public'::regnamespace
  union all
  select concat_ws(' ', 'index', pg_get_indexdef(i.indexrelid), i.indisvalid) from pg_index i join mine on mine.oid = i.indrelid
  union all
  select concat_ws(' ', 'trigger', tgname, tgenabled, pg_get_triggerdef(t.oid))
    from pg_trigger t join mine on mine.oid = t.tgrelid where not tgisinternal
  union all
  select concat_ws(' ', 'routine', p.oid::regprocedure) from pg_proc p where pronamespace = 'public'::regnamespace
  union all
  select concat_ws(' ', 'type', typname, typtype) from pg_type where typnamespace = 'public'::regnamespace
  union all
  select concat_ws(' ', 'policy', polname) from pg_policy
  union all
  select concat_ws(' ', 'rule', rulename, tablename) from pg_rules where schemaname = 'public'
  union all
  select concat_ws(' ', 'schema', nspname) from pg_namespace where nspname not like 'pg\\_t%'
  union all
  select concat_ws(' ', 'extension', extname) from pg_extension
  union all
  select concat_ws(' ', 'event trigger', evtname) from pg_event_trigger
  union all
  select concat_ws(' ', 'setting', setconfig::text) from pg_db_role_setting
    where setdatabase = (select oid from pg_database where datname = current_database())
  union all
  select concat_ws(' ', 'revision', version_num) from usecasecore_version
) facts
"""


class DatabasePool:
    """Hands out databases that look like new copies of a template.

    Attributes:
        made: How many copies were made.
        used_again: How often one was handed out again.
    """

    def __init__(self, server: str, template: str) -> None:
        self._server, self._template = server, template
        self._idle: list[tuple[str, str]] = []
        self._as_new: str | None = None
        self.made = self.used_again = 0

    def take(self) -> tuple[str, str]:
        """Return the name and the URL of a database for one test."""
        if self._idle:
            self.used_again += 1
            return self._idle.pop()
        self.made += 1
        name = f"usecasecore_{uuid4().hex}"
        url = create_database(self._server, name, template=self._template)
        if self._as_new is None:
            with _connected(url) as connection:
                self._as_new = _known(connection)
        return name, url

    def give_back(self, name: str, url: str) -> None:
        """Empty the database; drop it where it isn't as new after that."""
        try:
            with _connected(url) as connection:
                connection.execute(_EMPTY.encode())
                as_new = _known(connection) == self._as_new
        except psycopg.Error:
            as_new = False
        if as_new:
            self._idle.append((name, url))
        else:
            drop_database(self._server, name)

    def close(self) -> None:
        """Drop what is idle."""
        while self._idle:
            drop_database(self._server, self._idle.pop()[0])


def _connected(url: str) -> psycopg.Connection:
    plain = make_url(url).set(drivername="postgresql").render_as_string(hide_password=False)
    return psycopg.connect(plain, autocommit=True)


def _known(connection: psycopg.Connection) -> str:
    row = connection.execute(_KNOWN.encode()).fetchone()
    assert row is not None
    return str(row[0])
