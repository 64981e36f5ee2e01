"""The lifecycle of an aggregate: declared on a mapped class, run by one shared pytransitions machine, protected."""

from __future__ import annotations

from usecasecore.lifecycle.binding import version_attribute
from usecasecore.lifecycle.column_types import StateType, VersionType
from usecasecore.lifecycle.columns import state_column, version_column
from usecasecore.lifecycle.declaration import Declaration, Transition
from usecasecore.lifecycle.escape import unprotected
from usecasecore.lifecycle.grants import grant_delete, set_version
from usecasecore.lifecycle.graph import Edge, LifecycleGraph, StateNode
from usecasecore.lifecycle.guards import given_reason, guard
from usecasecore.lifecycle.lifecycle import Fired, Lifecycle, lifecycles_of
from usecasecore.lifecycle.location import Location
from usecasecore.lifecycle.statements import only_we_watch

__all__ = [
    "Declaration",
    "Edge",
    "Fired",
    "Lifecycle",
    "LifecycleGraph",
    "Location",
    "StateNode",
    "StateType",
    "Transition",
    "VersionType",
    "given_reason",
    "grant_delete",
    "guard",
    "lifecycles_of",
    "only_we_watch",
    "set_version",
    "state_column",
    "unprotected",
    "version_attribute",
    "version_column",
]
