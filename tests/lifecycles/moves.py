"""Use cases for a lifecycle: one that creates, one that notes facts, and one for each trigger."""

from __future__ import annotations

from typing import Annotated, Any
from uuid import UUID

from pydantic import create_model
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column

from usecasecore import AllowAll, Application, Command, ExecutionContext, Key, Result, UseCase, uuid7


class Base(DeclarativeBase):
    id: Mapped[UUID] = mapped_column(primary_key=True, default=uuid7)


class Standing(Result):
    id: UUID
    state: str


def application_for(aggregate: Any) -> Application:
    """Return an application that can do everything with an aggregate that its lifecycle declares."""
    triggers = aggregate.lifecycle.triggers
    use_cases = [_creating(aggregate), _noting(aggregate), *(_moving(aggregate, trigger) for trigger in triggers)]
    return Application(use_cases, AllowAll(), name=aggregate.lifecycle.name)


def command(app: Application, name: str, **fields: Any) -> Command[Standing]:
    """Return the command of the use case of that name."""
    registration = app.registration(name)
    assert registration is not None, name
    return registration.command(**fields)


def _order(name: str, **fields: Any) -> Any:
    title = name.title().replace("_", "")
    return create_model(title, __base__=Command[Standing], __module__=__name__, **fields)


def _creating(aggregate: Any) -> type[UseCase[Any, Any, Any]]:
    order = _order(f"create_{aggregate.__name__}")

    class Create(UseCase[order, None, Standing]):  # type: ignore[valid-type]  # made for this aggregate
        name = "create"
        creates = aggregate

        def apply(self, command: Any, state: None, context: ExecutionContext, /) -> Standing:
            made = context.create(aggregate())
            return Standing(id=made.id, state=aggregate.lifecycle.state_of(made))

    return Create


def _noting(aggregate: Any) -> type[UseCase[Any, Any, Any]]:
    order = _order(f"note_on_{aggregate.__name__}", id=(Annotated[UUID, Key("id")], ...), facts=(dict[str, Any], ...))

    class Note(UseCase[order, aggregate, Standing]):  # type: ignore[valid-type]  # likewise
        name = "note"

        def apply(self, command: Any, state: Any, context: ExecutionContext, /) -> Standing:
            for attribute, value in command.facts.items():
                setattr(state, attribute, value)
            return Standing(id=state.id, state=aggregate.lifecycle.state_of(state))

    return Note


def _moving(aggregate: Any, wanted: str) -> type[UseCase[Any, Any, Any]]:
    order = _order(f"{wanted}_{aggregate.__name__}", id=(Annotated[UUID, Key("id")], ...))

    class Move(UseCase[order, aggregate, Standing]):  # type: ignore[valid-type]  # likewise
        name = wanted
        trigger = wanted

        def apply(self, command: Any, state: Any, context: ExecutionContext, /) -> Standing:
            context.session.info[wanted] = state.id  # an internal transition's use case has something to do
            return Standing(id=state.id, state=aggregate.lifecycle.state_of(state))

    return Move
