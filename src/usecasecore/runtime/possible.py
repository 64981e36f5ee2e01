"""The question what is possible: which aggregates, and on whose behalf."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from contextlib import nullcontext
from itertools import islice
from operator import attrgetter
from typing import Any

from sqlalchemy import Select, select, tuple_
from sqlalchemy.exc import StatementError
from sqlalchemy.orm import Mapper

from usecasecore.context import Actor
from usecasecore.errors import AggregateNotFound, DefinitionError, InvalidCommand
from usecasecore.runtime.action_table import ActionTable
from usecasecore.runtime.actions import Asking
from usecasecore.runtime.call import Asked, faults_of
from usecasecore.runtime.explanation import Actions
from usecasecore.runtime.load import about_the_value, of_tenant, unjoined
from usecasecore.runtime.reading import ReadingSession
from usecasecore.runtime.retry import Retry
from usecasecore.runtime.shell import Shell
from usecasecore.slots import aggregate_name, mapper_of, primary_key
from usecasecore.steps import Step

__all__ = ["WhatIsPossible"]

_VALUES_AT_ONCE = 10_000
"""How many values of keys go into one query; drivers take 32,767."""


class WhatIsPossible:
    """The question about several aggregates of a class; those that are missing, or that the actor may not know of, are left out."""

    sensitive = False

    def __init__(
        self, shell: Shell, table: ActionTable, aggregate: type[Any], wanted: Iterable[Any] | Select[Any], actor: Actor
    ) -> None:
        """Check what is asked.

        Raises:
            DefinitionError: If the class is not mapped, or no use case loads it.
            InvalidCommand: If the actor can't be anybody.
            ValueError: If a key has another number of columns.
        """
        mapper = _mapper(aggregate)
        table.require(aggregate)
        if faults := faults_of(Asked(actor=actor), False, tenants=shell.tenancy is not None):
            raise InvalidCommand(command=aggregate.__name__, errors=faults)
        self.retry = Retry(aggregate.__name__, "", shell.limits)
        self._shell, self._table, self._actor = shell, table, actor
        self._aggregate = aggregate
        tenancy, self._whose = shell.tenancy, {}
        if tenancy is not None and tenancy.scopes(aggregate):
            self._whose = {"uc_row_tenant": tenancy.value(aggregate, actor)}
        self._columns = columns = primary_key(mapper)
        self._query = wanted if isinstance(wanted, Select) else None
        self._key_of = attrgetter(*columns)
        self._keys = [] if isinstance(wanted, Select) else list(_keys(mapper, columns, wanted))

    def ask(self, session: ReadingSession) -> tuple[Actions, ...]:
        """Return the answers, in the order of the keys or of the query."""
        session.begin_reading()
        session.enter(Step.LOAD)
        asking = Asking(self._table, self._actor, self._shell.clock(), session)
        with session.about(self._aggregate.__name__):
            found = self._queried(session) if self._query is not None else self._by_key(session)
            answers = map(asking.actions, found)
            return tuple(answer for answer in answers if answer is not None)

    def not_found(self) -> AggregateNotFound:
        """Return the refusal for the one key that was asked about; the same for one that is missing and one that is not shown."""
        return AggregateNotFound(aggregate=aggregate_name(self._aggregate), key=", ".join(map(str, self._parts(self._keys[0]))))

    def _queried(self, session: ReadingSession) -> list[Any]:
        assert self._query is not None
        found = session.scalars(self._own(self._query), self._whose).unique().all()
        for one in found:
            if not isinstance(one, self._aggregate):
                name = self._aggregate.__name__
                raise TypeError(
                    f"the query returns a {type(one).__name__}; `select({name})`, with whatever conditions, is wanted"
                )
        return list(found)

    def _by_key(self, session: ReadingSession) -> list[Any]:
        keys, rows, key_of = iter(dict.fromkeys(self._keys)), {}, self._key_of
        size = _VALUES_AT_ONCE // len(self._columns)
        while batch := list(islice(keys, size)):
            rows.update({key_of(one): one for one in self._batch(session, batch)})
        return [rows[key] for key in self._keys if key in rows]

    def _parts(self, key: Any) -> tuple[Any, ...]:
        return (key,) if len(self._columns) == 1 else key

    def _batch(self, session: ReadingSession, keys: list[Any]) -> Iterable[Any]:
        # On PostgreSQL a failed statement ends the transaction, or what goes back to a savepoint.
        savepoint = len(self._keys) > 1 and session.connection().dialect.name == "postgresql"
        try:
            with session.begin_nested() if savepoint else nullcontext():
                return session.scalars(self._statement(keys), self._whose).unique().all()
        except (StatementError, OverflowError) as error:
            if not about_the_value(error):
                raise
        # No row has a key that its column can't hold; the others may.
        return [] if len(keys) == 1 else [one for key in keys for one in self._batch(session, [key])]

    def _statement(self, keys: list[Any]) -> Select[Any]:
        columns = [getattr(self._aggregate, name) for name in self._columns]
        condition = columns[0].in_(keys) if len(columns) == 1 else tuple_(*columns).in_(keys)
        return self._own(select(self._aggregate).where(condition))

    def _own(self, statement: Select[Any]) -> Select[Any]:
        return unjoined(of_tenant(statement, self._aggregate, self._shell.tenancy), self._aggregate)


def _mapper(aggregate: Any) -> Mapper[Any]:
    mapper = mapper_of(aggregate)
    if mapper is None:
        raise DefinitionError(f"{getattr(aggregate, '__name__', repr(aggregate))} is not a mapped class")
    return mapper


def _keys(mapper: Mapper[Any], columns: tuple[str, ...], wanted: Iterable[Any]) -> Iterator[Any]:
    """Yield each key as it is told apart: the value of the one column, or the values of several."""
    for key in wanted:
        if isinstance(key, Mapping):
            values = tuple(key[name] for name in columns if name in key) if len(key) == len(columns) else ()
        elif isinstance(key, tuple):
            values = tuple(key)
        else:
            values = (key,)
        if len(values) != len(columns):
            raise ValueError(f"{key!r} is no key of {mapper.class_.__name__}; its columns are: {', '.join(columns)}")
        yield values[0] if len(values) == 1 else values
