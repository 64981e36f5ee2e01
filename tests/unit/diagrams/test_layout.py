"""Where things are put: what Graphviz is asked, and where labels go that stand on something."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import pytest

from examples.orders.app import app as orders
from tests.unit.diagrams.drawings import chain, hostile, nested
from usecasecore.diagrams import Diagram, diagram_of
from usecasecore.diagrams.clearing import cleared
from usecasecore.diagrams.figure import Figure
from usecasecore.diagrams.layout import Arrow, Box, Curve, Layout, Plan, Rect, place
from usecasecore.diagrams.rendering import render


def run(dot: str) -> str:
    return render(dot, "json0").decode()


def test_graphviz_is_told_no_name() -> None:
    asked = []

    def keep(dot: str) -> str:
        asked.append(dot)
        return run(dot)

    place(Figure(hostile()).plan(), keep)
    [dot] = asked
    assert dot.isascii()
    assert "script" not in dot
    assert "quoted" not in dot


def test_initial_point_is_above_a_state_that_other_states_lead_back_to() -> None:
    figure = Figure(nested())
    layout = place(figure.plan(), run)
    assert layout.boxes[figure.dots[None]].y < layout.boxes[figure.states["draft"]].y
    assert layout.boxes[figure.states["draft"]].y < layout.boxes[figure.states["review/finance"]].y


@pytest.mark.parametrize("drawn", [nested(), diagram_of(orders.lifecycles["order"], orders)], ids=["nested", "order"])
def test_frame_goes_around_the_labels_of_the_arrows_in_it(drawn: Diagram) -> None:
    figure = Figure(drawn)
    layout = place(figure.plan(), run)
    checked = 0
    for link, curve in zip(figure.links, layout.curves, strict=True):
        edge = link.edge
        if edge is None or curve.label is None or edge.source not in figure.states or edge.dest not in figure.states:
            continue
        around = figure.nodes[edge.source].parent
        if around is not None and around == figure.nodes[edge.dest].parent:
            frame = layout.groups[figure.groups[around]]
            assert frame.contains(replace(curve.label, width=curve.label.width + 6))
            checked += 1
    assert checked


def test_everything_has_the_size_that_was_asked_for() -> None:
    plan = Plan((Box(120, 50), Box(90, 40), Box(14, 14, round=True)), (), (Arrow(2, 0), Arrow(0, 1, width=77, height=33)))
    layout = place(plan, run)
    assert [(round(box.width, 1), round(box.height, 1)) for box in layout.boxes] == [(120, 50), (90, 40), (14, 14)]
    label = layout.curves[1].label
    assert label is not None
    assert (label.width, label.height) == (77, 33)
    assert layout.curves[0].label is None


def test_arrow_ends_at_the_border_of_its_box() -> None:
    layout = place(Plan((Box(120, 50), Box(90, 40)), (), (Arrow(0, 1),)), run)
    [curve] = layout.curves
    assert curve.tip[1] == pytest.approx(layout.boxes[1].y, abs=1)
    assert curve.points[0][1] == pytest.approx(layout.boxes[0].y + 50, abs=1)


def test_nothing_to_place_needs_no_graphviz() -> None:
    assert place(Plan((), (), ()), lambda dot: pytest.fail("it was asked")) == Layout(0, 0, (), (), (), ())


STRAIGHT = ((100.0, 0.0), (100.0, 60.0), (100.0, 140.0), (100.0, 200.0))


def layout_of(label: Rect, **more: object) -> Layout:
    bare = Layout(400, 200, (), (), (), (Curve(STRAIGHT, (100, 208), label),))
    return replace(bare, **more)  # type: ignore[arg-type]


def label_in(layout: Layout) -> Rect:
    label = cleared(layout).curves[0].label
    assert label is not None
    return label


def test_label_that_is_clear_stays() -> None:
    label = Rect(100, 80, 80, 30)
    assert label_in(layout_of(label)) == label


def test_label_moves_off_the_border_of_a_frame_along_its_arrow() -> None:
    frame = Rect(60, 100, 300, 100)
    label = Rect(100, 85, 80, 30)
    moved = label_in(layout_of(label, groups=(frame,)))
    assert frame.contains(moved) or not frame.overlaps(moved)
    assert moved.y != label.y


def test_label_moves_off_another_arrow() -> None:
    other = Curve(((0.0, 95.0), (60.0, 95.0), (250.0, 95.0), (400.0, 95.0)), (408, 95), None)
    label = Rect(100, 80, 80, 30)
    layout = layout_of(label)
    moved = label_in(replace(layout, curves=(*layout.curves, other)))
    assert not moved.y < 95 < moved.y + moved.height


def test_label_that_its_arrow_left_behind_in_a_frame_comes_after_it() -> None:
    # As Graphviz has it: the arrow is cut off at the frame, its label stands where the middle was.
    stub = ((40.0, 160.0), (44.0, 160.0), (52.0, 160.0), (60.0, 160.0))
    frame = Rect(60, 20, 330, 175)
    left = Rect(250, 60, 80, 30)
    moved = label_in(Layout(400, 200, (), (frame,), (), (Curve(stub, (32, 160), left),)))
    assert frame.contains(moved) or not frame.overlaps(moved)
    assert moved.x - 60 < 30
    assert moved.y - 20 < 160 < moved.y + moved.height + 20


def test_label_never_moves_onto_a_box_nor_out_of_the_drawing() -> None:
    # The only place that is free has the border of a frame in it.
    boxes = (Rect(105, 0, 295, 76), Rect(105, 114, 295, 86), Rect(0, 0, 95, 200))
    frame = Rect(-5, 95, 410, 120)
    moved = label_in(layout_of(Rect(100, 80, 80, 30), boxes=boxes, groups=(frame,)))
    assert not [box for box in boxes if box.overlaps(moved)]
    assert Rect(0, 0, 400, 200).contains(moved)


def test_fewer_labels_of_a_large_drawing_are_run_through() -> None:
    layout = place(Figure(chain(40, 90)).plan(), run)
    assert run_through(cleared(layout)) < run_through(layout) / 2


def run_through(layout: Layout) -> int:
    """How many labels another arrow goes through."""
    found = set()
    for index, curve in enumerate(layout.curves):
        points = list(along(curve))
        for other, one in enumerate(layout.curves):
            label = one.label
            if label is not None and other != index:
                inside = (
                    label.x + 5 < x < label.x + label.width - 2 and label.y + 2 < y < label.y + label.height - 2
                    for x, y in points
                )
                found |= {other} if any(inside) else set()
    return len(found)


def along(curve: Curve) -> Iterator[tuple[float, float]]:
    for start in range(0, len(curve.points) - 3, 3):
        a, b, c, d = curve.points[start : start + 4]
        for at in (step / 40 for step in range(41)):
            x, y = (
                (1 - at) ** 3 * a[axis] + 3 * (1 - at) ** 2 * at * b[axis] + 3 * (1 - at) * at**2 * c[axis] + at**3 * d[axis]
                for axis in (0, 1)
            )
            yield x, y
