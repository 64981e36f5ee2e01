"""The sample project that the coverage of transitions is tried on: orders, and parcels with two lifecycles."""

from __future__ import annotations

__all__ = ["FILES"]

SHOP_MODEL = '''\
"""Two aggregates: an order, and its parcel with two lifecycles."""

from __future__ import annotations

from typing import ClassVar

from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column

from usecasecore import Lifecycle, Transition, guard, state_column, version_column


class Base(DeclarativeBase):
    pass


class Order(Base):
    __tablename__ = "orders"

    id: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    total: Mapped[int]
    state: Mapped[str] = state_column(["draft", "submitted", "paid", "refunded", "cancelled"])
    version: Mapped[int] = version_column()

    lifecycle: ClassVar = Lifecycle(
        states=["draft", "submitted", "paid", "refunded", "cancelled"],
        initial="draft",
        transitions=[
            Transition("submit", "draft", "submitted", conditions="has_value"),
            Transition("pay", "submitted", "paid"),
            Transition("refund", "paid", "refunded", unless="is_large"),
            Transition("cancel", ["draft", "submitted"], "cancelled"),
        ],
    )

    @guard("an order must be worth something")
    def has_value(self) -> bool:
        return self.total > 0

    @guard("so much money is not given back")
    def is_large(self) -> bool:
        return self.total > 1_000


class Parcel(Base):
    __tablename__ = "parcels"

    id: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    place: Mapped[str] = state_column(["shelf", "van", "door"])
    seal: Mapped[str] = state_column(["open", "closed"])
    version: Mapped[int] = version_column()

    lifecycle: ClassVar = Lifecycle(
        column="place",
        states=["shelf", "van", "door"],
        initial="shelf",
        transitions=[
            Transition("load", "shelf", "van"),
            Transition("deliver", "van", "door"),
            Transition("lose", "van", "shelf"),  # pragma: no transition-cov
        ],
    )
    sealing: ClassVar = Lifecycle(
        column="seal", states=["open", "closed"], initial="open", transitions=[["close", "open", "closed"]]
    )
'''

SHOP_APP = '''\
"""What can be done with orders and parcels."""

from __future__ import annotations

from typing import Annotated, Any

from shop.model import Order, Parcel
from usecasecore import AllowAll, Application, Command, DomainError, ExecutionContext, Key, Result, UseCase


class Done(Result):
    id: int


class NoMoney(DomainError):
    pass


class Create(Command[Done]):
    id: int
    total: int


class Submit(Command[Done]):
    id: Annotated[int, Key(Order.id)]


class Pay(Command[Done]):
    id: Annotated[int, Key(Order.id)]
    cash: int = 1


class Refund(Command[Done]):
    id: Annotated[int, Key(Order.id)]


class Cancel(Command[Done]):
    id: Annotated[int, Key(Order.id)]


class Pack(Command[Done]):
    id: int


class Load(Command[Done]):
    id: Annotated[int, Key(Parcel.id)]


class Deliver(Command[Done]):
    id: Annotated[int, Key(Parcel.id)]


class Close(Command[Done]):
    id: Annotated[int, Key(Parcel.id)]


class CreateOrder(UseCase[Create, None, Done]):
    creates = Order

    def apply(self, command: Create, state: None, context: ExecutionContext, /) -> Done:
        return Done(id=context.create(Order(id=command.id, total=command.total)).id)


class PackParcel(UseCase[Pack, None, Done]):
    creates = Parcel

    def apply(self, command: Pack, state: None, context: ExecutionContext, /) -> Done:
        return Done(id=context.create(Parcel(id=command.id)).id)


def moving(command: Any, aggregate: Any, trigger_name: str, lifecycle_name: str = "lifecycle") -> Any:
    class Move(UseCase[command, aggregate, Done]):
        name = f"{command.__name__}{aggregate.__name__}"
        lifecycle = lifecycle_name
        trigger = trigger_name

        def apply(self, command: Any, row: Any, context: ExecutionContext, /) -> Done:
            return Done(id=row.id)

    return Move


class PayOrder(UseCase[Pay, Order, Done]):
    trigger = "pay"
    refuses = (NoMoney,)

    def apply(self, command: Pay, order: Order, context: ExecutionContext, /) -> Done:
        if command.cash == 0:
            raise NoMoney("no money")
        return Done(id=order.id)


app = Application(
    [
        CreateOrder,
        moving(Submit, Order, "submit"),
        PayOrder,
        moving(Refund, Order, "refund"),
        moving(Cancel, Order, "cancel"),
        PackParcel,
        moving(Load, Parcel, "load"),
        moving(Deliver, Parcel, "deliver"),
        moving(Close, Parcel, "close", "sealing"),
    ],
    policy=AllowAll(),
    name="shop",
)
'''

CONFTEST = """\
import pytest
from shop.app import app
from shop.model import Base
from sqlalchemy import create_engine

from usecasecore import Runtime


@pytest.fixture
def runtime(tmp_path):
    engine = create_engine(f"sqlite:///{tmp_path / 'shop.db'}")
    Base.metadata.create_all(engine)
    yield Runtime(engine, app, create=True)
    engine.dispose()
"""

TEST_ORDERS = """\
import pytest
from shop.app import Cancel, Create, NoMoney, Pay, Submit

from usecasecore.errors import GuardRejected, TransitionNotAllowed


@pytest.fixture
def order(runtime):
    return runtime.execute(Create(id=1, total=10)).id


def test_submitted(runtime, order):
    runtime.execute(Submit(id=order))


def test_paid(runtime, order):
    runtime.execute(Submit(id=order))
    runtime.execute(Pay(id=order))


def test_worthless(runtime):
    runtime.execute(Create(id=2, total=0))
    with pytest.raises(GuardRejected):
        runtime.execute(Submit(id=2))


def test_paid_too_early(runtime, order):
    with pytest.raises(TransitionNotAllowed):
        runtime.execute(Pay(id=order))


def test_without_money(runtime, order):
    runtime.execute(Submit(id=order))
    with pytest.raises(NoMoney):
        runtime.execute(Pay(id=order, cash=0))


def test_cancelled(runtime, order):
    runtime.execute(Cancel(id=order))
"""

TEST_PARCELS = """\
from shop.app import Close, Deliver, Load, Pack


def test_loaded(runtime):
    runtime.execute(Pack(id=1))
    runtime.execute(Load(id=1))


def test_delivered(runtime):
    runtime.execute(Pack(id=1))
    runtime.execute(Load(id=1))
    runtime.execute(Close(id=1))
    runtime.execute(Deliver(id=1))
"""

FILES = {
    "pyproject.toml": '[tool.usecasecore]\napp = "shop.app:app"\n',
    "shop/__init__.py": "",
    "shop/model.py": SHOP_MODEL,
    "shop/app.py": SHOP_APP,
    "conftest.py": CONFTEST,
    "test_orders.py": TEST_ORDERS,
    "test_parcels.py": TEST_PARCELS,
}
