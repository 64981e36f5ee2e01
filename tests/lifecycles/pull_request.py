"""A pull request as GitHub documents drafts, reviews and the merge queue (docs.github.com/pull-requests)."""

from __future__ import annotations

from typing import ClassVar

from sqlalchemy.orm import Mapped, mapped_column

from tests.lifecycles.moves import Base, application_for
from usecasecore import Lifecycle, Transition, guard, state_column, version_column


class PullRequest(Base):
    __tablename__ = "pull_requests"

    approvals: Mapped[int] = mapped_column(default=0)
    approvals_needed: Mapped[int] = mapped_column(default=1)
    checks_green: Mapped[bool] = mapped_column(default=False)
    queue_required: Mapped[bool] = mapped_column(default=True)
    dismiss_stale_reviews: Mapped[bool] = mapped_column(default=False)
    branch_deleted: Mapped[bool] = mapped_column(default=False)
    state: Mapped[str] = state_column()
    version: Mapped[int] = version_column()

    lifecycle: ClassVar = Lifecycle(
        separator="/",
        states=[
            "draft",
            {
                "name": "open",
                "initial": "review_required",
                "children": ["review_required", "changes_requested", "approved"],
                "transitions": [
                    Transition(
                        "approve", ["review_required", "changes_requested"], "approved", conditions="has_enough_approvals"
                    ),
                    Transition("approve", "review_required", None),
                    Transition("request_changes", ["review_required", "approved"], "changes_requested"),
                    Transition("dismiss_review", ["changes_requested", "approved"], "review_required"),
                    Transition("push", "approved", "review_required", conditions="dismisses_stale_reviews"),
                ],
            },
            "queued",
            {"name": "merged", "final": True},
            "closed",
        ],
        initial="draft",
        transitions=[
            Transition("mark_ready", "draft", "open"),
            Transition("convert_to_draft", "open", "draft"),
            Transition("push", ["draft", "open"], None),
            Transition("enqueue", "open/approved", "queued", conditions="has_green_checks"),
            Transition("merge", "open/approved", "merged", conditions="has_green_checks", unless="needs_the_queue"),
            Transition("merge", "queued", "merged", conditions="has_green_checks"),
            Transition("dequeue", "queued", "open/approved"),
            Transition("close", ["draft", "open", "queued"], "closed"),
            Transition("reopen", "closed", "open", unless="has_lost_its_branch"),
        ],
    )

    @guard("reviews are missing")
    def has_enough_approvals(self) -> bool:
        return self.approvals >= self.approvals_needed

    @guard("reviews stay valid after a push")
    def dismisses_stale_reviews(self) -> bool:
        return self.dismiss_stale_reviews

    @guard("required checks have not passed")
    def has_green_checks(self) -> bool:
        return self.checks_green

    @guard("the branch is merged through its queue")
    def needs_the_queue(self) -> bool:
        return self.queue_required

    @guard("the branch was deleted")
    def has_lost_its_branch(self) -> bool:
        return self.branch_deleted


FACTS = {
    "has_enough_approvals": ({"approvals": 1}, {"approvals": 0}),
    "dismisses_stale_reviews": ({"dismiss_stale_reviews": True}, {"dismiss_stale_reviews": False}),
    "has_green_checks": ({"checks_green": True}, {"checks_green": False}),
    "needs_the_queue": ({"queue_required": True}, {"queue_required": False}),
    "has_lost_its_branch": ({"branch_deleted": True}, {"branch_deleted": False}),
}
app = application_for(PullRequest)
