"""Lifecycles that others run: the checks pass, and every transition is made by use cases on PostgreSQL."""

from __future__ import annotations

from typing import Any
from uuid import UUID

import pytest
from sqlalchemy import create_engine, select

from tests.lifecycles import incident, insurance_claim, kubernetes_job, payment_intent, pull_request
from tests.lifecycles.moves import Base, command
from usecasecore import Runtime
from usecasecore.analysis import Step, candidates, check, shortest_to_edges, steps, tour
from usecasecore.analysis.guard_table import answers_for
from usecasecore.errors import GuardRejected
from usecasecore.ledger import ledger_tables

MODULES = {
    module.__name__.rpartition(".")[2]: module
    for module in (payment_intent, pull_request, kubernetes_job, insurance_claim, incident)
}
on_each = pytest.mark.parametrize("module", MODULES.values(), ids=MODULES)


@on_each
def test_nothing_is_wrong_with_the_declaration(module: Any) -> None:
    assert [str(finding) for finding in check(module.app)] == []


@on_each
def test_every_declared_transition_can_be_reached(module: Any) -> None:
    [lifecycle] = module.app.lifecycles.values()
    assert set(shortest_to_edges(lifecycle.graph)) == set(lifecycle.graph.edges)


def facts_for(module: Any, step: Step) -> dict[str, Any]:
    """Return what must be noted for the guards to let the step through, and none that is tried before it."""
    [lifecycle] = module.app.lifecycles.values()
    some = candidates(lifecycle.graph)[step.source, step.trigger]
    answers = answers_for(step.edge, [each.edge for each in some[: some.index(step)]])
    assert answers is not None
    facts: dict[str, Any] = {}
    for guard, wanted in answers.items():
        facts |= module.FACTS[guard][0 if wanted else 1]
    return facts


def make(runtime: Runtime, module: Any, key: UUID, step: Step) -> None:
    """Make a step by its use case, after noting what its guards ask for."""
    if facts := facts_for(module, step):
        runtime.execute(command(module.app, "note", id=key, facts=facts))
    assert runtime.execute(command(module.app, step.trigger, id=key)).state == step.dest, str(step)


@on_each
def test_a_tour_of_use_cases_makes_every_transition_on_postgresql(module: Any, postgres_url: str) -> None:
    [lifecycle] = module.app.lifecycles.values()
    engine = create_engine(postgres_url)
    Base.metadata.create_all(engine)
    runtime = Runtime(engine, module.app)
    for walk in tour(lifecycle.graph):
        key: UUID = runtime.execute(command(module.app, "create")).id
        for step in walk.steps:
            make(runtime, module, key, step)
    audit = ledger_tables().audit.c
    with engine.connect() as connection:
        made = set(connection.execute(select(audit.trigger, audit.from_state, audit.to_state).where(audit.trigger.is_not(None))))
    engine.dispose()
    assert {tuple(row) for row in made} == {(step.trigger, step.source, step.dest) for step in steps(lifecycle.graph)}


@on_each
def test_each_guard_refuses_with_its_reason(module: Any, database_url: str) -> None:
    [lifecycle] = module.app.lifecycles.values()
    engine = create_engine(database_url)
    Base.metadata.create_all(engine)
    runtime = Runtime(engine, module.app)
    refused: set[str] = set()
    expected: set[str] = set()
    for edge, walk in shortest_to_edges(lifecycle.graph).items():
        *before, last = walk.steps
        tried = candidates(lifecycle.graph)[last.source, edge.trigger]
        if not (tried[-1].edge.conditions or tried[-1].edge.unless):
            continue  # a candidate without a guard takes what the others refuse
        key = runtime.execute(command(module.app, "create")).id
        for step in before:
            make(runtime, module, key, step)
        for guard in (*edge.conditions, *edge.unless):
            refusing = module.FACTS[guard][1 if guard in edge.conditions else 0]
            runtime.execute(command(module.app, "note", id=key, facts=facts_for(module, last) | refusing))
            with pytest.raises(GuardRejected) as caught:
                runtime.execute(command(module.app, edge.trigger, id=key))
            refused |= {name for name, _ in caught.value.failures}
            expected.add(guard)
    engine.dispose()
    assert refused == expected
