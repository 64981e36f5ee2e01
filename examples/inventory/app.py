"""The application, with a policy that lets only stock keepers move."""

from __future__ import annotations

from examples.inventory.use_cases import USE_CASES
from usecasecore import Application, Decision, Policy, PolicyRequest


class StockKeepers(Policy):
    """Moving and receiving is for stock keepers; ordering for everybody."""

    def permitted(self, request: PolicyRequest, /) -> Decision:
        """Look at the actor's roles."""
        if request.permission in ("MoveInventory", "ReceiveGoods") and "stock keeper" not in request.actor.roles:
            return Decision.deny("only stock keepers move stock")
        return Decision.allow()


app = Application(USE_CASES, policy=StockKeepers(), name="inventory")
