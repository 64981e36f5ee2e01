"""The steps of the shell by name, and the one place where tests and tools can look on while it runs.

How it works: the shell says which step it goes on to. While nobody watches, that costs the look at an empty tuple. A watcher is
told each step before and after, and what was decided in between; what it raises is raised there, as if the step itself had
failed. Watchers are those of the process, whatever runtime or thread runs the command: that is what a coverage of tests,
a fault to inject or a measurement wants. Nothing is recorded here.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, TypeAlias
from uuid import UUID

__all__ = ["Answer", "Firing", "Moment", "Step", "Verdict", "Watcher", "When", "tell", "watch"]


class Step(StrEnum):
    """What happens to a command, in this order.

    `begin` takes the locks of the scopes too. A replay ends after `idempotency` or `load`; a use case without a trigger has no `fire`. On PostgreSQL the key is looked up by
    the statement of `load` where a single row is locked, and `audit`, `messages` and `result` travel in one statement, the last.
    """

    VALIDATE = "validate"
    BEGIN = "begin"
    IDEMPOTENCY = "idempotency"
    LOAD = "load"
    POLICY = "policy"
    FIRE = "fire"
    APPLY = "apply"
    FLUSH = "flush"
    AUDIT = "audit"
    MESSAGES = "messages"
    RESULT = "result"
    COMMIT = "commit"
    ROLLBACK = "rollback"


class When(StrEnum):
    """Where a moment stands to its step. `during` carries a fact: what was asked, decided or fired."""

    BEFORE = "before"
    DURING = "during"
    AFTER = "after"


@dataclass(frozen=True, slots=True)
class Verdict:
    """The answer of a guard.

    Attributes:
        edge: The `lifecycle.Edge` it was asked for.
        guard: Its name.
        passed: Whether the edge may be taken as far as this guard goes: for an `unless`, whether it said no.
    """

    edge: Any
    guard: str
    passed: bool


@dataclass(frozen=True, slots=True)
class Firing:
    """A trigger that was fired on an aggregate, whatever came of it; a fact of `fire`, and of `apply` for `context.fire`.

    Attributes:
        lifecycle: The `Lifecycle`, bound to the aggregate's class.
        trigger: The trigger.
        state: Name of the state it was fired in.
        dest: Name of the state after; None where it was refused.
        edge: The `lifecycle.Edge` that was taken; None where it was refused.
        declared: Whether the trigger is declared for that state.
        verdicts: Each guard that was asked, in order.
    """

    lifecycle: Any
    trigger: str
    state: str
    dest: str | None
    edge: Any
    declared: bool
    verdicts: tuple[Verdict, ...]


@dataclass(frozen=True, slots=True)
class Answer:
    """What the policy said; a fact of `policy`.

    Attributes:
        question: `readable` or `permitted`.
        yes: The answer.
        reason: Its reason; may be empty.
    """

    question: str
    yes: bool
    reason: str


@dataclass(frozen=True, slots=True)
class Moment:
    """A point in the run of a command.

    Attributes:
        step: The step.
        when: Before it, after it (it succeeded), or during it.
        use_case: Name of the use case; of several commands in one transaction, the one that runs or ran last.
        command_id: Its execution; None while there is none.
        session: The session of the attempt: the same object for all moments of one transaction; None outside of one.
        fact: During a step: a `Firing` or an `Answer`.
    """

    step: Step
    when: When
    use_case: str
    command_id: UUID | None = None
    session: Any = None
    fact: Firing | Answer | None = None


Watcher: TypeAlias = Callable[[Moment], None]

watchers: tuple[Watcher, ...] = ()
"""Who watches; look at it before a moment is made, so that nobody pays for what nobody sees."""

_changing = threading.Lock()


@contextmanager
def watch(watcher: Watcher) -> Iterator[None]:
    """Have a function told each moment of each command in this process, while the block runs.

    It is called in the thread, and for an `AsyncRuntime` in the greenlet, that runs the command, and must be safe for several.
    """
    global watchers  # noqa: PLW0603 - see "How it works": it is the process that is watched
    with _changing:
        watchers = (*watchers, watcher)
    try:
        yield
    finally:
        with _changing:
            watchers = tuple(one for one in watchers if one is not watcher)


def tell(moment: Moment) -> None:
    """Tell everybody who watches."""
    for watcher in watchers:
        watcher(moment)
