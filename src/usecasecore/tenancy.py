"""Tenancy: which column says whose a row is."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from sqlalchemy import inspect as sa_inspect

from usecasecore.context import Actor

__all__ = ["Tenancy"]


@dataclass(frozen=True, slots=True)
class Tenancy:
    """Keep tenants apart: an actor loads, creates and changes only rows of its own tenant.

    Of another tenant's row the actor learns what it learns of a row that does not exist. What `apply`, `select`, guards and policies
    read by queries of their own is theirs to restrict.

    Attributes:
        column: The attribute that holds the tenant, on every aggregate.
        shared: The mapped classes that belong to no tenant, and have no such attribute.
    """

    column: str
    shared: tuple[type, ...] = ()

    def problems(self, aggregates: Iterable[type]) -> list[str]:
        """Return what is wrong with the aggregates of an application, one sentence each."""
        lacking = [cls.__name__ for cls in aggregates if self.scopes(cls) and self.column not in sa_inspect(cls).column_attrs]
        return [
            f"{name} has no column {self.column!r}, which says whose a row is; add it, or name the class in `Tenancy(shared=...)`"
            for name in lacking
        ]

    def scopes(self, aggregate: type) -> bool:
        """Say whether rows of a class belong to a tenant."""
        return not issubclass(aggregate, self.shared)

    def value(self, aggregate: type, actor: Actor) -> Any:
        """Return the actor's tenant as the column of a class holds it; None where it can't be one."""
        kind: type = sa_inspect(aggregate).column_attrs[self.column].columns[0].type.python_type
        if actor.tenant is None or kind is str:
            return actor.tenant
        try:
            return kind(actor.tenant)
        except (TypeError, ValueError):
            return None
