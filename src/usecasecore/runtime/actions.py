"""What can be done with aggregates? One answer for each use case that loads them, before there is a command.

How it works: what follows from the state alone is in a table (`action_table`). There remain the questions to the policy, to
`choose_trigger` and to the guards of the state. They are asked in the order of `execute`, without the command; whoever looks for
it makes the answer depend on it (`lifecycle.absent`). Where the key is all that a command says, the command is made instead.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from usecasecore.context import Actor
from usecasecore.errors import DomainError, Forbidden, Refusal, Rejected
from usecasecore.lifecycle.absent import UNKNOWN, Absent, SaidWithout, Unknown
from usecasecore.lifecycle.examination import Examination, examine
from usecasecore.messages import Command
from usecasecore.policy import PolicyRequest
from usecasecore.runtime.action_table import About, ActionTable, Cell, Outline, Row, dated
from usecasecore.runtime.call import check_by_use_case
from usecasecore.runtime.execute import answer_of, chosen_trigger
from usecasecore.runtime.explanation import Action, Actions, Possibility
from usecasecore.runtime.reading import ReadingSession
from usecasecore.runtime.shell import note_version
from usecasecore.runtime.unsaid import UnsaidCommand, UnsaidContext, UnsaidRequest

__all__ = ["Asking"]

_POLICY, _CHOICE, _OTHERS, _PREPARE = "policy", "choose_trigger", "aggregates", "prepare"


@dataclass(slots=True)
class Asking:
    """Asks about aggregates, one after the other, on behalf of one actor in one transaction."""

    table: ActionTable
    actor: Actor
    now: datetime
    session: ReadingSession
    _absent: Absent = field(default_factory=Absent)
    _contexts: dict[int, UnsaidContext] = field(default_factory=dict)
    _about: About = field(default_factory=About)

    def actions(self, aggregate: Any) -> Actions | None:
        """Return what can be done with an aggregate; None where the actor may not know of it.

        Raises:
            UndeclaredState: If it is in none of the states of a lifecycle.
            WriteRefused: If user code wanted to change something.
            Exception: Whatever a guard or `choose_trigger` raises.
        """
        known, held = self.table.known_of(type(aggregate)), aggregate.__dict__
        version = known.version(aggregate, held)
        outline = known.outline((version, *[read(aggregate, held) for read in known.states]))
        actions, seen = outline.actions, not self.table.asks_readable
        if outline.open:
            answers = list(actions)
            seen = self._ask(aggregate, version, outline, answers) or seen
            actions = tuple(answers)
        if not seen:
            return None
        key = known.key(aggregate, held)
        return Actions(aggregate=known.plan.name, key=key, version=version, states=outline.states, actions=actions)

    def _ask(self, aggregate: Any, version: int, outline: Outline, actions: list[Action]) -> bool:
        """Fill in what is open; say whether the policy lets the actor know of the aggregate."""
        seen, asks_policy = False, self.table.asks_policy
        self._about.model = aggregate
        for place, row, cell in outline.open:
            known = None if asks_policy else cell.yes(self._about)
            if known is None:
                one = _Answering(self, row, cell, aggregate, version)
                known, seen = one.action(), seen or one.seen
            actions[place] = known
        return seen

    def context(self, row: Row) -> UnsaidContext:
        """Return what user code of a use case gets as its context."""
        context = self._contexts.get(id(row))
        if context is None:
            context = UnsaidContext.of(row.plan, self.actor, self.now, self.session, self._absent)
            self._contexts[id(row)] = context
        return context

    @property
    def absent(self) -> Absent:
        """Is told of each look at what isn't there."""
        return self._absent


class _Answering:
    """One use case on one aggregate.

    Attributes:
        seen: Whether the policy lets the actor know of the aggregate, for sure.
    """

    def __init__(self, asking: Asking, row: Row, cell: Cell, aggregate: Any, version: int) -> None:
        self.seen = not asking.table.asks_readable
        self._asking, self._row, self._cell = asking, row, cell
        self._aggregate, self._version = aggregate, version
        self._absent, self._context = asking.absent, asking.context(row)
        self._command: Command[Any] | None = None
        self._refusals: list[Refusal] = []
        self._forbidden = False
        self._depends: list[str] = []
        self._destinations: tuple[str, ...] = ()

    def action(self) -> Action:
        row, session = self._row, self._asking.session
        session.asking = row.plan.name
        self._command = row.command(self._aggregate)
        self._validate()
        if self._may_be_seen():
            self._permit()
            self._fire()
        session.require_no_write()
        if self._refusals:
            return row.action(Possibility.NO, refusals=tuple(self._refusals))
        depends = tuple(dict.fromkeys(self._depends))
        possibility = Possibility.DEPENDS if depends else Possibility.YES
        return row.action(possibility, depends_on=depends, destinations=self._destinations)

    def _refuse(self, error: Rejected) -> None:
        note_version(error, self._version)
        self._refusals.append(error.refusal)

    def _validate(self) -> None:
        if self._command is None or not self._row.checks_command:
            return
        try:
            check_by_use_case(self._row.plan, self._command)
        except DomainError as error:
            self._refusals.append(error.refusal)

    def _may_be_seen(self) -> bool:
        """Say whether more may be told than that there is no such aggregate."""
        if not self._asking.table.asks_readable:
            return True
        # This question is asked about each aggregate that is loaded, so what else is loaded does not matter.
        answer = self._ask_policy(self._asking.table.policy.readable, loaded=True)
        if answer is UNKNOWN:
            self._depends.append(_POLICY)
            return True
        if not answer[0]:
            self._refuse(self._row.not_found(self._aggregate))
            return False
        self.seen = True
        return True

    def _permit(self) -> None:
        if not self._asking.table.asks_permitted:
            return
        answer = self._ask_policy(self._asking.table.policy.permitted, loaded=self._row.sole)
        if answer is UNKNOWN:
            self._depends.append(_POLICY)
        elif not answer[0]:
            plan = self._row.plan
            actor = str(self._asking.actor)
            self._forbidden = True
            self._refuse(Forbidden(use_case=plan.name, permission=plan.permission, actor=actor, reason=answer[1]))

    def _ask_policy(self, question: Callable[[Any], Any], *, loaded: bool) -> tuple[bool, str, Exception | None] | Unknown:
        plan, command, aggregate = self._row.plan, self._command, self._aggregate
        request: PolicyRequest = UnsaidRequest.of(plan, command, aggregate, self._context, self._absent, loaded=loaded)
        answer = self._absent.ask(answer_of, question, request)
        if answer is not UNKNOWN:
            self._asking.session.policy_failure = answer[2]
            self._asking.session.require_no_write()
        return answer

    def _fire(self) -> None:
        row = self._row
        if row.triggers:
            if self._cell.refusals:
                self._refusals += (dated(refusal, self._version) for refusal in self._cell.refusals)
            elif not self._forbidden and not self._depends:
                self._ask_guards()
            else:
                # The actor may not act, or that isn't known: what the guards say isn't theirs to know.
                self._destinations = self._everywhere()
        if not row.sole and not self._refusals:
            self._depends.append(_OTHERS)

    def _everywhere(self) -> tuple[str, ...]:
        lifecycle = self._row.lifecycle
        assert lifecycle is not None
        state = lifecycle.state_of(self._aggregate)
        paths = (path for trigger in self._row.triggers for path in lifecycle.machine.candidates(state, trigger))
        return tuple(dict.fromkeys(path.dest or state for path in paths))

    def _ask_guards(self) -> None:
        if (known := self._cell.yes(About(self._aggregate))) is not None:
            self._destinations = known.destinations
            return
        try:
            triggers = self._chosen()
        except Rejected as error:
            self._refuse(error)
            return
        seen = [self._examined(trigger) for trigger in triggers]
        possible = [one for one in seen if one.refusal is None]
        if not possible:
            for one in seen:
                assert one.refusal is not None
                self._refuse(one.refusal)
            return
        self._destinations = tuple(dict.fromkeys(name for one in possible for name in one.destinations))
        if len(triggers) > 1:
            self._depends.append(_CHOICE)
        for one in possible:
            if not one.certain:
                self._depends += [f"guard {name}" for name in one.undecided] or [_PREPARE]

    def _chosen(self) -> Sequence[str]:
        """Return what would be fired; where that depends on the command, all that may be."""
        plan = self._row.plan
        if plan.trigger is not None:
            return (plan.trigger,)
        if not self._row.sole:
            return plan.triggers
        command: Any = UnsaidCommand(self._absent) if self._command is None else self._command
        trigger = self._absent.ask(chosen_trigger, plan, command, self._aggregate, self._context)
        return plan.triggers if trigger is UNKNOWN else (trigger,)

    def _examined(self, trigger: str) -> Examination:
        lifecycle = self._row.lifecycle
        assert lifecycle is not None
        said: dict[str, Any]
        if self._command is None:
            said = SaidWithout(self._absent, context=self._context)
        else:
            said = {"command": self._command, "context": self._context}
        return examine(lifecycle, self._aggregate, trigger, said, absent=self._absent, every=False)
