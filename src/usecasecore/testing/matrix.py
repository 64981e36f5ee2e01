"""Every use case in every state: one cell each, and what is to happen there."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, TypeAlias

from usecasecore.analysis import candidates, firing
from usecasecore.application import Application
from usecasecore.context import Outcome
from usecasecore.errors import UseCaseError
from usecasecore.lifecycle import Lifecycle
from usecasecore.registration import Registration
from usecasecore.testing.factories import make_commands
from usecasecore.testing.scenario import Scenario
from usecasecore.testing.walking import Unreachable, keys_for, lifecycle_named

__all__ = ["ACCEPTED", "Cell", "Expectations", "cells_of"]

ACCEPTED = "accepted"
_NOT_ALLOWED = "transition_not_allowed"

Expectations: TypeAlias = Mapping[str | tuple[str, str], str | type[UseCaseError]]
"""The name of a use case, or (state, use case) -> `accepted`, or the code or class of the refusal."""


@dataclass(slots=True)
class Cell:
    """A use case in a state.

    Attributes:
        lifecycle: Name of the lifecycle.
        state: Name of the state.
        use_case: Name of the use case.
        expected: `accepted`, or the code of the refusal; None where nothing declares it.
        checked: Whether `check` was called.
    """

    lifecycle: str
    state: str
    use_case: str
    expected: str | None
    scenario: Scenario | None = None
    checked: bool = False

    def __str__(self) -> str:
        return f"{self.state}-{self.use_case}"

    def check(self) -> None:
        """Bring an aggregate into the state, run the use case, and compare what happens with what is declared.

        Accepted means that it ends in a state that the lifecycle declares, refused that nothing has changed.

        Raises:
            AssertionError: If it is declared otherwise, or not at all, or use cases don't lead into the state.
            NoFactory: If a command can't be made up.
        """
        self.checked = True
        assert self.scenario is not None
        scenario, where = self.scenario, f"{self.lifecycle}: {self.use_case} in {self.state!r}"
        if self.expected is None:
            raise AssertionError(
                f"{where}: nothing declares what happens; the use case fires no trigger of the lifecycle. Say it in the mark: "
                f"expect={{({self.state!r}, {self.use_case!r}): 'accepted'}}, or for all states: {{{self.use_case!r}: ...}}"
            )
        lifecycle = lifecycle_named(scenario.application, self.lifecycle)
        registration = scenario.application.registration(self.use_case)
        assert registration is not None
        try:
            before = scenario.given(self.lifecycle, state=self.state)
        except Unreachable as unreachable:
            raise AssertionError(f"{where}: {unreachable}") from unreachable
        happened, error = _run(scenario, registration, before, accepted=self.expected == ACCEPTED)
        if happened != self.expected:
            was = "was accepted" if error is None else f"was refused with {happened!r}: {error}"
            raise AssertionError(f"{where}: declared is {self.expected!r}, and it {was}") from error
        self._check_after(scenario, lifecycle, registration, before, where)

    def _check_after(self, scenario: Scenario, lifecycle: Lifecycle, registration: Registration, before: Any, where: str) -> None:
        after = scenario.reload(before)
        if after is None:
            if not registration.deletes:
                raise AssertionError(f"{where}: the aggregate is gone, and the use case deletes none")
            return
        state, version = lifecycle.state_of(after), getattr(after, lifecycle.version)
        declared = _ends(scenario.application, lifecycle, registration, self.state) if self.expected == ACCEPTED else {self.state}
        if state not in declared:
            raise AssertionError(f"{where}: it ended in {state!r}; declared is: {', '.join(sorted(declared))}")
        if self.expected != ACCEPTED and version != getattr(before, lifecycle.version):
            raise AssertionError(f"{where}: it was refused, and the version went on to {version}")


def cells_of(application: Application, name: str | type, expect: Expectations | None = None) -> list[Cell]:
    """Return every (state, use case that loads the aggregate), states first, in the order declared.

    A use case that fires a trigger is accepted where the lifecycle declares that trigger, and refused with
    `transition_not_allowed` where it doesn't. The expectations go before that; for use cases without a trigger they are all there is.

    Args:
        application: The application.
        name: Of the lifecycle, or the aggregate's class.
        expect: What is to happen in which cells.

    Raises:
        LookupError: If there is no such lifecycle.
        ValueError: If an expectation is about no cell.
    """
    lifecycle = lifecycle_named(application, name)
    use_cases = [one for one in application.registrations if any(issubclass(lifecycle.aggregate, cls) for cls in one.loads)]
    given = dict(expect or {})
    known = {(state, one.name) for state in lifecycle.states for one in use_cases}
    for key in given:
        if key not in known and key not in {one.name for one in use_cases}:
            names = ", ".join(one.name for one in use_cases)
            raise ValueError(
                f"{lifecycle.name} has no cell {key!r} to expect anything of (states: {', '.join(lifecycle.states)}; use cases: {names})"
            )
    found = []
    for state in lifecycle.states:
        for one in use_cases:
            said = given.get((state, one.name), given.get(one.name))
            code = said.code if isinstance(said, type) else said
            found.append(Cell(lifecycle.name, state, one.name, code or _declared(application, lifecycle, one, state)))
    return found


def _declared(application: Application, lifecycle: Lifecycle, registration: Registration, state: str) -> str | None:
    if registration.lifecycle is None or registration.lifecycle.attribute != lifecycle.attribute:
        return None
    if not any(registration.name in names for names in firing(application, lifecycle).values()):
        return None
    possible = candidates(lifecycle.graph)
    return ACCEPTED if any((state, trigger) in possible for trigger in registration.triggers) else _NOT_ALLOWED


def _ends(application: Application, lifecycle: Lifecycle, registration: Registration, state: str) -> set[str]:
    possible = candidates(lifecycle.graph)
    fired = [trigger for trigger, names in firing(application, lifecycle).items() if registration.name in names]
    found = {step.dest for trigger in fired for step in possible.get((state, trigger), ())}
    return found or {state}


def _run(scenario: Scenario, registration: Registration, aggregate: Any, *, accepted: bool) -> tuple[str, UseCaseError | None]:
    keys = keys_for(registration, scenario.identity_of(aggregate), type(aggregate))
    commands = make_commands(registration, scenario.factories, keys)
    said = {"reason": "given by a test"} if registration.use_case.reason_required else {}
    try:
        # What a factory wants to be done before is part of being accepted, and would be refused itself elsewhere.
        outcomes: Iterator[Outcome[Any]] = (scenario.run(one, **said) for one in (commands if accepted else commands[-1:]))
        for _ in outcomes:
            pass
    except UseCaseError as error:
        return error.code, error
    return ACCEPTED, None
