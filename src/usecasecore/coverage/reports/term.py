"""The report for a terminal."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from usecasecore.coverage.baseline import Comparison
from usecasecore.coverage.criteria import Criterion
from usecasecore.coverage.missing import Missing
from usecasecore.coverage.summary import Line, Summary

__all__ = ["comparison_lines", "lines", "missing_lines"]

_MOST_STUBS = 3
"""More would bury what they are for; `usecasecore coverage report --stubs` shows all."""


def lines(summary: Summary, *, with_missing: bool, stubs: bool | None = None) -> Iterator[str]:
    """Yield the table, and what is missing with the way there.

    Args:
        summary: The conclusion.
        with_missing: Whether to list what is missing.
        stubs: Whether to show a test to start from for each; by default where there are few.
    """
    yield from _table(summary)
    if with_missing:
        few = sum(len(line.missing) for line in summary.lines) <= _MOST_STUBS
        for line in summary.lines:
            yield from missing_lines(line, stubs=few if stubs is None else stubs)
    if summary.comparison is not None:
        yield from comparison_lines(summary.comparison)
    for note in summary.notes:
        yield f"note: {note}"


def missing_lines(line: Line, *, stubs: bool) -> Iterator[str]:
    """Yield what is missing in one lifecycle."""
    if not line.missing:
        return
    yield ""
    yield f"missing in {line.title}"
    widest = max(len(one.item.key) for one in line.missing)
    for one in line.missing:
        yield f"  {one.item.key:<{widest}}  {one.item.location}  ({one.item.level})"
        yield f"    {_way(one)}"
        if stubs and one.stub:
            yield ""
            yield from (f"      {text}" if text else "" for text in one.stub.splitlines())
            yield ""


def comparison_lines(comparison: Comparison) -> Iterator[str]:
    """Yield what became of what was covered."""
    if comparison.regressions:
        yield ""
        yield f"regressed since {comparison.base}"
        for one in comparison.regressions:
            was = "; ".join(map(str, one.tests)) or "covered by a test that was not recorded"
            yield f"  {one.declared.name}: {one.item.key}  {one.item.location}"
            yield f"    was {was}"
    if comparison.new:
        yield ""
        yield f"declared since {comparison.base} and not covered"
        for declared, item in comparison.new:
            yield f"  {declared.name}: {item.key}  {item.location}"


def _way(one: Missing) -> str:
    if not one.way:
        return "no way leads there"
    nearest = f"    nearest: {one.nearest} (already in {one.nearest_state})" if one.nearest else ""
    return f"reach it: {' → '.join(one.way)}{nearest}"


def _table(summary: Summary) -> Iterator[str]:
    if not summary.lines:
        yield "no lifecycle was found: no command ran, and no application is named"
        return
    rows: list[tuple[str, ...]] = [("lifecycle", "states", "transitions", "guards", "cells", "pairs", "covered", "counted")]
    rows += [(*_row(line), str(line.measured.criterion)) for line in summary.lines]
    if len(summary.lines) > 1:
        totals = (_total([line.counts[one] for line in summary.lines]) for one in Criterion)
        rows.append(("TOTAL", *totals, summary.count.percent, ""))
    yield from _aligned(rows)


def _row(line: Line) -> tuple[str, ...]:
    counts = (str(line.counts[one]) if line.counts[one].total else "-" for one in Criterion)
    return (line.title, *counts, line.count.percent)


def _total(counts: Sequence[object]) -> str:
    found = [str(one).partition("/") for one in counts]
    covered, total = sum(int(one) for one, _, _ in found), sum(int(one) for _, _, one in found)
    return f"{covered}/{total}" if total else "-"


def _aligned(rows: list[tuple[str, ...]]) -> Iterator[str]:
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    for first, *others, last in rows:
        middle = "".join(f"  {text:>{width}}" for text, width in zip(others, widths[1:-1], strict=True))
        yield f"{first:<{widths[0]}}{middle}  {last}".rstrip()
