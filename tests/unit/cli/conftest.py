from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.unit.cli.command_line import CommandLine

SAMPLE = "tests.unit.cli.sample_app:app"


@pytest.fixture(autouse=True)
def nowhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """An empty current directory, and nothing named by the environment."""
    known = set(sys.modules)
    monkeypatch.setattr(sys, "path", list(sys.path))
    for variable in ("USECASECORE_APP", "USECASECORE_URL", "NO_COLOR"):
        monkeypatch.delenv(variable, raising=False)
    monkeypatch.chdir(tmp_path)
    yield tmp_path
    for name in set(sys.modules) - known:
        if str(tmp_path) in str(getattr(sys.modules[name], "__file__", "")):
            del sys.modules[name]


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str]) -> CommandLine:
    return CommandLine(capsys)


@pytest.fixture
def write_module(nowhere: Path) -> Callable[[str, str], None]:
    """Write a module into the current directory, with `app` as the name of an application above the given lines."""

    def write(name: str, lines: str) -> None:
        start = "from usecasecore import AllowAll, Application\napp = Application([], AllowAll(), name=__name__)\n"
        (nowhere / f"{name}.py").write_text(start + lines)

    return write
