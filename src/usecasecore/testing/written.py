"""What the commands of a test wrote: its events, jobs and audit entries, and sentences for when they are not as expected."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass, fields
from difflib import get_close_matches
from typing import Any, TypeVar
from uuid import UUID

from sqlalchemy import Connection, select

from usecasecore.ledger import ledger_tables
from usecasecore.ledger.reading import RecordedEntry, command_entries
from usecasecore.messages import DomainEvent, Job

__all__ = ["SentMessage", "check_message", "entries_of", "find_entry", "find_message", "messages_of"]

M = TypeVar("M", bound=DomainEvent | Job)

_ENTRY = tuple(one.name for one in fields(RecordedEntry))
_TELLING = ("use_case", "kind", "aggregate", "aggregate_id", "version", "trigger", "from_state", "to_state", "actor", "reason")


@dataclass(frozen=True, slots=True)
class SentMessage:
    """A message of the outbox.

    Attributes:
        kind: `event` or `job`.
        type: Its name.
        aggregate: Of what kind of aggregate; may be None.
        aggregate_id: Of which one.
        payload: Its fields, as JSON values.
    """

    kind: str
    type: str
    aggregate: str | None
    aggregate_id: str | None
    payload: Mapping[str, Any]

    def __str__(self) -> str:
        return f"{self.type} {_told(self.payload)}"


def messages_of(connection: Connection, schema: str | None, commands: Collection[UUID], kind: str) -> list[SentMessage]:
    """Return the messages that these commands put into the outbox, in the order of commands, then of aggregates and versions."""
    table = ledger_tables(schema).outbox
    sent_by = table.c.headers["causation_id"].as_string()
    columns = [table.c[one.name] for one in fields(SentMessage)]
    order = {str(one): place for place, one in enumerate(commands)}
    query = select(sent_by, *columns).where(table.c.kind == kind, sent_by.in_(order))
    found = connection.execute(query.order_by(table.c.aggregate, table.c.version, table.c.ordinal)).all()
    return [SentMessage(row[1], row[2], row[3], row[4], row[5]) for row in sorted(found, key=lambda row: order[row[0]])]


def entries_of(connection: Connection, schema: str | None, commands: Iterable[UUID]) -> list[RecordedEntry]:
    """Return the audit entries of these commands, in their order."""
    return [entry for one in commands for entry in command_entries(connection, schema, one)]


def check_message(message: str | type[M] | M, base: type[Any], names: Iterable[str]) -> None:
    """Refuse to look for what can't be there.

    Raises:
        TypeError: If it is no such message.
        ValueError: If it has no such field.
    """
    kind: Any = type(message) if isinstance(message, base) else message
    if isinstance(kind, str):
        return
    if not (isinstance(kind, type) and issubclass(kind, base)):
        raise TypeError(f"{message!r} is no {base.__name__}: one, its class, or its name is looked for")
    model: Any = kind
    known = list(model.model_fields)
    for name in names:
        if name not in known:
            raise ValueError(f"{kind.__name__} has no field {_nearest(name, known)}")


def find_message(
    verb: str, message: str | type[M] | M, wanted: Mapping[str, Any], sent: Iterable[SentMessage]
) -> list[SentMessage]:
    """Return the messages that were looked for.

    Args:
        verb: What was to happen to it: `emitted` or `enqueued`.
        message: The message, its class, or its name.
        wanted: Fields that it has, with values of Python's.
        sent: Those that are there.

    Raises:
        AssertionError: If there is none, with those that are there.
    """
    everything = list(sent)
    name = message if isinstance(message, str) else message.message_name
    if not isinstance(message, str | type):
        wanted = {**{field: getattr(message, field) for field in type(message).model_fields}, **wanted}
    of_type = [one for one in everything if one.type == name]
    values = _as_json(message, wanted)
    found = [
        one for one in of_type if all(field in one.payload and one.payload[field] == value for field, value in values.items())
    ]
    if found:
        return found
    if of_type:
        lines = [f"no {name} with {_told(values)} was {verb}; of this type there is:"]
        lines += [f"  {_told(one.payload)}{_differing(values, one.payload)}" for one in of_type]
        raise AssertionError("\n".join(lines))
    there = "\n".join(f"  {one}" for one in everything) or "  nothing"
    raise AssertionError(f"no {name} was {verb}; what was:\n{there}")


def find_entry(wanted: Mapping[str, Any], entries: Iterable[RecordedEntry]) -> RecordedEntry:
    """Return the last audit entry with these values.

    Raises:
        ValueError: If entries have no such column.
        AssertionError: If there is none, with those that are there.
    """
    for name in wanted:
        if name not in _ENTRY:
            raise ValueError(f"an audit entry has no {_nearest(name, _ENTRY)}")
    everything = list(entries)
    values = {
        name: value if value is None or name in {"version", "id", "command_id"} else _plain(value)
        for name, value in wanted.items()
    }
    found = [one for one in everything if all(getattr(one, name) == value for name, value in values.items())]
    if found:
        return found[-1]
    there = "\n".join(f"  {_entry(one)}" for one in everything) or "  nothing"
    raise AssertionError(f"no audit entry has {_told(values)}; there is:\n{there}")


def _as_json(message: Any, wanted: Mapping[str, Any]) -> dict[str, Any]:
    """Return the values as a payload has them: written by the message's own fields where its class is known."""
    if isinstance(message, str):
        return {name: _plain(value) for name, value in wanted.items()}
    kind: Any = message if isinstance(message, type) else type(message)
    written: dict[str, Any] = kind.model_construct(**wanted).model_dump(mode="json", warnings=False, exclude_unset=True)
    return written


def _plain(value: Any) -> Any:
    if isinstance(value, bool | int | float | dict | list) or value is None:
        return value
    return str(value)


def _differing(wanted: Mapping[str, Any], there: Mapping[str, Any]) -> str:
    names = [name for name, value in wanted.items() if there.get(name) != value]
    return f"   <- {', '.join(names)}"


def _entry(entry: RecordedEntry) -> str:
    return " ".join(f"{name}={getattr(entry, name)!s}" for name in _TELLING if getattr(entry, name) is not None)


def _told(values: Mapping[str, Any]) -> str:
    return ", ".join(f"{name}={value!r}" for name, value in values.items()) or "no fields"


def _nearest(name: str, known: Iterable[str]) -> str:
    names = list(known)
    near: Iterator[str] = iter(get_close_matches(name, names, 1))
    found = next(near, None)
    return f"{name!r}{f'; did you mean {found!r}?' if found else ''} (known: {', '.join(names)})"
