"""An incident as ITIL has it: logged, worked on, held up for three reasons, resolved, closed."""

from __future__ import annotations

from typing import ClassVar

from sqlalchemy.orm import Mapped, mapped_column

from tests.lifecycles.moves import Base, application_for
from usecasecore import Lifecycle, Transition, guard, state_column, version_column


class Incident(Base):
    __tablename__ = "incidents"

    group: Mapped[str | None] = mapped_column(default=None)
    close_code: Mapped[str | None] = mapped_column(default=None)
    caller_agrees: Mapped[bool] = mapped_column(default=False)
    days_resolved: Mapped[int] = mapped_column(default=0)
    state: Mapped[str] = state_column()
    version: Mapped[int] = version_column()

    lifecycle: ClassVar = Lifecycle(
        separator="/",
        states=[
            "new",
            {
                "name": "active",
                "initial": "assigned",
                "children": [
                    "assigned",
                    "in_progress",
                    {
                        "name": "on_hold",
                        "initial": "awaiting_caller",
                        "children": ["awaiting_caller", "awaiting_vendor", "awaiting_change"],
                    },
                ],
                "transitions": [
                    Transition("start", "assigned", "in_progress"),
                    Transition("ask_caller", "in_progress", "on_hold"),
                    Transition("ask_vendor", "in_progress", "on_hold/awaiting_vendor"),
                    Transition("raise_change", "in_progress", "on_hold/awaiting_change"),
                    Transition("resume", "on_hold", "in_progress"),
                    # Whatever is being done, another group begins anew.
                    Transition("escalate", ["in_progress", "on_hold"], "assigned"),
                ],
            },
            "resolved",
            {"name": "closed", "final": True},
            {"name": "cancelled", "final": True},
        ],
        initial="new",
        transitions=[
            Transition("assign", "new", "active", conditions="has_a_group"),
            Transition("update", ["new", "active"], None),
            Transition("resolve", "active", "resolved", conditions="has_a_close_code"),
            Transition("reopen", "resolved", "active/in_progress"),
            Transition("close", "resolved", "closed", conditions="is_confirmed"),
            Transition("cancel", ["new", "active"], "cancelled"),
        ],
    )

    @guard("no group is responsible")
    def has_a_group(self) -> bool:
        return self.group is not None

    @guard("a resolution is classified")
    def has_a_close_code(self) -> bool:
        return self.close_code is not None

    @guard("the caller has not agreed, and five days are not over")
    def is_confirmed(self) -> bool:
        return self.caller_agrees or self.days_resolved >= 5


FACTS = {
    "has_a_group": ({"group": "network"}, {"group": None}),
    "has_a_close_code": ({"close_code": "fixed"}, {"close_code": None}),
    "is_confirmed": ({"caller_agrees": True}, {"caller_agrees": False}),
}
app = application_for(Incident)
