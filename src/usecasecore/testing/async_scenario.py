"""AsyncScenario: what an asynchronous test does with an application, and what it looks at."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any, TypeVar, overload

from sqlalchemy.util import await_only, greenlet_spawn

from usecasecore.analysis import Walk
from usecasecore.application import Application
from usecasecore.context import Actor, Outcome
from usecasecore.errors import Rejected, UseCaseError
from usecasecore.ledger.reading import RecordedEntry
from usecasecore.lifecycle import Lifecycle
from usecasecore.messages import Command, DomainEvent, Job, Result
from usecasecore.runtime.asynchronous import AsyncRuntime
from usecasecore.steps import Step, watch
from usecasecore.testing.factories import Factories
from usecasecore.testing.scenario import TESTER, Scenario

__all__ = ["AsyncScenario", "async_scenario_on"]

R = TypeVar("R", bound=Result)
E = TypeVar("E", bound=DomainEvent)
J = TypeVar("J", bound=Job)
T = TypeVar("T")


class AsyncScenario:
    """A `Scenario` on an `AsyncRuntime`: the same verbs, to be awaited. A race is for the synchronous one: it takes two threads.

    Attributes:
        runtime: Which runs the commands.
    """

    def __init__(self, runtime: AsyncRuntime, *, actor: Actor = TESTER, factories: Factories | None = None) -> None:
        """See `Scenario`, and `async_scenario_on`."""
        self.runtime = runtime
        # The scenario is plain code; inside of a greenlet what it calls may be awaited, as in the runtime itself.
        synchronous: Any = _InGreenlet(runtime)
        self.inner = Scenario(synchronous, actor=actor, factories=factories)

    @property
    def actor(self) -> Actor:
        """Who asks, where the test names nobody else."""
        return self.inner.actor

    async def execute(self, command: Command[R], /, **said: Any) -> R:
        """Run a command; return its result; see `Scenario.execute`."""
        return (await self.run(command, **said)).result

    async def run(self, command: Command[R], /, **said: Any) -> Outcome[R]:
        """Run a command; return its outcome."""
        return await self.runtime.run(command, **{"actor": self.actor, **said})

    async def given(self, aggregate: str | type, *, state: str | None = None, actor: Actor | None = None, **fields: Any) -> Any:
        """Return an aggregate in a state, which use cases have brought it to; see `Scenario.given`."""
        return await self._plainly(self.inner.given, aggregate, state=state, actor=actor, **fields)

    async def walk(
        self, lifecycle: Lifecycle | str | type, walk: Walk | None, *, actor: Actor | None = None, **fields: Any
    ) -> Any:
        """Create an aggregate and take it along a walk; see `Scenario.walk`."""
        return await self._plainly(self.inner.walk, lifecycle, walk, actor=actor, **fields)

    async def reload(self, aggregate: object) -> Any:
        """Return the aggregate as it is committed now, detached; None if it is deleted."""
        return await self._plainly(self.inner.reload, aggregate)

    async def assert_refused(
        self, command: Command[Any], /, code: str | type[UseCaseError] | None = None, **said: Any
    ) -> Rejected:
        """Run a command that must be refused; return the refusal; see `Scenario.assert_refused`."""
        return await self._plainly(self.inner.assert_refused, command, code, **said)

    @overload
    async def assert_emitted(self, event: type[E] | E, /, *, times: int | None = None, **fields: Any) -> E: ...
    @overload
    async def assert_emitted(self, event: str, /, *, times: int | None = None, **fields: Any) -> Mapping[str, Any]: ...
    async def assert_emitted(self, event: Any, /, *, times: int | None = None, **fields: Any) -> Any:
        """Make sure that a command of this test has emitted an event, committed; see `Scenario.assert_emitted`."""
        return await self._plainly(self.inner.assert_emitted, event, times=times, **fields)

    @overload
    async def assert_enqueued(self, job: type[J] | J, /, *, times: int | None = None, **fields: Any) -> J: ...
    @overload
    async def assert_enqueued(self, job: str, /, *, times: int | None = None, **fields: Any) -> Mapping[str, Any]: ...
    async def assert_enqueued(self, job: Any, /, *, times: int | None = None, **fields: Any) -> Any:
        """Make sure that a command of this test has enqueued a job, committed; see `Scenario.assert_enqueued`."""
        return await self._plainly(self.inner.assert_enqueued, job, times=times, **fields)

    async def assert_audited(self, **columns: Any) -> RecordedEntry:
        """Make sure that a command of this test has left an audit entry with these values; see `Scenario.assert_audited`."""
        return await self._plainly(self.inner.assert_audited, **columns)

    async def replay(self, command: Command[R], /, *, idempotency_key: str | None = None, **said: Any) -> Outcome[R]:
        """Run a command twice under one key; make sure that it took effect once; see `Scenario.replay`."""
        return await greenlet_spawn(lambda: self.inner.replay(command, idempotency_key=idempotency_key, **said))

    async def _plainly(self, work: Callable[..., T], /, *given: Any, **said: Any) -> T:
        return await greenlet_spawn(work, *given, **said)


@contextmanager
def async_scenario_on(
    runtime: AsyncRuntime, *, actor: Actor = TESTER, factories: Factories | None = None
) -> Iterator[AsyncScenario]:
    """Yield a scenario on a runtime, which takes note of every command until the end of the block."""
    scenario = AsyncScenario(runtime, actor=actor, factories=factories)
    with watch(scenario.inner.observe, only=(Step.VALIDATE, Step.FLUSH)):
        yield scenario


class _InGreenlet:
    """What a `Scenario` asks of a `Runtime`, on an `AsyncRuntime`; only inside of a greenlet."""

    def __init__(self, runtime: AsyncRuntime) -> None:
        self._runtime = runtime
        self.engine, self.ledger_schema = runtime.engine.sync_engine, runtime.ledger_schema

    @property
    def application(self) -> Application:
        return self._runtime.application

    def run(self, command: Command[R], /, **said: Any) -> Outcome[R]:
        return await_only(self._runtime.run(command, **said))
