"""The application that tests are about, where nobody hands it to them."""

from __future__ import annotations

import os
import sys
import tomllib
from functools import reduce
from importlib import import_module
from pathlib import Path

from usecasecore.application import Application

__all__ = ["NoApplication", "find_application"]

_VARIABLE = "USECASECORE_APP"
_WAYS = (
    'override the fixture `usecasecore_app`, or name it in pyproject.toml: [tool.usecasecore] app = "package.module:attribute"'
)


class NoApplication(LookupError):
    """No application is named, or there is none where the name points to."""


def find_application(directory: Path) -> Application:
    """Return the application that `USECASECORE_APP`, or the nearest pyproject.toml from a directory upwards, names.

    Raises:
        NoApplication: If none does, or there is no Application in that place, and no runtime with one.
        ImportError: If its module can't be imported.
    """
    name, base = _named(directory)
    if name is None:
        raise NoApplication(f"no application is named: {_WAYS}")
    module, _, attribute = name.partition(":")
    if not module or not attribute:
        raise NoApplication(f"{name!r} names no application; it is written `package.module:attribute`")
    if str(base) not in sys.path:
        sys.path.insert(0, str(base))
    imported = import_module(module)
    try:
        value = reduce(getattr, attribute.split("."), imported)
    except AttributeError:
        known = sorted(one for one, value in vars(imported).items() if isinstance(value, Application))
        raise NoApplication(f"{module} has no {attribute!r}; applications in it: {', '.join(known) or 'none'}") from None
    found = _of(value)
    if found is None and callable(value):
        found = _of(value())
    if found is None:
        raise NoApplication(f"{name} is of type {type(value).__name__}; an Application, or a Runtime with one, is wanted")
    return found


def _of(value: object) -> Application | None:
    found = value if isinstance(value, Application) else getattr(value, "application", None)
    return found if isinstance(found, Application) else None


def _named(directory: Path) -> tuple[str | None, Path]:
    if text := os.environ.get(_VARIABLE):
        return text, directory
    for one in (directory, *directory.parents):
        file = one / "pyproject.toml"
        if file.is_file():
            named = tomllib.loads(file.read_text(encoding="utf-8")).get("tool", {}).get("usecasecore", {}).get("app")
            if named is not None and not isinstance(named, str):
                raise NoApplication(f"{file}: [tool.usecasecore] app is {named!r}, not a text")
            return named, one
    return None, directory
