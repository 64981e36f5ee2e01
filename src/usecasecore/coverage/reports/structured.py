"""The report as JSON: for other programs."""

from __future__ import annotations

import json
from typing import Any

from usecasecore.coverage.baseline import Comparison
from usecasecore.coverage.criteria import Item
from usecasecore.coverage.missing import Missing
from usecasecore.coverage.summary import Count, Line, Summary

__all__ = ["text", "values"]

SCHEMA_VERSION = 1


def text(summary: Summary) -> str:
    """Return the whole report."""
    return json.dumps({"schema_version": SCHEMA_VERSION, **values(summary)}, indent=2, ensure_ascii=False) + "\n"


def values(summary: Summary) -> dict[str, Any]:
    """Return the whole report as JSON values, without the version of its shape."""
    return {
        "criterion": str(summary.criterion),
        **_count(summary.count),
        "failures": list(summary.failures),
        "reached": list(summary.verdicts),
        "notes": list(summary.notes),
        "lifecycles": [_line(line) for line in summary.lines],
        "comparison": None if summary.comparison is None else _comparison(summary.comparison),
    }


def _line(line: Line) -> dict[str, Any]:
    missing = {one.item.key: one for one in line.missing}
    return {
        "name": line.recorded.declared.name,
        "aggregate": line.recorded.declared.aggregate,
        "criterion": str(line.measured.criterion),
        **_count(line.count),
        "counts": {str(criterion): _count(count) for criterion, count in line.counts.items()},
        "items": [_item(item, missing.get(item.key)) for item in line.measured.items],
    }


def _item(item: Item, missing: Missing | None = None) -> dict[str, Any]:
    found = {
        "key": item.key,
        "covered": item.covered,
        "level": item.level.name.lower(),
        "count": item.count,
        "tests": list(item.tests),
        "file": item.location.file,
        "line": item.location.line,
    }
    if missing is not None:
        found |= {
            "way": list(missing.way),
            "nearest": missing.nearest,
            "nearest_state": missing.nearest_state,
            "stub": missing.stub,
        }
    return found


def _comparison(comparison: Comparison) -> dict[str, Any]:
    regressions = [
        {
            "lifecycle": one.declared.name,
            **_item(one.item),
            "used_to_be_covered_by": [{"test": test.name, "fate": test.fate} for test in one.tests],
        }
        for one in comparison.regressions
    ]
    return {
        "base": comparison.base,
        "regressions": regressions,
        "new": [{"lifecycle": declared.name, **_item(item)} for declared, item in comparison.new],
        "gained": [{"lifecycle": declared.name, **_item(item)} for declared, item in comparison.gained],
    }


def _count(count: Count) -> dict[str, Any]:
    return {"covered": count.covered, "total": count.total, "percent": count.percent.removesuffix("%")}
