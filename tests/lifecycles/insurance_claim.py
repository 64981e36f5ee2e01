"""An insurance claim: notified, registered, assessed, decided, settled, and open to an appeal."""

from __future__ import annotations

from typing import ClassVar

from sqlalchemy.orm import Mapped, mapped_column

from tests.lifecycles.moves import Base, application_for
from usecasecore import Lifecycle, Transition, guard, state_column, version_column


class Claim(Base):
    __tablename__ = "claims"

    policy_in_force: Mapped[bool] = mapped_column(default=True)
    documents_missing: Mapped[bool] = mapped_column(default=False)
    amount: Mapped[int] = mapped_column(default=0)
    adjusters_limit: Mapped[int] = mapped_column(default=5_000)
    fraud_suspected: Mapped[bool] = mapped_column(default=False)
    paid: Mapped[int] = mapped_column(default=0)
    appealed: Mapped[bool] = mapped_column(default=False)
    state: Mapped[str] = state_column()
    version: Mapped[int] = version_column()

    lifecycle: ClassVar = Lifecycle(
        states=[
            "notified",
            {
                "name": "assessment",
                "initial": "triage",
                "children": ["triage", "documents", "investigation", "valuation", "referral"],
                "transitions": [
                    Transition("assess", "triage", "documents", conditions="lacks_documents"),
                    Transition("assess", "triage", "investigation", conditions="is_suspicious"),
                    Transition("assess", "triage", "valuation"),
                    Transition("receive_documents", "documents", "triage", unless="lacks_documents"),
                    Transition("clear", "investigation", "valuation"),
                    Transition("value", "valuation", "referral", conditions="exceeds_the_limit"),
                ],
            },
            "approved",
            "rejected",
            "settled",
            "closed",
            "withdrawn",
        ],
        initial="notified",
        transitions=[
            Transition("register", "notified", "assessment", conditions="is_covered"),
            Transition("register", "notified", "rejected"),
            Transition("value", "assessment_valuation", "approved"),
            Transition("approve", "assessment_referral", "approved"),
            Transition("reject", ["assessment_investigation", "assessment_valuation", "assessment_referral"], "rejected"),
            Transition("pay", "approved", "settled", conditions="is_paid_in_full"),
            Transition("pay", "approved", None),
            Transition("appeal", "rejected", "assessment_referral", unless="was_appealed"),
            Transition("close", ["settled", "rejected"], "closed"),
            Transition("reopen", "closed", "assessment"),
            Transition("withdraw", ["notified", "assessment", "approved"], "withdrawn"),
        ],
        final="withdrawn",
    )

    @guard("the policy was not in force")
    def is_covered(self) -> bool:
        return self.policy_in_force

    @guard("documents are missing")
    def lacks_documents(self) -> bool:
        return self.documents_missing

    @guard("nothing is suspicious")
    def is_suspicious(self) -> bool:
        return self.fraud_suspected

    @guard("the adjuster may decide alone")
    def exceeds_the_limit(self) -> bool:
        return self.amount > self.adjusters_limit

    @guard("not everything is paid")
    def is_paid_in_full(self) -> bool:
        return self.paid >= self.amount

    @guard("a claim is appealed once")
    def was_appealed(self) -> bool:
        return self.appealed


FACTS = {
    "is_covered": ({"policy_in_force": True}, {"policy_in_force": False}),
    "lacks_documents": ({"documents_missing": True}, {"documents_missing": False}),
    "is_suspicious": ({"fraud_suspected": True}, {"fraud_suspected": False}),
    "exceeds_the_limit": ({"amount": 9_000}, {"amount": 100}),
    "is_paid_in_full": ({"paid": 9_000}, {"paid": 0, "amount": 100}),
    "was_appealed": ({"appealed": True}, {"appealed": False}),
}
app = application_for(Claim)
