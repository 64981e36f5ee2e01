"""What can be done with a purchase. Each is one command, one version and one audit entry, whatever it moves."""

from __future__ import annotations

from decimal import Decimal
from typing import Annotated, ClassVar
from uuid import UUID

from examples.purchases.model import Payment, Purchase, Shipping
from usecasecore import Command, DomainEvent, ExecutionContext, Key, Result, UseCase


class Standing(Result):
    purchase_id: UUID
    payment: Payment
    shipping: Shipping


def standing(purchase: Purchase) -> Standing:
    """Return where a purchase stands."""
    return Standing(purchase_id=purchase.id, payment=purchase.payment_state, shipping=purchase.shipping_state)


class Refunded(DomainEvent, name="purchase.refunded"):
    purchase_id: UUID
    amount: Decimal


class Place(Command[Standing]):
    article: str
    amount: Decimal


class PlacePurchase(UseCase[Place, None, Standing]):
    """Reserve the money, and let the goods wait."""

    creates = Purchase

    def apply(self, command: Place, state: None, context: ExecutionContext, /) -> Standing:
        return standing(context.create(Purchase(article=command.article, amount=command.amount)))


class _OnPurchase(Command[Standing]):
    purchase_id: Annotated[UUID, Key(Purchase.id)]


class Capture(_OnPurchase):
    pass


class CapturePayment(UseCase[Capture, Purchase, Standing]):
    """Take the money."""

    trigger = "capture"

    def apply(self, command: Capture, purchase: Purchase, context: ExecutionContext, /) -> Standing:
        return standing(purchase)


class Dispatch(_OnPurchase):
    pass


class DispatchGoods(UseCase[Dispatch, Purchase, Standing]):
    """Send the goods off."""

    trigger = "dispatch"

    def apply(self, command: Dispatch, purchase: Purchase, context: ExecutionContext, /) -> Standing:
        return standing(purchase)


class Deliver(_OnPurchase):
    pass


class DeliverGoods(UseCase[Deliver, Purchase, Standing]):
    """Note that they arrived."""

    trigger = "deliver"

    def apply(self, command: Deliver, purchase: Purchase, context: ExecutionContext, /) -> Standing:
        return standing(purchase)


class Cancel(_OnPurchase):
    pass


class CancelPurchase(UseCase[Cancel, Purchase, Standing]):
    """Give the money free and keep the goods: both, or neither."""

    trigger = "void"
    also_fires: ClassVar = {Purchase: ("stop",)}

    def apply(self, command: Cancel, purchase: Purchase, context: ExecutionContext, /) -> Standing:
        context.fire(purchase, "stop")
        return standing(purchase)


class TakeBack(_OnPurchase):
    pass


class TakeGoodsBack(UseCase[TakeBack, Purchase, Standing]):
    """Take the goods back and pay the money back."""

    trigger = "take_back"
    also_fires: ClassVar = {Purchase: ("refund",)}
    emits = (Refunded,)

    def apply(self, command: TakeBack, purchase: Purchase, context: ExecutionContext, /) -> Standing:
        context.fire(purchase, "refund")
        context.emit(Refunded(purchase_id=purchase.id, amount=purchase.amount))
        return standing(purchase)


USE_CASES = (PlacePurchase, CapturePayment, DispatchGoods, DeliverGoods, CancelPurchase, TakeGoodsBack)
