"""What a dry run asks of a runtime about commands, and how the answers are shown: counted, and the first ones with their stories."""

from __future__ import annotations

import asyncio
import inspect
import traceback
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from usecasecore.cli.failure import Failure
from usecasecore.cli.output import clean, heading, place

if TYPE_CHECKING:
    from usecasecore.messages import Command
    from usecasecore.runtime.explanation import Explanation
    from usecasecore.runtime.story import Story

__all__ = ["Broken", "Rehearsed", "asked", "rehearsed_data", "rehearsed_text"]


@dataclass(frozen=True, slots=True)
class Broken:
    """What a rehearsal ended with that is no refusal: a defect in the use case, or a row that somebody else has locked.

    Attributes:
        error: What was raised.
        story: What was done before.
    """

    error: Exception
    story: str


@dataclass(frozen=True, slots=True)
class Rehearsed:
    """What the runtime said.

    Attributes:
        refused: Code of the refusal -> how many commands it would meet.
        failed: Type or code of another error -> how many of those that were run ended with it.
        stories: Of each command that was run and rolled back, what came of it.
    """

    refused: dict[str, int]
    failed: dict[str, int]
    stories: tuple[Explanation | Broken, ...]


def asked(runtime: Any, commands: Sequence[Command[Any]], *, rehearse: int, **said: Any) -> Rehearsed:
    """Ask whether commands would run; run the first ones and roll them back.

    Args:
        runtime: A `Runtime` or an `AsyncRuntime`.
        commands: What to ask about.
        rehearse: How many of them to run.
        said: What `explain` takes.

    Raises:
        Failure: If the question can't be asked.
    """
    from usecasecore.errors import UseCaseError

    refused: Counter[str] = Counter()
    failed: Counter[str] = Counter()
    stories: list[Explanation | Broken] = []
    try:
        with _explaining(runtime) as explain:
            for number, command in enumerate(commands):
                if number < rehearse:
                    stories.append(answer := _rehearsed(explain, command, said))
                else:
                    answer = explain(command, **said)
                if isinstance(answer, Broken):
                    failed[str(getattr(answer.error, "code", type(answer.error).__name__))] += 1
                elif answer.refusals:
                    refused[answer.refusals[0].code] += 1
    except UseCaseError as error:
        raise Failure(str(error)) from error
    return Rehearsed(dict(refused), dict(failed), tuple(stories))


@contextmanager
def _explaining(runtime: Any) -> Iterator[Callable[..., Explanation]]:
    if not inspect.iscoroutinefunction(runtime.explain):
        yield runtime.explain
        return
    with asyncio.Runner() as runner:  # one loop for all: connections of a pool belong to theirs
        yield lambda *given, **said: runner.run(runtime.explain(*given, **said))


def _rehearsed(explain: Callable[..., Explanation], command: Command[Any], said: dict[str, Any]) -> Explanation | Broken:
    from usecasecore.errors import StoreError

    try:
        return explain(command, **said, rehearse=True)
    except StoreError:
        raise
    except Exception as error:
        notes = getattr(error, "__notes__", None)
        if not notes:  # it was not run: something is wrong with the question
            raise
        return Broken(error, notes[-1])


def rehearsed_text(one: Explanation | Broken, name: str) -> Iterator[str]:
    """Yield what came of one command, and its story, step by step."""
    if isinstance(one, Broken):
        first, *others = f"{name} would fail: {_told(one.error)}", *one.story.splitlines()
        others += [f"  raised at {where}"] if (where := _raised_at(one.error)) else []
    else:
        first, *others = str(one).splitlines()
    yield heading(clean(first))
    yield from map(clean, others)


def rehearsed_data(one: Explanation | Broken) -> dict[str, Any]:
    """Return the same as JSON values."""
    if isinstance(one, Broken):
        return {
            "would_run": False,
            "error": {"type": type(one.error).__name__, "message": str(one.error), "raised_at": _raised_at(one.error)},
            "text": one.story,
        }
    return {
        "would_run": one.would_run,
        "replays": one.replays,
        "refusals": [
            {"code": each.code, "message": each.message, "params": dict(each.params), "version": each.version}
            for each in one.refusals
        ],
        "state": one.state,
        "version": one.version,
        "trigger": one.trigger,
        "destination": one.destination,
        "guards": [{"guard": each.guard, "reason": each.reason, "passed": each.passed} for each in one.guards],
        "story": None if one.story is None else _story_data(one.story),
        "text": str(one),
    }


def _story_data(story: Story) -> dict[str, Any]:
    return {
        "command": story.command,
        "actor": story.actor,
        "ending": story.ending,
        "statements": story.trips,
        "steps": [
            {
                "use_case": step.use_case,
                "step": str(step.step),
                "done": step.done,
                "facts": [{"kind": fact.kind, "text": fact.text, "trip": fact.trip} for fact in step.facts],
            }
            for step in story.steps
        ],
        "left_out": story.left_out,
    }


def _told(error: Exception) -> str:
    return f"{type(error).__name__}: {error}" if str(error) else type(error).__name__


def _raised_at(error: Exception) -> str | None:
    """Return the line of the user's that raised it; None for an error of the library's own, which says what is to be said."""
    from usecasecore.errors import UseCaseError

    frames = [] if isinstance(error, UseCaseError) else list(traceback.walk_tb(error.__traceback__))
    for frame, line in reversed(frames):
        if frame.f_globals.get("__name__", "").partition(".")[0] not in ("usecasecore", "sqlalchemy"):
            return place(frame.f_code.co_filename, line)
    return None
