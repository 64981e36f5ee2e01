"""Collects what a use case does while it runs, and turns it into ledger entries."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, TypeAlias

from pydantic_core import PydanticSerializationError

from usecasecore import steps
from usecasecore.context import ExecutionContext, FiredTransition
from usecasecore.errors import ContractViolation, Undeclared, WrongResult
from usecasecore.ids import uuid7
from usecasecore.ledger.entries import AuditEntry, Entries, EntryKind, OutboxMessage, Said, StoredResult
from usecasecore.ledger.json_text import NotStorable, canonical, canonical_of_any, canonical_of_texts, jsonable
from usecasecore.ledger.transitions import FURTHER_TRANSITIONS, as_json, event_payload
from usecasecore.lifecycle import Lifecycle, grant_delete, set_version
from usecasecore.messages import REDACTED, Command, DomainEvent, Job, Result, json_of
from usecasecore.runtime.call import Call
from usecasecore.runtime.folding import Folded
from usecasecore.runtime.load import Loaded
from usecasecore.runtime.plan import AggregatePlan, Plan
from usecasecore.runtime.session import CommandSession
from usecasecore.slots import lifecycle_firing

__all__ = ["Changes", "Joined", "Touched"]

Joined: TypeAlias = Callable[[Command[Any], dict[str, Any], int], Result]
"""Runs a command inside of this one: takes it, what is said with it, and its place among those that were."""


@dataclass(slots=True)
class Touched:
    """An aggregate of this command."""

    aggregate: Any
    plan: AggregatePlan
    created: bool
    before: dict[str, Any]
    version: int
    transition: FiredTransition | None = None
    further: tuple[FiredTransition, ...] = ()
    loaded: bool = False
    sole: bool = False
    unique: bool = False
    deleted: bool = False
    spoken_of: bool = False
    ordinal: int = 0
    _key: str = ""

    @property
    def key(self) -> str:
        """The aggregate's key as the ledger writes it; from when it has one that it keeps."""
        if not self._key:
            self._key = self.plan.id_of(self.aggregate)
        return self._key

    @property
    def transitions(self) -> list[FiredTransition]:
        """Every transition that it made: at most one for each lifecycle."""
        return [self.transition, *self.further] if self.transition is not None else []

    @property
    def moves(self) -> list[FiredTransition | None]:
        """What the runtime sends an event of its own about: its transitions, else its creation, which is None."""
        return [*self.transitions] or ([None] if self.created else [])

    @property
    def counts(self) -> bool:
        """Whether the command raises its version. A sole aggregate's always: see `load`."""
        known = self.sole or self.created or self.deleted or self.spoken_of or self.transition is not None
        return known or bool(_differences(self))

    @property
    def kind(self) -> EntryKind:
        """What its audit entry is about."""
        return "create" if self.created else "delete" if self.deleted else "change"

    @property
    def told(self) -> Lifecycle | None:
        """The lifecycle that its audit entry is about; None where it is about none."""
        lifecycles = self.plan.lifecycles
        if self.transition is not None:
            return (
                lifecycles[0]
                if len(lifecycles) == 1
                else next(one for one in lifecycles if one.name == self.transition.lifecycle)
            )
        return lifecycles[0] if lifecycles and (self.created or self.deleted) else None

    def states(self) -> tuple[str | None, str | None]:
        """Return the state before and the state after, as its audit entry has them."""
        if self.transition is not None:
            return self.transition.source, None if self.deleted else self.transition.dest
        told = self.told
        if told is None:
            return None, None
        return (None, told.initial) if self.created else (told.state_of(self.aggregate), None)

    def told_otherwise(self) -> tuple[str, ...]:
        """Return the state columns whose change the entry's own columns, or its detail, tell of."""
        told = self.told
        columns: tuple[str, ...] = ()
        if told is not None and (self.transition is not None or self.deleted):
            columns = (told.column,)
        elif self.created:
            columns = tuple(lifecycle.column for lifecycle in self.plan.lifecycles)
        if not self.further:
            return columns
        made = {each.lifecycle for each in self.further}
        return columns + tuple(lifecycle.column for lifecycle in self.plan.lifecycles if lifecycle.name in made)

    def next_ordinal(self) -> int:
        """Return 0, 1, 2, ..: the order of its messages within this version."""
        ordinal = self.ordinal
        self.ordinal += 1
        return ordinal


@dataclass(slots=True)
class _Sent:
    """An event or a job that waits for the commit."""

    message: DomainEvent | Job
    kind: str
    about: object | None
    available_at: datetime


@dataclass(slots=True)
class Changes:
    """What one attempt loads, creates, fires, emits and enqueues."""

    plan: Plan
    call: Call
    session: CommandSession
    join: Joined | None = None
    inner: int = 0
    touched: list[Touched] = field(default_factory=list)
    sent: list[_Sent] = field(default_factory=list)
    subject: Any = None
    said: Said | None = None

    def context(self) -> ExecutionContext:
        """Return what user code gets to see."""
        asked = self.call.asked
        return ExecutionContext(
            actor=asked.actor,
            use_case=self.plan.name,
            command_id=self.call.command_id,
            key=self.call.key,
            now=self.call.now,
            session=self.session,
            reason=asked.reason,
            request_id=asked.request_id,
            correlation_id=self._correlation_id(),
            causation_id=asked.causation_id,
            _doings=self,
        )

    def take_in_hand(self, found: Loaded) -> list[object]:
        """Have in hand what was loaded, while user code runs; return what the session is to have in hand afterwards.

        Raises:
            ContractViolation: If a command inside of another one loads what that one has in hand: their transitions would then
                be written down in another order than they were made.
        """
        self.subject = found.subject
        for aggregate in found.aggregates:
            self.touched.append(self._loaded(aggregate, found))
        in_hand = self.session.in_hand
        for aggregate in found.aggregates if in_hand else ():
            if any(aggregate is one for one in in_hand):
                raise ContractViolation(
                    f"{self.plan.name}: the command that runs this one inside has the same {type(aggregate).__name__} in hand; "
                    "do it there, or run it before"
                )
        self.session.in_hand = [*in_hand, *found.aggregates]
        return in_hand

    def _loaded(self, aggregate: Any, found: Loaded) -> Touched:
        plan = self.plan.plan_of(type(aggregate))
        if found.created and any(aggregate is one for one in found.created):
            self._tell_created(aggregate, plan)
            return Touched(aggregate, plan, True, {}, 0, loaded=True)
        before, name = aggregate.__dict__.copy(), plan.version
        version = before[name] if name in before else getattr(aggregate, name)
        return Touched(aggregate, plan, False, before, version, loaded=True, sole=found.state is aggregate)

    def transition(self, aggregate: Any, lifecycle: Lifecycle, trigger: str, context: ExecutionContext) -> FiredTransition:
        """Fire a trigger and take note of the transition."""
        one = self._touched(aggregate)
        fired = lifecycle.fire(aggregate, trigger, command=self.call.command, context=context)
        assert one is not None
        made = self.plan.transition_of(fired)
        if one.transition is None:
            one.transition = made
        else:
            one.further = (*one.further, made)
        return made

    def fire(self, aggregate: Any, trigger: str) -> FiredTransition:
        """Fire a trigger on a further aggregate; see `ExecutionContext.fire`."""
        allowed = {name for cls, names in self.plan.use_case.also_fires.items() if isinstance(aggregate, cls) for name in names}
        one = self._touched(aggregate)
        lifecycle = lifecycle_firing(one.plan.lifecycles, trigger) if one is not None else None
        if one is None or lifecycle is None or trigger not in allowed:
            name = f"{trigger!r} on a {type(aggregate).__name__}"
            raise Undeclared(use_case=self.plan.name, what="also_fires", type_name=name, declared=sorted(allowed))
        if one.deleted:
            raise WrongResult(
                use_case=self.plan.name, expected="nothing more on what it has deleted", got=f"the trigger {trigger!r}"
            )
        for made in one.transitions:
            if made.lifecycle == lifecycle.name:
                wanted, got = "one transition for each lifecycle", f"a second one, {trigger!r} after {made.trigger!r}"
                raise WrongResult(use_case=self.plan.name, expected=wanted, got=got)
        return self.transition(aggregate, lifecycle, trigger.rpartition(".")[2], self.context())

    def execute(self, command: Command[Any], said: dict[str, Any]) -> Result:
        """Run another command in this transaction; see `ExecutionContext.execute`."""
        assert self.join is not None
        self.inner += 1
        self._settle_keys()
        with self.session.inside():
            return self.join(command, said, self.inner)

    def _touched(self, aggregate: Any) -> Touched | None:
        for one in self.touched:
            if one.aggregate is aggregate:
                return one
        return None

    def create(self, aggregate: Any) -> None:
        """Add a new aggregate; see `ExecutionContext.create`."""
        creates = self.plan.creates
        if not isinstance(aggregate, creates):
            declared = [cls.__name__ for cls in creates]
            raise Undeclared(use_case=self.plan.name, what="creates", type_name=type(aggregate).__name__, declared=declared)
        plan = self.plan.plan_of(type(aggregate))
        for lifecycle in plan.lifecycles:
            self._enter_initial(lifecycle, aggregate)
        self._own(aggregate)
        self._tell_created(aggregate, plan)
        set_version(aggregate, plan.version, 1)
        self.session.add(aggregate)
        unique = self._assign_key(aggregate, plan)
        self.touched.append(Touched(aggregate, plan, True, {}, 0, unique=unique))

    def delete(self, aggregate: Any) -> None:
        """Delete a loaded aggregate; see `ExecutionContext.delete`."""
        name, deletes = type(aggregate).__name__, self.plan.deletes
        if not isinstance(aggregate, deletes):
            declared = [cls.__name__ for cls in deletes]
            raise Undeclared(use_case=self.plan.name, what="deletes", type_name=name, declared=declared)
        one = self._touched(aggregate)
        if one is None or one.created or one.deleted:
            got = (
                f"a {name} that is new"
                if one and one.created
                else f"a second one of the same {name}"
                if one
                else f"another {name}"
            )
            raise WrongResult(use_case=self.plan.name, expected="one deletion for each aggregate that it has loaded", got=got)
        one.deleted = True
        grant_delete(aggregate)
        self.session.delete(aggregate)

    def _own(self, aggregate: Any) -> None:
        tenancy = self.plan.tenancy
        if tenancy is None or not tenancy.scopes(type(aggregate)):
            return
        own, given = tenancy.value(type(aggregate), self.call.asked.actor), getattr(aggregate, tenancy.column)
        if given is None:
            setattr(aggregate, tenancy.column, own)
        elif given != own:
            wanted = f"a {type(aggregate).__name__} of the actor's own tenant"
            raise WrongResult(use_case=self.plan.name, expected=wanted, got="one of another tenant")

    def _tell_created(self, aggregate: Any, plan: AggregatePlan) -> None:
        if steps.Creation in steps.wanted:
            for lifecycle in plan.lifecycles:
                self.session.tell(steps.Creation(lifecycle, aggregate))

    def _enter_initial(self, lifecycle: Lifecycle, aggregate: Any) -> None:
        try:
            lifecycle.enter_initial(aggregate)
        except ValueError as error:
            raise WrongResult(use_case=self.plan.name, expected="a new aggregate in its initial state", got=str(error)) from error

    def _assign_key(self, aggregate: Any, plan: AggregatePlan) -> bool:
        """Give it its key; say whether the key is one that no row had before."""
        unique = False
        for key, column in zip(plan.keys, plan.mapper.primary_key, strict=True):
            if getattr(aggregate, key) is not None:
                continue
            default: Any = column.default
            if default is None or default.is_sequence or default.is_clause_element:
                self.session.flush()  # only the database can make this key
                return False
            setattr(aggregate, key, default.arg(None) if default.is_callable else default.arg)
            unique = unique or default.is_callable
        return unique

    def emit(self, event: DomainEvent, about: object | None) -> None:
        """Keep an event for the commit; see `ExecutionContext.emit`."""
        self._require(event, self.plan.emits, "emits")
        if about is not None and self._touched(about) is None:
            names = [type(one.aggregate).__name__ for one in self.touched]
            raise Undeclared(use_case=self.plan.name, what="emits", type_name=f"an event about {about!r}", declared=names)
        self.sent.append(_Sent(event, "event", about, self.call.now))

    def enqueue(self, job: Job, run_at: datetime | None) -> None:
        """Keep a job for the commit; see `ExecutionContext.enqueue`."""
        self._require(job, self.plan.enqueues, "enqueues")
        if run_at is not None and run_at.tzinfo is None:
            raise ValueError("run_at is naive; an aware instant is wanted")
        self.sent.append(_Sent(job, "job", None, run_at or self.call.now))

    def _require(self, message: Any, declared: tuple[type, ...], what: str) -> None:
        if type(message) not in declared:
            names = [kind.__name__ for kind in declared]
            raise Undeclared(use_case=self.plan.name, what=what, type_name=type(message).__name__, declared=names)

    def raise_versions(self) -> int | None:
        """Count the commit on each aggregate that the command is about; return the version of the subject, or the first created."""
        if self.plan.tenancy is not None:
            for one in self.touched:
                self._own(one.aggregate)  # nobody gives a row away
        if len(self.touched) == 1 and (sole := self.touched[0]).sole and not sole.deleted and sole.aggregate is self.subject:
            name, held = sole.plan.version, sole.aggregate.__dict__
            sole.version = (held[name] if name in held else getattr(sole.aggregate, name)) + 1
            set_version(sole.aggregate, name, sole.version)
            return sole.version
        for sent in self.sent:
            if (spoken := self._about(sent.about)) is not None:
                spoken.spoken_of = True
        self.touched = [one for one in self.touched if one.counts]
        self._settle_keys()
        for one in self.touched:
            if one.created:
                one.version = one.version or 1
                continue
            # Not what was loaded plus one: a command inside of this one may have counted already.
            one.version = getattr(one.aggregate, one.plan.version) + 1
            if not one.deleted:
                set_version(one.aggregate, one.plan.version, one.version)
        main = self._about(None)
        return main.version if main else None

    def folded(self) -> Folded | None:
        """Return the UPDATE of the one row that is to be written, for the ledger's statement; None where the session is to flush.

        Raises:
            StateWriteRefused: If a protected column was changed past the runtime.
        """
        if len(self.touched) != 1:
            return None
        [one] = self.touched
        if not one.loaded or one.created or one.deleted:
            return None
        folding = self.plan.folding_of(type(one.aggregate))
        return None if folding is None else folding.fold(self.session, self.session.held, one.aggregate)

    def _settle_keys(self) -> None:
        """Where a new aggregate may have the key of one that was deleted, let its versions go on where that trail ended."""
        new = [one for one in self.touched if one.created and not one.unique and not one.version]
        returning = [one for one in new if self.plan.may_return(one.plan)]
        if not returning:
            return
        self._require_others_gone(returning)
        self.session.flush()  # from here on the key is ours: who deleted the row that had it before has committed
        for one in returning:
            last = self.plan.store.last_version(self.session.connection(), one.plan.name, one.plan.id_of(one.aggregate))
            one.version = last + 1
            if last:
                set_version(one.aggregate, one.plan.version, one.version)

    def _require_others_gone(self, returning: list[Touched]) -> None:
        others = [*self.session.in_hand, *(one.aggregate for one in self.touched if one.deleted)]
        for one in returning:
            key = one.plan.id_of(one.aggregate)
            same = (
                other for other in others if other is not one.aggregate and isinstance(other, one.plan.mapper.base_mapper.class_)
            )
            if any(self.plan.plan_of(type(other)).id_of(other) == key for other in same):
                raise WrongResult(
                    use_case=self.plan.name,
                    expected=f"one entry for each {one.plan.name}",
                    got=f"a deletion and a creation of {key!r}; make them two commands, one after the other",
                )

    def check_result(self, result: object) -> None:
        """Make sure that `apply` kept its promises.

        Raises:
            WrongResult: If it returned another type, or created or deleted nothing of what it creates or deletes.
        """
        if type(result) is not self.plan.result:
            raise WrongResult(use_case=self.plan.name, expected=self.plan.result.__name__, got=f"a {type(result).__name__}")
        creates = self.plan.creates
        if creates and not any(one.created and isinstance(one.aggregate, creates) for one in self.touched):
            names = " or ".join(cls.__name__ for cls in creates)
            raise WrongResult(use_case=self.plan.name, expected=f"a new {names}", got="none")
        deletes = self.plan.deletes
        if deletes and not any(one.deleted and isinstance(one.aggregate, deletes) for one in self.touched):
            names = " or ".join(cls.__name__ for cls in deletes)
            raise WrongResult(use_case=self.plan.name, expected=f"the deletion of a {names}", got="none")

    def entries(self, result: Result, version: int | None, detail: dict[str, Any]) -> Entries:
        """Return everything to write into the ledger. Call it when the versions are raised and flushed.

        Raises:
            WrongResult: If the result, an event or a job holds a value that can't be stored.
        """
        call = self.call
        outbox = self._outbox()
        return Entries(
            said=self._said_now(),
            stored=StoredResult(
                call.fingerprint,
                call.command_id,
                version,
                self.plan.result_type,
                self.plan.result.result_version,
                self.text_of(result),
            ),
            audit=tuple(self._audit(detail, len(outbox))),
            outbox=tuple(outbox),
            personal=call.personal,
        )

    def prepare(self) -> None:
        """Make what `entries` needs and is known before anything is decided. Never fails: what does will do so in its time."""
        try:
            self.said = self._said_now()
            self.said.texts()
        except Exception:  # noqa: BLE001 - `entries` does it again, where it is somebody's turn to hear of it
            self.said = None

    def _said_now(self) -> Said:
        if self.said is not None:
            return self.said
        call = self.call
        return Said(call.scoped_key, call.command_id, call.now, call.now + self.plan.keep_results, self.common(), self._headers())

    def common(self) -> dict[str, Any]:
        """Return the columns that audit entries and attempts share."""
        call = self.call
        asked = call.asked
        return {
            "command_id": call.command_id,
            "use_case": self.plan.name,
            "tenant": asked.actor.tenant,
            "actor": str(asked.actor),
            "on_behalf_of": asked.actor.on_behalf_of,
            "reason": None if asked.reason is None else call.redactor.text(asked.reason),
            "command": call.command_json,
            "request_id": asked.request_id,
            "correlation_id": self._correlation_id(),
            "causation_id": asked.causation_id,
            "occurred_at": call.now,
        }

    def _correlation_id(self) -> str:
        return self.call.asked.correlation_id or self.call.command_text

    def changes_of(self, one: Touched, names: Iterable[str] | None = None) -> str:
        """Return what an aggregate's audit entry says of its columns, as JSON text.

        Args:
            one: The aggregate.
            names: The attributes that may have changed, none of which the entry's own columns tell of (`told_otherwise`); by
                default all those that are tracked.

        Raises:
            WrongResult: If it holds a value that can't be stored.
        """
        changed = _differences(one, names)
        if changed and not one.plan.hidden and not self.call.redactor.secrets:
            try:
                return canonical_of_any(changed)
            except NotStorable as error:
                raise self._not_storable(error) from error
        return self._redacted_text(changed, one.plan.hidden)

    def detail_of(self, one: Touched, detail: dict[str, Any]) -> str:
        """Return the detail of an aggregate's audit entry as JSON text, with the transitions for which the entry has no columns left.

        Raises:
            WrongResult: If it holds a value that can't be stored, or what only the runtime writes.
        """
        return self._with_further(self._detail(detail), one.further)

    def _detail(self, detail: dict[str, Any]) -> str:
        if FURTHER_TRANSITIONS in detail:
            wanted = f"audit detail without the key {FURTHER_TRANSITIONS!r}, under which the runtime writes transitions"
            raise WrongResult(use_case=self.plan.name, expected=wanted, got="one with it")
        return self._redacted_text(detail)

    def _audit(self, detail: dict[str, Any], messages: int) -> list[AuditEntry]:
        detail_text = self._detail(detail)
        if not self.touched:
            return [AuditEntry(id=uuid7(), detail=detail_text, messages=messages)]
        first, *others = self.touched
        return [self._audit_entry(first, detail_text, messages), *(self._audit_entry(one, "{}", 0) for one in others)]

    def _audit_entry(self, one: Touched, detail: str, messages: int) -> AuditEntry:
        source, dest = one.states()
        told = one.told
        return AuditEntry(
            id=uuid7(),
            kind=one.kind,
            aggregate=one.plan.name,
            aggregate_id=one.key,
            version=one.version,
            lifecycle=told.name if told else None,
            trigger=one.transition.trigger if one.transition else None,
            from_state=source,
            to_state=dest,
            changes=self.changes_of(one),
            detail=self._with_further(detail, one.further),
            messages=messages,
        )

    def _with_further(self, detail: str, further: tuple[FiredTransition, ...]) -> str:
        if not further:
            return detail
        return canonical({**json.loads(detail), FURTHER_TRANSITIONS: [as_json(made) for made in further]})

    def _redacted_text(self, value: dict[str, Any], hidden: frozenset[str] = frozenset()) -> str:
        if not value:
            return "{}"
        clear = jsonable(value)
        redacted = self.call.redactor.value(clear)
        if hidden:
            redacted = {name: _hidden(clear[name], shown) if name in hidden else shown for name, shown in redacted.items()}
        try:
            return canonical(redacted, depth=100, items=1_000_000)
        except NotStorable as error:
            raise self._not_storable(error) from error

    def _not_storable(self, error: NotStorable) -> WrongResult:
        place = ".".join(str(part) for part in error.path)
        return WrongResult(use_case=self.plan.name, expected="audit values that can be stored", got=f"{place}: {error}")

    def _headers(self) -> str:
        asked = self.call.asked
        headers = {
            "use_case": self.plan.name,
            "actor": str(asked.actor),
            "request_id": asked.request_id,
            "correlation_id": self._correlation_id(),
            "causation_id": self.call.command_text,
        }
        return canonical_of_texts({name: value for name, value in headers.items() if value is not None})

    def _outbox(self) -> list[OutboxMessage]:
        messages = [self._automatic(one, made) for one in self.touched for made in one.moves]
        messages += self._sent()
        # The last word about it: nothing of it comes after.
        return messages + [self._automatic_about(one, "deleted") for one in self.touched if one.deleted]

    def _sent(self) -> list[OutboxMessage]:
        messages = []
        for ordinal, sent in enumerate(self.sent):
            one = self._about(sent.about)
            messages.append(
                OutboxMessage(
                    id=uuid7(),
                    kind=sent.kind,
                    type=sent.message.message_name,
                    type_version=sent.message.message_version,
                    aggregate=one.plan.name if one else None,
                    aggregate_id=one.key if one else None,
                    version=one.version if one else None,
                    ordinal=one.next_ordinal() if one else ordinal,
                    payload=self.text_of(sent.message),
                    available_at=sent.available_at,
                )
            )
        return messages

    def _about(self, aggregate: object | None) -> Touched | None:
        if aggregate is not None:
            return self._touched(aggregate)
        if self.subject is not None:
            return self._touched(self.subject)
        return next((one for one in self.touched if not one.loaded), None)

    def _automatic(self, one: Touched, made: FiredTransition | None) -> OutboxMessage:
        if made is None:
            return self._automatic_about(one, "created")
        return self._event(one, f"transition.{made.trigger}", event_payload(made, one.key, one.version))

    def _automatic_about(self, one: Touched, what: str) -> OutboxMessage:
        states = {each.name: each.initial if one.created else each.state_of(one.aggregate) for each in one.plan.lifecycles}
        return self._event(one, what, canonical({"id": one.key, "version": one.version, "states": states}))

    def _event(self, one: Touched, what: str, payload: str) -> OutboxMessage:
        return OutboxMessage(
            id=uuid7(),
            kind="event",
            type=f"{one.plan.name}.{what}",
            type_version=1,
            aggregate=one.plan.name,
            aggregate_id=one.key,
            version=one.version,
            ordinal=one.next_ordinal(),
            payload=payload,
            available_at=self.call.now,
        )

    def text_of(self, message: Result | DomainEvent | Job) -> str:
        """Return a result, an event or a job as JSON text.

        Raises:
            WrongResult: If it has no such form, or holds a value that can't be stored.
        """
        try:
            text = self._timed(message) if steps.Serialised in steps.wanted else json_of(message)
        except (PydanticSerializationError, RecursionError, ValueError, TypeError) as error:
            name = type(message).__name__
            raise WrongResult(use_case=self.plan.name, expected=f"a {name} that has a JSON form", got=str(error)) from error
        # What JSON text has in it where a value can't be stored, and seldom else: a quick look before a thorough one.
        if "\\u0000" in text or "NaN" in text or "Infinity" in text:
            try:
                canonical(message.model_dump(mode="json"), depth=100, items=1_000_000)
            except NotStorable as error:
                name = type(message).__name__
                raise WrongResult(use_case=self.plan.name, expected=f"a {name} that can be stored", got=str(error)) from error
        return text

    def _timed(self, message: Result | DomainEvent | Job) -> str:
        began = time.perf_counter()
        text = json_of(message)
        if self.session.step is not None:  # in a batch that is gathered this is no step of its own
            self.session.tell(steps.Serialised(message, time.perf_counter() - began))
        return text


def _differences(one: Touched, names: Iterable[str] | None = None) -> dict[str, Any]:
    """Return attribute -> [before, after] for each column that changed; of a new or deleted aggregate, all that are set."""
    if names is None:
        told = one.told_otherwise()
        names = [name for name in one.plan.tracked if name not in told]
    before, now, changed = one.before, {} if one.deleted else one.aggregate.__dict__, {}
    for name in names:
        old, new = before.get(name), now.get(name)
        if old is not new and old != new:
            changed[name] = [old, new]
    return changed


def _hidden(change: list[Any], redacted: list[Any]) -> list[Any]:
    # What the command itself brought is redacted already, or a commitment; the rest must not be seen either.
    return [REDACTED if shown == clear and clear is not None else shown for clear, shown in zip(change, redacted, strict=True)]
