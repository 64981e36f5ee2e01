"""Whether a row, its audit entries, its version and the outbox say the same."""

from __future__ import annotations

from typing import Any

from sqlalchemy import Connection, Engine, select

from usecasecore.analysis import steps
from usecasecore.context import FiredTransition
from usecasecore.ledger import ledger_tables
from usecasecore.ledger.reading import RecordedEntry, trail
from usecasecore.ledger.transitions import transitions_of
from usecasecore.lifecycle import Lifecycle
from usecasecore.runtime.plan import id_text
from usecasecore.slots import aggregate_name, mapper_of, primary_key

__all__ = ["disagreements"]


def disagreements(engine: Engine, lifecycle: Lifecycle, aggregate: object, schema: str | None = None) -> list[str]:
    """Return in what a row, its audit entries and the events of its transitions don't agree; nothing where they do.

    The entries have the versions 1, 2, .. up to the row's. Each goes on from the state in which the one before it ended, by a
    transition that is declared, and the last ends in the row's state. The outbox has one event for each transition, and no other.

    Args:
        engine: Of the database.
        lifecycle: One of the aggregate's.
        aggregate: The aggregate, for its key.
        schema: Where the ledger lives.
    """
    kind, mapped = aggregate_name(type(aggregate)), type(aggregate)
    mapper = mapper_of(mapped)
    assert mapper is not None
    keys = primary_key(mapper)
    values = [getattr(aggregate, key) for key in keys]
    with engine.connect() as connection:
        entries = trail(connection, schema, kind, id_text(values))
        query = select(getattr(mapped, lifecycle.column), getattr(mapped, lifecycle.version))
        row = connection.execute(
            query.where(*(getattr(mapped, key) == value for key, value in zip(keys, values, strict=True)))
        ).first()
        sent = _transitions_sent(connection, schema, kind, id_text(values), lifecycle)
    found = [f"{kind} {id_text(values)}: {fault}" for fault in _faults(lifecycle, entries, row)]
    made = [(one.version, step.trigger, step.source, step.dest) for one in entries for step in _steps_of(one, lifecycle)]
    # The entry of a deletion has no state after.
    as_audited = [one if at >= len(made) or made[at][3] is not None else (*one[:3], None) for at, one in enumerate(sent)]
    if made != as_audited:
        found.append(f"{kind} {id_text(values)}: audited are the transitions {made}, and the outbox has {sent}")
    return found


def _faults(lifecycle: Lifecycle, entries: list[RecordedEntry], row: Any) -> list[str]:
    found = []
    declared = {(step.source, step.trigger, step.dest) for step in steps(lifecycle.graph)}
    state, version = None, 0
    for entry in entries:
        if entry.version != version + 1 and entry.kind != "baseline":
            found.append(f"after version {version} comes the audit entry of {entry.version}")
        version = entry.version or 0
        if entry.kind in ("create", "baseline") and entry.lifecycle in (lifecycle.name, None):
            state = entry.to_state
        for step in _steps_of(entry, lifecycle):
            if state is not None and step.source != state:
                found.append(f"version {version} goes on from {step.source!r}, and the one before ended in {state!r}")
            if entry.kind != "delete" and (step.source, step.trigger, step.dest) not in declared:
                found.append(f"version {version}: {step.source!r} -{step.trigger}-> {step.dest!r} is not declared")
            state = step.dest
    gone = bool(entries) and entries[-1].kind == "delete"
    if row is None:
        return found if gone else [*found, "the row is gone, and no audit entry says so"]
    there = next((node.name for node in lifecycle.graph.states if node.value == _stored(row[0])), None)
    if gone:
        found.append("the last audit entry is that of its deletion, and the row is there")
    if state is not None and there != state:
        found.append(f"the row is in {there!r}, and its audit entries end in {state!r}")
    if row[1] != version:
        found.append(f"the row has version {row[1]}, and its audit entries go to {version}")
    return found


def _steps_of(entry: RecordedEntry, lifecycle: Lifecycle) -> list[FiredTransition]:
    columns = {name: getattr(entry, name) for name in ("lifecycle", "trigger", "from_state", "to_state", "detail", "kind")}
    return [one for one in transitions_of(columns) if one.lifecycle == lifecycle.name]


def _transitions_sent(
    connection: Connection, schema: str | None, kind: str, key: str, lifecycle: Lifecycle
) -> list[tuple[int, str, str, str]]:
    table = ledger_tables(schema).outbox
    query = select(table.c.version, table.c.payload).where(
        table.c.aggregate == kind, table.c.aggregate_id == key, table.c.type.like(f"{kind}.transition.%")
    )
    rows = connection.execute(query.order_by(table.c.version, table.c.ordinal))
    return [
        (version, payload["trigger"], payload["from"], payload["to"])
        for version, payload in rows
        if payload["lifecycle"] == lifecycle.name
    ]


def _stored(value: Any) -> Any:
    return getattr(value, "value", value)
