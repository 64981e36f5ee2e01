"""What the package shows to the outside, and what importing it costs."""

from __future__ import annotations

import inspect
import os
import pickle
import subprocess
import sys
from importlib import import_module
from typing import Any
from uuid import uuid4

import pytest

import usecasecore
from usecasecore import errors


def loaded_after(statement: str) -> set[str]:
    """The top-level modules that a new interpreter has loaded after the statement."""
    script = f"import sys\n{statement}\nprint(*sorted({{name.partition('.')[0] for name in sys.modules}}))"
    # Not measured: coverage itself would load greenlet.
    environment = {name: value for name, value in os.environ.items() if not name.startswith("COVERAGE")}
    done = subprocess.run([sys.executable, "-c", script], env=environment, capture_output=True, text=True, check=True)
    return set(done.stdout.split())


@pytest.mark.parametrize("statement", ["import usecasecore", "import usecasecore.pytest_plugin", "import usecasecore.errors"])
def test_the_root_and_the_pytest_plugin_load_neither_sqlalchemy_nor_pydantic(statement: str) -> None:
    assert not loaded_after(statement) & {"sqlalchemy", "pydantic", "transitions", "alembic", "typer"}


def test_the_help_of_the_command_line_loads_neither_sqlalchemy_nor_pydantic() -> None:
    loaded = loaded_after(
        "import contextlib, io\nfrom usecasecore.cli import main\nsys.argv = ['usecasecore', '--help']\n"
        "with contextlib.redirect_stdout(io.StringIO()), contextlib.suppress(SystemExit): main()"
    )
    assert "typer" in loaded
    assert not loaded & {"sqlalchemy", "pydantic", "transitions", "alembic"}


def test_the_whole_core_loads_no_optional_package() -> None:
    names = [name for name in usecasecore.__all__ if name != "AsyncRuntime"]
    loaded = loaded_after(f"import usecasecore\nfor name in {names}: getattr(usecasecore, name)")
    assert "sqlalchemy" in loaded
    assert not loaded & {"psycopg", "asyncpg", "aiosqlite", "greenlet", "sqlmodel", "fastapi", "graphviz", "typer", "pytest"}


def test_the_asynchronous_front_door_names_the_extra_that_it_needs() -> None:
    script = "import sys\nsys.modules['greenlet'] = None\nfrom usecasecore import AsyncRuntime"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False)
    assert done.stderr.splitlines()[-1] == 'ImportError: AsyncRuntime needs greenlet: pip install "usecasecore[asyncio]"'


def test_every_name_of_the_root_is_there_and_no_other() -> None:
    assert list(usecasecore.__all__) == sorted(usecasecore.__all__)
    for name in usecasecore.__all__:
        assert getattr(usecasecore, name).__name__ == name
    assert set(usecasecore.__all__) <= set(dir(usecasecore))
    with pytest.raises(AttributeError, match="has no attribute 'Runtimes'"):
        _ = usecasecore.Runtimes


def test_every_public_module_says_what_it_exports() -> None:
    for name in (
        "errors",
        "ids",
        "messages",
        "context",
        "policy",
        "lifecycle",
        "usecase",
        "application",
        "ledger",
        "runtime",
        "relay",
        "diagrams",
        "analysis",
    ):
        module = import_module(f"usecasecore.{name}")
        for exported in module.__all__:
            assert hasattr(module, exported), f"{name}.{exported}"


FACTS: dict[str, Any] = {
    "problems": ["a", "b"],
    "lifecycle": "order",
    "column": "state",
    "how": "an assignment",
    "use_case": "SubmitOrder",
    "prevented": True,
    "what": "emits",
    "type_name": "Closed",
    "declared": ["Opened"],
    "expected": 1,
    "got": "a dict",
    "command": "Submit",
    "errors": [{"loc": ("a", 0), "msg": "wrong", "type": "t"}],
    "key": "k",
    "aggregate": "order",
    "permission": "submit",
    "actor": "user:ada",
    "trigger": "pay",
    "state": "draft",
    "allowed": ["submit"],
    "failures": [("has_value", "must be worth something")],
    "actual": 2,
    "waited": 2.0,
    "attempts": 5,
    "last": "deadlock",
    "found": None,
    "needed": "0001",
    "setting": "synchronous_commit",
    "value": "off",
    "raw": "{}",
    "stored_type": "Done",
    "stored_version": 1,
    "reason": "it is no JSON",
    "detail": "gone",
    "format": "svg",
    "ways": ["install it"],
    "program": "dot",
}


def every_error() -> list[type[errors.UseCaseError]]:
    found, todo = [], [errors.UseCaseError]
    while todo:
        kind = todo.pop()
        todo += kind.__subclasses__()
        if kind.__module__ == errors.__name__:
            found.append(kind)
    return found


def made(kind: type[errors.UseCaseError]) -> errors.UseCaseError:
    if kind is errors.DefinitionError:
        return kind(["a", "b"])
    if "__init__" not in vars(kind):
        return kind("words")
    parameters = inspect.signature(kind).parameters.values()
    needed = {one.name: FACTS[one.name] for one in parameters if one.default is one.empty}
    return kind(**needed)


@pytest.mark.parametrize("kind", every_error(), ids=lambda kind: kind.__name__)
def test_every_error_survives_pickling_with_its_facts_and_has_a_code(kind: type[errors.UseCaseError]) -> None:
    error = made(kind)
    error.command_id = uuid4()
    error.add_note("a note")
    again = pickle.loads(pickle.dumps(error))
    assert type(again) is kind
    assert (str(again), again.args, again.__dict__) == (str(error), error.args, error.__dict__)
    assert kind.code.isidentifier()


@pytest.mark.parametrize("kind", every_error(), ids=lambda kind: kind.__name__)
def test_every_error_is_one_frozen_value_too_which_survives_pickling(kind: type[errors.UseCaseError]) -> None:
    error = made(kind)
    error.command_id = uuid4()
    error.add_note("a note")
    refusal = error.refusal
    assert (refusal.code, refusal.message, refusal.command_id) == (kind.code, str(error), error.command_id)
    assert not set(refusal.params) & {"allowed", "version", "retry_after", "command_id", "raw", "__notes__"}
    again = pickle.loads(pickle.dumps(refusal))
    assert (again, again.command_id) == (refusal, refusal.command_id)
    assert pickle.loads(pickle.dumps(error)).refusal == refusal
    with pytest.raises(TypeError):
        refusal.params["code"] = "other"  # type: ignore[index]
    with pytest.raises(AttributeError):
        refusal.code = "other"  # type: ignore[misc]


def test_only_what_may_succeed_later_says_when_to_try_again() -> None:
    later = {kind for kind in every_error() if made(kind).refusal.retry_after is not None}
    conflicts = {kind for kind in every_error() if issubclass(kind, errors.Conflict)}
    assert later == conflicts | {errors.DatabaseUnavailable}


def test_a_final_state_allows_nothing_and_a_refusal_that_is_not_about_the_state_does_not_say() -> None:
    final = errors.TransitionNotAllowed(lifecycle="order", trigger="pay", state="paid", allowed=())
    assert final.refusal.allowed == frozenset()
    assert errors.Forbidden(use_case="Pay", permission="pay", actor="user:ada").refusal.allowed is None


def test_a_domain_error_may_have_a_fact_named_allowed() -> None:
    class CreditExceeded(errors.DomainError):
        def __init__(self, *, allowed: int) -> None:
            self.allowed = allowed
            super().__init__(f"{allowed} are allowed")

    refusal = CreditExceeded(allowed=5).refusal
    assert (refusal.code, dict(refusal.params), refusal.allowed) == ("credit_exceeded", {"allowed": 5}, None)


def test_an_invalid_command_keeps_of_each_fault_its_place_and_kind_only() -> None:
    fault = {"loc": ("card",), "msg": "wrong", "type": "t", "input": "tok_4242", "ctx": {"error": "tok_4242"}, "url": "x"}
    error = errors.InvalidCommand(command="Pay", errors=[fault])
    assert error.errors == ({"loc": ("card",), "msg": "wrong", "type": "t"},)
    assert "tok_4242" not in repr(error.__dict__) + str(error)


def test_every_error_is_in_the_tree_of_the_modules_docstring_and_exported() -> None:
    names = {kind.__name__ for kind in every_error()}
    assert names | {"Refusal"} == set(errors.__all__)
    tree = errors.__doc__ or ""
    drawn = [line.split()[-1] if "├" in line or "└" in line or "│" in line else "" for line in tree.splitlines()]
    for name in names:
        assert any(name in line.split() for line in tree.splitlines()), f"{name} is not drawn ({drawn})"


def test_codes_are_unique() -> None:
    codes = [kind.code for kind in every_error()]
    assert len(codes) == len(set(codes))


def test_ids_do_not_repeat() -> None:
    ids = {usecasecore.uuid7() for _ in range(10_000)}
    assert len(ids) == 10_000
    assert {one.version for one in ids} == {7}
    assert uuid4() not in ids
