r"""A diagram as SCXML, the W3C's notation for state machines, and back.

What SCXML has is said in SCXML: states, final states, the initial ones, transitions with their event, condition and
target. What it has not is said in attributes and elements of a namespace of our own, which its processors skip. A final
state with ways out is a `state` there, as SCXML knows none. Names of states, triggers and guards are written as
identifiers, and read back from them; other texts as they are, but that a backslash and what XML can't hold become `\\` and
`\u0000`. Where the order of the declaration is not that of the document, `ucc:order` counts.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from itertools import chain
from xml.etree import ElementTree as ET

from usecasecore.diagrams import stamp
from usecasecore.diagrams.building import node_id, numbered
from usecasecore.diagrams.identifiers import identifier, named
from usecasecore.diagrams.model import Binding, Detail, Diagram, Edge, EdgeKind, Guard, Node

__all__ = ["NAMESPACE", "from_scxml", "to_scxml"]

NAMESPACE = "urn:usecasecore:diagram"
_SCXML = "http://www.w3.org/2005/07/scxml"
_UNWRITABLE = re.compile("[\\\\\x00-\x1f\x7f-\x9f\u2028-\u202e\u2066-\u2069\ud800-\udfff\ufffe\uffff]")
_WRITTEN = re.compile(r"\\(?:u([0-9a-f]{4})|(\\))")


def to_scxml(diagram: Diagram) -> str:
    """Return the diagram as SCXML, with the stamp in comments."""
    root = _Writer(diagram).root()
    ET.indent(root)
    above, below = stamp.comments(diagram, "<!--", " -->")
    return f'<?xml version="1.0" encoding="UTF-8"?>\n{above}{ET.tostring(root, encoding="unicode")}\n{below}'


def from_scxml(text: str | bytes) -> Diagram:
    """Return the diagram that `to_scxml` wrote, read from its elements.

    Raises:
        ValueError: If it is no XML, or nothing that `to_scxml` wrote.
    """
    content = text.encode() if isinstance(text, str) else text
    if b"<!DOCTYPE" in content:
        raise ValueError("a diagram as SCXML has no document type")
    try:
        root = ET.fromstring(content)
        return _Reader(root).diagram()
    except (ET.ParseError, KeyError) as error:
        raise ValueError(f"this is not a diagram as SCXML: {error}") from error


class _Writer:
    def __init__(self, diagram: Diagram) -> None:
        self._diagram = diagram
        self._nodes = {node.name: node for node in diagram.nodes}
        self._order = {node.name: index for index, node in enumerate(diagram.nodes)}
        self._leaving: dict[str, list[tuple[int, Edge]]] = {}
        for index, edge in enumerate(diagram.edges):
            if edge.kind is EdgeKind.TRANSITION and edge.source is not None:
                self._leaving.setdefault(edge.source, []).append((index, edge))

    def root(self) -> ET.Element:
        diagram = self._diagram
        attributes = {
            "xmlns": _SCXML,
            "xmlns:ucc": NAMESPACE,
            "version": "1.0",
            "name": diagram.id,
            "initial": identifier(diagram.initial.name),
            **_ours(
                name=diagram.name,
                title=diagram.title,
                detail=diagram.detail.value,
                application=diagram.application,
                separator=diagram.separator,
                description=diagram.description or None,
            ),
        }
        if any(edge.guards for edge in diagram.edges):
            attributes["datamodel"] = "ecmascript"
        root = ET.Element("scxml", attributes)
        for edge in diagram.edges:
            if edge.kind is not EdgeKind.TRANSITION:
                self._beside(root, edge)
        for binding in diagram.unbound_use_cases:
            _bind(ET.SubElement(root, "ucc:unbound"), [binding])
        self._states(root, diagram.roots)
        return root

    def _beside(self, root: ET.Element, edge: Edge) -> None:
        """Write a creation or a deletion, which SCXML doesn't have."""
        attributes = _ours(id=edge.id, source=edge.source, dest=edge.dest, description=edge.description or None)
        _bind(ET.SubElement(root, f"ucc:{edge.kind}", {**attributes, **_flags(unbound=edge.unbound)}), edge.bindings)

    def _states(self, parent: ET.Element, nodes: Iterable[Node]) -> None:
        for node in nodes:
            leaving = self._leaving.get(node.name, [])
            final = node.final and not node.composite and not leaving
            element = ET.SubElement(parent, "final" if final else "state", self._attributes(node, final=final))
            for index, edge in leaving:
                _transition(element, edge, index)
            self._states(element, [self._nodes[name] for name in node.children])

    def _attributes(self, node: Node, *, final: bool) -> dict[str, str]:
        attributes = {"id": identifier(node.name)}
        if node.initial_child:
            attributes["initial"] = identifier(node.initial_child)
        if isinstance(node.value, int):
            attributes["ucc:integer"] = str(node.value)
        elif node.value != node.name:
            attributes["ucc:value"] = _written(node.value)
        if node.final and not final:
            attributes["ucc:final"] = "true"
        return {**attributes, **_ours(description=node.description or None), "ucc:order": str(self._order[node.name])}


def _transition(parent: ET.Element, edge: Edge, index: int) -> None:
    attributes: dict[str, str] = {}
    if edge.trigger:
        attributes["event"] = identifier(edge.trigger)
    if edge.guards:
        attributes["cond"] = " && ".join(f"{'' if guard.wanted else '!'}{identifier(guard.name)}" for guard in edge.guards)
    if edge.dest is not None:
        attributes["target"] = identifier(edge.dest)
    own = _ours(description=edge.description or None)
    element = ET.SubElement(parent, "transition", {**attributes, **own, **_flags(unbound=edge.unbound), "ucc:order": str(index)})
    for guard in edge.guards:
        attributes = _ours(name=guard.name, reason=guard.reason or None)
        ET.SubElement(element, "ucc:guard", {**attributes, "ucc:wanted": "true" if guard.wanted else "false"})
    _bind(element, edge.bindings)


def _bind(parent: ET.Element, bindings: Iterable[Binding]) -> None:
    for binding in bindings:
        attributes = _ours(name=binding.use_case, description=binding.description or None)
        element = ET.SubElement(parent, "ucc:use-case", attributes)
        for event in binding.events:
            ET.SubElement(element, "ucc:event", _ours(name=event))
        for job in binding.jobs:
            ET.SubElement(element, "ucc:job", _ours(name=job))


def _ours(**texts: str | None) -> dict[str, str]:
    return {f"ucc:{name}": _written(text) for name, text in texts.items() if text is not None}


def _flags(**flags: bool) -> dict[str, str]:
    return {f"ucc:{name}": "true" for name, flag in flags.items() if flag}


def _written(text: str) -> str:
    return _UNWRITABLE.sub(lambda found: "\\\\" if found.group() == "\\" else f"\\u{ord(found.group()):04x}", text)


class _Reader:
    def __init__(self, root: ET.Element) -> None:
        self._root = root
        self._nodes: list[tuple[int, Node]] = []
        self._edges: list[tuple[int, Edge]] = []

    def diagram(self) -> Diagram:
        root = self._root
        self._read_states(root, None)
        transitions = [edge for _, edge in sorted(self._edges, key=lambda pair: pair[0])]
        creations, deletions = (list(self._beside(kind)) for kind in (EdgeKind.CREATION, EdgeKind.DELETION))
        return Diagram(
            name=_needed(root, "name"),
            title=_needed(root, "title"),
            detail=Detail(_needed(root, "detail")),
            nodes=tuple(node for _, node in sorted(self._nodes, key=lambda pair: pair[0])),
            edges=(*creations, *numbered(transitions), *deletions),
            application=_text(root, "application"),
            unbound_use_cases=tuple(chain.from_iterable(map(_bindings, root.findall(_our("unbound"))))),
            separator=_needed(root, "separator"),
            description=_text(root, "description") or "",
        )

    def _beside(self, kind: EdgeKind) -> Iterator[Edge]:
        for element in self._root.findall(_our(kind.value)):
            yield Edge(
                id=_needed(element, "id"),
                kind=kind,
                source=_text(element, "source"),
                dest=_text(element, "dest"),
                bindings=tuple(_bindings(element)),
                unbound=_flag(element, "unbound"),
                description=_text(element, "description") or "",
            )

    def _read_states(self, parent: ET.Element, outer: str | None) -> None:
        separator, initial = _needed(self._root, "separator"), self._root.attrib["initial"]
        for element in _states_in(parent):
            name = named(element.attrib["id"])
            value, integer = _text(element, "value"), _text(element, "integer")
            node = Node(
                id=node_id(name),
                name=name,
                label=name if outer is None else name.removeprefix(f"{outer}{separator}"),
                value=int(integer) if integer else name if value is None else value,
                parent=outer,
                children=tuple(named(each.attrib["id"]) for each in _states_in(element)),
                initial=element.attrib["id"] == initial,
                initial_child=named(element.attrib["initial"]) if "initial" in element.attrib else None,
                final=element.tag == f"{{{_SCXML}}}final" or element.get(_our("final")) == "true",
                resting="initial" not in element.attrib,
                description=_text(element, "description") or "",
            )
            self._nodes.append((int(_needed(element, "order")), node))
            for transition in element.findall(f"{{{_SCXML}}}transition"):
                self._edges.append((int(_needed(transition, "order")), _edge(transition, name)))
            self._read_states(element, name)


def _edge(element: ET.Element, source: str) -> Edge:
    guards = (
        Guard(_needed(one, "name"), _needed(one, "wanted") == "true", _text(one, "reason") or "")
        for one in element.findall(_our("guard"))
    )
    return Edge(
        id="",
        kind=EdgeKind.TRANSITION,
        source=source,
        dest=named(element.attrib["target"]) if "target" in element.attrib else None,
        trigger=named(element.get("event", "")),
        guards=tuple(guards),
        bindings=tuple(_bindings(element)),
        unbound=_flag(element, "unbound"),
        description=_text(element, "description") or "",
    )


def _bindings(element: ET.Element) -> Iterator[Binding]:
    for one in element.findall(_our("use-case")):
        events, jobs = (tuple(_needed(each, "name") for each in one.findall(_our(kind))) for kind in ("event", "job"))
        yield Binding(_needed(one, "name"), events, jobs, _text(one, "description") or "")


def _states_in(element: ET.Element) -> list[ET.Element]:
    return [one for one in element if one.tag in (f"{{{_SCXML}}}state", f"{{{_SCXML}}}final")]


def _our(name: str) -> str:
    return f"{{{NAMESPACE}}}{name}"


def _needed(element: ET.Element, name: str) -> str:
    return _read(element.attrib[_our(name)])


def _text(element: ET.Element, name: str) -> str | None:
    attributes: Mapping[str, str] = element.attrib
    written = attributes.get(_our(name))
    return None if written is None else _read(written)


def _flag(element: ET.Element, name: str) -> bool:
    return element.get(_our(name)) == "true"


def _read(written: str) -> str:
    return _WRITTEN.sub(lambda found: chr(int(found.group(1), 16)) if found.group(1) else "\\", written)
