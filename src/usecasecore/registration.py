"""One use case, checked against its command, its aggregate and its lifecycle."""

from __future__ import annotations

import ast
import inspect
import textwrap
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from difflib import get_close_matches
from typing import Any

from usecasecore.errors import DomainError
from usecasecore.lifecycle import Lifecycle, lifecycles_of, version_attribute
from usecasecore.messages import (
    Command,
    DomainEvent,
    Job,
    Message,
    Result,
    key_fields,
    personal_subjects,
    result_type,
    sensitive_fields,
)
from usecasecore.slots import Slot, lifecycle_firing, mapper_of, primary_key, slots_of
from usecasecore.upcasts import problems_of
from usecasecore.usecase import Scope, UseCase, type_arguments

__all__ = ["Registration", "register"]


@dataclass(frozen=True, slots=True)
class Registration:
    """A use case as the runtime and the command line see it.

    Attributes:
        use_case: The one instance.
        name: Its name.
        command: The command's type.
        result: The result's type.
        aggregate: The mapped class that is loaded and locked; None where nothing is, or several are.
        slots: What is loaded where it is several, in the order written.
        state: The class that holds the several; None otherwise.
        subject: The slot whose aggregate the trigger is fired on; None where there is none.
        keys: Attribute of the aggregate -> field of the command, for each column of the primary key.
        lifecycle: The lifecycle whose trigger is fired; None where none is.
        triggers: The triggers it may fire: none, one, or those `choose_trigger` chooses from.
        permission: What the policy is asked for.
    """

    use_case: UseCase[Any, Any, Any]
    name: str
    command: type[Command[Any]]
    result: type[Result]
    aggregate: type | None
    slots: tuple[Slot, ...]
    state: type | None
    subject: str | None
    keys: dict[str, str]
    lifecycle: Lifecycle | None
    triggers: tuple[str, ...]
    permission: str

    @property
    def creates(self) -> tuple[type, ...]:
        """The mapped classes of which it creates."""
        return _classes(self.use_case.creates)

    @property
    def deletes(self) -> tuple[type, ...]:
        """The mapped classes of which it deletes."""
        return _classes(self.use_case.deletes)

    @property
    def messages(self) -> tuple[Any, ...]:
        """The events and jobs that it declares, as far as they are such."""
        declared: list[Any] = []
        given: tuple[Any, ...] = (self.use_case.emits, self.use_case.enqueues)
        for some in given:
            declared += some if isinstance(some, tuple | list) else ()
        return tuple(one for one in declared if isinstance(one, type) and issubclass(one, DomainEvent | Job))

    @property
    def finds(self) -> bool:
        """Whether the use case finds its row by a query of its own."""
        return type(self.use_case).select is not UseCase.select

    @property
    def fires(self) -> dict[Lifecycle, tuple[str, ...]]:
        """Each lifecycle -> the triggers that it may fire on it: its own, and those it fires further."""
        found: dict[Lifecycle, tuple[str, ...]] = {}
        if self.lifecycle is not None:
            found[self.lifecycle] = self.triggers
        for cls, triggers in self.use_case.also_fires.items():
            for lifecycle in lifecycles_of(cls):
                own = (trigger for trigger in triggers if lifecycle_firing(lifecycles_of(cls), trigger) is lifecycle)
                known = tuple(trigger.rpartition(".")[2] for trigger in own)
                if known:
                    found[lifecycle] = tuple(dict.fromkeys((*found.get(lifecycle, ()), *known)))
        return found

    @property
    def loads(self) -> tuple[type, ...]:
        """The mapped classes that it loads."""
        loaded = (self.aggregate, *(slot.aggregate for slot in self.slots))
        return tuple(dict.fromkeys(cls for cls in loaded if cls is not None))

    @property
    def aggregates(self) -> tuple[type, ...]:
        """The mapped classes that it loads or creates."""
        return tuple(dict.fromkeys((*self.loads, *self.creates)))


@dataclass(slots=True)
class _Check:
    """Collects what is wrong with one use case."""

    use_case: UseCase[Any, Any, Any]
    problems: list[str] = field(default_factory=list)

    def wrong(self, sentence: str) -> None:
        self.problems.append(f"{self.use_case.name}: {sentence}")


def register(use_case: UseCase[Any, Any, Any]) -> tuple[Registration | None, list[str]]:
    """Return the use case's registration and everything that is wrong with its declaration."""
    check = _Check(use_case)
    types = type_arguments(type(use_case))
    if types is None:
        check.wrong("does not say what it takes; write `UseCase[Command, Aggregate, Result]`")
        return None, check.problems
    command, state, result = types
    if not (isinstance(command, type) and issubclass(command, Command)):
        check.wrong(f"its first type is {command!r}, not a Command")
        return None, check.problems
    _check_result(check, command, result)
    _check_subjects(check, command)
    aggregate, slots = _loaded(check, command, state)
    subject, lifecycle, triggers = _fired(check, aggregate, slots)
    _check_also_fires(check, aggregate, slots)
    registration = Registration(
        use_case=use_case,
        name=use_case.name,
        command=command,
        result=result,
        aggregate=aggregate,
        slots=slots,
        state=state if slots else None,
        subject=subject,
        keys=_keys(check, command, aggregate),
        lifecycle=lifecycle,
        triggers=triggers,
        permission=use_case.permission or use_case.name,
    )
    _check_scopes(check, command)
    _check_deletes(check, registration)
    _check_declared(check)
    for cls in registration.aggregates:
        _check_columns(check, cls)
    return registration, check.problems


def _check_result(check: _Check, command: type[Command[Any]], result: Any) -> None:
    promised = result_type(command)
    if promised is None:
        check.wrong(f"its command names no result; write `class {command.__name__}(Command[...])`")
    elif promised is not result:
        check.wrong(f"returns {_name(result)}, but {command.__name__} promises {promised.__name__}")
    else:
        check.problems.extend(problems_of(promised, promised.result_version, promised.upcasts))


def _check_subjects(check: _Check, command: type[Command[Any]]) -> None:
    hidden = sensitive_fields(command)
    for name in sorted(personal_subjects(command)):
        if name not in command.model_fields:
            known = ", ".join(command.model_fields)
            check.wrong(f"{command.__name__} has values about the subject in {name!r}, and no such field; its fields: {known}")
        elif name in hidden:
            check.wrong(f"{command.__name__}.{name} names the subject of personal values by an id: it can't be sensitive itself")


def _loaded(check: _Check, command: type[Command[Any]], state: Any) -> tuple[type | None, tuple[Slot, ...]]:
    if state is None or state is type(None):
        return None, ()
    if mapper_of(state) is not None:
        return state, ()
    slots, problems = slots_of(state, command) if isinstance(state, type) else ((), [])
    for problem in problems:
        check.wrong(problem)
    if not slots and not problems:
        check.wrong(
            f"loads {_name(state)}, which is not a mapped class; a mapped class, a class of `Load` fields or None would do"
        )
    return None, slots


def _keys(check: _Check, command: type[Command[Any]], aggregate: type | None) -> dict[str, str]:
    if aggregate is None:
        return {}
    mapper = mapper_of(aggregate)
    assert mapper is not None
    if type(check.use_case).select is not UseCase.select:
        return {}
    primary = primary_key(mapper)
    found: dict[str, str] = {}
    hidden = sensitive_fields(command)
    for name, key in key_fields(command).items():
        if name in hidden:
            check.wrong(
                f"{command.__name__}.{name} is a key, which names the aggregate in the audit trail: it can't be sensitive"
            )
        column = key.column_name or (primary[0] if len(primary) == 1 else "")
        if column not in primary:
            check.wrong(
                f"{command.__name__}.{name} is a key of {column or 'nothing'!r}; "
                f"the primary key of {aggregate.__name__} is {', '.join(primary)}"
            )
        elif column in found:
            check.wrong(f"{command.__name__}.{found[column]} and .{name} are both the key of {column!r}")
        else:
            found[column] = name
    if missing := [column for column in primary if column not in found]:
        example = f"Annotated[..., Key({aggregate.__name__}.{missing[0]})]"
        check.wrong(f"{command.__name__} does not say which {aggregate.__name__} it is about: mark a field with `{example}`")
    return {column: found[column] for column in primary if column in found}


def _fired(
    check: _Check, aggregate: type | None, slots: tuple[Slot, ...]
) -> tuple[str | None, Lifecycle | None, tuple[str, ...]]:
    wanted = (check.use_case.trigger,) if check.use_case.trigger else tuple(check.use_case.triggers)
    if not slots or not wanted:
        return None, *_triggers(check, aggregate)
    able = [slot for slot in slots if any(wanted[0] in one.triggers for one in lifecycles_of(slot.aggregate))]
    if len(able) > 1:
        names = ", ".join(slot.name for slot in able)
        check.wrong(
            f"{wanted[0]!r} is a trigger of several of what it loads ({names}); fire it by `context.fire` and `also_fires`"
        )
    subject = able[0] if able else slots[0]
    if subject.missing == "none":
        check.wrong(
            f"{wanted[0]!r} is fired on {subject.name}, which is None where there is no such row; "
            "load it by `Load` or `Load.or_create`, or fire it by `context.fire` and `also_fires` where it is there"
        )
    return subject.name, *_triggers(check, subject.aggregate)


def _check_also_fires(check: _Check, aggregate: type | None, slots: tuple[Slot, ...]) -> None:
    loaded = [cls for cls in (aggregate, *(slot.aggregate for slot in slots)) if cls is not None]
    for cls, triggers in check.use_case.also_fires.items():
        if cls not in loaded:
            check.wrong(f"`also_fires` names {_name(cls)}, which it does not load")
            continue
        known = {trigger for one in lifecycles_of(cls) for trigger in one.triggers}
        for trigger in triggers:
            if lifecycle_firing(lifecycles_of(cls), trigger) is not None:
                continue
            if trigger in known:
                several = " or ".join(f"'{one.attribute}.{trigger}'" for one in lifecycles_of(cls) if trigger in one.triggers)
                check.wrong(f"`also_fires`: {trigger!r} is a trigger of several lifecycles of {_name(cls)}; write {several}")
            else:
                check.wrong(f"`also_fires`: {_name(cls)} has no trigger {trigger!r} (known: {', '.join(sorted(known))})")


def _check_deletes(check: _Check, registration: Registration) -> None:
    for cls in registration.deletes:
        if mapper_of(cls) is None:
            check.wrong(f"deletes {_name(cls)}, which is not a mapped class")
        elif not any(issubclass(cls, loaded) or issubclass(loaded, cls) for loaded in registration.loads):
            known = ", ".join(loaded.__name__ for loaded in registration.loads) or "nothing"
            check.wrong(f"deletes {_name(cls)}, which it does not load (it loads: {known}); what is deleted must be locked first")


def _triggers(check: _Check, aggregate: type | None) -> tuple[Lifecycle | None, tuple[str, ...]]:
    use_case = check.use_case
    if use_case.trigger and use_case.triggers:
        check.wrong("declares both `trigger` and `triggers`; one of them would do")
    wanted = (use_case.trigger,) if use_case.trigger else tuple(use_case.triggers)
    chooses = type(use_case).choose_trigger is not UseCase.choose_trigger
    if use_case.triggers and not chooses:
        check.wrong("declares `triggers`, but has no `choose_trigger`")
    if not wanted:
        return None, ()
    if aggregate is None:
        check.wrong(f"fires {wanted[0]!r}, but loads no aggregate to fire it on")
        return None, wanted
    candidates = [one for one in lifecycles_of(aggregate) if use_case.lifecycle in (None, one.attribute, one.name)]
    if not candidates:
        known = ", ".join(one.attribute for one in lifecycles_of(aggregate)) or "none"
        named = f"lifecycle {use_case.lifecycle!r}" if use_case.lifecycle else "lifecycle"
        check.wrong(f"fires {wanted[0]!r}, but {aggregate.__name__} has no {named}; it has: {known}")
        return None, wanted
    fitting = [one for one in candidates if all(trigger in one.triggers for trigger in wanted)]
    if not fitting:
        _unknown_trigger(check, candidates, wanted)
        return None, wanted
    if len(fitting) > 1:
        names = ", ".join(one.attribute for one in fitting)
        check.wrong(
            f"{wanted[0]!r} is a trigger of several lifecycles of {aggregate.__name__} ({names}); say which in `lifecycle`"
        )
    return fitting[0], wanted


def _unknown_trigger(check: _Check, candidates: Sequence[Lifecycle], wanted: Sequence[str]) -> None:
    known = sorted({trigger for one in candidates for trigger in one.triggers})
    for trigger in wanted:
        if trigger not in known:
            near = get_close_matches(trigger, known, 1)
            hint = f"; did you mean {near[0]!r}?" if near else ""
            check.wrong(f"unknown trigger {trigger!r}{hint} (known: {', '.join(known)})")
            return
    check.wrong(f"no single lifecycle knows all of its triggers: {', '.join(wanted)}")


def _check_scopes(check: _Check, command: type[Command[Any]]) -> None:
    declared: tuple[Any, ...] = tuple(check.use_case.guards)
    for scope in declared:
        if not isinstance(scope, Scope):
            check.wrong(f'`guards` lists {_name(scope)}, which is not a scope; write `Scope("name", "field")`')
            continue
        if not scope.name:
            check.wrong(f"`guards`: a scope is named {scope.name!r}; a text is wanted")
        for name in scope.fields:
            if name not in command.model_fields:
                known = ", ".join(command.model_fields) or "none"
                check.wrong(
                    f"`guards`: the scope {scope.name!r} is told apart by {name!r}, no field of {command.__name__} ({known})"
                )


def _check_declared(check: _Check) -> None:
    use_case = check.use_case
    for attribute, base in (("emits", DomainEvent), ("enqueues", Job), ("refuses", DomainError)):
        declared = getattr(use_case, attribute)
        if not isinstance(declared, tuple | list):  # a single type is an easy slip
            check.wrong(f"`{attribute}` is {_name(declared)}; a tuple of {base.__name__} types is wanted")
            continue
        for one in declared:
            if not (isinstance(one, type) and issubclass(one, base)):
                check.wrong(f"`{attribute}` lists {_name(one)}, which is not a {base.__name__}")
            elif issubclass(one, Message):
                _check_sensitive(check, one)
    for attribute, one in _emitted_in_source(use_case):
        if one not in getattr(use_case, attribute):
            check.wrong(f"`apply` uses {one.__name__}, which is not in `{attribute}`; add it there")


def _check_sensitive(check: _Check, message: Any) -> None:
    if leaking := sorted(sensitive_fields(message) - message.allowed_sensitive):
        check.wrong(
            f"{message.__name__} carries sensitive fields ({', '.join(leaking)}); leave them out, or allow them by name: "
            f"`class {message.__name__}(..., allow_sensitive={tuple(leaking)!r})`"
        )


def _emitted_in_source(use_case: UseCase[Any, Any, Any]) -> Iterator[tuple[str, type]]:
    """Yield what `apply` visibly emits or enqueues: `context.emit(Name(...))`. What can't be read is left to the run."""
    function: Any = inspect.unwrap(type(use_case).apply)  # of the function form, the function
    try:
        tree = ast.parse(textwrap.dedent(inspect.getsource(function)))
    except (OSError, TypeError, SyntaxError):
        return
    scope = inspect.getclosurevars(function)
    names = {**scope.globals, **scope.nonlocals}
    for node in ast.walk(tree):
        match node:
            case ast.Call(func=ast.Attribute(attr="emit" | "enqueue" as verb), args=[ast.Call(func=ast.Name(id=name)), *_]):
                found = names.get(name)
                if isinstance(found, type) and issubclass(found, DomainEvent | Job):
                    yield ("emits" if verb == "emit" else "enqueues"), found
            case _:
                pass


def _check_columns(check: _Check, cls: type) -> None:
    if mapper_of(cls) is None:
        check.wrong(f"creates {_name(cls)}, which is not a mapped class")
        return
    lifecycles = lifecycles_of(cls)
    for lifecycle in lifecycles:
        check.problems.extend(lifecycle.problems())
    if not lifecycles and version_attribute(cls) is None:
        check.wrong(f"{cls.__name__} has no version column; add `version: Mapped[int] = version_column()`")


def _classes(declared: type | tuple[type, ...] | None) -> tuple[type, ...]:
    return () if declared is None else declared if isinstance(declared, tuple) else (declared,)


def positional(function: Callable[..., Any]) -> int:
    """Return how many positional arguments a bound function takes."""
    kinds = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)
    return sum(parameter.kind in kinds for parameter in inspect.signature(function).parameters.values())


def _name(thing: Any) -> str:
    return thing.__name__ if isinstance(thing, type) else repr(thing)
