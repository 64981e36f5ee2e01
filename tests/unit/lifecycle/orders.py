"""The aggregate that most tests of the lifecycle use, and small ways to make others."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from enum import StrEnum
from typing import Any, ClassVar

from sqlalchemy import Column, Integer, Table, create_engine
from sqlalchemy.orm import DeclarativeBase, Mapped, Session, mapped_column, registry

from usecasecore.lifecycle import Lifecycle, StateType, Transition, VersionType, guard, state_column, version_column


class Base(DeclarativeBase):
    pass


class OrderState(StrEnum):
    DRAFT = "draft"
    SUBMITTED = "submitted"
    PAID = "paid"
    CANCELLED = "cancelled"


class Order(Base):
    __tablename__ = "orders"

    id: Mapped[int] = mapped_column(primary_key=True)
    total: Mapped[int]
    note: Mapped[str] = mapped_column(default="")
    state: Mapped[OrderState] = state_column(OrderState)
    version: Mapped[int] = version_column()

    lifecycle: ClassVar = Lifecycle(
        states=OrderState,
        initial=OrderState.DRAFT,
        transitions=[
            Transition("submit", OrderState.DRAFT, OrderState.SUBMITTED, conditions="has_value"),
            Transition("pay", OrderState.SUBMITTED, OrderState.PAID),
            ["cancel", ["draft", "submitted"], "cancelled"],
            {"trigger": "reopen", "source": "CANCELLED", "dest": OrderState.DRAFT},
        ],
    )

    @guard("an order must be worth something before it is submitted")
    def has_value(self) -> bool:
        return self.total > 0


@contextmanager
def database(base: type[DeclarativeBase] = Base) -> Iterator[Session]:
    """Yield a session on a new SQLite database in memory with the tables of `base`."""
    engine = create_engine("sqlite://")
    base.metadata.create_all(engine)
    try:
        with Session(engine) as session:
            yield session
    finally:
        engine.dispose()


def stored(session: Session, *, state: str | None = None, total: int = 5) -> Order:
    """Return an order that is committed, in its initial state unless another one is given."""
    order = Order(total=total) if state is None else Order(total=total, state=OrderState(state))
    session.add(order)
    session.commit()
    return order


def mapped(body: dict[str, Any], *, states: Any = None, bases: tuple[type, ...] = (), name: str = "Thing") -> Any:
    """Return a class with these attributes, mapped to a table of its own; an error in its lifecycle comes out here."""
    cls = type(name, bases, body)
    mappings = registry()
    table = Table(
        name.lower(),
        mappings.metadata,
        Column("id", Integer, primary_key=True),
        Column("total", Integer),
        Column("state", StateType(states), nullable=False),
        Column("version", VersionType(), nullable=False),
    )
    mappings.map_imperatively(cls, table)
    return cls


def thing(
    states: Any = ("a", "b"), transitions: Any = (), initial: Any = "a", *, body: dict[str, Any] | None = None, **options: Any
) -> Any:
    """Return a mapped class with this lifecycle."""
    lifecycle = Lifecycle(states=states, transitions=transitions, initial=initial, **options)
    return mapped({"lifecycle": lifecycle, **(body or {})})
