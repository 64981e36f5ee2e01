"""A lifecycle read for one mapped class: everything that is settled when the class is mapped."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Column, inspect
from sqlalchemy.orm import Mapper

from usecasecore.lifecycle.column_types import StateType, VersionType
from usecasecore.lifecycle.compiler import Compiler
from usecasecore.lifecycle.constraint import has_own_default
from usecasecore.lifecycle.declaration import Declaration
from usecasecore.lifecycle.edges import read_edges
from usecasecore.lifecycle.grants import write
from usecasecore.lifecycle.graph import LifecycleGraph
from usecasecore.lifecycle.machine import SharedMachine
from usecasecore.lifecycle.observer import Observer
from usecasecore.lifecycle.state_tree import DeclaredState, StateTree
from usecasecore.lifecycle.states import in_sequence, read_states
from usecasecore.lifecycle.wording import Problems, nearest
from usecasecore.naming import snake_case

__all__ = ["Binding", "bind", "version_attribute", "version_keys"]

_DEFAULT_ATTRIBUTE, _DEFAULT_COLUMN = "lifecycle", "state"
_ENFORCE = ("enforce", "observe")


@dataclass(frozen=True, slots=True)
class Binding:
    """One lifecycle of one mapped class.

    Attributes:
        home: The class in whose body the lifecycle stands.
        column: Attribute key of the state column; where the class lacks one, the key it should have.
        version: Attribute key of the version column; where the class lacks one, `version`.
        allowed: The triggers that are declared for each resting state.
        reach: The triggers that lead from one resting state to another.
        spellings: Every way to refer to a state, composite ones too, to its name.
        callbacks: Names of all guards and callbacks that are called.
        problems: What is wrong with the class's columns.
        observer: Takes note of what would be refused; None where it is refused.
    """

    aggregate: type
    aggregate_name: str
    attribute: str
    home: type
    name: str
    column: str
    version: str
    graph: LifecycleGraph
    machine: SharedMachine
    initial: str
    readings: Mapping[Any, str]
    held: Mapping[str, Any]
    allowed: Mapping[str, frozenset[str]]
    reach: Mapping[tuple[str, str], frozenset[str]]
    spellings: Mapping[Any, str]
    callbacks: frozenset[str]
    problems: tuple[str, ...]
    observer: Observer | None


def bind(declaration: Declaration, mapper: Mapper[Any], attribute: str, home: type) -> Binding:
    """Read a declaration for a class that has just been mapped.

    Raises:
        DefinitionError: With everything that is wrong with the states, the transitions and the callbacks.
    """
    cls = mapper.class_
    name = _name(declaration, cls, attribute, home)
    problems = Problems(name)
    if declaration.enforce not in _ENFORCE:
        sentence = f"enforce is {declaration.enforce!r}; 'enforce' or 'observe' is accepted"
        problems.add(declaration.location, sentence + nearest(declaration.enforce, _ENFORCE))
    tree, compiler = _compiled(declaration, cls, problems)
    problems.raise_if_any()
    graph = compiler.graph(name, declaration.description)
    column = _column_key(declaration, mapper)
    kind = getattr(mapper.columns.get(column), "type", None)
    plan = compiler.plan(graph, lambda state: _held(state, tree, kind))
    machine = plan.machine(name, graph.initial, column, write)
    found = [f"{declaration.location}: lifecycle {name!r}: {text}" for text in _problems(declaration, mapper, column, graph)]
    return Binding(
        aggregate=cls,
        aggregate_name=snake_case(cls.__name__),
        attribute=attribute,
        home=home,
        name=name,
        column=column,
        version=next(version_keys(mapper), "version"),
        graph=graph,
        machine=machine,
        initial=graph.initial,
        readings=plan.readings,
        held={place.name: place.held for place in plan.places.values()},
        allowed=_allowed(plan.places, machine),
        reach=_reach(machine),
        spellings=_spellings(tree),
        callbacks=compiler.callbacks,
        problems=tuple(found),
        observer=Observer() if declaration.enforce == "observe" else None,
    )


def version_attribute(cls: type) -> str | None:
    """Return the attribute key of a mapped class's version column; None if it has none, or isn't mapped."""
    mapper: object = inspect(cls, raiseerr=False)
    return next(version_keys(mapper), None) if isinstance(mapper, Mapper) else None


def version_keys(mapper: Mapper[Any]) -> Iterator[str]:
    """Yield the attribute keys of the version columns."""
    return (key for key, column in mapper.columns.items() if isinstance(column.type, VersionType))


def _name(declaration: Declaration, cls: type, attribute: str, home: type) -> str:
    own = snake_case(cls.__name__)
    if declaration.name is not None:
        return declaration.name if home is cls else f"{own}.{declaration.name}"
    return own if attribute == _DEFAULT_ATTRIBUTE else f"{own}.{attribute}"


def _compiled(declaration: Declaration, cls: type, problems: Problems) -> tuple[StateTree, Compiler]:
    location = declaration.location
    tree = read_states(declaration.states, declaration.separator, location, problems)
    _declare_final(declaration, tree, problems)
    _check_ignored(declaration, problems)
    edges = read_edges(declaration.transitions, tree, location, problems)
    initial = _initial(declaration, tree, problems)
    compiler = Compiler(cls, tree, edges, initial, location, problems)
    return tree, compiler


def _declare_final(declaration: Declaration, tree: StateTree, problems: Problems) -> None:
    for reference in in_sequence(declaration.final):
        try:
            tree.find(reference).final = True
        except LookupError as error:
            problems.add(declaration.location, f"final: {error.args[0]}")


def _check_ignored(declaration: Declaration, problems: Problems) -> None:
    for code, why in declaration.ignore.items():
        given: object = why
        if not isinstance(given, str) or not given.strip():
            problems.add(declaration.location, f"ignore: {code!r} needs its reason, a text that says why it doesn't matter here")


def _initial(declaration: Declaration, tree: StateTree, problems: Problems) -> DeclaredState:
    found = DeclaredState((), "", None, frozenset())
    wanted: object = declaration.initial
    if wanted is None or isinstance(wanted, (list, tuple)):
        problems.add(declaration.location, "needs one `initial` state")
        return found
    try:
        found = tree.find(wanted)
    except LookupError as error:
        problems.add(declaration.location, f"initial: {error.args[0]}")
    return [found, *found.landing()][-1]


def _spellings(tree: StateTree) -> dict[Any, str]:
    # The surest meaning is written last, as for what an attribute may hold.
    states = tree.states.values()
    found: dict[Any, str] = {spelling: state.name for state in states for spelling in state.spellings}
    found |= {state.member: state.name for state in states if state.member is not None}
    return found | {state.name: state.name for state in states} | {tree.value(state): state.name for state in states}


def _column_key(declaration: Declaration, mapper: Mapper[Any]) -> str:
    if declaration.column is not None:
        return declaration.column
    ours = [key for key, column in mapper.columns.items() if isinstance(column.type, StateType)]
    return ours[0] if len(ours) == 1 and _DEFAULT_COLUMN not in ours else _DEFAULT_COLUMN


def _held(state: DeclaredState, tree: StateTree, kind: object) -> Any:
    if isinstance(kind, StateType):
        return kind.held(tree.value(state))
    return tree.value(state) if state.member is None or tree.nested else state.member


def _allowed(places: Mapping[str, Any], machine: SharedMachine) -> dict[str, frozenset[str]]:
    return {name: frozenset(machine.get_triggers(name)) for name in places}


def _reach(machine: SharedMachine) -> dict[tuple[str, str], frozenset[str]]:
    reach: dict[tuple[str, str], frozenset[str]] = {}
    for trigger, event in machine.events.items():
        for source, paths in event.transitions.items():
            for path in paths:
                way = (source, path.dest or source)
                reach[way] = reach.get(way, frozenset()) | {trigger}
    return reach


def _problems(declaration: Declaration, mapper: Mapper[Any], key: str, graph: LifecycleGraph) -> Iterator[str]:
    name = mapper.class_.__name__
    column = mapper.columns.get(key)
    if column is None:
        hint = nearest(key, mapper.columns.keys()) if declaration.column else f"; add `{key}: Mapped[...] = state_column(...)`"
        yield f"{name} has no state column {key!r}{hint}"
    elif not isinstance(column.type, StateType):
        yield f"{name}.{key} is a {type(column.type).__name__} column; declare it with `state_column(...)`"
    else:
        yield from _misfits(f"{name}.{key}", column, column.type, graph)
    yield from _version_problems(mapper)


def _misfits(where: str, column: Column[Any], kind: StateType, graph: LifecycleGraph) -> Iterator[str]:
    for node in graph.states:
        if node.resting and not kind.accepts(node.value):
            yield f"{where} can't hold the state {node.name!r} (stored as {node.value!r}); give `state_column` the same states"
    default = getattr(column.default, "arg", None) if has_own_default(column) else None
    if default is not None and not callable(default) and getattr(default, "value", default) != graph.state(graph.initial).value:
        yield f"{where} has the default {default!r}, but a new {graph.name} starts in {graph.initial!r}; leave the default out"


def _version_problems(mapper: Mapper[Any]) -> Iterator[str]:
    name, keys = mapper.class_.__name__, list(version_keys(mapper))
    if not keys:
        yield f"{name} has no version column; add `version: Mapped[int] = version_column()`"
    elif len(keys) > 1:
        yield f"{name} has several version columns ({', '.join(keys)}); keep one"
    if mapper.version_id_col is not None and any(mapper.columns[key] is mapper.version_id_col for key in keys):
        yield f"{name}.{keys[0]} is also the mapper's `version_id_col`, which counts flushes; leave that out"
