"""The report as one HTML page: nothing is loaded from elsewhere, and without JavaScript everything can still be read."""

from __future__ import annotations

from collections.abc import Iterator
from html import escape

from usecasecore.coverage.criteria import Criterion, Item, Level, measure
from usecasecore.coverage.missing import Missing
from usecasecore.coverage.reports.page import SCRIPT, STYLE
from usecasecore.coverage.reports.svg import picture
from usecasecore.coverage.summary import Line, Summary
from usecasecore.errors import DiagramError

__all__ = ["page"]

_SIGNS = {True: ("good", "✓"), False: ("bad", "✗")}


def page(summary: Summary) -> str:
    """Return the page."""
    return "\n".join(_page(summary)) + "\n"


def _page(summary: Summary) -> Iterator[str]:
    yield "<!DOCTYPE html>"
    yield '<html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1">'
    yield f"<title>Transition coverage: {summary.count.percent}</title><style>{STYLE}</style></head><body>"
    yield f"<header><h1>Transition coverage <b>{summary.count.percent}</b></h1>"
    yield f"<p>{summary.count} counted by the criterion <i>{summary.criterion}</i>. Only what was committed counts.</p>"
    for sentence in summary.failures:
        yield f'<p class="bad"><span aria-hidden="true">✗</span> {escape(sentence)}</p>'
    for sentence in summary.verdicts:
        yield f'<p class="good"><span aria-hidden="true">✓</span> {escape(sentence)}</p>'
    for note in summary.notes:
        yield f"<p>{escape(note)}</p>"
    yield "</header><main>"
    yield from _overview(summary)
    for number, line in enumerate(summary.lines):
        yield from _section(number, line)
    yield from _regressions(summary)
    yield f"</main><script>{SCRIPT}</script></body></html>"


def _overview(summary: Summary) -> Iterator[str]:
    yield '<table class="overview"><thead><tr><th>lifecycle<th>states<th>transitions<th>guards<th>cells<th>pairs<th>covered<th>counted'
    yield "</thead><tbody>"
    for number, line in enumerate(summary.lines):
        counts = "".join(f"<td>{line.counts[one] if line.counts[one].total else '-'}" for one in Criterion)
        good = "good" if not line.missing else "bad"
        covered = f'<td class="{good}">{line.count.percent}'
        yield f'<tr><th scope="row"><a href="#lifecycle-{number}">{escape(line.title)}</a>{counts}{covered}<td>{line.measured.criterion}'
    yield "</tbody></table>"


def _section(number: int, line: Line) -> Iterator[str]:
    declared = line.recorded.declared
    yield f'<section id="lifecycle-{number}"><h2>{escape(line.title)} <b>{line.count.percent}</b></h2>'
    yield f"<p>{escape(str(declared.location))}</p>"
    yield from _picture(number, line)
    yield "<h3>Transitions</h3>"
    yield from _items(number, line, measure(line.recorded, Criterion.TRANSITION).items, "t")
    if line.measured.criterion is not Criterion.TRANSITION:
        yield f"<h3>By the criterion {line.measured.criterion}</h3>"
        yield from _items(number, line, line.measured.items, "i")
    if declared.excluded:
        names = ", ".join(
            f"<code>{escape(edge.trigger)}</code> from {escape(edge.source)}"
            for edge in declared.graph.edges
            if edge.index in declared.excluded
        )
        yield f"<p>Left out: {names}</p>"
    yield "</section>"


def _picture(number: int, line: Line) -> Iterator[str]:
    try:
        drawn = picture(line, number, row=f"t{number}-")
    except DiagramError as error:
        yield f'<p class="note">No diagram: {escape(str(error))}</p>'
        return
    yield f'<div class="picture"><div class="drawing">{drawn}</div>'
    yield '<aside aria-live="polite"><p>Point at a transition to see the tests that take it.</p></aside></div>'


def _items(number: int, line: Line, items: tuple[Item, ...], kind: str) -> Iterator[str]:
    missing = {one.item.key: one for one in line.missing}
    yield "<table><thead><tr><th><th>what<th>so far<th>times<th>tests<th>declared</thead><tbody>"
    for index, item in enumerate(items):
        sign, mark = _SIGNS[item.covered] if item.covered or item.level is Level.DECLARED else ("partial", "◐")
        yield f'<tr id="{kind}{number}-{index}" class="{sign}"><td><span aria-hidden="true">{mark}</span>'
        yield f"<td><code>{escape(item.key)}</code>{_help(missing.get(item.key))}<td>{item.level}<td>{item.count or ''}"
        yield f"<td>{_tests(item)}<td>{escape(str(item.location))}"
    yield "</tbody></table>"


def _tests(item: Item) -> str:
    if not item.tests:
        return ""
    listed = "".join(f"<li><code>{escape(test)}</code>" for test in item.tests)
    word = "test" if len(item.tests) == 1 else "tests"
    return f"<details><summary>{len(item.tests)} {word}</summary><ul>{listed}</ul></details>"


def _help(one: Missing | None) -> str:
    if one is None:
        return ""
    way = f"reach it: {escape(' → '.join(one.way))}" if one.way else "no way leads there"
    nearest = f"<br>nearest: <code>{escape(one.nearest)}</code> (already in {escape(one.nearest_state)})" if one.nearest else ""
    stub = (
        f'<details><summary>a test to start from</summary><pre>{escape(one.stub)}</pre><button type="button">Copy</button></details>'
        if one.stub
        else ""
    )
    return f'<div class="help">{way}{nearest}{stub}</div>'


def _regressions(summary: Summary) -> Iterator[str]:
    if summary.comparison is None:
        return
    yield f"<section><h2>Since {escape(summary.comparison.base)}</h2>"
    if not summary.comparison.regressions:
        yield "<p>Nothing that was covered is uncovered now.</p>"
    else:
        yield "<table><thead><tr><th>no longer covered<th>lifecycle<th>was</thead><tbody>"
        for one in summary.comparison.regressions:
            was = "<br>".join(escape(str(test)) for test in one.tests) or "covered by a test that was not recorded"
            yield f'<tr class="bad"><td><code>{escape(one.item.key)}</code><td>{escape(one.declared.name)}<td>{was}'
        yield "</tbody></table>"
    yield "</section>"
