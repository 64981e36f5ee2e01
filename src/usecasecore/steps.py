"""The steps of the shell by name, and the one place where tests and tools can look on while it runs.

How it works: the shell says which step it goes on to. While nobody watches, that costs the look at an empty set. A watcher is
told each step before and after, and what was decided in between; what it raises is raised there, as if the step itself had
failed. Watchers are those of the process, whatever runtime or thread runs the command: that is what a coverage of tests,
a fault to inject or a measurement wants. Nothing is recorded here.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, NamedTuple, TypeAlias
from uuid import UUID

__all__ = [
    "Answer",
    "Creation",
    "Ended",
    "Firing",
    "Moment",
    "Record",
    "Replay",
    "Request",
    "Serialised",
    "Step",
    "Verdict",
    "Watcher",
    "When",
    "tell",
    "watch",
]


class Step(StrEnum):
    """What happens to a command, in this order.

    `begin` takes the locks of the scopes too. A replay ends after `idempotency` or `load`; a use case without a trigger has no `fire`. On PostgreSQL the key is looked up by
    the statement of `load` where a single row is locked, and `audit`, `messages` and `result` travel in one statement, the last;
    where nothing is written but the one row that was locked, what `flush` has made ready travels there too.
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


class Verdict(NamedTuple):
    """The answer of a guard.

    Attributes:
        edge: The `lifecycle.Edge` it was asked for.
        guard: Its name.
        passed: Whether the edge may be taken as far as this guard goes: for an `unless`, whether it said no.
        reason: What a refusal by it says.
    """

    edge: Any
    guard: str
    passed: bool
    reason: str = ""


class Firing(NamedTuple):
    """A trigger that was fired on an aggregate, whatever came of it; a fact of `fire`, and of `apply` for `context.fire`.

    Attributes:
        lifecycle: The `Lifecycle`, bound to the aggregate's class.
        aggregate: What it was fired on.
        trigger: The trigger.
        state: Name of the state it was fired in.
        dest: Name of the state after; None where it was refused, or where a callback raised.
        edge: The `lifecycle.Edge` that was taken; None likewise.
        declared: Whether the trigger is declared for that state.
        asked: (edge, `lifecycle.guards.Guard`, whether the edge may be taken as far as it goes) of each guard that was asked, in order;
            none where a callback raised.
    """

    lifecycle: Any
    aggregate: Any
    trigger: str
    state: str
    dest: str | None
    edge: Any
    declared: bool
    asked: Sequence[tuple[Any, Any, bool]]

    @property
    def verdicts(self) -> tuple[Verdict, ...]:
        """The answer of each guard that was asked, in order."""
        return tuple(Verdict(edge, guard.name, passed, guard.reason) for edge, guard, passed in self.asked)


@dataclass(frozen=True, slots=True)
class Creation:
    """A new aggregate in the initial state of a lifecycle, told for each one it has; a fact of `apply`, and of `load` for `Load.or_create`.

    Attributes:
        lifecycle: The `Lifecycle`, bound to the aggregate's class.
        aggregate: The new one.
    """

    lifecycle: Any
    aggregate: Any


@dataclass(frozen=True, slots=True)
class Replay:
    """The key has a stored result; a fact of the last step of a replay.

    Attributes:
        command_id: The execution that stored it: this command's own, where an earlier attempt was committed but its answer was lost.
    """

    command_id: UUID


@dataclass(frozen=True, slots=True)
class Request:
    """A command as it was sent, before anything of it is checked; a fact of `validate`.

    Attributes:
        command: The command; its `repr` is redacted, its values are not.
        actor: Who asks.
    """

    command: Any
    actor: Any


@dataclass(frozen=True, slots=True)
class Record:
    """What an accepted command writes beside its aggregates; a fact of `audit`.

    Attributes:
        entries: The `ledger.entries.Entries`; audit values are redacted in them, the result and the payloads are not.
    """

    entries: Any


@dataclass(frozen=True, slots=True)
class Serialised:
    """An event, a job or the result was made JSON, by what its class declares; a fact of `audit`.

    Attributes:
        message: It.
        seconds: How long that took.
    """

    message: Any
    seconds: float


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
class Ended:
    """The transaction of an attempt has ended; a fact of `commit`, or of `rollback`.

    Attributes:
        committed: Whether it was committed. Where the answer of a COMMIT was lost, the rollback that follows doesn't say that it wasn't.
    """

    committed: bool


COMMITTED, ROLLED_BACK = Ended(True), Ended(False)


class Moment(NamedTuple):
    """A point in the run of a command.

    Attributes:
        step: The step.
        when: Before it, after it (it succeeded), or during it.
        use_case: Name of the use case; of several commands in one transaction, the one that runs or ran last.
        command_id: Its execution; None while there is none.
        session: The session of the attempt: the same object for all moments of one transaction; None outside of one.
        fact: During a step: what was asked, decided or fired.
    """

    step: Step
    when: When
    use_case: str
    command_id: UUID | None = None
    session: Any = None
    fact: Any = None


Watcher: TypeAlias = Callable[[Moment], None]

Wanted: TypeAlias = (
    Step
    | type[Firing]
    | type[Creation]
    | type[Replay]
    | type[Answer]
    | type[Request]
    | type[Record]
    | type[Serialised]
    | type[Ended]
)

_EVERYTHING: frozenset[Wanted] = frozenset({*Step, Firing, Creation, Replay, Answer, Request, Record, Serialised, Ended})

watchers: tuple[Watcher, ...] = ()
"""Who watches."""

wanted: frozenset[Wanted] = frozenset()
"""The steps of which somebody wants to know before and after, and the facts; look at it before a moment is made, so that
nobody pays for what nobody sees."""

wanted_steps: frozenset[Step] = frozenset()
"""The steps among them: while nobody asks for any, none is looked up."""

_watching: tuple[tuple[Watcher, frozenset[Wanted]], ...] = ()
_changing = threading.Lock()


@contextmanager
def watch(watcher: Watcher, only: Iterable[Wanted] | None = None) -> Iterator[None]:
    """Have a function told each moment of each command in this process, while the block runs.

    It is called in the thread, and for an `AsyncRuntime` in the greenlet, that runs the command, and must be safe for several.

    Args:
        watcher: Is told.
        only: The steps and facts that it asks for, so that the others need not be made; by default all. Where somebody else
            watches too, it may be told more.
    """
    one = watcher, _EVERYTHING if only is None else frozenset(only)
    with _changing:
        _watched_by((*_watching, one))
    try:
        yield
    finally:
        with _changing:
            _watched_by(tuple(other for other in _watching if other is not one))


def _watched_by(those: tuple[tuple[Watcher, frozenset[Wanted]], ...]) -> None:
    global _watching, watchers, wanted, wanted_steps  # noqa: PLW0603 - see "How it works": it is the process that is watched
    _watching, watchers = those, tuple(watcher for watcher, _ in those)
    wanted = frozenset().union(*(asked for _, asked in those))
    wanted_steps = frozenset(one for one in wanted if isinstance(one, Step))


def tell(moment: Moment) -> None:
    """Tell everybody who watches."""
    for watcher in watchers:
        watcher(moment)
