"""JobQueue: the port to whatever runs the jobs, and JobHandlers, which runs them in this process."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any, Protocol, TypeAlias, TypeVar

from usecasecore.errors import DefinitionError
from usecasecore.messages import Job
from usecasecore.relay.message import OutgoingMessage

__all__ = ["JobHandlers", "JobQueue"]

J = TypeVar("J", bound=Job)
Handler: TypeAlias = Callable[[J], object] | Callable[[J, OutgoingMessage], object]


class JobQueue(Protocol):
    """Takes jobs over from the outbox: to run them, or to put them where workers do."""

    @property
    def types(self) -> frozenset[str] | None:
        """Names of the job types that it takes; None for all. The others stay in the outbox, untouched."""
        ...

    def enqueue(self, message: OutgoingMessage, /) -> None:
        """Return when the job is taken over for good; raise when it isn't, or when that isn't known.

        Called outside of any transaction, one job at a time, in no promised order. The same job may come again: use
        `message.id` as the queue's key for duplicates.

        Raises:
            ReceiverUnavailable: If the queue can't be reached, whatever the job.
            Exception: Whatever else was in the way; the job is tried again, with growing pauses.
        """
        ...


class JobHandlers:
    """Runs each job by the function that is registered for its type, in the relay's own thread.

    Jobs of other types are left alone: another process may have a handler for them.
    """

    def __init__(self) -> None:
        self._handlers: dict[str, tuple[type[Job], Callable[..., object], bool]] = {}

    @property
    def types(self) -> frozenset[str]:
        """Names of the job types that have a handler."""
        return frozenset(self._handlers)

    def register(self, job: type[J], handler: Handler[J]) -> None:
        """Run jobs of the type by the handler.

        Args:
            job: The type, as use cases enqueue it.
            handler: Takes the job; or the job and the message, whose `id` is the same when the job comes again. It may run
                more than once for one job, so its effect must bear that.

        Raises:
            DefinitionError: If the type is no job, or has a handler already.
        """
        given: object = job
        if not (isinstance(given, type) and issubclass(given, Job) and given is not Job):
            raise DefinitionError(f"a handler is registered for a subclass of Job; {given!r} is none")
        if job.message_name in self._handlers:
            raise DefinitionError(f"the job {job.message_name!r} has a handler already")
        self._handlers[job.message_name] = (job, handler, _takes_message(handler))

    def enqueue(self, message: OutgoingMessage, /) -> None:
        """Run the job now.

        Raises:
            DefinitionError: If nothing is registered for its type.
            Exception: Whatever the handler raises.
        """
        if message.type not in self._handlers:
            raise DefinitionError(f"no handler is registered for the job {message.type!r}")
        kind, handler, takes_message = self._handlers[message.type]
        job = kind.model_validate_json(message.payload_text)
        handler(job, message) if takes_message else handler(job)


def _takes_message(handler: Callable[..., Any]) -> bool:
    try:
        parameters = inspect.signature(handler).parameters.values()
    except ValueError:
        return False  # a builtin that doesn't say
    places = [
        one for one in parameters if one.kind in (one.POSITIONAL_ONLY, one.POSITIONAL_OR_KEYWORD) and one.default is one.empty
    ]
    any_number = any(one.kind is one.VAR_POSITIONAL for one in parameters)
    if len(places) > 2 or (not places and not any_number):
        raise DefinitionError(f"a handler takes the job, or the job and the message; {handler!r} takes {len(places)} arguments")
    return len(places) == 2
