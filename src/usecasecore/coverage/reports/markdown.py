"""The report as Markdown: for a pull request, and for the summary of a step on GitHub."""

from __future__ import annotations

from collections.abc import Iterator

from usecasecore.coverage.criteria import Criterion
from usecasecore.coverage.summary import Line, Summary

__all__ = ["text"]


def text(summary: Summary) -> str:
    """Return the whole report."""
    return "\n".join(_lines(summary)) + "\n"


def _lines(summary: Summary) -> Iterator[str]:
    yield f"## Transition coverage: {summary.count.percent}"
    yield ""
    for sentence in summary.failures:
        yield f"- ❌ {_clean(sentence)}"
    for sentence in summary.verdicts:
        yield f"- ✅ {_clean(sentence)}"
    if summary.failures or summary.verdicts:
        yield ""
    if not summary.lines:
        yield "No lifecycle was found."
        return
    yield "| lifecycle | states | transitions | guards | cells | pairs | covered | counted |"
    yield "|---|--:|--:|--:|--:|--:|--:|---|"
    for line in summary.lines:
        counts = " | ".join(str(line.counts[one]) if line.counts[one].total else "-" for one in Criterion)
        yield f"| {_clean(line.title)} | {counts} | {line.count.percent} | {line.measured.criterion} |"
    for line in summary.lines:
        yield from _missing(line)
    if summary.comparison is not None and summary.comparison.regressions:
        yield ""
        yield f"### Regressed since {_clean(summary.comparison.base)}"
        yield ""
        for one in summary.comparison.regressions:
            was = "; ".join(map(str, one.tests)) or "covered by a test that was not recorded"
            yield f"- {_clean(one.declared.name)}: `{one.item.key}` (was {_clean(was)})"
    for note in summary.notes:
        yield ""
        yield f"> {_clean(note)}"


def _missing(line: Line) -> Iterator[str]:
    if not line.missing:
        return
    yield ""
    yield f"<details><summary>{len(line.missing)} missing in {_clean(line.title)}</summary>"
    yield ""
    yield "| missing | so far | declared | reach it | nearest test |"
    yield "|---|---|---|---|---|"
    for one in line.missing:
        way = " → ".join(one.way) or "no way leads there"
        item = one.item
        yield f"| `{_cell(item.key)}` | {item.level} | {_clean(str(item.location))} | {_clean(way)} | {_clean(one.nearest) or '-'} |"
    yield ""
    yield "</details>"


def _cell(value: str) -> str:
    return value.replace("|", "\\|").replace("`", "'")


def _clean(value: str) -> str:
    for sign in "\\`*_<>|#[]":
        value = value.replace(sign, f"\\{sign}")
    return value.replace("\n", " ")
