"""What is private to SQLAlchemy and psycopg is used in one module, where it is compared with what is known."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

SOURCES = Path(__file__).parents[2] / "src" / "usecasecore"

# Not SQLAlchemy's or psycopg's, or said to be for everybody.
OTHERS = {
    "_asdict": "of named tuples, documented",
    "_fields": "of named tuples, documented",
    "_replace": "of named tuples, documented",
    "_getframe": "of sys, documented",
    "_create_event": "of pytransitions",
    "_event_data": "of pytransitions",
    "_transport": "of asyncpg",
}


def test_private_names_of_sqlalchemy_and_psycopg_stand_in_one_module() -> None:
    trees = {file: ast.parse(file.read_text(encoding="utf-8")) for file in SOURCES.rglob("*.py")}
    ours = {name for tree in trees.values() for name in defined(tree)}
    used = {
        file.relative_to(SOURCES).as_posix(): sorted(set(private(tree)) - ours - OTHERS.keys()) for file, tree in trees.items()
    }
    assert {file: names for file, names in used.items() if names and file != "unofficial.py"} == {}
    assert {"_commit_all", "_handle_dbapi_exception", "_raw_columns"} <= set(
        used["unofficial.py"]
    )  # they would be seen elsewhere


def private(tree: ast.Module) -> Iterator[str]:
    """Yield the names with an underscore that are read of something, imported, or asked for as a text."""
    for node in ast.walk(tree):
        names = []
        if isinstance(node, ast.Attribute):
            names = [node.attr]
        elif isinstance(node, ast.ImportFrom):
            names = [one.name for one in node.names]
        elif isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id in ("getattr", "hasattr", "setattr"):
            names = [one.value for one in node.args if isinstance(one, ast.Constant) and isinstance(one.value, str)]
        yield from (name for name in names if name.startswith("_") and not name.startswith("__"))


def defined(tree: ast.Module) -> Iterator[str]:
    """Yield the names that a module of ours gives to something."""
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            yield node.name
        elif isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
            yield node.id
        elif isinstance(node, ast.Attribute) and isinstance(node.ctx, ast.Store):
            yield node.attr
