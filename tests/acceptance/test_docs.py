"""Every Python block of the README and the docs runs, in the order of its page."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import pytest

from usecasecore import errors

ROOT = Path(__file__).parents[2]
BLOCK = re.compile(r"^```python\n(.*?)^```", re.DOTALL | re.MULTILINE)
PAGES = [page for page in (ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))) if BLOCK.search(page.read_text())]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_the_blocks_of_a_page_run(page: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    module = ModuleType(f"page_{page.stem.replace('-', '_')}")
    monkeypatch.setitem(sys.modules, module.__name__, module)  # pydantic and SQLAlchemy look names up where a class was defined
    names = vars(module)
    for block in BLOCK.findall(page.read_text()):
        exec(compile(block, str(page), "exec", dont_inherit=True), names)
    if engine := names.get("engine"):
        engine.dispose()


def test_the_readme_prints_what_it_says(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    test_the_blocks_of_a_page_run(ROOT / "README.md", tmp_path, monkeypatch)
    lines = capsys.readouterr().out.splitlines()
    assert lines[:3] == ["submitted", "True 2", "order: 'submit' is not possible from 'submitted'; possible: cancel"]
    assert lines[3:5] == ["['stale_version', 'transition_not_allowed']", "SubmitOrder no"]
    assert "no use case is registered that can" in lines[5]


def test_the_page_on_adoption_prints_what_it_says(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    test_the_blocks_of_a_page_run(ROOT / "docs/how-to/adopt.md", tmp_path, monkeypatch)
    out = capsys.readouterr().out
    lines = out.splitlines()
    assert lines[:3] == [
        "there is no column orders.version",
        "orders.status may be NULL",
        "there is no CHECK ck_orders_status over the states in orders.status",
    ]
    assert [line.partition(" /")[0] for line in lines[-3:]] == ["1 setting the attribute", "4", "2"]


def test_at_least_the_readme_and_the_guides_are_among_them() -> None:
    assert {page.name for page in PAGES} >= {"README.md", "lifecycles.md", "use-cases.md", "adopt.md"}


def test_the_page_on_errors_draws_the_whole_tree() -> None:
    page = (ROOT / "docs/reference/errors.md").read_text()
    for name in set(errors.__all__) - {"Refusal"}:
        assert re.search(rf"\b{name}\b", page), name


@pytest.mark.parametrize(
    "line", re.findall(r"^    usecasecore (.*)$", (ROOT / "docs/examples/orders.md").read_text(), re.MULTILINE)
)
def test_the_command_lines_of_the_orders_page_work(line: str) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "usecasecore", *line.split()], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout


def test_every_link_of_the_readme_leads_somewhere() -> None:
    links = re.findall(r"\]\(([^)#]+)", (ROOT / "README.md").read_text())
    assert len(links) > 10
    for link in links:
        assert link.startswith("https://") or (ROOT / link).exists(), link
