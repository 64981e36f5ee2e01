"""What a transaction did, step by step, as a text that is good to read.

Values of parameters are not part of it; a command is shown as its `repr` shows it, and changes as the audit entry has them: what is
sensitive is redacted in both.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal, TypeAlias
from uuid import UUID

from usecasecore.steps import Step

__all__ = ["Ending", "Fact", "FactKind", "Story", "StoryStep"]

FactKind: TypeAlias = Literal[
    "lock",
    "sql",
    "replay",
    "policy",
    "guard",
    "fired",
    "refused",
    "created",
    "create",
    "change",
    "delete",
    "baseline",
    "set",
    "event",
    "job",
    "unsaved",
    "undone",
]

Ending: TypeAlias = Literal["committed", "rolled back", "handed over", "not valid", "open"]

_ENDS = {
    "committed": "committed",
    "rolled back": "rolled back: nothing of it is left",
    "handed over": "left to the transaction of the caller's session",
    "not valid": "not valid: no transaction was begun",
    "open": "still running, or cut off",
}
_WIDTH = max(map(len, Step)) + 1


@dataclass(frozen=True, slots=True)
class Fact:
    """Something that happened in a step.

    Attributes:
        kind: What it is about. `create`, `change`, `delete` and `baseline` are audit entries, and `set` a changed attribute of the one
            before; `unsaved` is what was changed and had not been written yet when it was undone.
        text: One line, without parameters.
        trip: Of `sql`, which of the transaction's statements it is, counted from 1; None for everything else.
    """

    kind: FactKind
    text: str
    trip: int | None = None

    def __str__(self) -> str:
        return f"sql {self.trip}: {self.text}" if self.trip else f"{self.kind}: {self.text}"


@dataclass(frozen=True, slots=True)
class StoryStep:
    """A step of a command.

    Attributes:
        use_case: Whose; several commands may share a transaction.
        step: Which.
        facts: What happened in it, in order.
        done: Whether it succeeded: the one that did not is where the command ended.
    """

    use_case: str
    step: Step
    facts: tuple[Fact, ...] = ()
    done: bool = True


@dataclass(frozen=True, slots=True, kw_only=True)
class Story:
    """What was done in one transaction: an attempt of a command, or of several.

    Attributes:
        use_case: Name of the first command's use case.
        command: The first command, as its `repr` shows it; empty where it isn't known.
        actor: Who asked; empty likewise.
        command_id: Its execution; None where the command was not valid.
        ending: What became of the transaction.
        steps: The steps of all of its commands, in order.
        left_out: How many facts there were beyond those that are kept.
    """

    use_case: str
    command: str = ""
    actor: str = ""
    command_id: UUID | None = None
    ending: Ending = "open"
    steps: tuple[StoryStep, ...] = ()
    left_out: int = 0

    @property
    def facts(self) -> tuple[Fact, ...]:
        """Everything that happened, in order."""
        return tuple(fact for step in self.steps for fact in step.facts)

    @property
    def trips(self) -> int:
        """How many statements were sent; begin, commit and rollback are not counted."""
        return sum(fact.kind == "sql" for fact in self.facts)

    def __str__(self) -> str:
        return "\n".join(self._lines())

    def _lines(self) -> Iterator[str]:
        yield self.use_case + (f": {self.command}" if self.command else "") + (f" by {self.actor}" if self.actor else "")
        use_case = self.use_case
        for one in self.steps:
            if one.use_case != use_case:
                use_case = one.use_case
                yield f"  -- {use_case}"
            name, first = f"{one.step:<{_WIDTH}}", "" if one.done else "it ended here"
            texts = [*map(str, one.facts), *([first] if first else [])] or ["ok"]
            for text in texts:
                yield f"  {name}{text}"
                name = " " * _WIDTH
        if self.left_out:
            yield f"  and {self.left_out} more, which were not kept"
        yield f"  {_ENDS[self.ending]} ({self.trips} statement{'' if self.trips == 1 else 's'})"
