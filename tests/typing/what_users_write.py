"""Never run, only type-checked, by mypy (strict) and pyright: what a user writes has the types that they expect."""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Decimal
from enum import StrEnum
from typing import Annotated, ClassVar, assert_type
from uuid import UUID

from sqlalchemy import Engine
from sqlalchemy.ext.asyncio import AsyncEngine
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column

from usecasecore import (
    Actor,
    AllowAll,
    Application,
    AsyncRuntime,
    Command,
    Decision,
    DomainEvent,
    ExecutionContext,
    Job,
    Key,
    Lifecycle,
    Load,
    Outcome,
    Policy,
    PolicyRequest,
    Result,
    Runtime,
    Sensitive,
    Transition,
    UseCase,
    guard,
    state_column,
    use_case,
    uuid7,
    version_column,
)


class Base(DeclarativeBase):
    pass


class OrderState(StrEnum):
    DRAFT = "draft"
    SUBMITTED = "submitted"
    CANCELLED = "cancelled"


class Order(Base):
    __tablename__ = "typed_orders"
    id: Mapped[UUID] = mapped_column(primary_key=True, default=uuid7)
    total: Mapped[Decimal]
    state: Mapped[OrderState] = state_column(OrderState)
    shipping: Mapped[str] = state_column()
    version: Mapped[int] = version_column()

    lifecycle: ClassVar = Lifecycle(
        states=OrderState,
        initial=OrderState.DRAFT,
        transitions=[
            Transition("submit", OrderState.DRAFT, OrderState.SUBMITTED, conditions="has_value"),
            ["cancel", ["draft", "submitted"], "cancelled"],
            {"trigger": "reopen", "source": "*", "dest": "draft"},
        ],
    )

    @guard("an order must be worth something")
    def has_value(self) -> bool:
        return self.total > 0


assert_type(Order.lifecycle, Lifecycle)


class Submitted(Result):
    order_id: UUID
    state: OrderState


class Submit(Command[Submitted]):
    order_id: Annotated[UUID, Key(Order.id)]
    note: Annotated[str, Sensitive()] = ""


class OrderSubmitted(DomainEvent, name="order.submitted", version=2):
    order_id: UUID


class SendReceipt(Job):
    order_id: UUID


class SubmitOrder(UseCase[Submit, Order, Submitted]):
    trigger = "submit"
    emits = (OrderSubmitted,)
    enqueues = (SendReceipt,)

    def apply(self, command: Submit, order: Order, context: ExecutionContext, /) -> Submitted:
        assert_type(command.order_id, UUID)
        assert_type(order.has_value(), bool)
        context.emit(OrderSubmitted(order_id=order.id))
        context.enqueue(SendReceipt(order_id=order.id))
        return Submitted(order_id=order.id, state=order.state)


class CreateOrder(UseCase[Submit, None, Submitted]):
    creates = Order

    def apply(self, command: Submit, state: None, context: ExecutionContext, /) -> Submitted:
        order = context.create(Order(total=Decimal(1)))
        assert_type(order, Order)
        return Submitted(order_id=order.id, state=order.state)


class Owners(Policy):
    def permitted(self, request: PolicyRequest, /) -> Decision:
        return Decision.allow() if "clerk" in request.actor.roles else Decision.deny("clerks only")


@use_case(Order, trigger="submit", emits=(OrderSubmitted,))
def submit_order(command: Submit, order: Order, context: ExecutionContext) -> Submitted:
    context.emit(OrderSubmitted(order_id=order.id))
    return Submitted(order_id=order.id, state=order.state)


@use_case(creates=Order)
def create_order(command: Submit, state: None, context: ExecutionContext) -> Submitted:
    order = context.create(Order(total=Decimal(1)))
    return Submitted(order_id=order.id, state=order.state)


assert_type(submit_order, type[UseCase[Submit, Order, Submitted]])
assert_type(create_order, type[UseCase[Submit, None, Submitted]])


class Pair(Command[Submitted]):
    first: UUID
    second: UUID


@dataclass(frozen=True)
class TwoOrders:
    one: Annotated[Order, Load(id="first")]
    other: Annotated[Order | None, Load.or_none(id="second")]


class OnTwo(UseCase[Pair, TwoOrders, Submitted]):
    also_fires: ClassVar = {Order: ("cancel",)}

    def apply(self, command: Pair, orders: TwoOrders, context: ExecutionContext, /) -> Submitted:
        assert_type(orders.one, Order)
        assert_type(orders.other, Order | None)
        context.fire(orders.one, "cancel")
        return Submitted(order_id=orders.one.id, state=orders.one.state)


async def use_async(engine: AsyncEngine) -> None:
    runtime = AsyncRuntime(engine, Application([submit_order], policy=AllowAll()))
    assert_type(await runtime.execute(Submit(order_id=uuid7())), Submitted)
    assert_type(await runtime.run(Submit(order_id=uuid7())), Outcome[Submitted])


def use(engine: Engine) -> None:
    runtime = Runtime(engine, Application([SubmitOrder, CreateOrder()], policy=AllowAll()))
    assert_type(runtime.execute(Submit(order_id=uuid7())), Submitted)
    assert_type(runtime.run(Submit(order_id=uuid7()), actor=Actor("user", "ada")), Outcome[Submitted])
    assert_type(runtime.run(Submit(order_id=uuid7())).result.state, OrderState)
    assert_type(runtime.run(Submit(order_id=uuid7())).version, int | None)


def misuse(runtime: Runtime) -> None:
    runtime.execute("submit")  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    runtime.execute(Submit(order_id=uuid7()), actor="ada")  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    runtime.execute(Submit(order_id=uuid7()), actr=Actor("a", "b"))  # type: ignore[call-arg]  # pyright: ignore[reportCallIssue]


class WrongApply(UseCase[Submit, Order, Submitted]):
    # mypy and pyright: the command is a Submit, and the result a Submitted
    def apply(  # type: ignore[override]
        self,
        command: SendReceipt,  # pyright: ignore[reportIncompatibleMethodOverride]
        order: Order,
        context: ExecutionContext,
        /,
    ) -> int:
        return 1
