"""Scenario: what a test does with an application, and what it looks at."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any, TypeVar, overload
from uuid import UUID

from sqlalchemy.orm import Session

from usecasecore.analysis import Walk
from usecasecore.application import Application
from usecasecore.context import Actor, Outcome
from usecasecore.errors import Rejected, UseCaseError
from usecasecore.ids import uuid7
from usecasecore.ledger.reading import RecordedEntry
from usecasecore.lifecycle import Lifecycle
from usecasecore.messages import Command, DomainEvent, Job, Result
from usecasecore.registration import Registration
from usecasecore.runtime import Runtime
from usecasecore.runtime.database import shares_one_connection
from usecasecore.slots import aggregate_name, mapper_of, primary_key
from usecasecore.steps import Moment, Step, When, watch
from usecasecore.testing.factories import Factories, make_commands
from usecasecore.testing.racing import Race, meet
from usecasecore.testing.walking import creator_of, keys_for, lifecycle_named, use_case_for, way_to
from usecasecore.testing.written import check_message, entries_of, find_entry, find_message, messages_of

__all__ = ["TESTER", "Scenario", "scenario_on"]

R = TypeVar("R", bound=Result)
E = TypeVar("E", bound=DomainEvent)
J = TypeVar("J", bound=Job)

TESTER = Actor("user", "tester")
"""Who asks, where the test names nobody."""


class Scenario:
    """A runtime, and what commands did since it was made: in this process, by whatever runtime, thread or client.

    Attributes:
        runtime: Which runs the commands.
        actor: Who asks, where the test names nobody else.
        factories: How commands are made that `given` needs.
    """

    def __init__(self, runtime: Runtime, *, actor: Actor = TESTER, factories: Factories | None = None) -> None:
        """Take note of commands from now on, while it is told the moments of `steps.watch`; see `scenario_on`."""
        self.runtime, self.actor = runtime, actor
        self.factories: Factories = factories or {}
        self._commands: dict[UUID, None] = {}
        self._created: dict[UUID, list[object]] = {}

    @property
    def application(self) -> Application:
        """What the runtime runs."""
        return self.runtime.application

    def observe(self, moment: Moment) -> None:
        """Be told a moment: of which commands there are, and what they create."""
        if moment.command_id is None or moment.when is not When.AFTER:
            return
        if moment.step is Step.VALIDATE:
            self._commands[moment.command_id] = None
        elif moment.step is Step.FLUSH:
            self._created[moment.command_id] = list(moment.session)

    def execute(self, command: Command[R], /, **said: Any) -> R:
        """Run a command; return its result. What is said is what `Runtime.execute` takes; the actor is the scenario's."""
        return self.run(command, **said).result

    def run(self, command: Command[R], /, **said: Any) -> Outcome[R]:
        """Run a command; return its outcome."""
        return self.runtime.run(command, **{"actor": self.actor, **said})

    def given(self, aggregate: str | type, *, state: str | None = None, actor: Actor | None = None, **fields: Any) -> Any:
        """Return an aggregate in a state, which use cases have brought it to on the shortest way that there is.

        Where `factories` has one for (name, state), that is called with the scenario instead, and returns the aggregate.

        Args:
            aggregate: The name of a lifecycle, or a mapped class.
            state: The state; by default that of a new one.
            actor: Who asks; by default the scenario's.
            fields: Of the command that creates it.

        Returns:
            The aggregate as it is committed, detached: to look at, and for its key.

        Raises:
            LookupError: If there is no such lifecycle or state, no way there (`Unreachable`), or a command can't be made up
                (`NoFactory`).
            AssertionError: If a use case refuses on the way.
        """
        lifecycle = lifecycle_named(self.application, aggregate)
        wanted = way_to(self.application, lifecycle, state).end if state is not None else None
        own = self.factories.get((lifecycle.name, wanted)) if wanted else None
        if own is not None:
            return own(self)
        walk = way_to(self.application, lifecycle, state) if state is not None else None
        return self.walk(lifecycle, walk, actor=actor, **fields)

    def walk(self, lifecycle: Lifecycle | str | type, walk: Walk | None, *, actor: Actor | None = None, **fields: Any) -> Any:
        """Create an aggregate and take it along a walk, see `lifecycle_paths`; return it as it is committed, detached.

        Raises:
            LookupError: If there is no use case for a step, or a command can't be made up.
            AssertionError: If a use case refuses, or leads to another state than the walk.
        """
        bound = lifecycle if isinstance(lifecycle, Lifecycle) else lifecycle_named(self.application, lifecycle)
        said = {"actor": actor or self.actor}
        creator = creator_of(self.application, bound, self.factories)
        new = self._create(creator, bound, fields, said)
        identity = self.identity_of(new)
        for step in walk.steps if walk else ():
            registration = use_case_for(self.application, bound, step, self.factories)
            commands = make_commands(registration, self.factories, keys_for(registration, identity, bound.aggregate))
            self._take(commands, said, f"on the way {step}")
            there = bound.state_of(self._there(new))
            if there != step.dest:
                raise AssertionError(
                    f"{registration.name} led {bound.name} from {step.source!r} to {there!r}, not to {step.dest!r}"
                )
        return self._there(new)

    def created_by(self, outcome: Outcome[Any]) -> list[Any]:
        """Return the new aggregates that a command of this scenario has created, with the keys and versions they had then."""
        names = {cls: one.version for one in self.application.lifecycles.values() for cls in [one.aggregate]}
        return [one for one in self._created.get(outcome.command_id, ()) if getattr(one, names.get(type(one), ""), None) == 1]

    def identity_of(self, aggregate: object) -> dict[str, Any]:
        """Return the aggregate's key: attribute -> value."""
        return {name: getattr(aggregate, name) for name in _key(type(aggregate))}

    def reload(self, aggregate: object) -> Any:
        """Return the aggregate as it is committed now, detached; None if it is deleted."""
        with Session(self.runtime.engine, expire_on_commit=False) as session:
            found: Any = session.get(type(aggregate), self.identity_of(aggregate))
            if found is not None:
                session.expunge(found)
            return found

    def assert_refused(self, command: Command[Any], /, code: str | type[UseCaseError] | None = None, **said: Any) -> Rejected:
        """Run a command that must be refused, for good and with nothing written; return the refusal.

        Args:
            command: The command.
            code: The refusal's code, or its class; by default any.
            said: What `Runtime.execute` takes.

        Raises:
            AssertionError: If it is accepted, or refused otherwise.
        """
        name = type(command).__name__
        wanted = code.code if isinstance(code, type) else code
        expected = f"{name} was to be refused" + (f" with {wanted!r}" if wanted else "")
        before = set(self._commands)
        try:
            outcome = self.run(command, **said)
        except Rejected as refusal:
            if wanted not in (None, refusal.code):
                raise AssertionError(f"{expected}, and was with {refusal.code!r}: {refusal}") from refusal
            self._assert_nothing_written(name, [one for one in self._commands if one not in before])
            return refusal
        replay = ", as the replay of an earlier run under the same key" if outcome.replayed else ""
        raise AssertionError(f"{expected}, and was accepted{replay}: {outcome.result!r}")

    @overload
    def assert_emitted(self, event: type[E] | E, /, *, times: int | None = None, **fields: Any) -> E: ...
    @overload
    def assert_emitted(self, event: str, /, *, times: int | None = None, **fields: Any) -> Mapping[str, Any]: ...
    def assert_emitted(self, event: Any, /, *, times: int | None = None, **fields: Any) -> Any:
        """Make sure that a command of this test has emitted an event, committed; return it.

        Args:
            event: The event as it must be, its class, or its name: `order.transition.pay` is that of a transition.
            times: How often; by default at least once.
            fields: Fields that it has.

        Returns:
            The last one that fits; of a name its payload.

        Raises:
            AssertionError: If there is none, or not so many; it tells those that there are.
        """
        return self._assert_sent("event", "emitted", DomainEvent, event, times, fields)

    @overload
    def assert_enqueued(self, job: type[J] | J, /, *, times: int | None = None, **fields: Any) -> J: ...
    @overload
    def assert_enqueued(self, job: str, /, *, times: int | None = None, **fields: Any) -> Mapping[str, Any]: ...
    def assert_enqueued(self, job: Any, /, *, times: int | None = None, **fields: Any) -> Any:
        """Make sure that a command of this test has enqueued a job, committed; return it. See `assert_emitted`."""
        return self._assert_sent("job", "enqueued", Job, job, times, fields)

    def assert_audited(self, **columns: Any) -> RecordedEntry:
        """Make sure that a command of this test has left an audit entry with these values; return the last one that fits.

        Args:
            columns: Those of `RecordedEntry`: `use_case="SubmitOrder", trigger="submit", to_state="submitted", actor="user:ada"`.

        Raises:
            AssertionError: If there is none; it tells those that there are.
        """
        with self.runtime.engine.connect() as connection:
            entries = entries_of(connection, self.runtime.ledger_schema, self._commands)
        return find_entry(columns, entries)

    def race(self, command_a: Command[Any], command_b: Command[Any], /, **said: Any) -> Race:
        """Run two commands on two connections, the second waiting for what the first has locked; return what came of both.

        The first stands just before its commit until the database says that the second waits for it (on SQLite, where all
        writers wait for one lock, until it stands at its begin).

        Args:
            command_a: Comes first.
            command_b: Has to wait.
            said: What `Runtime.execute` takes, for both.

        Raises:
            ValueError: If the runtime has one connection only.
            AssertionError: If they don't meet, or not exactly one is accepted.
        """
        if shares_one_connection(self.runtime.engine):
            raise ValueError(
                "this runtime has a single connection, on which nothing can meet; mark the test with "
                "`@pytest.mark.usecasecore_commits`, or make the runtime on a database of its own"
            )
        return meet(lambda: self.run(command_a, **said), lambda: self.run(command_b, **said), self.runtime.engine)

    def replay(self, command: Command[R], /, *, idempotency_key: str | None = None, **said: Any) -> Outcome[R]:
        """Run a command twice under one key; make sure that it took effect once; return the first outcome.

        Raises:
            AssertionError: If the second run was no replay, had another result, or wrote anything.
        """
        first = self.run(command, idempotency_key=idempotency_key or str(uuid7()), **said)
        self.assert_replayed(command, first, **said)
        return first

    def assert_replayed(self, command: Command[R], first: Outcome[R], /, **said: Any) -> None:
        """Run a command again under the key of its first run; make sure that it had that result, and did nothing.

        Raises:
            AssertionError: If it was no replay, had another result, or wrote anything.
        """
        before = set(self._commands)
        again = self.run(command, **{**said, "idempotency_key": first.key})
        name = type(command).__name__
        if not again.replayed:
            raise AssertionError(f"{name} took effect twice under the key {first.key!r}: {first.result!r}, then {again.result!r}")
        if again.result != first.result:
            raise AssertionError(f"{name} was replayed with another result: {first.result!r}, then {again.result!r}")
        self._assert_nothing_written(name, [one for one in self._commands if one not in before])

    def _create(self, creator: Registration, lifecycle: Lifecycle, fields: Mapping[str, Any], said: Mapping[str, Any]) -> object:
        outcome = self._take(make_commands(creator, self.factories, {}, fields), said, "creating it")
        made = [one for one in self._created.get(outcome.command_id, ()) if isinstance(one, lifecycle.aggregate)]
        new = [one for one in made if getattr(one, lifecycle.version) == 1]
        if not new:
            raise AssertionError(f"{creator.name} created no {lifecycle.aggregate.__name__}")
        return new[0]

    def _take(self, commands: tuple[Command[Any], ...], said: Mapping[str, Any], where: str) -> Outcome[Any]:
        outcomes = [self._accepted(command, said, where) for command in commands]
        return outcomes[-1]

    def _accepted(self, command: Command[Any], said: Mapping[str, Any], where: str) -> Outcome[Any]:
        registration = self.application.for_command(type(command))
        wants_reason = registration is not None and registration.use_case.reason_required
        try:
            return self.run(command, **{**said, **({"reason": "given by a test"} if wants_reason else {})})
        except UseCaseError as error:
            name = registration.name if registration is not None else "no use case"
            raise AssertionError(
                f"{name} was refused, {where}: {error}; it got {command!r}. Give a factory for {type(command).__name__}, in "
                "`usecasecore_factories`, whose command is accepted"
            ) from error

    def _there(self, aggregate: object) -> Any:
        found = self.reload(aggregate)
        if found is None:
            told = ", ".join(f"{name}={value!r}" for name, value in self.identity_of(aggregate).items())
            raise AssertionError(f"there is no {aggregate_name(type(aggregate))} with {told} any more")
        return found

    def _assert_sent(
        self, kind: str, verb: str, base: type[Any], message: Any, times: int | None, fields: Mapping[str, Any]
    ) -> Any:
        check_message(message, base, fields)
        with self.runtime.engine.connect() as connection:
            sent = messages_of(connection, self.runtime.ledger_schema, self._commands, kind)
        if times == 0:
            return self._assert_not_sent(verb, message, fields, sent)
        found = find_message(verb, message, fields, sent)
        if times not in (None, len(found)):
            raise AssertionError(
                f"{found[0].type} was {verb} {len(found)} times, not {times}:\n" + "\n".join(f"  {one}" for one in found)
            )
        last = found[-1].payload
        if isinstance(message, str):
            return last
        model: Any = message if isinstance(message, type) else type(message)
        return model.model_validate(last)

    def _assert_not_sent(self, verb: str, message: Any, fields: Mapping[str, Any], sent: Any) -> None:
        try:
            found = find_message(verb, message, fields, sent)
        except AssertionError:
            return
        raise AssertionError(f"{found[0].type} was {verb}, and must not be:\n" + "\n".join(f"  {one}" for one in found))

    def _assert_nothing_written(self, name: str, commands: list[UUID]) -> None:
        with self.runtime.engine.connect() as connection:
            schema = self.runtime.ledger_schema
            written = entries_of(connection, schema, commands)
            sent = [*messages_of(connection, schema, commands, "event"), *messages_of(connection, schema, commands, "job")]
        if written or sent:
            raise AssertionError(f"{name} changed nothing, and wrote: {', '.join(map(str, [*written, *sent]))}")


@contextmanager
def scenario_on(runtime: Runtime, *, actor: Actor = TESTER, factories: Factories | None = None) -> Iterator[Scenario]:
    """Yield a scenario on a runtime, which takes note of every command until the end of the block."""
    scenario = Scenario(runtime, actor=actor, factories=factories)
    with watch(scenario.observe, only=(Step.VALIDATE, Step.FLUSH)):
        yield scenario


def _key(aggregate: type) -> tuple[str, ...]:
    mapper = mapper_of(aggregate)
    assert mapper is not None
    return primary_key(mapper)
