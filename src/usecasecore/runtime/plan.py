"""What is worked out once for each use case, so that no command pays for it."""

from __future__ import annotations

from collections.abc import Callable, Set
from dataclasses import dataclass
from functools import cached_property
from typing import Any, TypeVar, get_args, get_origin
from uuid import UUID

from pydantic import BaseModel
from pydantic_core import to_jsonable_python
from sqlalchemy import inspect as sa_inspect
from sqlalchemy.orm import Mapper

from usecasecore.context import FiredTransition
from usecasecore.errors import DomainError
from usecasecore.ledger.store import Store
from usecasecore.ledger.write_lines import LineWriter, line_writer
from usecasecore.lifecycle import Fired, Lifecycle, lifecycles_of, version_attribute
from usecasecore.messages import Command, DomainEvent, Job, Result, personal_subjects, sensitive_fields
from usecasecore.policy import Policy
from usecasecore.registration import Registration, positional
from usecasecore.runtime.folded_rows import RowsFolding
from usecasecore.runtime.folding import Folding
from usecasecore.runtime.load import Loader, loader_for
from usecasecore.runtime.reading import ReadingLoader
from usecasecore.slots import aggregate_name, primary_key
from usecasecore.tenancy import Tenancy
from usecasecore.upcasts import stored_name
from usecasecore.usecase import UseCase

__all__ = ["AggregatePlan", "Plan"]


@dataclass(frozen=True)
class AggregatePlan:
    """What the runtime knows of a mapped class.

    Attributes:
        mapper: Its mapper.
        name: Under which the ledger knows it: the class at the top of its inheritance, in snake case.
        keys: The attributes of its primary key.
        version: The attribute of its version.
        lifecycles: Its lifecycles, in the order of their declaration.
        tracked: The column attributes whose changes go into the audit entry.
        hidden: Those of them whose values must not: columns with `info={"sensitive": True}`.
    """

    mapper: Mapper[Any]
    name: str
    keys: tuple[str, ...]
    version: str
    lifecycles: tuple[Lifecycle, ...]
    tracked: tuple[str, ...]
    hidden: frozenset[str]

    @classmethod
    def of(cls, mapped: type) -> AggregatePlan:
        """Return the plan of a mapped class."""
        mapper: Mapper[Any] = sa_inspect(mapped)
        keys = primary_key(mapper)
        version = version_attribute(mapped)
        assert version is not None, f"{mapped.__name__} was registered without a version column"
        tracked = tuple(prop.key for prop in mapper.column_attrs if prop.key not in {*keys, version})
        hidden = frozenset(prop.key for prop in mapper.column_attrs if prop.columns[0].info.get("sensitive"))
        return cls(mapper, aggregate_name(mapped), keys, version, lifecycles_of(mapped), tracked, hidden)

    def id_of(self, aggregate: object) -> str:
        """Return the aggregate's key as the ledger writes it."""
        if len(self.keys) == 1:
            key = self.keys[0]
            held = aggregate.__dict__
            value = held[key] if key in held else getattr(aggregate, key)
            return to_jsonable_python(value) if type(value) is UUID else str(value)  # the same text in a third of the time
        return id_text([getattr(aggregate, key) for key in self.keys])


class Plan:
    """Everything that is known about a use case before a command comes."""

    def __init__(
        self,
        registration: Registration,
        policy: Policy,
        store: Store,
        *,
        mortal: frozenset[type] = frozenset(),
        tenancy: Tenancy | None = None,
        fold_updates: bool = True,
    ) -> None:
        self.registration = registration
        self.use_case: UseCase[Any, Any, Any] = registration.use_case
        self.name = registration.name
        self.permission = registration.permission
        self.policy = policy
        self.store = store
        self.tenancy = tenancy
        self.command: type[Command[Any]] = registration.command
        self.result: type[Result] = registration.result
        self.result_type = stored_name(registration.result)
        self.keep_results = self.use_case.keep_results
        self.reason_required = self.use_case.reason_required
        self.sensitive = bool(sensitive_fields(registration.command))
        self.personal_subjects = personal_subjects(registration.command)
        fields = registration.command.model_fields
        self.required = tuple(name for name, info in fields.items() if info.is_required())
        self.may_hold_sets = any(_may_hold_sets(info.annotation) for info in fields.values())
        self.creates = registration.creates
        self.deletes = registration.deletes
        self._mortal = mortal
        self.emits: tuple[type[DomainEvent], ...] = tuple(self.use_case.emits)
        self.enqueues: tuple[type[Job], ...] = tuple(self.use_case.enqueues)
        self.refuses: tuple[type[DomainError], ...] = tuple(self.use_case.refuses)
        self.scopes = tuple(self.use_case.guards)
        self.trigger = self.use_case.trigger
        self.triggers = registration.triggers
        self.lifecycle = registration.lifecycle
        self.choose_trigger = _given(self.use_case.choose_trigger)
        self.audit = _given(self.use_case.audit) if type(self.use_case).audit is not UseCase.audit else None
        self._fold_updates = fold_updates
        self.fingerprinted = b"usecasecore fingerprint 1\n" + self.name.encode() + b"\n"
        self._plans: dict[type, AggregatePlan] = {}
        self._transitions: dict[tuple[str, str, str, str], FiredTransition] = {}
        self._foldings: dict[type, Folding | None] = {}
        self._rows_foldings: dict[type, RowsFolding | None] = {}

    @cached_property
    def aggregate(self) -> AggregatePlan | None:
        """What is known of the class that is loaded."""
        return None if self.registration.aggregate is None else self.plan_of(self.registration.aggregate)

    @cached_property
    def loader(self) -> Loader:
        """How the aggregate is found, locked and checked against the key."""
        version = None if self.aggregate is None else self.aggregate.version
        return loader_for(self.registration, version, self.store, self.tenancy)

    @cached_property
    def line_writer(self) -> LineWriter:
        """What writes the lines of a batch."""
        return line_writer(self.store)

    @cached_property
    def reader(self) -> ReadingLoader:
        """How the aggregate is found without a lock."""
        return ReadingLoader(self.registration, self.store, self.tenancy)

    @cached_property
    def subject_name(self) -> str:
        """What the ledger calls the aggregate whose trigger is fired, or that alone is loaded."""
        slot = next((one for one in self.registration.slots if one.name == self.registration.subject), None)
        mapped = self.registration.aggregate or (slot.aggregate if slot else None)
        return aggregate_name(mapped) if mapped else ""

    def plan_of(self, mapped: type) -> AggregatePlan:
        """Return what is known of a mapped class, subclasses of the declared ones included."""
        if (plan := self._plans.get(mapped)) is None:
            plan = self._plans[mapped] = AggregatePlan.of(mapped)
        return plan

    def transition_of(self, fired: Fired) -> FiredTransition:
        """Return what user code and the ledger get to know of a transition; there are as many as the lifecycles have ways."""
        what = (fired.lifecycle, fired.trigger, fired.source, fired.dest)
        if (known := self._transitions.get(what)) is None:
            known = self._transitions[what] = FiredTransition(*what)
        return known

    def folding_of(self, mapped: type) -> Folding | None:
        """Return how the UPDATE of a mapped class is folded into the ledger's statement; None where it is not."""
        if not self._fold_updates:
            return None
        if mapped not in self._foldings:
            self._foldings[mapped] = Folding.of(self.plan_of(mapped).mapper, self.store.dialect)
        return self._foldings[mapped]

    def rows_folding_of(self, mapped: type) -> RowsFolding | None:
        """Return how the UPDATEs of many rows of a mapped class are made one; None where they are not."""
        if mapped not in self._rows_foldings:
            folding = self.folding_of(mapped)
            rows = None if folding is None else RowsFolding(folding, self.plan_of(mapped).mapper, self.store.dialect)
            self._rows_foldings[mapped] = rows
        return self._rows_foldings[mapped]

    def may_return(self, plan: AggregatePlan) -> bool:
        """Say whether a new aggregate may have the key of one that was deleted."""
        return plan.mapper.base_mapper.class_ in self._mortal

    def lifecycle_of(self, aggregate: object) -> Lifecycle:
        """Return the lifecycle to fire on: that of the instance's own class, which may be a subclass of the declared one."""
        assert self.lifecycle is not None
        own: Lifecycle = getattr(type(aggregate), self.lifecycle.attribute)
        return own


def id_text(values: list[Any]) -> str:
    """Return a key as text: the one value, or several as `a|b`, with `|` and the backslash escaped."""
    if len(values) == 1:
        return str(values[0])
    return "|".join(str(value).replace("\\", "\\\\").replace("|", "\\|") for value in values)


def _may_hold_sets(annotation: Any) -> bool:
    if annotation is Any or annotation is object or isinstance(annotation, TypeVar):
        return True
    origin = get_origin(annotation) or annotation
    if isinstance(origin, type) and issubclass(origin, Set):
        return True
    if isinstance(origin, type) and issubclass(origin, BaseModel):
        return any(_may_hold_sets(info.annotation) for info in origin.model_fields.values())
    # Bare `dict` and `list` hold anything.
    return (origin in (dict, list, tuple) and not get_args(annotation)) or any(
        _may_hold_sets(one) for one in get_args(annotation)
    )


def _given(hook: Callable[..., Any]) -> Callable[..., Any]:
    # A hook may take fewer arguments than the runtime has for it, from the left.
    wanted = positional(hook)
    return lambda *arguments: hook(*arguments[:wanted])
