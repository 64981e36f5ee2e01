"""Finds the application that a command is about, and says on stderr where it was found."""

from __future__ import annotations

import importlib
import os
import sys
import tomllib
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stdout
from dataclasses import dataclass
from difflib import get_close_matches
from functools import reduce
from pathlib import Path
from typing import TYPE_CHECKING, Any

from usecasecore.cli.failure import Failure
from usecasecore.cli.output import note

if TYPE_CHECKING:
    from usecasecore.application import Application

__all__ = ["VARIABLE", "Found", "find", "find_application", "no_application"]

VARIABLE = "USECASECORE_APP"
_FORM = "write it as module:attribute, for example shop.app:app"
_PLACES = (
    f'pass --app module:attribute, set {VARIABLE}, or write `app = "module:attribute"` under [tool.usecasecore] in pyproject.toml'
)


@dataclass(frozen=True, slots=True)
class _Reference:
    """Where an application is said to be.

    Attributes:
        text: `module:attribute`.
        origin: Who says so.
        directory: What the module's path is relative to.
    """

    text: str
    origin: str
    directory: Path


@dataclass(frozen=True, slots=True)
class Found:
    """An application, and what it was found in.

    Attributes:
        reference: `module:attribute`.
        application: The application.
        runtime: The object that has it and a database too; None where the application itself was found.
    """

    reference: str
    application: Application
    runtime: Any


def find_application(option: str | None) -> Application:
    """Return the application that the option, the environment or pyproject.toml names.

    Raises:
        Failure: If there is none, or if it can't be imported.
    """
    found = find(option)
    if found is None:
        raise no_application()
    return found.application


def no_application() -> Failure:
    """Return the failure for a command that wants an application where nobody names one."""
    return Failure("no application is named", _PLACES)


def find(option: str | None) -> Found | None:
    """Do what `find_application` does; return what was found with its runtime, None where nobody names any."""
    reference = _named(option)
    if reference is None:
        return None
    note(f"application: {reference.text} (from {reference.origin})")
    for directory in (Path.cwd(), reference.directory):
        if str(directory) not in sys.path:
            sys.path.insert(0, str(directory))
    # What a module prints while it is imported is talk.
    with redirect_stdout(sys.stderr):
        return _found(reference)


def _named(option: str | None) -> _Reference | None:
    here = Path.cwd()
    if option is not None:
        return _Reference(option, "--app", here)
    if text := os.environ.get(VARIABLE):
        return _Reference(text, VARIABLE, here)
    for directory in (here, *here.parents):
        if (file := directory / "pyproject.toml").is_file():
            return _configured(file)
    return None


def _configured(file: Path) -> _Reference | None:
    try:
        settings = tomllib.loads(file.read_text(encoding="utf-8")).get("tool", {}).get("usecasecore", {})
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise Failure(f"{file} can't be read: {error}") from error
    text = settings.get("app")
    if text is None:
        return None
    if not isinstance(text, str):
        raise Failure(f"{file}: [tool.usecasecore] app is {text!r}, not a text", _FORM)
    return _Reference(text, str(file), file.parent)


def _found(reference: _Reference) -> Found:
    module, _, attribute = reference.text.partition(":")
    if not module or not attribute:
        raise Failure(f"{reference.text!r} doesn't name an application", _FORM)
    value = _attribute(_imported(module, reference), attribute, reference.text)
    found = _as_found(value, reference.text)
    if found is None and callable(value):
        with _explained(f"calling {reference.text} failed"):
            value = value()
        found = _as_found(value, reference.text)
    if found is None:
        raise Failure(
            f"{reference.text} is of type {type(value).__name__}, and neither an Application nor a Runtime",
            "name one of these, or a function that takes nothing and returns one",
        )
    return found


def _imported(name: str, reference: _Reference) -> Any:
    try:
        with _explained(f"importing {name} failed"):
            return importlib.import_module(name)
    except Failure as failure:
        missing = failure.__cause__.name if isinstance(failure.__cause__, ModuleNotFoundError) else None
        if missing is None or not f"{name}.".startswith(f"{missing}."):
            raise
        raise Failure(
            f"there is no module {missing!r}",
            f"looked in {reference.directory} and on Python's path; run the command where the package is, or install it",
        ) from failure.__cause__


@contextmanager
def _explained(what: str) -> Iterator[None]:
    # SystemExit too: a module that ends the process when it is imported is no reason to end in silence.
    try:
        yield
    except (Exception, SystemExit) as error:
        told = f"{type(error).__name__}: {error}" if str(error) else type(error).__name__
        raise Failure(f"{what}: {told}", "run `usecasecore --debug ...` to see where") from error


def _attribute(module: Any, path: str, reference: str) -> Any:
    try:
        return reduce(getattr, path.split("."), module)
    except AttributeError as error:
        fitting = sorted(name for name, value in vars(module).items() if _as_found(value, reference) is not None)
        near = get_close_matches(path, fitting, n=1)
        suggestion = f"did you mean {near[0]!r}? " if near else ""
        hint = f"{suggestion}applications and runtimes in it: {', '.join(fitting) or 'none'}"
        raise Failure(f"{module.__name__} has no {path!r}", hint) from error


def _as_found(value: Any, reference: str) -> Found | None:
    from usecasecore.application import Application

    if isinstance(value, Application):
        return Found(reference, value, None)
    try:
        inner = None if isinstance(value, type) else getattr(value, "application", None)
    except Exception:  # noqa: BLE001 - a proxy that is not bound yet may raise anything
        return None
    return Found(reference, inner, value) if isinstance(inner, Application) else None
