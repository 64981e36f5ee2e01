"""One aggregate for people who look: what can be done with it, since when it is where it is, and what was done last."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from pydantic import TypeAdapter, ValidationError
from sqlalchemy import Connection
from sqlalchemy.orm import Mapper

from usecasecore.context import ANONYMOUS, Actor
from usecasecore.ledger.reading import RecordedEntry, latest_of, state_since
from usecasecore.lifecycle import Lifecycle
from usecasecore.policy import AllowAll
from usecasecore.runtime.action_table import ActionTable
from usecasecore.runtime.explanation import Actions
from usecasecore.runtime.possible import WhatIsPossible
from usecasecore.runtime.reading import ReadingSession
from usecasecore.runtime.shell import Shell
from usecasecore.slots import mapper_of, primary_key

__all__ = ["View", "key_of_text", "view_of"]


@dataclass(frozen=True, slots=True)
class View:
    """What is known of an aggregate.

    Attributes:
        actions: What can be done with it.
        since: When it came into its state, aware, UTC; None where the ledger doesn't tell.
        entries: Its newest audit entries, the newest last.
    """

    actions: Actions
    since: datetime | None
    entries: tuple[RecordedEntry, ...]


def view_of(
    connection: Connection,
    shell: Shell,
    lifecycle: Lifecycle,
    key: Any,
    *,
    actor: Actor | None,
    entries: int,
) -> View:
    """Look at an aggregate, in the transaction that is open on the connection; it only reads from then on.

    Args:
        connection: To read on.
        shell: Whose use cases are asked about, in which ledger, and whether tenants are kept apart.
        lifecycle: The lifecycle whose state is asked for.
        key: The aggregate's key, see `Runtime.allowed`.
        actor: Who would act. None asks no policy, and guards that want to know who acts see nobody.
        entries: How many audit entries at most.

    Raises:
        AggregateNotFound: If there is none, or the actor may not know of it.
        UseCaseError: As `Runtime.allowed`.
    """
    policy = AllowAll() if actor is None else shell.application.policy
    table = ActionTable(shell.plans, policy)
    question = WhatIsPossible(shell, table, lifecycle.aggregate, [key], ANONYMOUS if actor is None else actor)
    session = ReadingSession(connection)
    try:
        found = question.ask(session)
        if not found:
            raise question.not_found()
        one = found[0]
        name = (one.aggregate, one.key)
        since = state_since(connection, shell.schema, *name, lifecycle.name, one.states[lifecycle.name])
        return View(one, since, tuple(latest_of(connection, shell.schema, *name, limit=entries)))
    finally:
        session.discard()


def key_of_text(aggregate: type, text: str) -> tuple[Any, ...]:
    """Return a key from the form in which the ledger writes it: the value, or several as `a|b`, with `|` and the backslash escaped.

    Raises:
        ValueError: If the text has another number of parts, or one that can't be read as what its column holds.
    """
    mapper: Mapper[Any] | None = mapper_of(aggregate)
    assert mapper is not None
    names = primary_key(mapper)
    parts = [text] if len(names) == 1 else list(_parts(text))
    if len(parts) != len(names):
        raise ValueError(f"it has {len(parts)} parts; the key is: {' | '.join(names)}")
    return tuple(_value(column.type, part) for column, part in zip(mapper.primary_key, parts, strict=True))


def _parts(text: str) -> Iterator[str]:
    # From one bar to the next; what a backslash stands before is itself.
    letters, part = iter(text), ""
    for letter in letters:
        if letter == "|":
            yield part
            part = ""
        else:
            part += next(letters, "") if letter == "\\" else letter
    yield part


def _value(kind: Any, text: str) -> Any:
    try:
        wanted = kind.python_type
    except NotImplementedError:
        return text
    try:
        return TypeAdapter(wanted).validate_python(text)
    except ValidationError as error:
        raise ValueError(f"{error.errors()[0]['msg'][:1].lower()}{error.errors()[0]['msg'][1:]}") from error
