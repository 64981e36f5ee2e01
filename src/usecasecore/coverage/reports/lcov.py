"""The report as LCOV: each transition is a branch of its declaration's line, so that what shows coverage of code shows it too."""

from __future__ import annotations

from collections.abc import Iterator

from usecasecore.coverage.criteria import Criterion, Item, Level, measure
from usecasecore.coverage.summary import Summary

__all__ = ["text"]


def text(summary: Summary) -> str:
    """Return the whole report: for each file its lines with declarations, and the branches of each."""
    return "".join(f"{line}\n" for line in _lines(summary))


def _lines(summary: Summary) -> Iterator[str]:
    by_file: dict[str, dict[int, list[Item]]] = {}
    for line in summary.lines:
        criterion = Criterion.GUARD if line.measured.criterion is Criterion.GUARD else Criterion.TRANSITION
        for item in measure(line.recorded, criterion).items:
            by_file.setdefault(item.location.file, {}).setdefault(item.location.line, []).append(item)
    for file, by_line in sorted(by_file.items()):
        yield "TN:transitions"
        yield f"SF:{file}"
        every = sorted(by_line.items())
        for number, items in every:
            # A branch of a line that nobody came to is `-`; one that was seen, but not taken, is 0.
            reached = any(item.level is not Level.DECLARED for item in items)
            for branch, item in enumerate(items):
                yield f"BRDA:{number},0,{branch},{item.count if reached else '-'}"
        branches = [item for _, items in every for item in items]
        yield f"BRF:{len(branches)}"
        yield f"BRH:{sum(item.covered for item in branches)}"
        hits = [(number, sum(item.count for item in items)) for number, items in every]
        for number, count in hits:
            yield f"DA:{number},{count}"
        yield f"LF:{len(hits)}"
        yield f"LH:{sum(count > 0 for _, count in hits)}"
        yield "end_of_record"
