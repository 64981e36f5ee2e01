"""What a front door repeats until it is decided: one command, or several in one transaction."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Generic, Protocol, TypeVar

from usecasecore.context import Outcome
from usecasecore.ids import uuid7
from usecasecore.runtime.call import Call
from usecasecore.runtime.plan import Plan
from usecasecore.runtime.retry import Retry
from usecasecore.runtime.session import CommandSession
from usecasecore.runtime.shell import Shell
from usecasecore.runtime.transaction import Transaction

__all__ = ["OneCommand", "SeveralCommands", "Work"]

T = TypeVar("T")
T_co = TypeVar("T_co", covariant=True)


class Work(Protocol[T_co]):
    """Something that is run in a transaction, from the start each time.

    Attributes:
        retry: Decides what follows on a failure.
        recorded: Whether a failure is written into the attempt log.
    """

    retry: Retry
    recorded: bool

    @property
    def last(self) -> tuple[Plan, Call] | None:
        """The command that was run last: after a failure, the one that failed; None where none was yet."""
        ...

    def run(self, session: CommandSession) -> T_co:
        """Run it once, with the commit."""
        ...

    def ask_the_key(self) -> None:
        """Look the keys up from now on, those of the runtime's own included: a commit may have taken place after all."""


class OneCommand:
    """A command in a transaction of its own."""

    recorded = True

    def __init__(self, shell: Shell, plan: Plan, call: Call) -> None:
        self.retry = Retry(plan.name, call.key, shell.limits)
        self._shell, self._plan, self._call = shell, plan, call
        self._commit_timeout = shell.limits.commit_timeout.total_seconds()

    @property
    def last(self) -> tuple[Plan, Call]:
        """The command."""
        return self._plan, self._call

    def run(self, session: CommandSession) -> Outcome[Any]:
        """Run it, and commit it unless it is a replay."""
        session.ends_with_the_command(self._commit_timeout)
        outcome = self._shell.run(self._plan, self._call, session)
        if not outcome.replayed:
            session.finish(self._commit_timeout)
        return outcome

    def ask_the_key(self) -> None:
        """See `Work.ask_the_key`."""
        self._call = self._call._replace(fresh=False)


class SeveralCommands(Generic[T]):
    """What a function does with a transaction."""

    recorded = True

    def __init__(self, shell: Shell, function: Callable[[Transaction], T], key: str | None) -> None:
        self._key, self._fresh = key or str(uuid7()), key is None
        self.retry = Retry("transaction", self._key, shell.limits)
        self._shell, self._function = shell, function
        self._commit_timeout = shell.limits.commit_timeout.total_seconds()
        self._transaction: Transaction | None = None

    @property
    def last(self) -> tuple[Plan, Call] | None:
        """The command that the function ran last."""
        return None if self._transaction is None else self._transaction.last

    def run(self, session: CommandSession) -> T:
        """Call the function, and commit what it did."""
        self._transaction = Transaction(self._shell, session, self._key, self._fresh)
        with session.lent("transaction"):
            result = self._function(self._transaction)
        session.finish(self._commit_timeout)
        return result

    def ask_the_key(self) -> None:
        """See `Work.ask_the_key`."""
        self._fresh = False
