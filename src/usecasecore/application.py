"""Application: the use cases and the policy, checked together. Declarations only; it touches no database."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from usecasecore.errors import DefinitionError
from usecasecore.lifecycle import Lifecycle, lifecycles_of
from usecasecore.messages import Command
from usecasecore.policy import Policy
from usecasecore.registration import Registration, register
from usecasecore.slots import mapper_of
from usecasecore.usecase import UseCase

__all__ = ["Application"]


class Application:
    """What a runtime runs, and what diagrams, checks and the command line read.

    Attributes:
        name: Its name, the `source` of its events.
        policy: Who decides.
        registrations: Its use cases, in the order given.
        ignore: The codes of static checks that are ignored for what belongs to no lifecycle, with the reasons.
        lifecycles: The lifecycles of all aggregates that its use cases load or create, by name.
    """

    def __init__(
        self,
        use_cases: Iterable[type[UseCase[Any, Any, Any]] | UseCase[Any, Any, Any]],
        policy: Policy | None = None,
        *,
        name: str = "application",
        ignore: Mapping[str, str] | None = None,
    ) -> None:
        """Check the declarations.

        Args:
            use_cases: Classes (made without arguments) or instances.
            policy: Who decides. There is no default: `AllowAll()` where everybody may do everything.
            name: The application's name.
            ignore: Code of a static check -> why its findings that belong to no lifecycle don't matter here.

        Raises:
            DefinitionError: With everything that is wrong, at once.
        """
        self.name = name
        self.ignore = dict(ignore or {})
        problems: list[str] = []
        registrations: list[Registration] = []
        for one in use_cases:
            registration, wrong = _registered(one)
            problems += wrong
            if registration is not None:
                registrations.append(registration)
        problems += _clashes(registrations)
        if not isinstance(policy, Policy):
            problems.append(f"no policy: {policy!r} is none; pass `policy=AllowAll()` where everybody may do everything")
        if problems:
            raise DefinitionError(dict.fromkeys(problems))
        assert isinstance(policy, Policy)
        self.policy = policy
        self.registrations = tuple(registrations)
        self.lifecycles = {one.name: one for one in _lifecycles(registrations)}
        self._by_command = {registration.command: registration for registration in registrations}
        for registration in registrations:
            for lifecycle, triggers in registration.fires.items():
                lifecycle.note_use_case(registration.name, triggers)
            for cls in registration.deletes:
                for lifecycle in lifecycles_of(cls):
                    lifecycle.note_deletion(registration.name)

    @property
    def aggregates(self) -> tuple[type, ...]:
        """The mapped classes that its use cases load or create."""
        return tuple(dict.fromkeys(cls for one in self.registrations for cls in one.aggregates))

    def registration(self, name: str) -> Registration | None:
        """Return the use case of that name, or None."""
        return next((one for one in self.registrations if one.name == name), None)

    def for_command(self, command: type[Command[Any]]) -> Registration | None:
        """Return the use case that takes commands of that type, or None."""
        return self._by_command.get(command)

    @property
    def deletes(self) -> frozenset[type]:
        """The mapped classes, at the top of their inheritance, of which some use case deletes."""
        mappers = (mapper_of(cls) for one in self.registrations for cls in one.deletes)
        return frozenset(mapper.base_mapper.class_ for mapper in mappers if mapper is not None)

    def __repr__(self) -> str:
        return f"Application({self.name!r}, {len(self.registrations)} use cases, {len(self.lifecycles)} lifecycles)"


def _registered(one: Any) -> tuple[Registration | None, list[str]]:
    if isinstance(one, type) and issubclass(one, UseCase):
        try:
            one = one()
        except TypeError as error:
            return None, [f"{one.__name__}: can't be made without arguments ({error}); pass an instance"]
    if not isinstance(one, UseCase):
        return None, [f"{one!r} is not a use case; a subclass of UseCase, or an instance of one, would do"]
    return register(one)


def _clashes(registrations: Iterable[Registration]) -> Iterator[str]:
    by_command: dict[type, str] = {}
    names: set[str] = set()
    by_message: dict[str, type] = {}
    for one in registrations:
        if one.command in by_command:
            yield f"{by_command[one.command]} and {one.name} both take {one.command.__name__}; a command has one use case"
        if one.name in names:
            yield f"two use cases are named {one.name!r}; give one of them another `name`"
        by_command[one.command] = one.name
        names.add(one.name)
        for message in one.messages:
            name = message.message_name
            if by_message.setdefault(name, message) is not message:
                yield f"two messages are named {name!r}: {by_message[name].__qualname__} and {message.__qualname__}"


def _lifecycles(registrations: Iterable[Registration]) -> Iterator[Lifecycle]:
    seen: set[type] = set()
    for registration in registrations:
        for cls in registration.aggregates:
            if cls not in seen:
                seen.add(cls)
                yield from lifecycles_of(cls)
