"""The report as JUnit XML: a test case for each thing that counts, which fails where it is not covered."""

from __future__ import annotations

import re
import xml.etree.ElementTree as ElementTree
from typing import Any

from usecasecore.coverage.summary import Line, Summary

__all__ = ["text"]

# XML 1.0 knows no way to write these.
_FORBIDDEN = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")


def text(summary: Summary) -> str:
    """Return the whole report."""
    root = ElementTree.Element("testsuites", name="transition coverage")
    for line in summary.lines:
        _suite(root, line)
    ElementTree.indent(root)
    return f"<?xml version='1.0' encoding='utf-8'?>\n{ElementTree.tostring(root, encoding='unicode')}\n"


def _suite(root: ElementTree.Element, line: Line) -> None:
    measured = line.measured
    counts: dict[str, Any] = {"tests": str(measured.total), "failures": str(len(measured.missing)), "errors": "0", "skipped": "0"}
    suite = ElementTree.SubElement(root, "testsuite", name=_clean(line.title), **counts)
    missing = {one.item.key: one for one in line.missing}
    for item in measured.items:
        place: dict[str, Any] = {"file": _clean(item.location.file), "line": str(item.location.line)}
        case = ElementTree.SubElement(suite, "testcase", classname=_clean(line.title), name=_clean(item.key), **place)
        if item.key in missing:
            way = " → ".join(missing[item.key].way) or "no way leads there"
            failure = ElementTree.SubElement(case, "failure", message=_clean(f"not covered: {item.level}"))
            failure.text = _clean(f"{item.location}\nreach it: {way}\nnearest test: {missing[item.key].nearest or 'none'}")


def _clean(value: str) -> str:
    return _FORBIDDEN.sub("\ufffd", value)
