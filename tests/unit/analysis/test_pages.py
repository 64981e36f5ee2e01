"""Each check has a page, whose example is what the check finds."""

from __future__ import annotations

import inspect
import re
import sys
from pathlib import Path

import pytest

from tests.unit.analysis.pages import application_of
from usecasecore.analysis import check, pages
from usecasecore.analysis.checks import messages, names, states, transitions, usage

CODES = pages.codes()


@pytest.mark.parametrize("code", CODES)
def test_the_example_of_a_page_has_exactly_the_finding_of_the_page(code: str, tmp_path: Path) -> None:
    module = application_of(pages.example(code), tmp_path, f"page_{code.lower()}")
    findings = check(module.app)
    assert [finding.code for finding in findings] == [code], [str(finding) for finding in findings]
    location = findings[0].location
    assert location is not None
    assert location.file == module.__file__
    for sentence in (findings[0].cause, findings[0].cure):
        assert sentence.endswith(".")
        assert sentence[0].isupper() or sentence[0] in "'`"


def test_every_check_has_a_page_and_every_page_a_check() -> None:
    modules = (messages, names, states, transitions, usage, sys.modules["usecasecore.analysis.check"])
    source = "".join(inspect.getsource(module) for module in modules)
    assert set(re.findall(r'"(UCC\d+)"', source)) == set(CODES)


@pytest.mark.parametrize("code", CODES)
def test_a_page_has_a_title_a_reason_an_example_and_a_cure(code: str) -> None:
    first, blank, *rest = pages.page(code).splitlines()
    assert re.fullmatch(rf"## {code}: \S.*[^.]", first)
    assert blank == ""
    text = "\n".join(rest)
    assert text.count("```") == 2
    assert all(part.strip() for part in text.split("```"))
    assert first.endswith(pages.title(code))
