"""Statements that are text for the driver, made once and sent past SQLAlchemy's compiler and its result objects.

How it works. `Connection.exec_driver_sql` costs more than the driver's own part of it: an execution context, a result, the
description of each column. A text that is known and values that are the driver's already need none of that, so the cursor is
asked directly while nobody watches it. Where the engine has listeners for its cursors, or logs, where a savepoint is or was open,
or SQLAlchemy's inner parts are not as they are known, the text goes the public way.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeVar

from sqlalchemy import Connection, Dialect, Select
from sqlalchemy.engine.interfaces import BindTyping
from sqlalchemy.exc import StatementError

from usecasecore import unofficial
from usecasecore.pipeline import Pipeline, pipeline_of

__all__ = [
    "CompiledSelect",
    "CompiledSql",
    "DriverSql",
    "InTurn",
    "all_rows",
    "commit_along",
    "commit_with",
    "first_row",
    "is_unheard",
    "is_unwatched",
    "roll_back",
    "row_count",
    "row_count_of_many",
    "sole_row",
    "typed_in_text",
]

T = TypeVar("T")


class DriverSql:
    """A statement as the driver takes it.

    Attributes:
        text: With the driver's own placeholders.
    """

    __slots__ = ("_order", "text")

    def __init__(self, text: str, order: tuple[str, ...] | None) -> None:
        self.text = text
        self._order = order

    def parameters(self, values: Mapping[str, Any]) -> Any:
        """Return the values, which are the driver's, as it takes them: by name, or in its order."""
        return dict(values) if self._order is None else tuple([values[name] for name in self._order])


class CompiledSql(DriverSql):
    """A statement of SQLAlchemy's, compiled once; its values are turned into the driver's by the types of its parameters."""

    __slots__ = ("_fixed", "_processors")

    def __init__(self, statement: Any, dialect: Dialect) -> None:
        compiled: Any = statement.compile(dialect=dialect)
        super().__init__(compiled.string, None if compiled.positiontup is None else tuple(compiled.positiontup))
        processors = {name: one.type.dialect_impl(dialect).bind_processor(dialect) for name, one in compiled.binds.items()}
        self._processors = {name: processor for name, processor in processors.items() if processor is not None}
        self._fixed = {name: self._sent(name, one.value) for name, one in compiled.binds.items() if not one.required}

    def parameters(self, values: Mapping[str, Any]) -> Any:
        """Return the values as the driver takes them.

        Raises:
            StatementError: For a value that its type can't hold.
        """
        sent = {**self._fixed, **values}
        try:
            for name, processor in self._processors.items():
                if name in values:
                    sent[name] = processor(values[name])
        except Exception as error:
            raise StatementError(f"({type(error).__name__}) {error}", self.text, None, error) from error
        return super().parameters(sent)

    def _sent(self, name: str, value: Any) -> Any:
        processor = self._processors.get(name)
        return value if processor is None else processor(value)


class CompiledSelect(CompiledSql):
    """A SELECT, whose values are turned into Python's by the types of its columns."""

    __slots__ = ("_dialect", "_received", "_types")

    def __init__(self, statement: Select[Any], dialect: Dialect) -> None:
        super().__init__(statement, dialect)
        self._dialect = dialect
        self._types = [column.type for column in statement.selected_columns]
        self._received: list[Callable[[Any], Any] | None] | None = None

    def row(
        self, connection: Connection, values: Mapping[str, Any], meanwhile: Callable[[], None] | None = None
    ) -> list[Any] | None:
        """Return the first row; None where there is none.

        Args:
            connection: In a transaction.
            values: Of the parameters.
            meanwhile: See `Pipeline.execute`; not called where the connection has no such way.

        Raises:
            DBAPIError: As SQLAlchemy raises it.
            StatementError: For a value that its type can't hold.
        """
        parameters = self.parameters(values)
        if self._received is None:
            row, codes = _executed(connection, self.text, parameters, _first_and_types, meanwhile=meanwhile)
            types = zip(self._types, codes, strict=True)
            self._received = [one.dialect_impl(self._dialect).result_processor(self._dialect, code) for one, code in types]
        else:
            row = _executed(connection, self.text, parameters, _first, meanwhile=meanwhile)
        if row is None:
            return None
        return [value if process is None else process(value) for process, value in zip(self._received, row, strict=True)]


def typed_in_text(dialect: Dialect) -> bool:
    """Say whether the text of a statement says all that the driver is told of its parameters' types."""
    return dialect.bind_typing in (BindTyping.NONE, BindTyping.RENDER_CASTS)


def first_row(connection: Connection, text: str, parameters: Any, *, unwatched: bool | None = None) -> Sequence[Any] | None:
    """Return the first row of what the statement returns, as the driver has it; None where there is none.

    Args:
        connection: In a transaction.
        text: With the driver's placeholders.
        parameters: As the driver takes them.
        unwatched: What `is_unwatched` said a moment ago, where several statements follow on each other; None to ask it.

    Raises:
        DBAPIError: As SQLAlchemy raises it.
    """
    row: Sequence[Any] | None = _executed(connection, text, parameters, _first, unwatched)
    return row


def sole_row(connection: Connection, text: str, parameters: Any, *, unwatched: bool | None = None) -> Sequence[Any]:
    """Return the row of a statement that returns one, whatever happens; see `first_row`."""
    row = first_row(connection, text, parameters, unwatched=unwatched)
    assert row is not None
    return row


def commit_along(connection: Connection) -> Pipeline | None:
    """Return the way by which COMMIT can travel with a statement; None where there is none, or somebody is to be told before."""
    if not is_unwatched(connection) or unofficial.is_heard(connection, "commit"):
        return None
    return pipeline_of(connection)


def commit_with(
    pipeline: Pipeline,
    connection: Connection,
    text: str,
    parameters: Any,
    *,
    refused: Callable[[], None],
    meanwhile: Callable[[], None],
) -> None:
    """Execute a statement and commit, in one round trip; SQLAlchemy's transaction is still to be ended, which sends nothing then.

    Args:
        pipeline: What `commit_along` returned of the connection.
        connection: The connection.
        text: As for `first_row`.
        parameters: As for `first_row`.
        refused: See `Pipeline.execute`.
        meanwhile: Likewise.

    Raises:
        DBAPIError: As SQLAlchemy raises it.
    """
    try:
        pipeline.execute(text, parameters, commit=True, refused=refused, meanwhile=meanwhile)
    except BaseException as error:  # noqa: BLE001 - as below
        unofficial.raise_translated(connection, error, text, parameters, None)


def roll_back(connection: Connection) -> None:
    """End the transaction without a word to SQLAlchemy, whose own rollback sends nothing then; only where `Pipeline` can do it."""
    if (pipeline := pipeline_of(connection)) is not None:
        pipeline.roll_back()


def row_count(connection: Connection, text: str, parameters: Any, *, unwatched: bool | None = None) -> int:
    """Return how many rows the statement changed; see `first_row`."""
    return _executed(connection, text, parameters, _count, unwatched)


def all_rows(
    connection: Connection, text: str, parameters: Any, meanwhile: Callable[[], None] | None = None
) -> tuple[Sequence[Sequence[Any]], list[Any]]:
    """Return all rows as the driver has them, and the driver's code for the type of each column; see `first_row`, `Pipeline.execute`."""
    return _executed(connection, text, parameters, _all_and_types, meanwhile=meanwhile)


def row_count_of_many(connection: Connection, text: str, parameters: Sequence[Any]) -> int:
    """Execute the statement for each of several parameter sets; return how many rows were changed in all; see `first_row`."""
    with connection.exec_driver_sql(text, list(parameters)) as result:
        return int(result.rowcount)


def is_unwatched(connection: Connection) -> bool:
    """Say whether statements may go to the driver's cursor: see "How it works"."""
    plain = connection.in_transaction() and connection.get_nested_transaction() is None and not connection.invalidated
    return plain and is_unheard(connection)


def is_unheard(connection: Connection) -> bool:
    """Say whether nobody hears of what goes to the driver's cursor: the part of `is_unwatched` that holds before a transaction, too."""
    if not unofficial.is_known() or unofficial.is_logged(connection):
        return False
    return not unofficial.is_heard(connection, "before_cursor_execute", "after_cursor_execute")


def _executed(
    connection: Connection,
    text: str,
    parameters: Any,
    take: Callable[[Any], T],
    unwatched: bool | None = None,
    meanwhile: Callable[[], None] | None = None,
) -> T:
    if not (is_unwatched(connection) if unwatched is None else unwatched):
        with connection.exec_driver_sql(text, parameters) as result:
            return take(result)
    cursor: Any = None
    try:
        if (pipeline := pipeline_of(connection)) is not None:
            cursor = pipeline.execute(text, parameters, meanwhile=meanwhile)
        else:
            cursor = connection.connection.cursor()
            cursor.execute(text, parameters)
        taken = take(cursor)
        cursor.close()
    except BaseException as error:  # noqa: BLE001 - SQLAlchemy treats each kind in its way
        unofficial.raise_translated(connection, error, text, parameters, cursor)
    return taken


# What is taken is taken of a cursor, or of SQLAlchemy's result where the text went the public way.
def _first(source: Any) -> Any:
    return source.fetchone()


def _first_and_types(source: Any) -> tuple[Any, list[Any]]:
    codes = [column[1] for column in getattr(source, "cursor", source).description]
    return source.fetchone(), codes


def _all_and_types(source: Any) -> tuple[Any, list[Any]]:
    codes = [column[1] for column in getattr(source, "cursor", source).description]
    return source.fetchall(), codes


def _count(source: Any) -> int:
    return int(source.rowcount)


class InTurn:
    """Statements that follow on each other, on a driver that answers at once: one cursor does for all while nobody watches.

    Each takes what `first_row` takes, and raises what it raises.
    """

    __slots__ = ("_connection", "_cursor")

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._cursor: Any = connection.connection.cursor() if is_unwatched(connection) else None

    def row(self, text: str, parameters: Any) -> Sequence[Any] | None:
        """Return the first row; None where there is none."""
        if self._cursor is None:
            return first_row(self._connection, text, parameters, unwatched=False)
        row: Sequence[Any] | None = self._taken(text, parameters, _first)
        return row

    def count(self, text: str, parameters: Any) -> int:
        """Return how many rows the statement changed."""
        if self._cursor is None:
            return row_count(self._connection, text, parameters, unwatched=False)
        return self._taken(text, parameters, _count)

    def done(self) -> None:
        """Close the cursor."""
        if self._cursor is not None:
            self._cursor.close()

    def _taken(self, text: str, parameters: Any, take: Callable[[Any], T]) -> T:
        try:
            self._cursor.execute(text, parameters)
            return take(self._cursor)
        except BaseException as error:  # noqa: BLE001 - SQLAlchemy treats each kind in its way
            unofficial.raise_translated(self._connection, error, text, parameters, self._cursor)
