"""Several commands in one transaction that the runtime owns."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, TypeVar

from sqlalchemy.orm import Session

from usecasecore.context import ANONYMOUS, Actor, Outcome
from usecasecore.messages import Command, Result
from usecasecore.runtime.call import Asked, Call
from usecasecore.runtime.plan import Plan
from usecasecore.runtime.session import CommandSession, sole_command
from usecasecore.runtime.shell import Shell

__all__ = ["Transaction"]

R = TypeVar("R", bound=Result)


@dataclass(slots=True)
class Transaction:
    """What `runtime.transaction(fn)` hands to `fn`: commands run here are committed together, or none of them.

    A command that fails dooms the transaction: its error is raised again at the end, even where `fn` swallowed it.
    """

    _shell: Shell
    _session: CommandSession
    _key: str
    _fresh: bool
    _commands: int = 0
    _last: tuple[Plan, Call] | None = None

    @property
    def session(self) -> Session:
        """The session of the transaction, to read with. Commit and rollback are the runtime's."""
        return self._session

    def execute(self, command: Command[R], /, **said: Any) -> R:
        """Run a command's use case in this transaction; return its result, not committed yet.

        Args:
            command: A command of the application's.
            said: What `Runtime.execute` takes. Without a key of its own a command gets one made of the transaction's key and
                its place in it, so that a second run of the whole finds what the first one did.
        """
        return self.run(command, **said).result

    def run(
        self,
        command: Command[R],
        /,
        *,
        actor: Actor = ANONYMOUS,
        idempotency_key: str | None = None,
        expected_version: int | None = None,
        reason: str | None = None,
        request_id: str | None = None,
        correlation_id: str | None = None,
        causation_id: str | None = None,
    ) -> Outcome[R]:
        """Do what `execute` does; return the outcome."""
        self._commands += 1
        asked = Asked(
            actor=actor,
            idempotency_key=idempotency_key or f"{self._key}/{self._commands}",
            expected_version=expected_version,
            reason=reason,
            request_id=request_id,
            correlation_id=correlation_id,
            causation_id=causation_id,
        )
        plan, call = self._shell.call(command, asked)
        if idempotency_key is None:
            call = call._replace(fresh=self._fresh)
        self._last = plan, call
        try:
            with sole_command(self._session, plan.name):
                self._session.flush()  # a row is loaded as it is in the database: nothing unwritten must be lost over that
                return self._shell.run(plan, call, self._session)
        except BaseException as error:
            self._session.doom(error)
            raise

    @property
    def last(self) -> tuple[Plan, Call] | None:
        """The plan and the call of the command that was run last: where a transaction fails, the one that failed."""
        return self._last
