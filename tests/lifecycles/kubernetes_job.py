"""A Job as Kubernetes documents its conditions (kubernetes.io/docs/concepts/workloads/controllers/job)."""

from __future__ import annotations

from typing import ClassVar

from sqlalchemy.orm import Mapped, mapped_column

from tests.lifecycles.moves import Base, application_for
from usecasecore import Lifecycle, Transition, guard, state_column, version_column


class Job(Base):
    __tablename__ = "jobs"

    completions: Mapped[int] = mapped_column(default=3)
    succeeded: Mapped[int] = mapped_column(default=0)
    failed: Mapped[int] = mapped_column(default=0)
    backoff_limit: Mapped[int] = mapped_column(default=6)
    active: Mapped[int] = mapped_column(default=0)
    state: Mapped[str] = state_column()
    version: Mapped[int] = version_column()

    lifecycle: ClassVar = Lifecycle(
        states=["running", "suspended", "success_criteria_met", "failure_target", "complete", "failed"],
        initial="running",
        transitions=[
            Transition("suspend", "running", "suspended"),
            Transition("resume", "suspended", "running"),
            Transition("pod_succeeded", "running", "success_criteria_met", conditions="has_all_completions"),
            Transition("pod_succeeded", "running", None),
            Transition("pod_failed", "running", "failure_target", conditions="has_used_up_its_retries"),
            Transition("pod_failed", "running", None),
            Transition("pod_failure_policy_matched", "running", "failure_target"),
            Transition("deadline_exceeded", ["running", "suspended"], "failure_target"),
            # The conditions follow once no pod of the job is left.
            Transition("pods_terminated", "success_criteria_met", "complete", unless="has_active_pods"),
            Transition("pods_terminated", "failure_target", "failed", unless="has_active_pods"),
        ],
        final=["complete", "failed"],
    )

    @guard("completions are missing")
    def has_all_completions(self) -> bool:
        return self.succeeded >= self.completions

    @guard("retries are left")
    def has_used_up_its_retries(self) -> bool:
        return self.failed > self.backoff_limit

    @guard("pods are still active")
    def has_active_pods(self) -> bool:
        return self.active > 0


FACTS = {
    "has_all_completions": ({"succeeded": 3}, {"succeeded": 1}),
    "has_used_up_its_retries": ({"failed": 7}, {"failed": 1}),
    "has_active_pods": ({"active": 1}, {"active": 0}),
}
app = application_for(Job)
