"""Walks through a lifecycle, to be made into tests."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from usecasecore.analysis import Walk, shortest_to_edges, simple_paths, tour
from usecasecore.application import Application
from usecasecore.lifecycle import Lifecycle
from usecasecore.testing.application import find_application
from usecasecore.testing.walking import lifecycle_named

__all__ = ["lifecycle_paths"]


def lifecycle_paths(
    lifecycle: Lifecycle | str | type,
    strategy: Literal["shortest", "simple", "tour"] = "shortest",
    *,
    app: Application | None = None,
    limit: int | None = None,
) -> list[Walk]:
    """Return walks from creation, to be made into tests by `@pytest.mark.parametrize`.

    With `ids=str` the tests are named by them. A test takes one by `scenario.walk("order", path)`.

    Args:
        lifecycle: The lifecycle, its name, or the mapped class.
        strategy: `shortest`: for each transition a shortest walk that ends with it. `simple`: every walk that is in no state
            twice, of which there may be exponentially many. `tour`: few walks that together take every transition.
        app: Where the name is looked up; by default in the application that pyproject.toml names, from the working directory up.
        limit: The greatest number of steps of a simple walk.

    Raises:
        LookupError: If there is no such lifecycle, or no application is named.
        ValueError: If there is no such strategy.
    """
    if isinstance(lifecycle, Lifecycle):
        graph = lifecycle.graph
    else:
        graph = lifecycle_named(app or find_application(Path.cwd()), lifecycle).graph
    match strategy:
        case "shortest":
            return list(shortest_to_edges(graph).values())
        case "simple":
            return list(simple_paths(graph, limit=limit))
        case "tour":
            return list(tour(graph))
        case _:
            raise ValueError(f"there is no strategy {strategy!r} (strategies: shortest, simple, tour)")
