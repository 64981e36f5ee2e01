"""The report for GitHub Actions: a warning on each declaration that is not covered, and the summary of the step."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

from usecasecore.coverage.reports import markdown
from usecasecore.coverage.summary import Summary

__all__ = ["lines"]

_SUMMARY = "GITHUB_STEP_SUMMARY"


def lines(summary: Summary) -> Iterator[str]:
    """Yield the workflow commands; append to the file of the step's summary where there is one."""
    for line in summary.lines:
        for one in line.missing:
            way = f"; reach it: {' → '.join(one.way)}" if one.way else ""
            item = one.item
            place = f"file={_property(item.location.file)},line={item.location.line},title={_property('transition coverage')}"
            yield f"::warning {place}::{_data(f'{line.title}: {item.key} is not covered ({item.level}){way}')}"
    for sentence in summary.failures:
        yield f"::error title={_property('transition coverage')}::{_data(sentence)}"
    if path := os.environ.get(_SUMMARY):
        with Path(path).open("a", encoding="utf-8") as file:
            file.write(markdown.text(summary))


def _data(value: str) -> str:
    return value.replace("%", "%25").replace("\r", "%0D").replace("\n", "%0A")


def _property(value: str) -> str:
    return _data(value).replace(":", "%3A").replace(",", "%2C")
