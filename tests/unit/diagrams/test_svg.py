"""The SVG that we draw ourselves: what is in it, where it stands, and that nothing breaks out of its place."""

from __future__ import annotations

import html.parser
import re
from collections.abc import Iterator
from functools import cache
from itertools import combinations
from xml.etree import ElementTree

import pytest

from examples.loans.app import app as loans
from examples.orders.app import app as orders
from tests.unit.diagrams.drawings import HOSTILE, chain, diagram, hostile, nested, randomly, transition
from usecasecore.diagrams import Binding, Detail, Diagram, EdgeKind, diagram_of, digest, reduced
from usecasecore.diagrams.clearing import cleared
from usecasecore.diagrams.figure import LABEL_INSET, Figure
from usecasecore.diagrams.layout import Layout, Rect, place
from usecasecore.diagrams.lettering import printable
from usecasecore.diagrams.markup import number
from usecasecore.diagrams.overlay import LegendItem, Mark, Overlay, Status
from usecasecore.diagrams.rendering import render
from usecasecore.diagrams.stamp import stamped, stamped_digest
from usecasecore.diagrams.style import DARK, HUES, LIGHT, style_sheet
from usecasecore.diagrams.svg import to_svg

SVG = "{http://www.w3.org/2000/svg}"


def examples() -> Iterator[Diagram]:
    yield from (diagram_of(one, orders) for one in orders.lifecycles.values())
    yield from (diagram_of(one, loans) for one in loans.lifecycles.values())


DRAWN = {
    **{one.name: one for one in examples()},
    "nested": nested(),
    "hostile": hostile(),
    "states only": reduced(nested(), Detail.STATES),
    "triggers only": reduced(nested(), Detail.TRIGGERS),
    "forty states": chain(40, 80),
    **{f"random {seed}": randomly(seed) for seed in range(12)},
}


@pytest.fixture(params=DRAWN)
def drawn(request: pytest.FixtureRequest) -> Diagram:
    return DRAWN[request.param]


def parsed(svg: str) -> ElementTree.Element:
    return ElementTree.fromstring(svg)


@cache
def svg_of(drawn: Diagram) -> str:
    return to_svg(drawn)


@cache
def laid_out(drawn: Diagram) -> tuple[Figure, Layout]:
    figure = Figure(drawn)
    return figure, cleared(place(figure.plan(), lambda dot: render(dot, "json0").decode()))


def test_each_state_and_each_edge_is_an_element_that_scripts_and_readers_find(drawn: Diagram) -> None:
    root = parsed(svg_of(drawn))
    found = {element.get("id"): element for element in root.iter()}
    assert root.get("data-lifecycle") == printable(drawn.name)
    for node in drawn.nodes:
        element = found[f"{drawn.id}-{node.id}"]
        assert element.get("data-state") == _written(node.name)
        assert "uc-state" in str(element.get("class")).split()
        _is_reached_and_named(element, found, printable(node.name))
    for edge in drawn.edges:
        element = found[f"{drawn.id}-{edge.id}"]
        ends = (element.get("data-source"), element.get("data-dest"), element.get("data-trigger"))
        assert ends == (_written(edge.source), _written(edge.dest), _written(edge.trigger or None))
        assert {"uc-edge", f"uc-{edge.kind}"} <= set(str(element.get("class")).split())
        _is_reached_and_named(element, found, printable(edge.trigger))


def _is_reached_and_named(element: ElementTree.Element, found: dict[str | None, ElementTree.Element], name: str) -> None:
    assert element.get("tabindex") == "0"
    title = found[element.get("aria-labelledby")]
    assert title.tag == f"{SVG}title"
    assert name in str(title.text)


def _written(name: str | None) -> str | None:
    """A name as an attribute holds it: what XML has no place for is escaped."""
    if name is None:
        return None
    return re.sub("[\x00-\x08\x0b\x0c\x0e-\x1f\ud800-\udfff]", lambda found: ascii(found[0])[1:-1], name)


def test_ids_are_unique(drawn: Diagram) -> None:
    ids = [element.get("id") for element in parsed(svg_of(drawn)).iter() if element.get("id")]
    assert len(ids) == len(set(ids))


def test_two_diagrams_on_a_page_share_no_id() -> None:
    ids = [
        {element.get("id") for element in parsed(text).iter()} - {None}
        for text in (to_svg(nested()), to_svg(nested(), prefix="other"), to_svg(DRAWN["order"]))
    ]
    assert all(not one & other for one, other in combinations(ids, 2))


def test_states_stand_clear_of_each_other_inside_of_their_frames(drawn: Diagram) -> None:
    figure, layout = laid_out(drawn)
    assert not [pair for pair in combinations(layout.boxes, 2) if pair[0].overlaps(pair[1])]
    whole = Rect(-1, -1, layout.width + 2, layout.height + 2)
    for name, index in figure.states.items():
        around = figure.nodes[name].parent
        frame = whole if around is None else layout.groups[figure.groups[around]]
        assert frame.contains(layout.boxes[index])
    for name, index in figure.groups.items():
        around = figure.nodes[name].parent
        frame = whole if around is None else layout.groups[figure.groups[around]]
        assert frame.contains(layout.groups[index])


def test_labels_stand_in_the_drawing_and_neither_on_states_nor_on_each_other(drawn: Diagram) -> None:
    _, layout = laid_out(drawn)
    labels = [curve.label for curve in layout.curves if curve.label is not None]
    whole = Rect(-1, -1, layout.width + 2, layout.height + 2)
    assert all(whole.contains(label) for label in labels)
    assert not [(label, box) for label in labels for box in layout.boxes if label.overlaps(box)]
    assert not [pair for pair in combinations(labels, 2) if pair[0].overlaps(pair[1])]


def test_labels_are_drawn_where_they_were_moved_to() -> None:
    drawn = chain(40, 90)
    figure, layout = laid_out(drawn)
    before = place(figure.plan(), lambda dot: render(dot, "json0").decode())
    moved = [one.label for one, other in zip(layout.curves, before.curves, strict=True) if one.label and one.label != other.label]
    places = {element.get("x") for element in parsed(svg_of(drawn)).iter(f"{SVG}text")}
    assert moved
    assert {number(label.x + LABEL_INSET[0]) for label in moved} <= places


def test_every_text_starts_inside_of_the_picture_and_is_given_room_to_end_there(drawn: Diagram) -> None:
    figure, layout = laid_out(drawn)
    root = parsed(svg_of(drawn))
    _, _, width, height = map(float, str(root.get("viewBox")).split())
    assert (width, height) == (float(str(root.get("width"))), float(str(root.get("height"))))
    assert (width, height) >= (layout.width, layout.height)
    for name, content in figure.contents.items():
        if name in figure.states:
            box = layout.boxes[figure.states[name]]
            assert content.block.width + 2 <= box.width
            assert content.inside + 2 <= box.height


def test_same_diagram_gives_same_bytes() -> None:
    assert [to_svg(randomly(4)) for _ in range(2)] == [to_svg(randomly(4))] * 2


ALLOWED = {"svg", "title", "desc", "metadata", "usecasecore", "style", "rect", "circle", "path", "text", "tspan", "g"}


def test_no_name_breaks_out_in_xml() -> None:
    text = to_svg(hostile())
    text.encode()  # no halves of surrogate pairs
    root = parsed(text)
    assert {element.tag.rpartition("}")[2] for element in root.iter()} <= ALLOWED
    assert not [name for element in root.iter() for name in element.attrib if name.startswith(("on", "href", "style"))]


def test_no_name_breaks_out_in_html() -> None:
    tags = _Tags()
    tags.feed(f"<!doctype html><body>{to_svg(hostile())}</body>")
    assert {tag for tag, _ in tags.seen} <= ALLOWED | {"body"}
    assert not [name for _, attributes in tags.seen for name in attributes if name.startswith(("on", "href", "style"))]


class _Tags(html.parser.HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.seen: list[tuple[str, list[str]]] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.seen.append((tag, [name for name, _ in attrs]))


@pytest.mark.parametrize("name", HOSTILE)
def test_a_name_that_was_shortened_stands_in_full_in_the_title(name: str) -> None:
    text = to_svg(diagram([name, "other"], [transition(name, "other", name)]))
    titles = [str(element.text) for element in parsed(text).iter(f"{SVG}title")]
    assert sum(printable(name) in title for title in titles) >= 2


def test_nothing_is_loaded_and_nothing_runs() -> None:
    text = to_svg(nested())
    assert re.findall(r"https?://[^\"]*", text) == ["http://www.w3.org/2000/svg"]
    assert not re.search(r"@import|url\(|<script|<image|<use[ />]|<foreignObject|@font-face", text)


def test_it_carries_the_diagram_that_it_shows() -> None:
    text = to_svg(nested()).encode()
    assert stamped_digest(text) == digest(nested())
    assert stamped(text) == nested()


def test_with_an_overlay_it_carries_no_digest_so_that_nobody_takes_it_for_an_export() -> None:
    text = to_svg(nested(), Overlay("counts", "rows")).encode()
    assert stamped_digest(text) is None
    assert stamped(text) is None
    assert parsed(text.decode()).get("data-overlay") == "counts"


def test_an_overlay_is_shown_by_text_shape_and_class() -> None:
    drawn = DRAWN["order"]
    edge = next(edge for edge in drawn.edges if edge.trigger == "submit")
    overlay = Overlay(
        "coverage",
        "what was tried",
        {"draft": Mark("12 tests", ("since May",), Status.GOOD, 0.5, (1, 4), "tried by 12 tests", (("tests", "12"),))},
        {edge.id: Mark("never tried", status=Status.BAD, share=1.0)},
        (LegendItem("tried", Status.GOOD),),
        ("Measured once.",),
    )
    root = parsed(to_svg(drawn, overlay))
    found = {element.get("id"): element for element in root.iter()}
    state, arrow = found["order-state-draft"], found[f"order-{edge.id}"]
    assert state.get("data-status") == "good"
    assert state.get("data-tests") == "12"
    assert "tried by 12 tests" in str(found["order-state-draft-title"].text)
    assert {"12 tests", "since May", "1", "4"} <= {element.text for element in state.iter(f"{SVG}text")}
    assert "never tried" in {element.text for element in arrow.iter(f"{SVG}text")}
    signs = [{element.get("d") for element in one.iter() if "uc-sign" in str(element.get("class"))} for one in (state, arrow)]
    assert len(signs[0]) == len(signs[1]) == 1
    assert signs[0] != signs[1]
    texts = {element.text for element in root.iter(f"{SVG}text")}
    assert {"tried", "Measured once."} <= texts


def test_states_of_each_sort_differ_by_shape() -> None:
    root = parsed(to_svg(nested()))
    found = {element.get("id"): element for element in root.iter()}
    shapes = {
        name: sorted(str(element.get("class")) for element in found[f"case-state-{name}"].iter(f"{SVG}rect"))
        for name in ("draft", "review", "gone")
    }
    assert shapes == {"draft": ["uc-box", "uc-row"], "review": ["uc-frame", "uc-row"], "gone": ["uc-box", "uc-inner"]}


def test_a_page_may_bring_the_style_sheet_itself() -> None:
    text = to_svg(nested(), styled=False)
    assert "<style" not in text
    assert " style=" not in text
    assert style_sheet("usecasecore-diagram") in html.unescape(to_svg(nested()))


def test_every_rule_of_the_style_sheet_stays_inside_of_the_drawing() -> None:
    for line in style_sheet("root-class").splitlines():
        selectors = re.sub(r"^@media [^{]*\{ ", "", line).partition("{")[0]
        assert all(selector.strip().startswith(".root-class") for selector in selectors.split(",")), line


def test_use_cases_that_fire_nothing_and_triggers_without_a_use_case_stand_out() -> None:
    root = parsed(to_svg(nested()))
    texts = " ".join(str(element.text) for element in root.iter(f"{SVG}text"))
    assert "LookAtCase" in texts
    [again] = [element for element in root.iter() if element.get("data-trigger") == "again"]
    assert "uc-unbound" in str(again.get("class"))
    assert "no use case" in {element.text for element in again.iter(f"{SVG}text")}


def test_many_use_cases_of_one_edge_are_counted_and_all_named_in_its_title() -> None:
    bindings = tuple(Binding(f"Use{number}") for number in range(7))
    root = parsed(to_svg(diagram(["a", "b"], [transition("a", "b", "go", bindings=bindings)])))
    [edge] = [element for element in root.iter() if element.get("data-trigger") == "go"]
    assert "and 5 more" in {element.text for element in edge.iter(f"{SVG}text")}
    assert all(one.use_case in str(edge[0].text) for one in bindings)


BACKGROUNDS = {
    "text": ["canvas", "surface", "frame", "initial-fill", "final-fill", "good-fill", "bad-fill", "partial-fill", "accent-fill"],
    "muted": ["canvas", "surface", "frame", "initial-fill", "final-fill", "good-fill", "bad-fill", "partial-fill", "accent-fill"],
    "warning": ["canvas", "surface", "frame", "initial-fill"],
    "good": ["canvas", "surface", "frame", "good-fill"],
    "bad": ["canvas", "surface", "frame", "bad-fill"],
    "partial": ["canvas", "surface", "frame", "partial-fill"],
    "accent": ["canvas", "surface", "frame", "accent-fill", "initial-fill", "final-fill"],
    **{f"hue-{hue}": ["canvas", "surface", "frame", "initial-fill"] for hue in range(HUES)},
}


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("ink", BACKGROUNDS)
def test_letters_can_be_read_on_what_they_stand_on(scheme: str, ink: str) -> None:
    palette = {"light": LIGHT, "dark": DARK}[scheme]
    assert {ground: ratio for ground in BACKGROUNDS[ink] if (ratio := _contrast(palette[ink], palette[ground])) < 4.5} == {}


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("ink", ["border", "initial", "final"])
def test_borders_can_be_seen_on_what_they_stand_on(scheme: str, ink: str) -> None:
    palette = {"light": LIGHT, "dark": DARK}[scheme]
    assert min(_contrast(palette[ink], palette[ground]) for ground in ("canvas", "surface", "frame")) >= 3


def test_both_schemes_have_every_colour() -> None:
    assert LIGHT.keys() == DARK.keys()
    assert all(re.fullmatch("#[0-9a-f]{6}", colour) for palette in (LIGHT, DARK) for colour in palette.values())


def _contrast(one: str, other: str) -> float:
    """The contrast ratio of WCAG 2.2, 1 to 21."""
    brighter, darker = sorted((_luminance(one), _luminance(other)), reverse=True)
    return (brighter + 0.05) / (darker + 0.05)


def _luminance(colour: str) -> float:
    parts = [int(colour[index : index + 2], 16) / 255 for index in (1, 3, 5)]
    linear = [part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


def test_triggers_that_meet_at_a_state_have_different_colours_as_far_as_these_go() -> None:
    drawn = DRAWN["order"]
    hues = Figure(drawn).hues
    for node in drawn.nodes:
        meeting = {
            edge.trigger for edge in drawn.edges if node.name in (edge.source, edge.dest) and edge.kind is not EdgeKind.CREATION
        }
        assert len({hues[trigger] for trigger in meeting}) == min(len(meeting), HUES)
