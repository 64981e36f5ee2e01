"""Sends statements to PostgreSQL by psycopg's wrapper of libpq: BEGIN in one round trip with the first, COMMIT with the last.

How it works. psycopg begins a transaction before its first statement, and waits for the answer; its cursors find out anew each time
how values are adapted and whether a text is prepared. `psycopg.pq` is libpq itself: here a text that never changes is prepared once
for each connection, and what belongs to one round trip is sent in libpq's pipeline mode, before anything is waited for. What psycopg
thinks of the connection stays right, because it asks libpq: its own cursors go on in the transaction, and its `commit` and
`rollback` end it, or find it ended. Values are adapted by psycopg's `Transformer`: what is registered for the connection holds here too.

In a pipeline nothing is done after a statement that failed: COMMIT is only reached where the statement before it succeeded.
"""

from __future__ import annotations

import re
from collections import OrderedDict
from collections.abc import Callable, Generator, Mapping
from functools import lru_cache, partial
from typing import Any, NamedTuple, TypeAlias, TypeVar

from sqlalchemy import Connection
from sqlalchemy.engine.default import DefaultDialect

from usecasecore import unofficial
from usecasecore.awaiting import Awaiting

__all__ = ["Answer", "Pipeline", "pipeline_of"]

T = TypeVar("T")

_DRIVERS = ("psycopg", "psycopg_async")
_STATE = "usecasecore_pipeline"
_IDLE, _READABLE = 0, 1
_PLACE = re.compile(r"%(?:%|\((\w+)\)s)")
_SETTINGS = (b"client_encoding", b"TimeZone", b"DateStyle", b"IntervalStyle")
"""What an adapter of values looks at when it is made, and not again."""
_OUTDATED = ("26000", "0A000")
"""The SQLSTATEs of a prepared statement that somebody deallocated, or whose columns are others since a table was altered."""

_Trip: TypeAlias = Generator[Any, Any, None]


def pipeline_of(connection: Connection) -> Pipeline | None:
    """Return the way to a connection's libpq; None where it has none, or where somebody's own cursors, commits or so would be passed by."""
    dialect = connection.dialect
    if dialect.driver not in _DRIVERS or not _ends_plainly(dialect):
        return None
    proxied = connection.connection
    driver: Any = proxied.driver_connection
    known: Pipeline | None = proxied.info.get(_STATE)
    if known is None or known.driver is not driver:
        if unofficial.unknown_parts_of_psycopg() or type(driver) not in unofficial.psycopg_parts().connections:
            return None
        known = proxied.info[_STATE] = Pipeline(driver, is_async=dialect.is_async)
    return known if known.is_free() else None


class Answer:
    """What a statement returned; like a cursor whose rows are all there."""

    __slots__ = ("_adapter", "_result")

    def __init__(self, result: Any, adapter: Any) -> None:
        self._result, self._adapter = result, adapter
        adapter.set_pgresult(result)

    @property
    def description(self) -> list[tuple[str, int]]:
        """Name and OID of the type of each column."""
        result = self._result
        return [(result.fname(place).decode(), result.ftype(place)) for place in range(result.nfields)]

    @property
    def rowcount(self) -> int:
        """How many rows were changed, or are here."""
        return int(self._result.command_tuples or 0)

    def fetchone(self) -> Any:
        """Return the first row; None where there is none."""
        return self._adapter.load_row(0, tuple) if self._result.ntuples else None

    def fetchall(self) -> list[Any]:
        """Return all rows."""
        rows: list[Any] = self._adapter.load_rows(0, self._result.ntuples, tuple)
        return rows

    def close(self) -> None:
        """Do nothing: the result is freed when nobody refers to it."""


class _Sent(NamedTuple):
    text: bytes
    values: Any
    types: Any
    formats: Any


class Pipeline:
    """A connection of psycopg's, reached past its cursors. As little safe for two threads as its transaction is.

    Attributes:
        driver: The connection.
    """

    def __init__(self, driver: Any, *, is_async: bool) -> None:
        self.driver = driver
        self._libpq = driver.pgconn
        self._parts = unofficial.psycopg_parts()
        self._wait = Awaiting(driver, self._parts) if is_async else driver.wait
        self._prepared: OrderedDict[tuple[bytes, Any], bytes] = OrderedDict()
        self._names = 0
        self._settings: list[Any] = []
        self._adapter: Any = None
        self._encoding = "utf-8"

    def is_free(self) -> bool:
        """Say whether statements may be sent: not past a kind of cursor or a `commit` of the user's own, nor into an open pipeline."""
        own = vars(self.driver)
        plain = self.driver.cursor_factory in self._parts.cursors and "commit" not in own and "rollback" not in own
        return plain and not self._libpq.pipeline_status

    def execute(
        self,
        text: str,
        parameters: Mapping[str, Any] | None,
        *,
        commit: bool = False,
        refused: Callable[[], None] | None = None,
        meanwhile: Callable[[], None] | None = None,
    ) -> Answer:
        """Execute a statement in one round trip, with BEGIN where no transaction is open yet.

        Args:
            text: With placeholders as psycopg takes them.
            parameters: Their values by name.
            commit: Whether COMMIT goes along.
            refused: Is called where the database refused the statement, so that COMMIT was not reached, before that is raised.
            meanwhile: Is called when all is sent, while the database works on it. It doesn't fail, wait, or use the connection.

        Raises:
            psycopg.Error: From any of it. With COMMIT along, without a call of `refused`, it may be committed all the same.
        """
        adapter = self._adapter_of_now()
        sent = _Sent(text.encode(self._encoding), None, None, None)
        if parameters is not None:
            numbered, names = _numbered(text, self._encoding)
            values = adapter.dump_sequence([parameters[name] for name in names], self._parts.auto * len(names))
            sent = _Sent(numbered, values, adapter.types, adapter.formats)
        libpq = self._libpq
        begins = libpq.transaction_status == _IDLE and not self.driver.autocommit
        results, (fresh, place) = self._trip(partial(self._queue, sent, begins=begins, commit=commit), meanwhile)
        if fresh is not None and len(results) >= place and results[place - 1].status == self._parts.done:
            self._prepared[sent.text, sent.types] = fresh
        for at, result in enumerate(results):
            if result.status == self._parts.failed:
                error: Exception = self._parts.error_from_result(result, self._encoding)
                if fresh is None and getattr(error, "sqlstate", None) in _OUTDATED:
                    error = self._parts.outdated(str(error))
                    self._prepared.clear()
                    if begins:  # nothing is lost by beginning once more
                        self.roll_back()
                        return self.execute(text, parameters, commit=commit, refused=refused)
                if refused is not None and at <= place:
                    refused()
                raise error
        return Answer(results[place], adapter)

    def roll_back(self) -> None:
        """End the transaction, where one is open. psycopg's own way to do so deallocates all that is prepared."""
        if self._libpq.transaction_status != _IDLE:
            self._trip(lambda: self._libpq.send_query_params(b"ROLLBACK", None))

    def _trip(self, queue: Callable[[], T], meanwhile: Callable[[], None] | None = None) -> tuple[list[Any], T]:
        """Return the results of what a function queues, as far as they came, and what it returned."""
        libpq = self._libpq
        results: list[Any] = []
        libpq.enter_pipeline_mode()
        try:
            queued = queue()
            libpq.pipeline_sync()
            self._wait(_answered(libpq, results, self._parts, meanwhile))
        finally:
            try:
                libpq.exit_pipeline_mode()
            except Exception:  # noqa: BLE001 - interrupted with answers on the way, or broken: nobody may use it again
                libpq.finish()
        return results, queued

    def _queue(self, sent: _Sent, *, begins: bool, commit: bool) -> tuple[bytes | None, int]:
        """Queue a statement and what goes along; return the name under which it is prepared anew, if it is, and the place of its result."""
        libpq = self._libpq
        if begins:
            libpq.send_query_params(_begin(self.driver), None)
        fresh, before = self._queue_statement(sent)
        if commit:
            libpq.send_query_params(b"COMMIT", None)
        return fresh, before + begins

    def _queue_statement(self, sent: _Sent) -> tuple[bytes | None, int]:
        """Return the name, likewise, and how many results come before the statement's."""
        libpq = self._libpq
        most = 0 if self.driver.prepare_threshold is None else self.driver.prepared_max
        if most == 0:
            libpq.send_query_params(sent.text, sent.values, sent.types, sent.formats)
            return None, 0
        key = sent.text, sent.types
        name = self._prepared.get(key)
        if name is not None:
            self._prepared.move_to_end(key)
            libpq.send_query_prepared(name, sent.values, sent.formats)
            return None, 0
        makes_room = most is not None and len(self._prepared) >= most
        if makes_room:
            libpq.send_query_params(b"DEALLOCATE " + self._prepared.popitem(last=False)[1], None)
        self._names += 1
        fresh = b"usecasecore_%d" % self._names
        libpq.send_prepare(fresh, sent.text, sent.types)
        libpq.send_query_prepared(fresh, sent.values, sent.formats)
        return fresh, 1 + makes_room

    def _adapter_of_now(self) -> Any:
        status = self._libpq.parameter_status
        settings = [status(name) for name in _SETTINGS]
        if settings != self._settings:
            self._adapter = self._parts.transformer(self.driver)
            self._settings, self._encoding = settings, self.driver.info.encoding
        return self._adapter


def _ends_plainly(dialect: Any) -> bool:
    """Say whether the dialect begins and ends transactions as SQLAlchemy does. For tests people put savepoints in the place of it."""
    return (
        getattr(dialect.do_begin, "__func__", None) is DefaultDialect.do_begin
        and getattr(dialect.do_commit, "__func__", None) is DefaultDialect.do_commit
        and getattr(dialect.do_rollback, "__func__", None) is DefaultDialect.do_rollback
    )


def _answered(libpq: Any, results: list[Any], parts: unofficial.PsycopgParts, meanwhile: Callable[[], None] | None) -> _Trip:
    """Send what is queued and collect the results, up to the end of the pipeline; psycopg waits wherever this yields."""
    while libpq.flush():
        ready = yield parts.wait_for_both
        if ready and ready & _READABLE:
            libpq.consume_input()
    if meanwhile is not None:
        meanwhile()
    while True:
        while libpq.is_busy():
            yield parts.wait_for_answer
            try:
                libpq.consume_input()
            except parts.error:
                if any(result.status == parts.failed for result in results):
                    return  # the server said why, and then hung up
                raise
            while (note := libpq.notifies()) is not None:
                if libpq.notify_handler is not None:
                    libpq.notify_handler(note)
        result = libpq.get_result()
        if result is not None:
            if result.status == parts.synced:
                return
            results.append(result)
        elif libpq.status:
            raise parts.lost("the connection is lost")


@lru_cache(maxsize=1024)
def _numbered(text: str, encoding: str) -> tuple[bytes, tuple[str, ...]]:
    """Return a text with psycopg's placeholders as PostgreSQL takes it, and the parameters' names in their order."""
    names: list[str] = []

    def number(found: re.Match[str]) -> str:
        name = found[1]
        if name is None:
            return "%"
        if name not in names:
            names.append(name)
        return f"${names.index(name) + 1}"

    return _PLACE.sub(number, text).encode(encoding), tuple(names)


def _begin(driver: Any) -> bytes:
    # What psycopg itself would say, from what it was told.
    level, read_only, deferrable = driver.isolation_level, driver.read_only, driver.deferrable
    parts = ["BEGIN"]
    if level is not None:
        parts.append(f"ISOLATION LEVEL {level.name.replace('_', ' ')}")
    if read_only is not None:
        parts.append("READ ONLY" if read_only else "READ WRITE")
    if deferrable is not None:
        parts.append("DEFERRABLE" if deferrable else "NOT DEFERRABLE")
    return " ".join(parts).encode()
