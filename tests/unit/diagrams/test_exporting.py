"""Files: what they are called, what they carry, and how a check finds what is wrong with them."""

from __future__ import annotations

import struct
import zlib
from collections.abc import Sequence
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import pytest

from tests.unit.cli.sample_app import Order
from tests.unit.cli.sample_app import app as sample
from tests.unit.diagrams.lifecycles import HOSTILE, everything, mapped
from usecasecore import Lifecycle, Transition
from usecasecore.diagrams import (
    Detail,
    Diagram,
    DiagramFormat,
    EdgeKind,
    changes,
    check,
    diagram_of,
    digest,
    export,
    render,
    stamp,
)
from usecasecore.diagrams.exporting import targets
from usecasecore.diagrams.formats import shown_by, stamped_digest
from usecasecore.errors import DiagramError

TEXTS = [each for each in DiagramFormat if each.is_text and each is not DiagramFormat.SVG]
DIAGRAM = diagram_of(Order.lifecycle, sample)


@pytest.mark.parametrize("target", TEXTS)
def test_every_text_format_carries_the_diagram_and_its_digest(target: DiagramFormat) -> None:
    for diagram in everything().values():
        content = render(diagram, target)
        assert shown_by(content, target) == diagram
        assert stamped_digest(content, target) == digest(diagram)


def test_a_png_carries_them_in_text_chunks_and_stays_one() -> None:
    png = b"\x89PNG\r\n\x1a\n" + _chunk(b"IHDR", bytes(13)) + _chunk(b"IDAT", zlib.compress(b"\0\0")) + _chunk(b"IEND", b"")
    for diagram in everything().values():
        stamped = stamp.into_png(png, diagram)
        assert shown_by(stamped, DiagramFormat.PNG) == diagram
        assert stamped_digest(stamped, DiagramFormat.PNG) == digest(diagram)
        assert [kind for kind, _ in _chunks(stamped)] == [b"IHDR", b"tEXt", b"tEXt", b"IDAT", b"IEND"]
    with pytest.raises(ValueError, match="no PNG"):
        stamp.into_png(b"GIF89a", DIAGRAM)


def test_a_pdf_carries_them_in_its_document_information() -> None:
    pdf = (
        b"%PDF-1.4\n1 0 obj\n<< /Type /Catalog >>\nendobj\nxref\n0 1\ntrailer\n<< /Size 2 /Root 1 0 R >>\nstartxref\n42\n%%EOF\n"
    )
    for diagram in everything().values():
        stamped = stamp.into_pdf(pdf, diagram)
        assert stamped.startswith(pdf)
        assert shown_by(stamped, DiagramFormat.PDF) == diagram
        assert stamped_digest(stamped, DiagramFormat.PDF) == digest(diagram)
        start = int(stamped.split()[-2])
        assert stamped[start:].startswith(b"xref\n2 1\n")
        information = int(stamped[start:].split()[3])
        assert stamped[information:].startswith(b"2 0 obj\n<< /Producer (usecasecore)")
    with pytest.raises(ValueError, match="no PDF"):
        stamp.into_pdf(b"%PDF-1.4\n", DIAGRAM)


def test_a_file_that_is_damaged_says_nothing() -> None:
    content = render(DIAGRAM, DiagramFormat.MERMAID)
    assert shown_by(content.replace(b'"edges":[', b'"edges":{'), DiagramFormat.MERMAID) is None
    assert shown_by(b"", DiagramFormat.DOT) is None
    assert shown_by(b"{", DiagramFormat.JSON) is None
    assert stamped_digest(b"[]", DiagramFormat.JSON) is None
    assert stamped_digest(b"\xff", DiagramFormat.JSON) is None


def test_what_was_exported_passes_the_check_and_leaves_nothing_else_behind(tmp_path: Path) -> None:
    files = export(sample, tmp_path / "new" / "folder", TEXTS)
    assert check(sample, tmp_path / "new" / "folder", TEXTS) == ()
    assert sorted((tmp_path / "new" / "folder").iterdir()) == sorted(files)
    assert {file.name for file in files} == {f"order{suffix}" for suffix in (".dot", ".mmd", ".puml", ".json", ".scxml", ".md")}


def test_a_file_at_another_level_of_detail_is_stale(tmp_path: Path) -> None:
    export(sample, tmp_path, detail=Detail.STATES)
    (finding,) = check(sample, tmp_path)
    assert finding.kind == "stale"
    assert "~ the detail: states, now full" in map(str, finding.changes)


def test_missing_and_orphaned_files_are_found_but_not_those_of_another_application(tmp_path: Path) -> None:
    export(sample, tmp_path, ["mermaid"])
    (tmp_path / "order.mmd").rename(tmp_path / "old.mmd")
    other = replace(DIAGRAM, name="other", application="elsewhere")
    (tmp_path / "other.mmd").write_bytes(render(other, DiagramFormat.MERMAID))
    (tmp_path / "notes.mmd").write_text("stateDiagram-v2\n")
    found = check(sample, tmp_path, ["mermaid"])
    assert [(finding.kind, finding.path.name) for finding in found] == [("missing", "order.mmd"), ("orphaned", "old.mmd")]
    assert [finding.kind for finding in check(sample, tmp_path, ["mermaid"], names=["order"])] == ["missing"]


def test_a_file_without_a_stamp_is_stale(tmp_path: Path) -> None:
    (tmp_path / "order.mmd").write_text("stateDiagram-v2\n")
    (finding,) = check(sample, tmp_path)
    assert (finding.kind, finding.changes) == ("stale", ())
    assert "doesn't say what it shows" in finding.detail


def test_files_have_names_that_every_system_takes_and_differ(tmp_path: Path) -> None:
    names = [*HOSTILE, "order.payment", "con", "NUL.x", ".hidden", "..", "../up", "-rf"]
    diagrams = [replace(DIAGRAM, name=name) for name in names if name != "A"]
    made = [target.path for target in targets(diagrams, tmp_path, [DiagramFormat.DOT])]
    assert len({path.name.casefold() for path in made}) == len(diagrams)
    for path in made:
        assert path.parent == tmp_path
        assert path.name.isascii()
        assert len(path.name) < 128
        path.write_text("")
    assert tmp_path / "order.payment.dot" in made


def test_two_lifecycles_that_differ_in_case_only_are_refused() -> None:
    diagrams = [replace(DIAGRAM, name=name) for name in ("order", "Order")]
    with pytest.raises(DiagramError, match=r"'order' and 'Order' would both be written to Order\.dot"):
        targets(diagrams, Path(), [DiagramFormat.DOT])


def test_an_overlay_is_refused_where_it_can_not_be_shown(tmp_path: Path) -> None:
    from usecasecore.diagrams.overlay import Overlay

    overlay = Overlay("late", "orders that wait")
    with pytest.raises(DiagramError, match="scxml can't show an overlay; what can: dot, mermaid, "):
        export(sample, tmp_path, ["mermaid", "scxml"], overlays={"order": overlay})
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("format", [each for each in DiagramFormat if each.is_text and each.shows_overlays])
def test_no_check_takes_a_file_with_an_overlay_for_an_export(format: DiagramFormat, tmp_path: Path) -> None:  # noqa: A002
    from usecasecore.diagrams.overlay import Mark, Overlay

    overlays = {"order": Overlay("late", "orders that wait", {"draft": Mark("3 late")})}
    [written] = export(sample, tmp_path, [format], overlays=overlays)
    written.rename(written.with_name(f"order.late{format.suffix}"))
    assert [finding.kind for finding in check(sample, tmp_path, [format])] == ["missing"]
    [written] = export(sample, tmp_path, [format])
    assert check(sample, tmp_path, [format]) == ()
    export(sample, tmp_path, [format], overlays=overlays)
    assert [finding.kind for finding in check(sample, tmp_path, [format])] == ["stale"]


def test_what_has_changed_is_said_in_sentences() -> None:
    old, new = _before(), _after()
    assert list(map(str, changes(old, new))) == [
        "- state 'paid'",
        "+ state 'archived'",
        "~ state 'draft': the description: none, now just begun",
        "~ state 'sent' is not final any more",
        "- transition 'pay' from 'sent' to 'paid'",
        "+ transition 'archive' from 'sent' to 'archived'",
        "~ transition 'send' from 'draft' to 'sent': the guards: [_yes], now [_yes & !_no]",
        "~ transition 'drop' from 'draft' to 'draft': leads to 'sent' now",
    ]
    assert changes(old, old) == ()
    assert [change.kind for change in changes(new, old)].count("added") == 2


def test_no_difference_between_two_diagrams_goes_unsaid() -> None:
    diagrams = list(everything().values())
    for old, new in pairwise(diagrams):
        assert changes(old, new)
    for edge in DIAGRAM.edges:
        without = replace(DIAGRAM, edges=tuple(each for each in DIAGRAM.edges if each is not edge))
        (change,) = changes(DIAGRAM, without)
        assert (change.kind, edge.kind.value in str(change)) == ("removed", True)
    turned = replace(DIAGRAM, nodes=DIAGRAM.nodes[::-1])
    assert list(map(str, changes(DIAGRAM, turned))) == ["~ the order of the states"]
    emitting = replace(DIAGRAM.edges[1], bindings=(replace(DIAGRAM.edges[1].bindings[0], events=("a", "b")),))
    louder = replace(DIAGRAM, edges=(DIAGRAM.edges[0], emitting, *DIAGRAM.edges[2:]))
    assert "the events: order.submitted, now a, b" in str(changes(DIAGRAM, louder)[0])
    assert DIAGRAM.edges[0].kind is EdgeKind.CREATION


def test_a_lifecycle_formats_itself() -> None:
    assert format(Order.lifecycle, "mermaid") == render(diagram_of(Order.lifecycle), DiagramFormat.MERMAID).decode()
    assert f"{Order.lifecycle:dot}".startswith("// usecasecore")
    assert f"{Order.lifecycle}" == "<Lifecycle 'order'>"
    with pytest.raises(ValueError, match="can't be formatted as 'png'; possible: dot, mermaid"):
        format(Order.lifecycle, "png")


def _before() -> Diagram:
    states = ["draft", "sent", "paid"]
    ways = [
        Transition("send", "draft", "sent", conditions=_yes),
        Transition("pay", "sent", "paid"),
        Transition("drop", "draft", "draft"),
    ]
    return replace(_drawn(states, ways), nodes=tuple(replace(n, final=n.name != "draft") for n in _drawn(states, ways).nodes))


def _after() -> Diagram:
    states = [{"name": "draft", "description": "just begun"}, "sent", "archived"]
    return _drawn(
        states,
        [
            Transition("send", "draft", "sent", conditions=_yes, unless=_no),
            Transition("archive", "sent", "archived"),
            Transition("drop", "draft", "sent"),
        ],
    )


def _drawn(states: Sequence[object], transitions: list[Transition]) -> Diagram:
    return diagram_of(mapped(Lifecycle(states=list(states), initial="draft", transitions=transitions)))  # type: ignore[arg-type]  # mixed


def _yes(aggregate: object) -> bool:
    return True


def _no(aggregate: object) -> bool:
    return False


def _chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def _chunks(png: bytes) -> list[tuple[bytes, bytes]]:
    found, at = [], 8
    while at < len(png):
        (length,) = struct.unpack(">I", png[at : at + 4])
        kind, data = png[at + 4 : at + 8], png[at + 8 : at + 8 + length]
        assert struct.unpack(">I", png[at + 8 + length : at + 12 + length]) == (zlib.crc32(kind + data),)
        found.append((kind, data))
        at += 12 + length
    return found
