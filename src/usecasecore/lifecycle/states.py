"""The states of a declaration, in whichever of pytransitions' formats, read into one tree.

How names are made: a string is its own name; an enum member is called by its value if that is a string, else by its
name. A nested state's full name joins the names on its path. A lifecycle is nested if a state of it has children, or if
a separator other than the default was asked for and occurs in a name; elsewhere an underscore is just a letter.
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import Enum, EnumMeta
from itertools import product
from typing import Any

from usecasecore.lifecycle.location import Location
from usecasecore.lifecycle.peer_objects import behaviour_of_its_own, fields_of_state, is_machine, with_machines
from usecasecore.lifecycle.state_tree import DeclaredState, StateTree, shown
from usecasecore.lifecycle.wording import Problems, nearest

__all__ = ["DEFAULT_SEPARATOR", "in_sequence", "read_states"]

DEFAULT_SEPARATOR = "_"
_KEYS = (
    "name",
    "on_enter",
    "on_exit",
    "on_final",
    "final",
    "initial",
    "children",
    "states",
    "transitions",
    "description",
    "remap",
)
_NO_TIMER = "a timer in a process is gone with it; let the use case enqueue a job with `run_at=...` that fires the trigger"
_NO_COUNTER = "count the attempts in a column of the aggregate, and let a guard ask for it"
_REFUSED_KEYS = {
    "parallel": "parallel states can't be stored in one column; declare a lifecycle, with its own column, for each region",
    "ignore_invalid_triggers": "a trigger that is not possible is always refused; leave `ignore_invalid_triggers` out",
    "timeout": _NO_TIMER,
    "on_timeout": _NO_TIMER,
    "retries": _NO_COUNTER,
    "on_failure": _NO_COUNTER,
    "volatile": "what lives as long as a state does is a column or a table of its own; a row outlives every object",
    "hook": "what lives as long as a state does is a column or a table of its own; a row outlives every object",
    "tags": "put states that belong together into one state around them, and ask for them by `lifecycle.within(...)`",
    "accepted": "declare an accepted end by `final`",
    "label": "write `description`; pictures show it",
}


def read_states(declared: object, separator: str, location: Location, problems: Problems) -> StateTree:
    """Return the tree of the declared states; what is wrong with them goes to `problems`."""
    reader = _Reader(separator, location, problems)
    reader.read(in_sequence(declared), None)
    if not reader.tree.states:
        problems.add(location, "no states are declared")
    for state in reader.tree.states.values():
        reader.resolve_initial(state)
        reader.refuse_ambiguous(state)
    return reader.tree


def in_sequence(value: object) -> tuple[Any, ...]:
    """Return one or several things as a tuple, as pytransitions does: None is nothing, an Enum class its members."""
    if value is None:
        return ()
    return tuple(value) if isinstance(value, (list, tuple, EnumMeta)) else (value,)


class _Reader:
    def __init__(self, separator: str, location: Location, problems: Problems) -> None:
        self.tree = StateTree(separator)
        self._location, self._problems = location, problems

    def read(self, declared: tuple[Any, ...], parent: DeclaredState | None) -> None:
        for one in declared:
            fields = self._fields(one)
            if fields is not None:
                self._add(fields, parent)

    def resolve_initial(self, state: DeclaredState) -> None:
        """Settle which child is entered with a composite state."""
        wanted = in_sequence(state.initial)
        if len(wanted) > 1:
            self._complain(f"state {state.name!r}: {_REFUSED_KEYS['parallel']}")
        elif wanted:
            try:
                child = self.tree.find(wanted[0], state.path)
            except LookupError as error:
                self._complain(f"state {state.name!r}: initial: {error}")
                return
            if len(child.path) != len(state.path) + 1:
                self._complain(f"state {state.name!r}: initial {child.name!r} is not directly inside of it")
            else:
                state.initial_child = child

    def refuse_ambiguous(self, state: DeclaredState) -> None:
        """Refuse `a_b` beside a state `a` where states are nested: for pytransitions it would be inside of `a`."""
        outer = self.tree.separator.join((*state.path[:-1], state.path[-1].rpartition(self.tree.separator)[0]))
        if self.tree.nested and outer in self.tree.states and state.path[-1] != outer:
            self._complain(
                f"state {state.name!r} reads as if it were inside {outer!r}; declare it there, or choose another `separator`"
            )

    def _complain(self, text: str) -> None:
        self._problems.add(self._location, text)

    def _fields(self, one: Any) -> dict[str, Any] | None:
        """Return a declared state of any form as the dict form."""
        if isinstance(one, Enum):
            if isinstance(one.value, EnumMeta):
                return {"name": one, "children": one.value}
            return {"name": one, **one.value} if isinstance(one.value, dict) else {"name": one}
        if isinstance(one, str):
            return {"name": one}
        if isinstance(one, Mapping):
            return self._checked(dict(one))
        if is_machine(one):
            self._complain("a machine among the states has no state around it; give it as the `children` of one")
            return None
        if hasattr(one, "on_enter") and hasattr(one, "name"):
            if (own := behaviour_of_its_own(one)) is not None:
                self._complain(f"state {one.name!r} is a {own}, whose behaviour would not run; {_advice_for(one)}")
                return None
            origin = one.value if isinstance(one.value, Enum) else one
            fields = self._checked(fields_of_state(one))
            return None if fields is None else {**fields, "origin": origin}
        self._complain(f"{one!r} is not a state; give a string, an enum member, a dict or a pytransitions State")
        return None

    def _checked(self, fields: dict[str, Any]) -> dict[str, Any] | None:
        name = fields.get("name", fields)
        if not isinstance(fields.get("name"), (str, Enum)):
            self._complain(f"state {name!r} needs a `name`: a string or an enum member")
            return None
        for key, why in _REFUSED_KEYS.items():
            if fields.pop(key, None):
                self._complain(f"state {shown(name)}: {why}")
        for key in fields:
            if key not in _KEYS:
                self._complain(f"state {shown(name)} has an unknown key {key!r}{nearest(key, _KEYS)}")
        return fields

    def _add(self, fields: dict[str, Any], parent: DeclaredState | None) -> None:
        origin = fields.get("origin", fields["name"])
        label = _label(origin)
        fields = with_machines(fields, in_sequence(fields.get("children", fields.get("states"))))
        remap = {_label(_reference(left_out)): instead for left_out, instead in (fields.get("remap") or {}).items()}
        children = tuple(child for child in fields["children"] if not _is_left_out(child, remap))
        parent, label = self._outer(label, parent)
        path = (*(parent.path if parent else ()), label)
        name = self.tree.separator.join(path)
        if label in ("", "*", "="):
            self._complain(f"{label!r} can't be the name of a state")
            return
        if name in self.tree.states:
            self._complain(f"state {name!r} is declared twice")
            return
        state = DeclaredState(
            path=path,
            name=name,
            origin=origin,
            spellings=self._spellings(origin, label, parent),
            on_enter=in_sequence(fields.get("on_enter")),
            on_exit=in_sequence(fields.get("on_exit")),
            on_final=in_sequence(fields.get("on_final")),
            final=bool(fields.get("final")),
            initial=fields.get("initial"),
            transitions=in_sequence(fields.get("transitions")),
            description=fields.get("description", ""),
            remap=remap,
        )
        self.tree.states[name] = state
        if parent is not None:
            parent.children.append(state)
            self.tree.nested = True
        self.read(children, state)

    def _outer(self, label: str, parent: DeclaredState | None) -> tuple[DeclaredState | None, str]:
        """Split a name like `shipping/packed`, if its separator was chosen, into its parent and its own part."""
        separator = self.tree.separator
        if separator == DEFAULT_SEPARATOR or separator not in label:
            return parent, label
        outer, _, own = label.rpartition(separator)
        full = separator.join((*(parent.path if parent else ()), outer))
        if full not in self.tree.states:
            self._complain(f"state {label!r} is inside {full!r}, which is not declared before it")
            return parent, own
        return self.tree.states[full], own

    def _spellings(self, origin: object, label: str, parent: DeclaredState | None) -> frozenset[str]:
        own = {label, origin.name} if isinstance(origin, Enum) else {label}
        if parent is None:
            return frozenset(own)
        return frozenset(self.tree.separator.join(parts) for parts in product(parent.spellings, own))


def _advice_for(state: Any) -> str:
    given = next((why for key, why in _REFUSED_KEYS.items() if getattr(state, key, None)), None)
    return given or "give a State, and callbacks for what it does"


def _is_left_out(child: Any, remap: Mapping[str, object]) -> bool:
    """Return whether a state is named by the `remap` of the one around it."""
    origin = child.get("name") if isinstance(child, Mapping) else child
    names = {_label(origin), origin.name} if isinstance(origin, Enum) else {_label(_reference(origin))}
    return bool(names & remap.keys())


def _reference(state: Any) -> Any:
    return state if isinstance(state, (str, Enum)) else getattr(state, "name", str(state))


def _label(origin: Any) -> str:
    if isinstance(origin, Enum):
        return str(origin.value) if isinstance(origin.value, str) else origin.name
    return str(origin if isinstance(origin, str) else origin.name)
