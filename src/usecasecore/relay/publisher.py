"""Publisher: the port to whatever takes the events, and the simplest two that do."""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import Protocol, runtime_checkable

from usecasecore.errors import DefinitionError, UseCaseError
from usecasecore.relay.message import OutgoingMessage

__all__ = ["LogPublisher", "NotPublished", "Publisher", "ReceiverUnavailable", "publisher_of"]


class NotPublished(UseCaseError):
    """The receiver did not take the message. It is tried again later."""

    code = "not_published"


class ReceiverUnavailable(NotPublished):
    """Nobody is there to take any message: the relay stops for now, and no message is charged with a failed attempt."""

    code = "receiver_unavailable"


@runtime_checkable
class Publisher(Protocol):
    """Takes events out of the process: to a broker, a webhook, a log."""

    def publish(self, message: OutgoingMessage, /) -> None:
        """Return when the receiver has the message for good; raise when it has not, or when that isn't known.

        Called outside of any transaction, one event at a time, those of one aggregate in order. The same event may come
        again: after a crash, a lost answer or an expired lease. Don't take longer than the relay's lease.

        Raises:
            ReceiverUnavailable: If the receiver can't be reached, whatever the message.
            Exception: Whatever else was in the way; the event is tried again, with growing pauses.
        """
        ...


class LogPublisher:
    """Writes one line for each event, by default to stdout."""

    def __init__(self, write: Callable[[str], object] | None = None) -> None:
        """Take what writes a line; the line comes without its end."""
        self._write = _write_to_stdout if write is None else write

    def publish(self, message: OutgoingMessage, /) -> None:
        """Write the line.

        Raises:
            ReceiverUnavailable: If it can't be written.
        """
        about = f"  {message.aggregate} {message.aggregate_id} v{message.version}.{message.ordinal}" if message.aggregate else ""
        time = message.occurred_at.isoformat(timespec="milliseconds").replace("+00:00", "Z")
        try:
            self._write(f"{time}  {message.type}{about}  {message.payload_text}")
        except OSError as error:
            raise ReceiverUnavailable(f"the log can't be written: {type(error).__name__}") from error


def publisher_of(given: Publisher | Callable[[OutgoingMessage], object]) -> Publisher:
    """Return a publisher as it is, and one made of a function.

    Raises:
        DefinitionError: If it is neither.
    """
    if isinstance(given, Publisher) and not _is_class(given):
        return given
    if callable(given) and not _is_class(given):
        return _FunctionPublisher(given)
    raise DefinitionError(f"a publisher has a method `publish`, or is a function of one message; {given!r} is neither")


def _is_class(given: object) -> bool:
    return isinstance(given, type)


class _FunctionPublisher:
    def __init__(self, function: Callable[[OutgoingMessage], object]) -> None:
        self._function = function

    def publish(self, message: OutgoingMessage, /) -> None:
        self._function(message)


def _write_to_stdout(line: str) -> None:
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()
