"""A diagram as JSON, and back; and its digest."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import MISSING, asdict, fields
from hashlib import sha256
from importlib import resources
from typing import Any

from usecasecore.diagrams.model import Binding, Detail, Diagram, Edge, EdgeKind, Guard, Node
from usecasecore.diagrams.overlay import Mark, Overlay

__all__ = ["SCHEMA_VERSION", "compact", "digest", "from_data", "from_json", "schema", "to_data", "to_json", "with_overlay"]

SCHEMA_VERSION = 1

# Inside of strings: what steers a terminal or turns the direction of the text around, and halves of surrogate pairs,
# which can't be encoded.
_UNSEEN = re.compile("[\x7f-\x9f\u2028-\u202e\u2066-\u2069\ud800-\udfff]")


def to_data(diagram: Diagram) -> dict[str, Any]:
    """Return the diagram as JSON values, every field written out."""
    return {"schema_version": SCHEMA_VERSION, "digest": digest(diagram), **_data(diagram, sparse=False)}


def with_overlay(diagram: Diagram, overlay: Overlay | None) -> dict[str, Any]:
    """Return JSON values for both: the diagram, which no reader of diagrams takes this for, and what is known beside it."""
    if overlay is None:
        return {"diagram": to_data(diagram), "overlay": None}
    return {"diagram": to_data(diagram), "overlay": {**_overlay_data(overlay), "schema_version": SCHEMA_VERSION}}


def to_json(diagram: Diagram, overlay: Overlay | None = None) -> str:
    """Return the diagram as indented JSON, with a line end; with an overlay both, see `with_overlay`."""
    data = to_data(diagram) if overlay is None else with_overlay(diagram, overlay)
    text = json.dumps(data, indent=2, ensure_ascii=False)
    return _UNSEEN.sub(lambda found: f"\\u{ord(found.group()):04x}", text) + "\n"


def compact(diagram: Diagram) -> str:
    """Return the diagram as JSON in one line of ASCII, without the fields that hold their defaults. One diagram, one text."""
    data = {"schema_version": SCHEMA_VERSION, **_data(diagram, sparse=True)}
    return json.dumps(data, sort_keys=True, separators=(",", ":"))


def digest(diagram: Diagram) -> str:
    """Return `sha256:` and 64 hexadecimal digits: equal for equal diagrams, whatever format shows them."""
    # A field that is added later, and holds its default, leaves the digest as it is.
    return f"sha256:{sha256(compact(diagram).encode()).hexdigest()}"


def from_json(text: str | bytes) -> Diagram:
    """Return the diagram that `to_json` or `compact` wrote.

    Raises:
        ValueError: If it is not JSON, or not of this schema version.
    """
    data = json.loads(text)
    return from_data(data if isinstance(data, dict) else {})


def from_data(data: Mapping[str, Any]) -> Diagram:
    """Return the diagram that `to_data` wrote; fields that are missing hold their defaults.

    Raises:
        ValueError: If it is no diagram, or not of this schema version.
    """
    version = data.get("schema_version")
    if version != SCHEMA_VERSION:
        raise ValueError(f"this is not a diagram of schema version {SCHEMA_VERSION}: schema_version is {version!r}")
    try:
        values = _given(Diagram, data)
        return Diagram(
            **{
                **values,
                "detail": Detail(data["detail"]),
                "nodes": tuple(_read(Node, one) for one in data["nodes"]),
                "edges": tuple(_read(Edge, one) for one in data["edges"]),
                "unbound_use_cases": tuple(_read(Binding, one) for one in data.get("unbound_use_cases", ())),
            }
        )
    except (KeyError, TypeError, AttributeError) as error:
        raise ValueError(f"this is not a diagram: {type(error).__name__}: {error}") from error


def schema(*, overlay: bool = False) -> dict[str, Any]:
    """Return the JSON Schema that `to_json` keeps to, without an overlay or with one."""
    if overlay:
        found = _schema("overlay.schema.json")
        found["properties"]["diagram"] = _schema("diagram.schema.json")
        return found
    return _schema("diagram.schema.json")


def _schema(name: str) -> dict[str, Any]:
    text = resources.files("usecasecore.diagrams").joinpath(name).read_text(encoding="utf-8")
    loaded: dict[str, Any] = json.loads(text)
    return loaded


def _data(value: Any, *, sparse: bool) -> Any:
    if isinstance(value, tuple):
        return [_data(one, sparse=sparse) for one in value]
    if not isinstance(value, Diagram | Node | Edge | Guard | Binding):
        return value
    return {
        each.name: _data(held, sparse=sparse)
        for each in fields(value)
        if (held := getattr(value, each.name)) != each.default or not sparse
    }


def _overlay_data(overlay: Overlay) -> dict[str, Any]:
    return {
        **asdict(overlay),
        "states": {name: _mark_data(mark) for name, mark in overlay.states.items()},
        "edges": {name: _mark_data(mark) for name, mark in overlay.edges.items()},
    }


def _mark_data(mark: Mark) -> dict[str, Any]:
    return {**asdict(mark), "data": dict(mark.data)}


def _given(kind: type[Any], data: Mapping[str, Any]) -> dict[str, Any]:
    """Return the fields of `kind` in `data`, lists as tuples.

    Raises:
        KeyError: If one is missing that has no default.
    """
    values = {each.name: data[each.name] for each in fields(kind) if each.name in data or each.default is MISSING}
    return {name: tuple(value) if isinstance(value, list) else value for name, value in values.items()}


def _read(kind: type[Any], data: Mapping[str, Any]) -> Any:
    values = _given(kind, data)
    if kind is Edge:
        values["kind"] = EdgeKind(values["kind"])
        values["guards"] = tuple(_read(Guard, one) for one in values.get("guards", ()))
        values["bindings"] = tuple(_read(Binding, one) for one in values.get("bindings", ()))
    return kind(**values)
