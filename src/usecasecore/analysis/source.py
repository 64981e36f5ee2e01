"""What can be read in the source of `apply`: the messages it sends, the triggers it fires, whether it does anything.

Only what is certain is said. As soon as the context is handed on, or something is built elsewhere, the answer is "can't
tell", and the checks that ask keep silent.
"""

from __future__ import annotations

import ast
import inspect
import textwrap
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

from usecasecore.usecase import UseCase

_SENDING = ("emit", "enqueue", "fire")

__all__ = ["does_something", "fired_triggers", "returned_texts", "sent_names"]


@dataclass(frozen=True, slots=True)
class _Read:
    """A function that was read.

    Attributes:
        context: The name of its parameter for the context.
        handed_on: Whether the context is used in any other way than by its attributes.
    """

    tree: ast.FunctionDef
    context: str
    handed_on: bool


def sent_names(use_case: UseCase[Any, Any, Any]) -> frozenset[str] | None:
    """Return the names of the messages that `apply` emits and enqueues; None where it can't be told."""
    return _constructed(use_case, ("emit", "enqueue"), 0, _class_name)


def fired_triggers(use_case: UseCase[Any, Any, Any]) -> frozenset[str] | None:
    """Return the triggers that `apply` fires further; None where it can't be told."""
    return _constructed(use_case, ("fire",), 1, _text)


def returned_texts(function: Callable[..., Any]) -> frozenset[str] | None:
    """Return the texts that a function returns, as far as all of them stand in its source; None otherwise."""
    read = _read(function)
    if read is None:
        return None
    found: set[str] = set()
    for node in ast.walk(read.tree):
        if isinstance(node, ast.Return):
            if node.value is None or (texts := _texts(node.value)) is None:
                return None
            found |= texts
    return frozenset(found)


def does_something(use_case: UseCase[Any, Any, Any]) -> bool:
    """Return whether a use case does anything besides returning a result; True where it can't be told."""
    declared = (use_case.emits, use_case.enqueues, use_case.creates, use_case.deletes, use_case.also_fires)
    if any(declared) or type(use_case).audit is not UseCase.audit:
        return True
    read = _read(type(use_case).apply)
    if read is None or read.handed_on:
        return True
    body = [node for node in read.tree.body if not _is_plain(node)]
    return not (len(body) == 1 and isinstance(body[0], ast.Return)) or _calls_a_method(body[0])


def _constructed(
    use_case: UseCase[Any, Any, Any], methods: tuple[str, ...], place: int, read_argument: Callable[[ast.expr], str | None]
) -> frozenset[str] | None:
    read = _read(type(use_case).apply)
    if read is None or read.handed_on:
        return None
    found = set()
    for call in _calls_of(read, methods):
        name = read_argument(call.args[place]) if len(call.args) > place else None
        if name is None:
            return None
        found.add(name)
    return frozenset(found)


def _read(function: Any) -> _Read | None:
    try:
        tree = ast.parse(textwrap.dedent(inspect.getsource(inspect.unwrap(function)))).body[0]
    except (OSError, TypeError, SyntaxError, IndexError):
        return None
    if not isinstance(tree, ast.FunctionDef):
        return None
    parameters = [*tree.args.posonlyargs, *tree.args.args]
    if not parameters:
        return None
    context = parameters[-1].arg
    nodes = list(ast.walk(tree))
    used = sum(isinstance(node, ast.Name) and node.id == context for node in nodes)
    asked = [node for node in nodes if isinstance(node, ast.Attribute) and _is_of(node, context)]
    called = {id(node.func) for node in nodes if isinstance(node, ast.Call)}
    # `send = context.emit` hands the method on.
    handed_on = used != len(asked) or any(node.attr in _SENDING and id(node) not in called for node in asked)
    return _Read(tree, context, handed_on)


def _is_of(node: ast.AST, context: str) -> bool:
    return isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name) and node.value.id == context


def _calls_of(read: _Read, methods: tuple[str, ...]) -> Iterator[ast.Call]:
    for node in ast.walk(read.tree):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute):  # noqa: SIM102 - one question a line
            if _is_of(node.func, read.context) and node.func.attr in methods:
                yield node


def _class_name(node: ast.expr) -> str | None:
    if not isinstance(node, ast.Call):
        return None
    if isinstance(node.func, ast.Name):
        return node.func.id
    return node.func.attr if isinstance(node.func, ast.Attribute) else None


def _text(node: ast.expr) -> str | None:
    return node.value if isinstance(node, ast.Constant) and isinstance(node.value, str) else None


def _texts(node: ast.expr) -> set[str] | None:
    if isinstance(node, ast.IfExp):
        one, other = _texts(node.body), _texts(node.orelse)
        return None if one is None or other is None else one | other
    text = _text(node)
    return None if text is None else {text}


def _is_plain(node: ast.stmt) -> bool:
    """Return whether a statement is a docstring or a `pass`."""
    return isinstance(node, ast.Pass) or (isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant))


def _calls_a_method(node: ast.stmt) -> bool:
    """Return whether a method is called: of the aggregate, of the session, of anything that may change."""
    return any(isinstance(each, ast.Call) and isinstance(each.func, ast.Attribute) for each in ast.walk(node))
