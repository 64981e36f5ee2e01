"""Moving, reserving, ordering and shipping: each is one decision on several locked rows."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated
from uuid import UUID

from pydantic import Field

from examples.inventory.model import Balance, Movement, Reservation, SalesOrder
from usecasecore import Command, DomainError, DomainEvent, ExecutionContext, Job, Key, Load, Result, UseCase

Quantity = Annotated[int, Field(gt=0, le=1_000_000)]
Name = Annotated[str, Field(min_length=1, max_length=50)]


class NotEnough(DomainError):
    """There is less than was asked for."""

    def __init__(self, *, sku: str, location: str, available: int, wanted: int) -> None:
        self.sku, self.location, self.available, self.wanted = sku, location, available, wanted
        super().__init__(f"{location} has {available} of {sku} available, {wanted} were asked for")


class SameBin(DomainError):
    """Source and destination are one."""


class InventoryMoved(DomainEvent, name="inventory.moved"):
    """Stock changed its place."""

    sku: str
    source: str
    destination: str
    quantity: int


class Recount(Job):
    """Have somebody count a bin that ran empty."""

    sku: str
    location: str


class MoveInventoryResult(Result):
    """What both bins hold afterwards."""

    movement_id: UUID
    source_quantity: int
    destination_quantity: int


class MoveInventory(Command[MoveInventoryResult]):
    """Move so much of an article from one location to another."""

    sku: Name
    source: Name
    destination: Name
    quantity: Quantity


@dataclass(frozen=True)
class BothBins:
    """Both balances, locked in one order whatever the direction of the move."""

    source: Annotated[Balance, Load(sku="sku", location="source")]
    destination: Annotated[Balance, Load.or_create(sku="sku", location="destination")]


class MoveInventoryUseCase(UseCase[MoveInventory, BothBins, MoveInventoryResult]):
    """Move stock: check and change both bins in one decision."""

    name = "MoveInventory"
    emits = (InventoryMoved,)
    enqueues = (Recount,)
    refuses = (NotEnough, SameBin)

    def validate(self, command: MoveInventory, /) -> None:
        """Refuse a move from a bin to itself."""
        if command.source == command.destination:
            raise SameBin(f"{command.source} is both source and destination")

    def apply(self, command: MoveInventory, bins: BothBins, context: ExecutionContext, /) -> MoveInventoryResult:
        """Take from the one, give to the other, and write the history."""
        take(bins.source, command.quantity)
        bins.destination.quantity += command.quantity
        movement = Movement(sku=command.sku, source=command.source, destination=command.destination, quantity=command.quantity)
        context.session.add(movement)
        context.session.flush()
        moved = InventoryMoved(sku=command.sku, source=command.source, destination=command.destination, quantity=command.quantity)
        context.emit(moved, about=bins.source)
        if bins.source.quantity == 0:
            context.enqueue(Recount(sku=command.sku, location=command.source))
        return MoveInventoryResult(
            movement_id=movement.id, source_quantity=bins.source.quantity, destination_quantity=bins.destination.quantity
        )


class ReceiveResult(Result):
    """What the bin holds afterwards."""

    quantity: int


class ReceiveGoods(Command[ReceiveResult]):
    """Put what was delivered into a bin."""

    sku: Name
    location: Name
    quantity: Quantity


@dataclass(frozen=True)
class OneBin:
    """A balance that comes into being with the first delivery."""

    balance: Annotated[Balance, Load.or_create(sku="sku", location="location")]


class ReceiveGoodsUseCase(UseCase[ReceiveGoods, OneBin, ReceiveResult]):
    """Put what was delivered into a bin."""

    name = "ReceiveGoods"

    def apply(self, command: ReceiveGoods, bins: OneBin, context: ExecutionContext, /) -> ReceiveResult:
        """Add it."""
        bins.balance.quantity += command.quantity
        return ReceiveResult(quantity=bins.balance.quantity)


class Reserved(Result):
    """What was promised."""

    reservation_id: UUID
    available: int


class ReserveInventory(Command[Reserved]):
    """Promise so much of an article at a location."""

    sku: Annotated[Name, Key(Balance.sku)]
    location: Annotated[Name, Key(Balance.location)]
    quantity: Quantity


class ReserveInventoryUseCase(UseCase[ReserveInventory, Balance, Reserved]):
    """Promise stock: the reservation lives on by its own lifecycle."""

    name = "ReserveInventory"
    creates = Reservation
    refuses = (NotEnough,)

    def apply(self, command: ReserveInventory, balance: Balance, context: ExecutionContext, /) -> Reserved:
        """Hold it."""
        reservation = context.create(hold(balance, command.quantity))
        return Reserved(reservation_id=reservation.id, available=balance.available)


class Ordered(Result):
    """An order and what was reserved for it."""

    order_id: UUID
    reservation_id: UUID


class CreateOrder(Command[Ordered]):
    """Order an article, from a location."""

    customer: Name
    sku: Annotated[Name, Key(Balance.sku)]
    location: Annotated[Name, Key(Balance.location)]
    quantity: Quantity


class CreateOrderUseCase(UseCase[CreateOrder, Balance, Ordered]):
    """Open an order, and reserve what it needs, or do neither."""

    name = "CreateOrder"
    creates = (SalesOrder, Reservation)
    refuses = (NotEnough,)

    def apply(self, command: CreateOrder, balance: Balance, context: ExecutionContext, /) -> Ordered:
        """Create both."""
        order = context.create(SalesOrder(customer=command.customer))
        reservation = context.create(hold(balance, command.quantity, order.id))
        order.reservation_id = reservation.id
        return Ordered(order_id=order.id, reservation_id=reservation.id)


class Shipped(Result):
    """What is left at the location."""

    order_id: UUID
    left: int


class ShipOrder(Command[Shipped]):
    """Send an order off."""

    order_id: UUID
    reservation_id: UUID
    sku: Name
    location: Name


@dataclass(frozen=True)
class Shipment:
    """The order, what was reserved for it, and the bin it lies in."""

    order: Annotated[SalesOrder, Load(id="order_id")]
    reservation: Annotated[Reservation, Load(id="reservation_id")]
    balance: Annotated[Balance, Load(sku="sku", location="location")]


class NotItsReservation(DomainError):
    """The reservation, or the bin, is another order's."""


class ShipOrderUseCase(UseCase[ShipOrder, Shipment, Shipped]):
    """Ship an order: it and its reservation end together."""

    name = "ShipOrder"
    also_fires = {SalesOrder: ("ship",), Reservation: ("ship",)}
    refuses = (NotItsReservation,)

    def apply(self, command: ShipOrder, shipment: Shipment, context: ExecutionContext, /) -> Shipped:
        """Fire both, and take the stock."""
        order, reservation, balance = shipment.order, shipment.reservation, shipment.balance
        if reservation.order_id != order.id or (reservation.sku, reservation.location) != (balance.sku, balance.location):
            raise NotItsReservation(f"reservation {reservation.id} does not belong to order {order.id} and this bin")
        context.fire(order, "ship")
        context.fire(reservation, "ship")
        balance.reserved -= reservation.quantity
        balance.quantity -= reservation.quantity
        return Shipped(order_id=order.id, left=balance.quantity)


class Released(Result):
    """What may be taken or promised again."""

    available: int


class ReleaseReservation(Command[Released]):
    """Give back what was promised."""

    reservation_id: UUID
    sku: Name
    location: Name


@dataclass(frozen=True)
class Held:
    """A reservation and the bin it holds stock in."""

    reservation: Annotated[Reservation, Load(id="reservation_id")]
    balance: Annotated[Balance, Load(sku="sku", location="location")]


class ReleaseReservationUseCase(UseCase[ReleaseReservation, Held, Released]):
    """Release a reservation: its stock is free again."""

    name = "ReleaseReservation"
    trigger = "release"
    refuses = (NotItsReservation,)

    def apply(self, command: ReleaseReservation, held: Held, context: ExecutionContext, /) -> Released:
        """Give the stock back."""
        reservation, balance = held.reservation, held.balance
        if (reservation.sku, reservation.location) != (balance.sku, balance.location):
            raise NotItsReservation(f"reservation {reservation.id} does not hold anything in this bin")
        balance.reserved -= reservation.quantity
        return Released(available=balance.available)


def take(balance: Balance, quantity: int) -> None:
    """Take from a bin what isn't promised."""
    require(balance, quantity)
    balance.quantity -= quantity


def hold(balance: Balance, quantity: int, order_id: UUID | None = None) -> Reservation:
    """Promise from a bin what isn't promised yet."""
    require(balance, quantity)
    balance.reserved += quantity
    return Reservation(sku=balance.sku, location=balance.location, quantity=quantity, order_id=order_id)


def require(balance: Balance, quantity: int) -> None:
    """Refuse what isn't there."""
    if balance.available < quantity:
        raise NotEnough(sku=balance.sku, location=balance.location, available=balance.available, wanted=quantity)


USE_CASES = (
    MoveInventoryUseCase,
    ReceiveGoodsUseCase,
    ReserveInventoryUseCase,
    CreateOrderUseCase,
    ShipOrderUseCase,
    ReleaseReservationUseCase,
)
