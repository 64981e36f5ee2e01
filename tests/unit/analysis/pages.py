"""Runs the example of a check's page as a module of its own."""

from __future__ import annotations

import importlib.util
import re
import sys
from collections.abc import Callable
from importlib.resources import files
from pathlib import Path
from types import ModuleType
from typing import Any

from usecasecore.application import Application

Run = Callable[[str], Application]


def beginning() -> str:
    text = (files("usecasecore") / "analysis" / "pages" / "beginning.md").read_text(encoding="utf-8")
    found = re.fullmatch(r"```python\n(.*)```\n", text, re.DOTALL)
    assert found
    return found.group(1)


def run_as_module(source: str, folder: Path, name: str) -> ModuleType:
    """Run a program from a file, so that its source can be read, and return its module."""
    file = folder / f"{name}.py"
    file.write_text(source)
    spec = importlib.util.spec_from_file_location(name, file)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    spec.loader.exec_module(module)
    return module


def application_of(program: str, folder: Path, name: str = "a_page") -> Any:
    return run_as_module(f"{beginning()}\n\n{program}", folder, name)
