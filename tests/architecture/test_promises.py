"""The page of the promises names tests; they are there."""

from __future__ import annotations

import re
from pathlib import Path

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "guide" / "trust.md").read_text(encoding="utf-8")


def test_each_promise_names_a_test_that_exists() -> None:
    named = re.findall(r"`(tests/[a-z_/]+\.py)::(test_\w+)`", PAGE)
    missing = [f"{file}::{name}" for file, name in named if f"def {name}(" not in (ROOT / file).read_text(encoding="utf-8")]
    assert len(named) > 20
    assert missing == []


def test_the_page_lists_every_code_that_a_verification_can_find() -> None:
    sources = "".join(file.read_text(encoding="utf-8") for file in (ROOT / "src/usecasecore/verification").glob("*.py"))
    codes = set(re.findall(r'(?:\bFinding\(|_finding\(|_about\(\w+, |return )"([a-z]+(?:_[a-z]+)+)"', sources))
    assert {"double_effect", "head_differs", "entry_changed", "row_missing", "anchored_differs", "version_gap"} <= codes
    assert {code for code in codes if f"`{code}`" not in PAGE} == set()
