"""A diagram as data: JSON and SCXML are read back as what was written, and the digest says whether anything differs."""

from __future__ import annotations

import json
from dataclasses import fields, replace
from typing import Any

import pytest

from tests.unit.diagrams.lifecycles import everything, examples
from usecasecore.diagrams import Detail, Diagram, Edge, digest, from_json, from_scxml, reduced, render, to_json
from usecasecore.diagrams.document import compact
from usecasecore.diagrams.formats import DiagramFormat
from usecasecore.diagrams.scxml import to_scxml

DIAGRAMS = everything()


@pytest.mark.parametrize("name", DIAGRAMS)
def test_json_and_scxml_are_read_back_as_the_same_diagram_at_every_level_of_detail(name: str) -> None:
    for detail in Detail:
        diagram = reduced(DIAGRAMS[name], detail)
        assert from_json(to_json(diagram).encode()) == diagram
        assert from_json(compact(diagram)) == diagram
        assert from_scxml(to_scxml(diagram).encode()) == diagram


def test_the_digest_differs_as_soon_as_any_field_does() -> None:
    diagram = examples()["sample:order"]
    changed = [_with(diagram, field.name, _other(getattr(diagram, field.name))) for field in fields(Diagram)]
    parts: list[tuple[Any, str]] = [(diagram.nodes[0], "nodes"), (diagram.edges[1], "edges")]
    for part, name in parts:
        others = getattr(diagram, name)
        for field in fields(part):
            one = _with(part, field.name, _other(getattr(part, field.name)))
            changed.append(_with(diagram, name, tuple(one if each is part else each for each in others)))
    digests = {digest(diagram), *(digest(each) for each in changed)}
    assert len(digests) == 1 + len(changed)


def test_a_field_that_holds_its_default_is_not_in_the_digest() -> None:
    edge = json.loads(compact(examples()["sample:order"]))["edges"][0]
    assert edge == {
        "bindings": [{"use_case": "CreateOrder"}],
        "dest": "draft",
        "id": "creation",
        "kind": "creation",
        "source": None,
    }


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{}", "schema_version is None"),
        ('{"schema_version": 2}', "schema_version is 2"),
        ("[]", "schema_version is None"),
        ('{"schema_version": 1}', "this is not a diagram: KeyError: 'name'"),
        (
            '{"schema_version": 1, "name": "a", "title": "A", "detail": "full", "nodes": [1], "edges": []}',
            "this is not a diagram: Type",
        ),
        ("{", "Expecting"),
    ],
)
def test_what_is_no_diagram_is_refused(text: str, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        from_json(text)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("<scxml", "this is not a diagram as SCXML"),
        ('<scxml xmlns="http://www.w3.org/2005/07/scxml" version="1.0"/>', "this is not a diagram as SCXML"),
        ('<!DOCTYPE scxml [<!ENTITY a "b">]><scxml/>', "has no document type"),
    ],
)
def test_what_is_no_diagram_as_scxml_is_refused(text: str, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        from_scxml(text)


def test_scxml_is_read_from_its_own_elements_and_not_from_the_stamp() -> None:
    diagram = examples()["sample:order"]
    edited = render(diagram, DiagramFormat.SCXML).replace(b'event="cancel"', b'event="abandon"')
    triggers = {edge.trigger for edge in from_scxml(edited).edges}
    assert "abandon" in triggers
    assert "cancel" not in triggers


def _with(part: Any, field: str, value: Any) -> Any:
    return replace(part, **{field: value})


def _other(value: Any) -> Any:
    match value:
        case Detail():
            return Detail.STATES
        case bool():
            return not value
        case str():
            return f"{value}!" if not hasattr(value, "name") else type(value)("deletion")
        case None:
            return "other"
        case ():
            return ("other",)
        case tuple() if isinstance(value[0], Edge) or hasattr(value[0], "id"):
            return value[:-1]
        case tuple():
            return value[:-1] or ("other",)
        case _:
            raise AssertionError(value)
