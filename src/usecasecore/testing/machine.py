"""A Hypothesis state machine made of a lifecycle: random commands, and after each of them state, audit, version and outbox agree."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import ExitStack
from functools import cache
from typing import Any

from usecasecore.application import Application
from usecasecore.context import Actor
from usecasecore.errors import InvalidCommand, Rejected
from usecasecore.lifecycle import Lifecycle
from usecasecore.messages import Command
from usecasecore.registration import Registration
from usecasecore.runtime import Runtime
from usecasecore.testing.agreement import disagreements
from usecasecore.testing.database import copied_in_memory, dialect_of, prepared_once, prepares, rolled_back, template_in_memory
from usecasecore.testing.factories import Factories, make_commands
from usecasecore.testing.scenario import TESTER, Scenario, scenario_on
from usecasecore.testing.walking import creator_of, keys_for, lifecycle_named

try:
    from hypothesis import strategies as st
    from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule
except ImportError as error:
    raise ImportError('lifecycle_machine needs Hypothesis: pip install "usecasecore[testing]"') from error

__all__ = ["lifecycle_machine"]

_Fields = Mapping[Any, "st.SearchStrategy[Mapping[str, Any]]"]


def lifecycle_machine(
    application: Application,
    lifecycle: str | type,
    *,
    commands: _Fields | None = None,
    factories: Factories | None = None,
    url: str = "sqlite://",
    actor: Actor = TESTER,
) -> type[RuleBasedStateMachine]:
    """Return a state machine that runs the lifecycle's use cases in random order; its attribute `TestCase` is what pytest collects.

    It creates aggregates, and runs each use case that loads one on any of them, in any state, now and then twice under one key. A
    refusal must leave the row as it was; after each command `disagreements` must find none. An error that is no refusal fails it.

    Args:
        application: The application.
        lifecycle: The name of the lifecycle, or the mapped class.
        commands: A command's class, or its use case's name -> a strategy of further fields, as dicts. What is left out is made by the
            factories, or made up from the types.
        factories: See `Scenario.factories`.
        url: SQLite in memory, or PostgreSQL: there each example is rolled back.
        actor: Who asks.

    Raises:
        LookupError: If there is no such lifecycle, or no use case creates its aggregate.
        ValueError: If `commands` names no use case of it, or tests can't run on the URL.
        ImportError: If Hypothesis is not installed.
    """
    bound = lifecycle_named(application, lifecycle)
    creator = creator_of(application, bound, factories or {})
    use_cases = [one for one in application.registrations if any(issubclass(bound.aggregate, cls) for cls in one.loads)]
    given = dict(commands or {})
    known = {one for registration in (creator, *use_cases) for one in (registration.command, registration.name)}
    if unknown := [key for key in given if key not in known]:
        names = ", ".join(one.name for one in (creator, *use_cases))
        raise ValueError(f"{bound.name}: {unknown[0]!r} is none of its use cases, and no command of theirs ({names})")
    dialect_of(url)

    @cache
    def database() -> Callable[[], Any]:
        prepare = prepares(application)
        if dialect_of(url) == "postgresql":
            prepared_once(url, prepare)
            return lambda: rolled_back(url)
        template = template_in_memory(prepare)
        return lambda: copied_in_memory(template)

    def strategy(registration: Registration) -> st.SearchStrategy[Mapping[str, Any]]:
        return given.get(registration.command, given.get(registration.name, st.just({})))

    class LifecycleMachine(_Machine):
        def __init__(self) -> None:
            super().__init__()
            self.lifecycle, self.creator = bound, creator
            engine = self.stack.enter_context(database()())
            self.scenario = self.stack.enter_context(
                scenario_on(Runtime(engine, application), actor=actor, factories=factories or {})
            )

        @rule(fields=strategy(creator))
        def create(self, fields: Mapping[str, Any]) -> None:
            self.make_one(fields)

    for registration in use_cases:
        setattr(LifecycleMachine, f"run_{registration.name}", _rule_for(registration, strategy(registration)))
    LifecycleMachine.__name__ = LifecycleMachine.__qualname__ = f"LifecycleMachine_{bound.name.replace('.', '_')}"
    return LifecycleMachine


def _rule_for(registration: Registration, fields: st.SearchStrategy[Mapping[str, Any]]) -> Any:
    def run(self: _Machine, place: int, fields: Mapping[str, Any], twice: bool) -> None:
        self.run_on(self.made[place % len(self.made)], registration, fields, twice=twice)

    run.__name__ = f"run_{registration.name}"
    some = rule(place=st.integers(0, 31), fields=fields, twice=st.booleans())
    return precondition(lambda self: bool(self.made))(some(run))


class _Machine(RuleBasedStateMachine):
    """What all of them do."""

    lifecycle: Lifecycle
    creator: Registration
    scenario: Scenario

    def __init__(self) -> None:
        super().__init__()
        self.stack = ExitStack()
        self.made: list[Any] = []

    def make_one(self, fields: Mapping[str, Any]) -> None:
        made = self._accepted(make_commands(self.creator, self.scenario.factories, {}, fields))
        if made is not None:
            self.made += [one for one in self.scenario.created_by(made) if isinstance(one, self.lifecycle.aggregate)]

    def run_on(self, aggregate: Any, registration: Registration, fields: Mapping[str, Any], *, twice: bool) -> None:
        before = self.scenario.reload(aggregate)
        keys = keys_for(registration, self.scenario.identity_of(aggregate), type(aggregate))
        commands = make_commands(registration, self.scenario.factories, keys, fields)
        outcome = self._accepted(commands)
        after = self.scenario.reload(aggregate)
        if outcome is None and len(commands) == 1 and before is not None:
            assert after is not None, f"{registration.name} was refused, and the aggregate is gone"
            told = f"{registration.name} was refused, and the row has changed"
            assert _values(before) == _values(after), told
        if outcome is not None and twice:
            said = {"reason": "a test"} if registration.use_case.reason_required else {}
            self.scenario.assert_replayed(commands[-1], outcome, **said)

    def _accepted(self, commands: tuple[Command[Any], ...]) -> Any:
        outcome = None
        for command in commands:
            registration = self.scenario.application.for_command(type(command))
            assert registration is not None
            said = {"reason": "a test"} if registration.use_case.reason_required else {}
            try:
                outcome = self.scenario.run(command, **said)
            except InvalidCommand:
                raise
            except Rejected:
                return None
        return outcome

    @invariant()
    def everything_agrees(self) -> None:
        """See `disagreements`."""
        if not hasattr(self, "scenario"):
            return
        runtime = self.scenario.runtime
        for one in self.made:
            found = disagreements(runtime.engine, self.lifecycle, one, runtime.ledger_schema)
            assert not found, "\n".join(found)

    def teardown(self) -> None:
        """Leave the database as it was."""
        self.stack.close()


def _values(aggregate: Any) -> dict[str, Any]:
    return {name: value for name, value in vars(aggregate).items() if not name.startswith("_")}
